"""Scripted experts of the robot tasks. They read `info["privileged"]`, and nothing of the environment besides."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Observation = dict[str, NDArray[Any]]

STEP = 0.03
"""Metres of a full action."""
TRAVEL, GRASP = 0.15, 0.022
BEHIND = 0.05
"""Metres behind the cube's middle where the closed fingers begin to push."""
LOW = 0.02
HOME = np.array([0.28, 0.0, 0.22])


def toward(tip: Floats, target: Floats, grip: float) -> NDArray[np.float32]:
    """[4] the action that brings the fingertips straight to `target`, full speed until they are there."""
    step = (target - tip) / STEP
    return np.array([*(step / max(1.0, float(np.abs(step).max()))), grip], np.float32)


def over(tip: Floats, target: Floats, grip: float) -> NDArray[np.float32]:
    """The same, up to travel height before going sideways."""
    if np.hypot(*(target - tip)[:2]) > 0.004:
        if tip[2] < TRAVEL - 0.03:
            return toward(tip, np.array([*tip[:2], TRAVEL]), grip)
        return toward(tip, np.array([*target[:2], max(TRAVEL, target[2])]), grip)
    return toward(tip, target, grip)


class ReachExpert:
    """Straight to the ball."""

    privileged = True

    def reset(self, observation: Observation, info: dict[str, Any]) -> None:
        """Nothing to prepare."""

    def act(self, observation: Observation, info: dict[str, Any]) -> NDArray[np.float32]:
        """One step closer."""
        told = info["privileged"]
        return toward(told["tip"], told["target"], -1.0)


class PushExpert:
    """Goes behind the cube, as seen from the disc, and pushes; starts over when the cube slides off its line."""

    privileged = True

    def reset(self, observation: Observation, info: dict[str, Any]) -> None:
        """Nothing to prepare."""

    def act(self, observation: Observation, info: dict[str, Any]) -> NDArray[np.float32]:
        """One step of approach or push."""
        told = info["privileged"]
        tip, cube, way = told["tip"], told["cube"][:2], told["target"] - told["cube"][:2]
        ahead = way / max(float(np.linalg.norm(way)), 1e-9)
        gap = cube - tip[:2]
        along = float(gap @ ahead)
        aside = float(np.linalg.norm(gap - along * ahead))
        if tip[2] > LOW + 0.005 or aside > 0.012 or along < 0.02:
            return over(tip, np.array([*(cube - BEHIND * ahead), LOW]), 1.0)
        # Past the target by what the fingers lag, and never so fast that the cube slides on by itself.
        goal = np.array([*(tip[:2] + ahead * min(0.02, float(np.linalg.norm(way)) + 0.002)), LOW])
        # Steering: the fingers move a little to the far side of the line, so that the cube turns back to it.
        goal[:2] += 0.5 * (gap - along * ahead)
        return toward(tip, goal, 1.0)


class ReturnExpert:
    """Carries cubes out and back.

    `belief="truth"` knows where each cube stood; `"guess"` puts it in the middle of where cubes may stand, the best
    guess from everything that can be seen when the place is needed.
    """

    privileged = True

    def __init__(self, belief: Literal["truth", "guess"] = "truth") -> None:
        self.belief = belief

    def reset(self, observation: Observation, info: dict[str, Any]) -> None:
        """Forgets the last episode."""
        self._held, self._wait, self._stage = False, 0, ""

    def act(self, observation: Observation, info: dict[str, Any]) -> NDArray[np.float32]:
        """One step of: over the cube, down, close, up, over the place, down, open, up."""
        told = info["privileged"]
        tip = told["tip"]
        stage = info["instruction"]
        if stage != self._stage:
            self._stage, self._held, self._wait = stage, False, 0
        if told["stage"] == "home":
            return over(tip, HOME, -1.0) if tip[2] > TRAVEL - 0.04 else toward(tip, np.array([*tip[:2], TRAVEL]), -1.0)
        return self._carry(told, tip) if self._held else self._fetch(told, tip)

    def _fetch(self, told: dict[str, Any], tip: Floats) -> NDArray[np.float32]:
        cube = told["cube"]
        if self._released(told):
            return toward(tip, np.array([*tip[:2], TRAVEL]), -1.0)
        target = np.array([*cube[:2], GRASP])
        if np.linalg.norm(target - tip) > 0.004:
            self._wait = 0
            return over(tip, target, -1.0)
        self._wait += 1
        if self._wait > 3:
            self._held, self._wait = True, 0
        return toward(tip, target, 1.0)

    def _released(self, told: dict[str, Any]) -> bool:
        # The cube stands where it was to be put, and the stage only waits for the hand to leave.
        goal = self._goal(told)
        return bool(np.linalg.norm(told["cube"][:2] - goal) < 0.01 and told["tip"][2] < told["cube"][2] + 0.08)

    def _goal(self, told: dict[str, Any]) -> Floats:
        if told["stage"] == "out":
            return np.asarray(told["slot"])
        if self.belief == "truth":
            return np.asarray(told["place"])
        return free_place(told["guess"], told["others"])

    def _carry(self, told: dict[str, Any], tip: Floats) -> NDArray[np.float32]:
        # Aim the cube, not the hand: it may sit off the fingers' middle.
        goal = self._goal(told) - (told["cube"] - told["hand"])[:2]
        if np.hypot(*(goal - tip[:2])) > 0.0015:
            self._wait = 0
            if tip[2] < TRAVEL - 0.01 and np.hypot(*(goal - tip[:2])) > 0.01:
                return toward(tip, np.array([*tip[:2], TRAVEL]), 1.0)
            return toward(tip, np.array([*goal, max(tip[2], GRASP)]), 1.0)
        if tip[2] > GRASP + 0.002:
            return toward(tip, np.array([*goal, max(GRASP + 0.001, tip[2] - 0.03)]), 1.0)
        self._wait += 1
        settled = self._wait < 3
        if self._wait > 4:
            self._held, self._wait = False, 0
        return toward(tip, tip, 1.0 if settled else -1.0)


def free_place(place: Floats, others: Floats) -> Floats:
    """The place nearest to `place` that keeps 9 cm from the other cubes."""
    candidates = [place + r * np.array([np.cos(a), np.sin(a)]) for r in np.linspace(0, 0.2, 11) for a in np.arange(8)]
    for candidate in candidates:
        if len(others) == 0 or np.linalg.norm(others[:, :2] - candidate, axis=1).min() > 0.09:
            return np.asarray(candidate)
    return place
