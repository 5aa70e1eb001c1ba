"""Scripted drivers: they follow the path that the environment's privileged information names."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.errors import UnknownName, closest

Floats = NDArray[np.float64]
Observation = dict[str, NDArray[Any]]
Path = tuple[tuple[float, float], ...]
"""A row of points, a quarter of a metre apart."""
Belief = Literal["truth", "guess"]
BELIEFS: tuple[Belief, ...] = ("truth", "guess")

WHEELBASE, MAX_STEER, MAX_SPEED = 1.0, 0.65, 4.0
SLOWEST = 1.8
"""Metres per second around a sharp corner."""


class Driver:
    """Pure pursuit of `path(info)`; keeps in mind how far along it the car has come, as a path may cross itself."""

    privileged = True

    def __init__(self) -> None:
        self._told: Path = ()
        self._path: Floats = np.zeros((2, 2))
        self._near = 0

    def reset(self, observation: Observation, info: dict[str, Any]) -> None:
        """Before an episode's first action."""
        self._told = ()

    def path(self, info: dict[str, Any]) -> Path:
        """What to follow."""
        path: Path = info["privileged"]["path"]
        return path

    def act(self, observation: Observation, info: dict[str, Any]) -> NDArray[np.float32]:
        """[2] steering and speed."""
        path = self.path(info)
        if path is not self._told and path != self._told:
            self._told, self._path, self._near = path, np.array(path), 0
        known = info["privileged"]
        place, heading, speed = known["place"], known["heading"], known["speed"]
        window = self._path[self._near : self._near + 12]
        self._near += int(np.argmin(np.square(window - place).sum(axis=1)))
        target = self._ahead(0.7 + 0.18 * max(speed, 0.0)) - place
        angle = float(np.arctan2(target[1], target[0])) - heading
        steer = np.arctan(2 * WHEELBASE * np.sin(angle) / max(float(np.hypot(*target)), 0.5))
        if np.cos(angle) < 0:  # behind: turn as sharply as the car can
            steer = np.copysign(MAX_STEER, np.sin(angle))
        pedal = self._speed(heading) / MAX_SPEED
        return np.array([np.clip(steer / MAX_STEER, -1, 1), pedal], np.float32)

    def _ahead(self, metres: float) -> Floats:
        """[2] the point so far along the path."""
        path = self._path
        k = min(self._near, len(path) - 2)  # a car at the path's end goes on along its last leg
        while k < len(path) - 2 and metres > (leg := float(np.hypot(*(path[k + 1] - path[k])))):
            metres, k = metres - leg, k + 1
        leg = float(np.hypot(*(path[k + 1] - path[k])))
        point: Floats = path[k] + (path[k + 1] - path[k]) * min(metres / max(leg, 1e-9), 1.0)
        return point

    def _speed(self, heading: float) -> float:
        """Slower where the path bends within the next metres."""
        ahead = self._path[self._near : self._near + 13 : 2]
        if len(ahead) < 7:  # what comes behind a path's end may be sharper than anything on it
            return SLOWEST
        legs = np.diff(ahead, axis=0)
        bend = float((1 - np.cos(np.arctan2(legs[:, 1], legs[:, 0]) - heading)).max())
        return MAX_SPEED - (MAX_SPEED - SLOWEST) * min(2 * bend, 1.0)


class LaneExpert(Driver):
    """Drives along the middle of the road."""


class RouteExpert(Driver):
    """Drives the commanded route out; home the driven way ("truth"), or the best guess ("guess").

    The guess knows the map, where it is and where home is, but not how it came: it takes the path home whose mean
    way-point distance is smallest if every equally long route may have been the one.
    """

    def __init__(self, belief: Belief = "truth") -> None:
        super().__init__()
        if belief not in BELIEFS:
            raise UnknownName(f"belief {belief!r}", f"one of {list(BELIEFS)}", closest(belief, BELIEFS))
        self.belief = belief
        self.parameters = {"belief": belief}
        self._guess: Path | None = None

    def reset(self, observation: Observation, info: dict[str, Any]) -> None:
        """Before an episode's first action."""
        super().reset(observation, info)
        self._guess = None

    def path(self, info: dict[str, Any]) -> Path:
        """What to follow."""
        known = info["privileged"]
        if self.belief == "truth" or not known["returning"]:
            return super().path(info)
        if self._guess is None:
            self._guess = best_guess(known["paths_home"])
        return self._guess


def best_guess(paths: tuple[Path, ...]) -> Path:
    """The path with the smallest mean distance to all of them, each taken to be the true one with equal chance."""
    ways = [np.array(path) for path in paths]
    expected = [np.mean([ordered_distance(true[::8], way[::2]) for true in ways]) for way in ways]
    return paths[int(np.argmin(expected))]


def ordered_distance(way_points: Floats, places: Floats) -> float:
    """Mean distance of way-points [K, 2] to places [T, 2] under the cheapest matching that keeps their order."""
    costs = np.concatenate([[0.0], np.full(len(way_points), np.inf)])
    for place in places:
        gaps = np.concatenate([[0.0], np.cumsum(np.hypot(*(way_points - place).T))])
        costs = gaps + np.minimum.accumulate(costs - gaps)
    return float(costs[-1] / len(way_points))
