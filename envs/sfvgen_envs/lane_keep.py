"""LaneKeep: stay in the middle of a winding road until its gate."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import mujoco
import numpy as np

from sfvgen_envs.car import MAX_SPEED, SPACING, CarTask, Maneuver, maneuver_of
from sfvgen_envs.road import ROAD_END, RoadScene, draw_road, reach_of, road_way, road_xml
from sfvgen_envs.scene import Length
from sfvgen_envs.state import Verdict
from sfvgen_envs.task import Floats
from sfvgen_envs.way import ByValue, Matching, along, frozen, headings, spaced, told
from sfvgen_planner.errors import BadState

APART = 2.0
"""Metres between way-points."""
CENTRED = 0.75
"""Mean metres from the way-points that count as kept in the lane."""
PROGRESS, ASIDE = 0.1, 0.1
"""Reward of one metre; metres that one metre beside the middle costs in each step."""
STEER, SLOW = 0.09, 1.5
"""Radians and metres per second of the phrases."""
HORIZONS: dict[Length, int] = {"short": 250, "medium": 500, "long": 900}
DISTANCES: dict[Length, float] = {"short": 60.0, "medium": 120.0, "long": 240.0}


@dataclass(frozen=True, eq=False)
class LaneDrive(ByValue):
    """How far the drive has come."""

    finished: bool
    covered: float
    """metres of the road"""
    matching: Matching


class LaneKeep(CarTask[RoadScene, LaneDrive]):
    """A winding road of 60, 120 or 240 m (short, medium, long), with a gate behind its end.

    Way-points: every 2 m of the road's middle; `waypoint_distance` is the mean over all of them under the cheapest
    monotone matching to the places driven so far (`Matching`), so that what is not driven yet counts as missed.
    Success: at the end, with a mean of at most 0.75 m.
    Reward: 0.1 x (metres newly covered - 0.1 x metres beside the middle); 1 more at the end, 1 less off the road.
    Terminated: at the end, or when the car's middle leaves the road. Truncated after 250, 500 or 900 steps.
    Goal: metres to drive (`distance`); its picture is the view from there.
    """

    name: ClassVar[str] = "lane_keep"
    goal_factor: ClassVar[str] = "distance"
    phrases: ClassVar[tuple[str, ...]] = ("drive forward", "drive slowly", "steer left", "steer right", "stop")

    @property
    def horizon(self) -> int:
        """Steps until truncation."""
        return HORIZONS[self.length]

    def draw(self, rng: np.random.Generator) -> RoadScene:
        """A road of this length."""
        return draw_road(rng, DISTANCES[self.length])

    def build(self, scene: RoadScene) -> mujoco.MjModel:
        """The road, its surroundings and the car."""
        reach = reach_of(scene)
        if not 2 * APART <= scene.distance <= reach:
            raise BadState(
                f"a distance of {scene.distance} m", f"{2 * APART} to {reach} m", "Ask for a longer task, or less."
            )
        return mujoco.MjModel.from_xml_string(road_xml(scene))

    def read_goal(self, goal: Any) -> float:
        """Metres to drive."""
        try:
            return float(np.asarray(goal, float).reshape(()))
        except (TypeError, ValueError):
            raise BadState(f"the goal {goal!r}", "a number of metres", "Pass e.g. 40.0.") from None

    def start(self) -> LaneDrive:
        """In the middle of the road, looking along it."""
        self.put(self.data, self._way[0], float(self._headings[0]))
        end = round(self._end / SPACING) + 1
        return LaneDrive(False, 0.0, Matching.of(spaced(self._way[:end], APART)).visit(self._way[0]))

    def advance(self, progress: LaneDrive) -> Verdict[LaneDrive]:
        """One step along the road."""
        place = self.place
        near, aside = self._beside(place, progress.covered)
        covered = max(progress.covered, float(self._metres[near]))
        lost = aside > self._half_width
        finished = not lost and covered >= self._end
        drive = replace(progress, finished=finished, covered=covered, matching=progress.matching.visit(place))
        reward = PROGRESS * (covered - progress.covered - ASIDE * aside) + float(finished) - float(lost)
        return Verdict(drive, reward, finished or lost)

    def instruction(self) -> str:
        """The same all along."""
        return "follow the road to the gate"

    def success(self) -> bool:
        """At the end, near the middle all along."""
        return self.progress.finished and self.waypoint_distance() <= CENTRED

    def waypoint_distance(self) -> float:
        """Mean metres over all way-points."""
        return self.progress.matching.distance

    def privileged(self) -> dict[str, Any]:
        """Where the car is, and the middle of the road."""
        return {
            "place": self.place,
            "heading": self.heading,
            "speed": self.speed,
            "covered": self.progress.covered,
            "path": self._path,
        }

    def show_goal(self, data: mujoco.MjData) -> bool:
        """The car at the road's end."""
        end = round(self._end / SPACING)
        self.put(data, self._way[end], float(self._headings[end]))
        return True

    def begin(self, phrase: str) -> Maneuver:
        """Holds the wheel and the pedal: the road's bends are for the speaker to see."""
        self.going_on(phrase)
        held = {
            "drive forward": (MAX_SPEED, 0.0),
            "drive slowly": (SLOW, 0.0),
            "steer left": (MAX_SPEED, STEER),
            "steer right": (MAX_SPEED, -STEER),
            "stop": (0.0, 0.0),
        }
        return maneuver_of(phrase, *held[phrase])

    def _beside(self, place: Floats, covered: float) -> tuple[int, float]:
        """The nearest point of the road within a few metres of what was covered, and metres from it."""
        first = max(round((covered - 5) / SPACING), 0)
        gaps = np.hypot(*(self._way[first : round((covered + 5) / SPACING)] - place).T)
        near = int(np.argmin(gaps))
        return first + near, float(gaps[near])

    def bind(self) -> None:
        """Lays out the road."""
        super().bind()
        scene = self.scene
        self._way = frozen(road_way(scene, 0.0, scene.distance + ROAD_END))
        self._metres, self._headings = along(self._way), headings(self._way)
        self._path = told(self._way)
        self._end, self._half_width = scene.distance, scene.half_width
