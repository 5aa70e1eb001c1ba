"""Worlds of a few lines whose best actions are known, and allocators that run out."""

from dataclasses import dataclass, field

import numpy as np

from sfvgen_planner.planning.rollouts import plain
from sfvgen_planner.types import Actions, Context, Rollout


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
