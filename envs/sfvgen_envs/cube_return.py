"""CubeReturn: cubes go into a box one after another; then each must go back to where it stood. No mark shows where."""

from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np

from sfvgen_envs import arm
from sfvgen_envs.checks import numbers
from sfvgen_envs.scene import bright_colour
from sfvgen_envs.state import Verdict
from sfvgen_envs.table import (
    ARM_PHRASES,
    COLOURS,
    CUBE,
    GRASP,
    ArmTask,
    Colour,
    TableScene,
    cube_body,
    draw_looks,
    rgb,
    table_model,
)
from sfvgen_envs.task import Floats
from sfvgen_planner.errors import BadState

NEAR_ENOUGH = 0.025
CUBES = {"short": 1, "medium": 2, "long": 3}
MOST = 3
HALF = np.array([0.115, 0.07])
"""Half the box's inner length and width."""
WALL = 0.03
BOX_X, BOX_Y = 0.40, 0.29
"""The box stands on the left or the right of the table; the cubes on the rest of it."""
REGION = np.array([[0.27, -0.32], [0.54, 0.10]])
"""Where cubes may stand when the box is on the right."""
SEPARATION = 0.12
SLOTS = 0.075
"""Metres between the cubes in the box."""
SENTENCES = {"out": "put the {} cube into the box", "home": "move the gripper home", "back": "return the {} cube"}
Place = tuple[float, float]


@dataclass(frozen=True)
class CubeScene(TableScene):
    """Colours and places of three cubes (the first one, two or three are used), the box, and the way back's order."""

    colours: tuple[str, str, str]
    places: tuple[Place, ...]
    order: tuple[int, int, int]
    side: int
    """+1: the box stands on the right, -1: on the left"""
    box: Colour

    def signature(self) -> str:
        """Looks and colours. Not the places: if the split knew them, the looks would tell where a cube belongs."""
        return f"{self.looks()} {' '.join(self.colours)} {self.side}"


@dataclass(frozen=True)
class Errand:
    """How far the episode is."""

    stage: int = 0
    """index into the stages: every cube out, then home, then every cube back"""
    errors: tuple[float, ...] = ()
    """metres from its old place of each cube put back"""
    failed: bool = False


