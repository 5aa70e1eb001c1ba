"""What the three robot tasks share: the table and its looks, the two cameras, the phrases one can say to an arm."""

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import mujoco
import numpy as np

from sfvgen_envs import arm
from sfvgen_envs.scene import Scene, bright_colour
from sfvgen_envs.task import Floats, Task
from sfvgen_planner.types import FRAMES_PER_CHUNK, Things

Colour = tuple[float, float, float]

CUBE = 0.025
"""Half a cube's side."""
TRAVEL = 0.15
"""Height at which the fingertips cross the table."""
GRASP = 0.022
"""Height of the fingertips around a cube that lies on the table."""

COLOURS: dict[str, Colour] = {
    "red": (0.86, 0.13, 0.12),
    "green": (0.15, 0.70, 0.22),
    "blue": (0.13, 0.27, 0.88),
    "yellow": (0.95, 0.83, 0.10),
}
PATTERNS = ("checker", "stripes", "brick")

EYE, LOOK_AT = np.array([1.14, 0.0, 1.02]), np.array([0.32, 0.0, 0.07])
FOVY = {"fixed": 38.0, "sweep": 24.0}
SWEEP_ANGLE, SWEEP_PERIOD = np.deg2rad(15.0), 96


@dataclass(frozen=True)
class TableScene(Scene):
    """Looks and physics of every robot scene."""

    wood: Colour
    inlay: Colour
    pattern: str
    cell: float
    floor: Colour
    light: float
    """degrees around the table where the light comes from"""
    friction: float

    def looks(self) -> str:
        """The coarse looks, for signatures."""
        shades = [round(5 * x) for x in (*self.wood, *self.floor)]
        return f"{self.pattern} {shades} {round(self.light / 45)}"


def draw_looks(rng: np.random.Generator) -> dict[str, Any]:
    """The factors of `TableScene`."""
    wood = bright_colour(rng, 0.45, 0.85)
    factor = float(rng.uniform(0.72, 0.9))
    return {
        "wood": wood,
        "inlay": tuple(round(factor * x, 3) for x in wood),
        "pattern": str(rng.choice(PATTERNS)),
        "cell": round(float(rng.uniform(0.06, 0.12)), 3),
        "floor": bright_colour(rng, 0.15, 0.5),
        "light": round(float(rng.uniform(-60, 60)), 1),
        "friction": round(float(rng.uniform(0.8, 1.2)), 3),
    }


def cell_of(place: tuple[float, ...]) -> list[int]:
    """The 6 cm cell of a place: how coarse a place is in a signature."""
    return [int(np.floor(x / 0.06)) for x in place]


def cube_body(name: str, colour: str, friction: float) -> str:
    """MJCF of one loose cube."""
    return f"""<body name="{name}"><freejoint name="{name}"/>
<geom type="box" size="{CUBE} {CUBE} {CUBE}" mass=".06" rgba="{rgb(COLOURS[colour])} 1" condim="4"
 friction="{friction} .01 .001"/></body>"""


def rgb(colour: tuple[float, ...]) -> str:
    """A colour as MJCF writes it."""
    return " ".join(f"{x:g}" for x in colour)


def table_model(scene: TableScene, camera: str, things: str) -> mujoco.MjModel:
    """The room, the table and the arm, with `things` (MJCF bodies) on it."""
    angle = np.deg2rad(scene.light)
    toward = f"{-0.5 * np.cos(angle):.4f} {-0.5 * np.sin(angle):.4f} -1"
    quaternion = " ".join(f"{x:.9g}" for x in looking(EYE, LOOK_AT))
    return mujoco.MjModel.from_xml_string(f"""
<mujoco><compiler angle="degree" autolimits="true"/>
<option timestep=".005" cone="elliptic" impratio="5" integrator="implicitfast"/>
<visual><headlight ambient=".38 .38 .38" diffuse="0 0 0"/></visual>
<custom><text name="pattern/table" data="{scene.pattern} {rgb(scene.inlay)} {scene.cell}"/>
<text name="pattern/floor" data="checker {rgb(tuple(0.8 * x for x in scene.floor))} .25"/></custom>
<asset><material name="table" rgba="{rgb(scene.wood)} 1"/><material name="floor" rgba="{rgb(scene.floor)} 1"/>
<material name="skin" rgba=".88 .88 .90 1"/><material name="joint" rgba=".22 .24 .28 1"/></asset>
<worldbody>
<light directional="true" dir="{toward}" pos="0 0 3" diffuse=".65 .65 .65"/>
<camera name="eye" pos="{rgb(tuple(EYE))}" quat="{quaternion}" fovy="{FOVY[camera]}"/>
<geom name="floor" type="plane" size="4 4 .1" pos="0 0 -.4" material="floor" contype="0" conaffinity="0"/>
<geom name="table" type="box" size=".34 .48 .03" pos=".36 0 -.03" material="table"
 friction="{scene.friction} .01 .001"/>
{things}{arm.body("skin", "joint")}</worldbody>
<actuator>{arm.ACTUATORS}</actuator><equality>{arm.EQUALITY}</equality></mujoco>""")


