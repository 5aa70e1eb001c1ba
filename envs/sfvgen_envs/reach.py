"""Reach: bring the fingertips to a ball that hangs in the air; then to the next one."""

from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np

from sfvgen_envs import arm
from sfvgen_envs.state import Verdict
from sfvgen_envs.table import ARM_PHRASES, COLOURS, ArmTask, TableScene, cell_of, draw_looks, rgb, table_model
from sfvgen_envs.task import Floats

NEAR_ENOUGH = 0.025
BALLS = {"short": 1, "medium": 2, "long": 3}
Place = tuple[float, float, float]


@dataclass(frozen=True)
class ReachScene(TableScene):
    """Where the balls hang, one after another, and their colour."""

    colour: str
    target: Place
    later: tuple[Place, Place]

    def signature(self) -> str:
        """Looks and coarse places."""
        return f"{self.looks()} {self.colour} {cell_of(self.target)}"


@dataclass(frozen=True)
class Reached:
    """How far the episode is."""

    distances: tuple[float, ...] = ()
    """of each ball reached, when it was"""
    last: float = 0.0
    """distance to the present ball one step ago"""


class Reach(ArmTask[ReachScene, Reached]):
    """Reach one ball (short), two (medium) or three (long), each shown when the one before is reached.

    Reward: ten times the metres come closer, and 1 for every ball (within 2.5 cm).
    Terminates when the last ball is reached (success); truncates after 30 steps a ball.
    Waypoint distance: mean over the balls of the distance when reached, or now for those not yet reached.
    """

    name = "reach"
    goal_factor = "target"
    phrases = (*ARM_PHRASES, *(f"move the gripper to the {colour} ball" for colour in COLOURS))

    @property
    def horizon(self) -> int:
        """30 steps a ball."""
        return 30 * BALLS[self.length]

    def draw(self, rng: np.random.Generator) -> ReachScene:
        """Looks, a colour, three places at least 15 cm from one another."""
        places: list[Floats] = []
        while len(places) < 3:
            place = rng.uniform([0.26, -0.30, 0.04], [0.54, 0.30, 0.26])
            if all(np.linalg.norm(place - other) > 0.15 for other in (arm.HOME, *places)):
                places.append(place.round(3))
        first, second, third = (tuple(place.tolist()) for place in places)
        return ReachScene(**draw_looks(rng), colour=str(rng.choice(list(COLOURS))), target=first, later=(second, third))

    def build(self, scene: ReachScene) -> mujoco.MjModel:
        """The table with a ball on a mocap body."""
        return table_model(
            scene,
            self.camera,
            f"""<body name="ball" mocap="true"><geom type="sphere" size=".025" rgba="{rgb(COLOURS[scene.colour])} 1"
 contype="0" conaffinity="0"/></body>""",
        )

    def start(self) -> Reached:
        """The arm at home, the first ball in its place."""
        self.arm.place(self.data, arm.HOME)
        mujoco.mj_kinematics(self.model, self.data)
        progress = Reached()
        self._hang(progress)
        return replace(progress, last=self._distance(progress))

    def advance(self, progress: Reached) -> Verdict[Reached]:
        """Counts balls."""
        distance = self._distance(progress)
        reward = 10 * (progress.last - distance)
        progress = replace(progress, last=distance)
        if distance <= NEAR_ENOUGH:
            progress = replace(progress, distances=(*progress.distances, distance))
            reward += 1.0
            if len(progress.distances) < BALLS[self.length]:
                self._hang(progress)
                progress = replace(progress, last=self._distance(progress))
        return Verdict(progress, reward, len(progress.distances) == BALLS[self.length])

    def instruction(self) -> str:
        """One sub-goal a ball."""
        number, balls = len(self.progress.distances) + 1, BALLS[self.length]
        if number > balls:
            return "stop"
        return f"move the gripper to the {self.scene.colour} ball" + (f" ({number} of {balls})" if balls > 1 else "")

    def success(self) -> bool:
        """All balls reached."""
        return len(self.progress.distances) == BALLS[self.length]

    def waypoint_distance(self) -> float:
        """Mean over the balls."""
        ahead = self._targets()[len(self.progress.distances) :]
        now = [float(np.linalg.norm(self.arm.tip(self.data) - place)) for place in ahead]
        return float(np.mean([*self.progress.distances, *now]))

    def privileged(self) -> dict[str, Any]:
        """Fingertips and the present ball."""
        return {"tip": self.arm.target(self.data), "target": self.data.mocap_pos[0].copy()}

    def places(self) -> dict[str, Floats]:
        """The ball."""
        return {f"the {self.scene.colour} ball": self.data.mocap_pos[0].copy()}

    def named(self) -> dict[str, str]:
        """The ball."""
        return {f"the {self.scene.colour} ball": "ball"}

    def show_goal(self, data: mujoco.MjData) -> bool:
        """The fingertips at the ball."""
        self.arm.place(data, data.mocap_pos[0])
        return True

    def _targets(self) -> list[Place]:
        scene = self.scene
        return [scene.target, *scene.later][: BALLS[self.length]]

    def _hang(self, progress: Reached) -> None:
        self.data.mocap_pos[0] = self._targets()[len(progress.distances)]

    def _distance(self, progress: Reached) -> float:
        return float(np.linalg.norm(self.arm.tip(self.data) - self._targets()[len(progress.distances)]))
