"""Worlds of a few lines whose best actions are known, and allocators that run out."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sfvgen_planner.planning.rollouts import plain
from sfvgen_planner.types import Actions, Context, Imagine, Plan, Rollout, Window


def context(rows: int = 1, size: int = 8) -> Context:
    """B rows of nothing to be seen; the pose's first two numbers say where each begins."""
    poses = np.zeros((rows, 1, 7), np.float32)
    poses[..., 3] = 1
    return Context(np.zeros((rows, 1, size, size, 3), np.uint8), poses)


def rollout_of(poses: np.ndarray, rewards: np.ndarray) -> Rollout:
    """Nobody succeeds, nothing ends."""
    never = np.zeros(rewards.shape, bool)
    return Rollout(poses, rewards.astype(np.float64), never, never)


@dataclass
class Quadratic:
    """Reward -(action - best)^2 at each step: the optimum is `best` everywhere, and worth 0."""

    best: np.ndarray
    """[B, A]"""
    asked: list[int] = field(default_factory=list)

    def __call__(self, context: Context, actions: Actions) -> Rollout:
        values = plain(actions.values)
        self.asked.append(values.shape[1])
        rewards = -np.square(values - self.best[: len(values), None, None]).sum(-1)
        return rollout_of(np.zeros((*rewards.shape, 7)), rewards)


class Obstacle:
    """A point that moves by its actions from (0, 0) to (1, 0), around a wall of radius 0.3 at (0.5, 0).

    The reward is paid at the end: minus the distance to (1, 0), and minus 5 for each step inside the wall. No way
    straight there is good; the best value is 0.
    """

    def __call__(self, context: Context, actions: Actions) -> Rollout:
        places = np.cumsum(0.25 * plain(actions.values), axis=2)
        inside = np.linalg.norm(places - [0.5, 0], axis=-1) < 0.3
        rewards = -5.0 * inside
        rewards[..., -1] -= np.linalg.norm(places[..., -1, :] - [1, 0], axis=-1)
        poses = np.zeros((*rewards.shape, 7))
        poses[..., :2] = places
        return rollout_of(poses, rewards)


class Bimodal:
    """Two good ends, at -0.7 (worth 1) and at +0.7 (worth 2), and nothing between: an average of both is worth 0."""

    def __call__(self, context: Context, actions: Actions) -> Rollout:
        mean = plain(actions.values).mean((2, 3))
        worth = np.exp(-np.square((mean + 0.7) / 0.15)) + 2 * np.exp(-np.square((mean - 0.7) / 0.15))
        rewards = np.zeros(plain(actions.values).shape[:3])
        rewards[..., -1] = worth
        return rollout_of(np.zeros((*rewards.shape, 7)), rewards)


class Sentence:
    """Ids: one point for each that stands where it should; phrases last 8 frames."""

    def __init__(self, wanted: tuple[int, ...]) -> None:
        self.wanted = np.array(wanted)

    def __call__(self, context: Context, actions: Actions) -> Rollout:
        ids = np.asarray(actions.values)
        right = (ids == self.wanted[: ids.shape[2]]).astype(float)
        each = 8 if actions.kind == "phrase" else 1
        rewards = np.repeat(right, each, axis=2) / each
        return rollout_of(np.zeros((*rewards.shape, 7)), rewards)


@dataclass
class Small:
    """A device with room for so many candidates at once."""

    world: object
    room: int
    error: BaseException
    asked: list[int] = field(default_factory=list)

    def __call__(self, context: Context, actions: Actions) -> Rollout:
        count = int(actions.values.shape[1])
        self.asked.append(count)
        if count > self.room:
            raise self.error
        return self.world(context, actions)  # type: ignore[operator,no-any-return]


class Ticking:
    """A clock that goes on by a second whenever the world is asked."""

    def __init__(self, world: object) -> None:
        self.world, self.now = world, 0.0

    def __call__(self, context: Context, actions: Actions) -> Rollout:
        self.now += 1
        return self.world(context, actions)  # type: ignore[operator,no-any-return]

    def clock(self) -> float:
        """Seconds."""
        return self.now


@dataclass
class Fake:
    """A mind that writes down what it is told."""

    world: Any
    past: int = 8
    began: list[list[bool]] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    ripe: list[list[bool]] = field(default_factory=list)

    def begin(self, rows: np.ndarray, context: Context) -> None:
        self.began.append(rows.tolist())

    def saw(self, window: Window, rows: np.ndarray) -> None:
        self.windows.append(window)
        self.ripe.append(rows.tolist())

    def imagine(self, steps: int) -> Imagine:
        return self.world  # type: ignore[no-any-return]

    def foresee(self) -> Imagine:
        return self.world  # type: ignore[no-any-return]

    def kept_places(self) -> np.ndarray | None:
        """Nothing is kept."""
        return None

    def translate(self, context: Any, plan: Plan) -> np.ndarray:
        """Phrase k is 8 actions of 0.1 k."""
        ids = np.asarray(plan.actions.values)[:, 0]
        return np.repeat(ids[..., None] * 0.1 + np.zeros(2), 8, axis=1).astype(np.float32)


def frame(number: int, rows: int | None = None) -> dict[str, np.ndarray]:
    """A picture and a pose with a number on them."""
    pixels, pose = np.full((16, 16, 3), number, np.uint8), np.zeros(9, np.float32)
    pose[3], pose[0] = 1, number
    return (
        {"pixels": pixels, "pose": pose}
        if rows is None
        else {"pixels": np.stack([pixels] * rows), "pose": np.stack([pose] * rows)}
    )