class CubeReturn(ArmTask[CubeScene, Errand]):
    """One cube (short), two (medium) or three (long) are carried into the box; the gripper goes home; each goes back.

    A cube is "in" when it rests in the box, let go; "back" when it rests on the table outside the box, let go and the
    fingertips 6 cm above it: then it is judged, once, wherever it stands.
    Reward: 1 for every stage done (wherever the cube was put), and at the end exp(-distance / 5 cm) for every cube,
    so that nothing before the end tells where a cube belongs.
    Terminates when all are back (success if each is within 2.5 cm) or one has fallen from the table; truncates after
    150 steps a cube.
    Waypoint distance: mean over the cubes of the distance from their old place when put back; a cube not yet put back
    counts as if it were left in the box, so that doing nothing is no way to keep the places.
    """

    name = "cube_return"
    goal_factor = "places"
    phrases = (
        *ARM_PHRASES,
        *(f"move the gripper to the {colour} cube" for colour in COLOURS),
        "move the gripper to the box",
    )

    @property
    def horizon(self) -> int:
        """150 steps a cube."""
        return 150 * self.count

    @property
    def count(self) -> int:
        """How many cubes this episode has."""
        return CUBES[self.length]

    def draw(self, rng: np.random.Generator) -> CubeScene:
        """Looks, three colours and places at least 12 cm apart, a side for the box, an order back."""
        side = int(rng.choice([-1, 1]))
        places: list[Floats] = []
        while len(places) < MOST:
            place = rng.uniform(*REGION) * [1, side]
            if all(np.linalg.norm(place - other) >= SEPARATION for other in places):
                places.append(place.round(3))
        colours = rng.permutation(list(COLOURS))[:MOST]
        first, second, third = (str(colour) for colour in colours)
        order = rng.permutation(MOST)
        return CubeScene(
            **draw_looks(rng),
            colours=(first, second, third),
            places=tuple((float(x), float(y)) for x, y in places),
            order=(int(order[0]), int(order[1]), int(order[2])),
            side=side,
            box=bright_colour(rng, 0.3, 0.7),
        )

    def read_goal(self, goal: Any) -> tuple[Place, ...]:
        """[cubes, 2]: where they stand at first, and belong."""
        places = numbers(goal, self.goal_factor)
        if places.shape != (self.count, 2):
            hint = f"Give x and y of each cube; length={self.length!r} has {self.count}."
            raise BadState(f"places of shape {list(places.shape)}", f"[{self.count}, 2]", hint)
        return tuple((float(x), float(y)) for x, y in places)

    def build(self, scene: CubeScene) -> mujoco.MjModel:
        """The table with a box of five boards and the cubes."""
        cubes = "".join(
            cube_body(f"cube{i}", colour, scene.friction) for i, colour in enumerate(scene.colours[: self.count])
        )
        return table_model(scene, self.camera, _box(scene) + cubes)

    def start(self) -> Errand:
        """The arm at home, the cubes in their places."""
        self.arm.place(self.data, arm.HOME)
        for i, place in enumerate(self.scene.places[: self.count]):
            self.data.joint(f"cube{i}").qpos[:] = (*place, CUBE, 1, 0, 0, 0)
        mujoco.mj_kinematics(self.model, self.data)
        return Errand()

    def stages(self) -> list[tuple[str, int]]:
        """The errand's stages: (out | home | back, cube)."""
        out = [("out", i) for i in range(self.count)]
        back = [("back", i) for i in self.scene.order if i < self.count]
        return [*out, ("home", -1), *back]

    def advance(self, progress: Errand) -> Verdict[Errand]:
        """Walks through the stages."""
        if any(self._cube(i)[2] < 0 for i in range(self.count)):
            return Verdict(replace(progress, failed=True), 0.0, True)
        stages = self.stages()
        kind, cube = stages[progress.stage]
        if not self._done(kind, cube):
            return Verdict(progress, 0.0, False)
        errors = progress.errors
        if kind == "back":
            errors = (*errors, self._error(cube))
        progress = replace(progress, stage=progress.stage + 1, errors=errors)
        finished = progress.stage == len(stages)
        bonus = sum(float(np.exp(-error / 0.05)) for error in errors) if finished else 0.0
        return Verdict(progress, 1.0 + bonus, finished)

    def instruction(self) -> str:
        """The present stage in words."""
        stages = self.stages()
        if self.progress.stage == len(stages):
            return "stop"
        kind, cube = stages[self.progress.stage]
        return SENTENCES[kind].format(self.scene.colours[cube])

    def success(self) -> bool:
        """All back, each within 2.5 cm."""
        errors = self.progress.errors
        return len(errors) == self.count and max(errors) <= NEAR_ENOUGH

    def waypoint_distance(self) -> float:
        """Mean over the cubes."""
        ahead = [i for kind, i in self.stages() if kind == "back"][len(self.progress.errors) :]
        left = [float(np.linalg.norm(self._slot(i) - self.scene.places[i])) for i in ahead]
        return float(np.mean([*self.progress.errors, *left]))

    def privileged(self) -> dict[str, Any]:
        """Everything an expert needs, and the answer: where the cube of this stage belongs."""
        stages = self.stages()
        kind, cube = stages[min(self.progress.stage, len(stages) - 1)]
        middle = (REGION[0] + REGION[1]) / 2 * [1, self.scene.side]
        return {
            "tip": self.arm.target(self.data),
            "hand": self.arm.tip(self.data),
            "stage": kind,
            "cube": self._cube(cube) if cube >= 0 else np.zeros(3),
            "slot": self._slot(cube) if cube >= 0 else np.zeros(2),
            "place": np.array(self.scene.places[cube]) if cube >= 0 else np.zeros(2),
            "guess": middle,
            "others": np.array([self._cube(i) for i in range(self.count) if i != cube]).reshape(-1, 3),
        }

    def places(self) -> dict[str, Floats]:
        """The cubes, where they are now, and the box."""
        cubes = {
            f"the {colour} cube": np.array([*self._cube(i)[:2], max(GRASP, self._cube(i)[2])])
            for i, colour in enumerate(self.scene.colours[: self.count])
        }
        kind, cube = self.stages()[min(self.progress.stage, 2 * self.count)]
        slot = self._slot(cube if kind == "out" else 0)
        return {**cubes, "the box": np.array([*slot, GRASP + WALL])}

    def named(self) -> dict[str, str]:
        """The cubes and the box."""
        cubes = {f"the {colour} cube": f"cube{i}" for i, colour in enumerate(self.scene.colours[: self.count])}
        return {**cubes, "the box": "box"}

    def _done(self, kind: str, cube: int) -> bool:
        tip = self.arm.tip(self.data)
        if kind == "home":
            return bool(np.linalg.norm(tip - arm.HOME) < 0.03)
        place = self._cube(cube)
        resting = place[2] < CUBE + 0.015 and np.abs(self.data.joint(f"cube{cube}").qvel).max() < 0.05
        inside = bool((np.abs(place[:2] - self._middle()) < HALF).all())
        free = tip[2] > place[2] + 0.06 and self.arm.gap(self.data) > CUBE + 0.005
        return bool(resting and free and inside == (kind == "out"))

    def _middle(self) -> Floats:
        return np.array([BOX_X, BOX_Y * self.scene.side])

    def _slot(self, cube: int) -> Floats:
        x, y = self._middle()
        return np.array([x + SLOTS * (cube - (self.count - 1) / 2), y])

    def _cube(self, i: int) -> Floats:
        return np.array(self.data.body(f"cube{i}").xpos)

    def _error(self, i: int) -> float:
        return float(np.linalg.norm(self._cube(i)[:2] - self.scene.places[i]))


def _box(scene: CubeScene) -> str:
    """MJCF of the open box: a floor and four low walls."""
    x, y = BOX_X, BOX_Y * scene.side
    (length, width), thick, high = HALF, 0.005, WALL / 2
    look = f'rgba="{rgb(scene.box)} 1" type="box"'
    return f"""<body name="box" pos="{x} {y} 0">
<geom {look} size="{length} {width} .001" pos="0 0 .001"/>
<geom {look} size="{thick} {width + 2 * thick} {high}" pos="{length + thick} 0 {high}"/>
<geom {look} size="{thick} {width + 2 * thick} {high}" pos="{-length - thick} 0 {high}"/>
<geom {look} size="{length} {thick} {high}" pos="0 {width + thick} {high}"/>
<geom {look} size="{length} {thick} {high}" pos="0 {-width - thick} {high}"/></body>"""
