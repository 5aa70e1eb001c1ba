"""PushCube: push a cube onto a disc; then onto the next one."""

from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np

from sfvgen_envs import arm
from sfvgen_envs.state import Verdict
from sfvgen_envs.table import (
    ARM_PHRASES,
    COLOURS,
    CUBE,
    GRASP,
    ArmTask,
    TableScene,
    cell_of,
    cube_body,
    draw_looks,
    rgb,
    table_model,
)
from sfvgen_envs.task import Floats

NEAR_ENOUGH = 0.03
DISCS = {"short": 1, "medium": 2, "long": 3}
REGION = np.array([[0.30, -0.22], [0.48, 0.22]])
"""Where cubes and discs may lie: the arm still reaches behind them."""
Place = tuple[float, float]


@dataclass(frozen=True)
class PushScene(TableScene):
    """The cube's colour and place, and the discs' places one after another."""

    colour: str
    cube: Place
    target: Place
    later: tuple[Place, Place]

    def signature(self) -> str:
        """Looks and coarse places."""
        return f"{self.looks()} {self.colour} {cell_of(self.cube)} {cell_of(self.target)}"


@dataclass(frozen=True)
class Pushed:
    """How far the episode is."""

    distances: tuple[float, ...] = ()
    """of each disc served, when it was"""
    last: float = 0.0
    """cube to disc, one step ago"""


class PushCube(ArmTask[PushScene, Pushed]):
    """Push the cube onto one disc (short), two (medium) or three (long), each shown when the one before is served.

    Reward: ten times the metres the cube comes closer, and 1 for every disc (within 3 cm).
    Terminates at the last disc (success) or when the cube falls from the table; truncates after 60 steps a disc.
    Waypoint distance: mean over the discs of the cube's distance when served, or now for those not yet served.
    """

    name = "push_cube"
    goal_factor = "target"
    phrases = (*ARM_PHRASES, *(f"move the gripper to the {colour} cube" for colour in COLOURS))

    @property
    def horizon(self) -> int:
        """60 steps a disc."""
        return 60 * DISCS[self.length]

    def draw(self, rng: np.random.Generator) -> PushScene:
        """Looks, a colour, four places, each at least 12 cm from the one before."""
        places: list[Floats] = []
        while len(places) < 4:
            place = rng.uniform(*REGION)
            if not places or np.linalg.norm(place - places[-1]) > 0.12:
                places.append(place.round(3))
        cube, first, second, third = (tuple(place.tolist()) for place in places)
        return PushScene(
            **draw_looks(rng), colour=str(rng.choice(list(COLOURS))), cube=cube, target=first, later=(second, third)
        )

    def build(self, scene: PushScene) -> mujoco.MjModel:
        """The table with a cube and a flat disc on a mocap body."""
        return table_model(
            scene,
            self.camera,
            f"""{cube_body("cube", scene.colour, scene.friction)}
<body name="disc" mocap="true"><geom type="cylinder" size=".04 .0015" rgba="{rgb(COLOURS[scene.colour])} 1"
 contype="0" conaffinity="0"/></body>""",
        )

    def start(self) -> Pushed:
        """The arm at home, the cube and the first disc in their places."""
        self.arm.place(self.data, arm.HOME, gap=0.0)
        self._lay(self.data, self.scene.cube)
        mujoco.mj_kinematics(self.model, self.data)
        progress = Pushed()
        self._show(progress)
        return replace(progress, last=self._distance(progress))

    def advance(self, progress: Pushed) -> Verdict[Pushed]:
        """Counts discs."""
        distance = self._distance(progress)
        reward = 10 * (progress.last - distance)
        progress = replace(progress, last=distance)
        fallen = bool(self._cube()[2] < 0)
        if distance <= NEAR_ENOUGH and not fallen:
            progress = replace(progress, distances=(*progress.distances, distance))
            reward += 1.0
            if len(progress.distances) < DISCS[self.length]:
                self._show(progress)
                progress = replace(progress, last=self._distance(progress))
        return Verdict(progress, reward, fallen or len(progress.distances) == DISCS[self.length])

    def instruction(self) -> str:
        """One sub-goal a disc."""
        number, discs = len(self.progress.distances) + 1, DISCS[self.length]
        if number > discs:
            return "stop"
        return f"push the {self.scene.colour} cube onto the disc" + (f" ({number} of {discs})" if discs > 1 else "")

    def success(self) -> bool:
        """All discs served."""
        return len(self.progress.distances) == DISCS[self.length]

    def waypoint_distance(self) -> float:
        """Mean over the discs."""
        ahead = self._targets()[len(self.progress.distances) :]
        now = [float(np.linalg.norm(self._cube()[:2] - place)) for place in ahead]
        return float(np.mean([*self.progress.distances, *now]))

    def privileged(self) -> dict[str, Any]:
        """Fingertips, cube and disc."""
        return {
            "tip": self.arm.target(self.data),
            "cube": self._cube(),
            "target": self.data.mocap_pos[0, :2].copy(),
        }

    def places(self) -> dict[str, Floats]:
        """The cube, to be taken between the fingers."""
        return {f"the {self.scene.colour} cube": np.array([*self._cube()[:2], GRASP])}

    def named(self) -> dict[str, str]:
        """The cube and the disc."""
        return {f"the {self.scene.colour} cube": "cube", "the disc": "disc"}

    def show_goal(self, data: mujoco.MjData) -> bool:
        """The cube on the disc, the arm at home."""
        self.arm.place(data, arm.HOME, gap=0.0)
        self._lay(data, data.mocap_pos[0, :2])
        return True

    def _lay(self, data: mujoco.MjData, place: Any) -> None:
        data.joint("cube").qpos[:] = (place[0], place[1], CUBE, 1, 0, 0, 0)

    def _cube(self) -> Floats:
        return np.array(self.data.body("cube").xpos)

    def _targets(self) -> list[Place]:
        return [self.scene.target, *self.scene.later][: DISCS[self.length]]

    def _show(self, progress: Pushed) -> None:
        self.data.mocap_pos[0] = (*self._targets()[len(progress.distances)], 0.0015)

    def _distance(self, progress: Pushed) -> float:
        return float(np.linalg.norm(self._cube()[:2] - self._targets()[len(progress.distances)]))