def looking(eye: Floats, at: Floats) -> Floats:
    """[4] quaternion of a camera at `eye` that looks at `at`, upright."""
    back = (eye - at) / np.linalg.norm(eye - at)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, np.stack([right, np.cross(back, right), back], axis=1).ravel())
    return quaternion


MOVES: dict[str, tuple[float, float, float]] = {
    "move away": (-1, 0, 0),
    "move closer": (1, 0, 0),
    "move left": (0, -1, 0),
    "move right": (0, 1, 0),
    "move up": (0, 0, 1),
    "move down": (0, 0, -1),
}
FAR, NEAR = 0.12, 0.02
"""Metres of a move, and of a move "a little"."""

GRIPPER = ("open the gripper", "close the gripper", "move the gripper home")
ARM_PHRASES = ("wait", *MOVES, *(f"{move} a little" for move in MOVES), *GRIPPER)


@dataclass(frozen=True)
class Reach:
    """A maneuver: bring the fingertips to `target` with the fingers at `grip`."""

    target: tuple[float, float, float]
    grip: float
    over: bool = False
    """cross the table at a safe height, then come down"""
    pace: float = 1.0


T = TypeVar("T", bound=TableScene)
P = TypeVar("P")


class ArmTask(Task[T, P]):
    """A task of the arm: action [dx dy dz grip], 3 cm a step at most; grip -1 opens, +1 closes.

    `camera="fixed"` sees the whole table; `camera="sweep"` is narrower and pans left and right once in 96 frames, so
    that places leave the picture and come back.
    Senses: fingertips x y z, half the finger gap, speeds of the first three joints.
    """

    action_size = 4
    sense_size = 7
    substeps = 20
    cameras = ("fixed", "sweep")
    phrases: ClassVar[tuple[str, ...]] = ARM_PHRASES

    arm: arm.Arm

    def bind(self) -> None:
        """Finds the arm."""
        self.arm = arm.Arm.of(self.model)

    def actuate(self, action: Floats) -> None:
        """Moves the arm's target."""
        self.arm.move(self.data, action)

    def senses(self) -> Floats:
        """[7] of the arm."""
        return self.arm.senses(self.data)

    def aim(self) -> None:
        """Pans the sweeping camera."""
        if self.camera == "sweep":
            angle = SWEEP_ANGLE * np.sin(2 * np.pi * self.steps / SWEEP_PERIOD)
            turn = np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])
            mujoco.mju_mulQuat(self.model.cam_quat[0], turn, looking(EYE, LOOK_AT))

    def places(self) -> dict[str, Floats]:
        """Visible things the gripper can be told to go to, by name."""
        return {}

    def named(self) -> dict[str, str]:
        """Bodies of the model that words can name: "the red cube" -> "cube"."""
        return {}

    def things(self) -> Things:
        """Where these stand at this moment, and whether the picture shows them: the truth, for recordings."""
        names = self.named()
        bodies = [self.model.body(body).id for body in names.values()]
        geoms = self._eye.segment(self.data)
        visible = self.model.geom_bodyid[geoms[geoms >= 0]]
        places = np.asarray(self.data.xpos[bodies], np.float32).reshape(1, len(bodies), 3)
        shown = np.array([[np.count_nonzero(visible == body) for body in bodies]], np.int32)
        return Things(tuple(names), places, shown, self._origin.astype(np.float32))

    def begin(self, phrase: str) -> Reach:
        """A phrase as a place for the fingertips, from where they are now."""
        target, grip = self.arm.target(self.data), self.arm.grip(self.data)
        near = phrase.endswith(" a little")
        if (move := phrase.removesuffix(" a little")) in MOVES:
            length = NEAR if near else FAR
            end = np.clip(target + length * np.array(MOVES[move]), arm.LOW, arm.HIGH)
            return Reach(_triple(end), grip, pace=length / FRAMES_PER_CHUNK / arm.STEP)
        if phrase.startswith("move the gripper to "):
            place = self.places().get(phrase.removeprefix("move the gripper to "))
            return Reach(_triple(target if place is None else place), grip, over=place is not None)
        if phrase == "move the gripper home":
            return Reach(_triple(arm.HOME), grip, over=True)
        grip = {"open the gripper": -1.0, "close the gripper": 1.0}.get(phrase, grip)
        return Reach(_triple(target), grip)

    def follow(self, maneuver: Reach) -> Floats:
        """The next step of the fingertips' way."""
        here, target = self.arm.target(self.data), np.array(maneuver.target)
        way = target - here
        if maneuver.over and np.hypot(*way[:2]) > 0.01:
            way[2] = max(TRAVEL, target[2]) - here[2]
            if way[2] > 0.03:
                way[:2] = 0.0
        step = way / arm.STEP
        step /= max(1.0, float(np.abs(step).max()) / maneuver.pace)
        return np.array([*step, maneuver.grip])


def _triple(values: Floats) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
