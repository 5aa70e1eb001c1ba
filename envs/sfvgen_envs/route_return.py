"""RouteReturn: drive a commanded route through a town, then home the same way, without being told it again."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import mujoco
import numpy as np

from sfvgen_envs import streets
from sfvgen_envs.car import SPACING, CarTask, Maneuver
from sfvgen_envs.scene import Length
from sfvgen_envs.state import Verdict
from sfvgen_envs.task import Floats
from sfvgen_envs.town import (
    STREET,
    Route,
    TownScene,
    check_route,
    crossing,
    draw_town,
    equal_routes,
    town_xml,
    turn_at,
    way_of,
)
from sfvgen_envs.way import ByValue, Matching, Path, along, frozen, spaced, told, turning
from sfvgen_planner.errors import BadState

APART = 2.0
"""Metres between way-points."""
ASTRAY = 4.5
"""Metres from the commanded way that end the way out."""
CRASHED = 20
"""Steps in touch with a wall that end the episode."""
DETOUR = 40.0
"""Metres the way home may be longer than the way out: room to turn, none to drive around a block and try two ways."""
DROP = 1.4
"""Radius of the turn at the far end that the privileged paths take."""
FAITHFUL = 1.0
"""Mean metres from the way-points that still count as the same way."""
STEP_COST = 0.001
HORIZONS: dict[Length, int] = {"short": 600, "medium": 700, "long": 800}
COMMANDS = {
    "left": "turn left at the next crossing",
    "right": "turn right at the next crossing",
    "straight": "drive straight on at the next crossing",
}


@dataclass(frozen=True, eq=False)
class Journey(ByValue):
    """How far the drive has come."""

    returning: bool
    home: bool
    covered: float
    """metres of the commanded way"""
    place: Floats
    """[2] after the last step"""
    driven: float
    """metres driven on this leg"""
    allowed: float
    """metres that may be driven on this leg"""
    trail: Floats
    """[K, 2] way-points left on the way out"""
    matching: Matching
    """of this leg: out the commanded way-points, home the trail backwards"""
    bumps: int
    """steps on end in touch with a wall"""


class RouteReturn(CarTask[TownScene, Journey]):
    """A town from the driver's seat. Start in a blind street; at each crossing comes a command; the route ends in
    another blind street; turn around there and drive back the way you came.

    Way-points: on the way out every 2 m of the commanded way; on the way back the places where the car really was,
    every 2 m, in reverse order. `waypoint_distance` is the mean over all way-points of this leg under the cheapest
    monotone matching to the places driven so far (`Matching`): a measure, not a sense, as the route can be read off it.
    Success: home, with a mean of at most 1 m.
    Reward: on the way out the share of the commanded way newly covered (1 in all). On the way back -0.001 per step,
    whatever the route, and at home exp(-waypoint_distance), plus 1 for success.
    Terminated: at home; 4.5 m astray from the commanded way on the way out (the way back knows no wrong street); after
    20 steps on end in touch with a wall, or overturned; on the way back after 40 m more than the way out was long.
    Truncated after 600, 700 or 800 steps (short, medium, long).
    What has to be remembered are the turns: between two ends of a route, 3, 6 or 10 equally long ones could have been
    driven, drawn with equal chance whatever the town looks like, and the street at the far end shows none of them.
    """

    name: ClassVar[str] = "route_return"
    goal_factor: ClassVar[str] = "route"
    phrases: ClassVar[tuple[str, ...]] = streets.PHRASES

    _home_path: tuple[Floats, Path] | None
    """a trail, and the path home along it"""

    @property
    def horizon(self) -> int:
        """Steps until truncation."""
        return HORIZONS[self.length]

    def draw(self, rng: np.random.Generator) -> TownScene:
        """A town and a route."""
        return draw_town(rng, self.length)

    def build(self, scene: TownScene) -> mujoco.MjModel:
        """The town, with the car somewhere in it."""
        check_route(scene.route)
        return mujoco.MjModel.from_xml_string(town_xml(scene))

    def read_goal(self, goal: Any) -> Route:
        """A route as a row of crossings."""
        try:
            return tuple((int(i), int(j)) for i, j in goal)
        except (TypeError, ValueError):
            raise BadState(
                f"the route {goal!r}", "a row of crossings (i, j)", "Take one from scene.route of an episode."
            ) from None

    def start(self) -> Journey:
        """At the route's first end, looking along it."""
        self.put(self.data, self._way[0], self._first_heading)
        matching = Matching.of(spaced(self._way, APART)).visit(self._way[0])
        start = frozen(self._way[0])
        allowed = 2 * self._total + DETOUR
        return Journey(False, False, 0.0, start, 0.0, allowed, frozen(start[None]), matching, 0)

    def advance(self, progress: Journey) -> Verdict[Journey]:
        """One step of either leg."""
        place = frozen(self.place)
        journey = replace(
            progress,
            place=place,
            driven=progress.driven + float(np.hypot(*(place - progress.place))),
            matching=progress.matching.visit(place),
            bumps=progress.bumps + 1 if self.bumping() else 0,
        )
        lost = journey.bumps >= CRASHED or journey.driven > journey.allowed
        if progress.returning:
            return self._homeward(journey, lost)
        covered = self._covered(progress.covered, place)
        journey = replace(journey, covered=covered)
        if np.hypot(*(place - journey.trail[-1])) >= APART:
            journey = replace(journey, trail=frozen([*journey.trail, place]))
        if covered >= self._total - 2 * SPACING:
            journey = self._turned_back(journey)
        astray = bool(np.hypot(*(self._way - place).T).min() > ASTRAY)
        return Verdict(journey, (covered - progress.covered) / self._total, astray or lost)

    def instruction(self) -> str:
        """The command of the next crossing; at the far end the way home, in words that name no place."""
        if self.progress.returning:
            return "drive back the way you came"
        for k, metres in enumerate(self._crossings):
            if self.progress.covered < metres + 2.0:
                return COMMANDS[turn_at(self._route, k)]
        return "drive to the end of the street, then turn around"

    def success(self) -> bool:
        """Home, the same way."""
        return self.progress.home and self.waypoint_distance() <= FAITHFUL

    def waypoint_distance(self) -> float:
        """Mean metres over this leg's way-points."""
        return self.progress.matching.distance

    def privileged(self) -> dict[str, Any]:
        """Where the car is, the route, the path to follow, and all paths home that could be the one.

        `path` is the answer; `paths_home` are the same for every route between these two ends.
        """
        return {
            "place": self.place,
            "heading": self.heading,
            "speed": self.speed,
            "returning": self.progress.returning,
            "route": self._route,
            "path": self._path_home() if self.progress.returning else self._path,
            "paths_home": self._homes,
        }

    def begin(self, phrase: str) -> Maneuver:
        """A way along the streets from here."""
        under_way = self.going_on(phrase)
        return under_way or streets.maneuver(phrase, self.place, self.heading, self.speed, self._walls)

    def _covered(self, before: float, place: Floats) -> float:
        """How far along the commanded way the car is; never further back, and no short cuts."""
        first = round(before / SPACING)
        gaps = np.hypot(*(self._way[first : first + round(3 / SPACING)] - place).T)
        if not len(gaps) or gaps.min() > STREET / 2:
            return before
        return float(self._metres[first + int(np.argmin(gaps))])

    def _turned_back(self, journey: Journey) -> Journey:
        trail = frozen([*journey.trail, journey.place])
        matching = Matching.of(trail[::-1]).visit(journey.place)
        allowed = journey.driven + DETOUR
        return replace(journey, returning=True, driven=0.0, allowed=allowed, trail=trail, matching=matching)

    def _homeward(self, journey: Journey, lost: bool) -> Verdict[Journey]:
        beside, behind = self._from_home(journey.place)
        journey = replace(journey, home=beside < STREET / 2 and behind >= 0)
        reward = -STEP_COST
        if journey.home:
            distance = journey.matching.distance
            reward += float(np.exp(-distance)) + float(distance <= FAITHFUL)
        return Verdict(journey, reward, journey.home or lost)

    def _from_home(self, place: Floats) -> tuple[float, float]:
        """Metres beside the middle of the first street, and behind its first way-point (negative before it)."""
        looking = np.array([np.cos(self._first_heading), np.sin(self._first_heading)])
        offset = place - self._way[0]
        return abs(float(looking[0] * offset[1] - looking[1] * offset[0])), -float(looking @ offset)

    def _path_home(self) -> Path:
        trail = self.progress.trail
        if self._home_path is None or self._home_path[0] is not trail:
            back = spaced(np.concatenate([[self._way[-1]], trail[::-1], [self._beyond_home]]), SPACING)
            self._home_path = trail, told(np.concatenate([self._drop, back]))
        return self._home_path[1]

    def bind(self) -> None:
        """Lays out the route."""
        super().bind()
        scene = self.scene
        self._route, self._way = scene.route, way_of(scene.route)
        self._metres = along(self._way)
        self._total = float(self._metres[-1])
        self._crossings = [
            float(self._metres[np.argmin(np.hypot(*(self._way - crossing(node)).T))]) for node in scene.route[1:-1]
        ]
        ahead = self._way[1] - self._way[0]
        self._first_heading = float(np.arctan2(ahead[1], ahead[0]))
        self._walls = streets.barriers(scene.route)
        last = self._way[-1] - self._way[-2]
        self._drop = turning(self._way[-1], float(np.arctan2(last[1], last[0])), DROP, SPACING)
        self._beyond_home = self._way[0] - 3 * ahead / np.linalg.norm(ahead)
        backs = [np.concatenate([way_of(route)[::-1], [self._beyond_home]]) for route in equal_routes(scene.route)]
        self._path = told(self._way)
        self._homes = tuple(told(np.concatenate([self._drop, spaced(back, SPACING)])) for back in backs)
        self._home_path = None
