"""What makes a future good, as terms that add up: `2 * GoalImage(encode) - 0.1 * Effort()`.

A term is (rollout, goal) -> [B, N], higher is better. Whatever needs a network is given it as a function, so this file
knows none. Large arrays (latents, features) are compared where they lie; small ones on the CPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning.goal import Goal
from sfvgen_planner.planning.rollouts import plain
from sfvgen_planner.planning.space import Floats
from sfvgen_planner.types import Array, Rollout

When = Literal["last", "closest", "mean"]
Scoring = Callable[[Rollout, Goal], Array]


class Term:
    """Adds, subtracts, scales."""

    def __call__(self, rollout: Rollout, goal: Goal) -> Array:
        """[B, N]."""
        raise NotImplementedError

    @property
    def sees(self) -> bool:
        """Does it ask for more than poses and actions? Where nothing does, nothing has to be drawn."""
        return True

    def __add__(self, other: "Term") -> "Weighted":
        return Weighted((*_parts(self), *_parts(other)))

    def __sub__(self, other: "Term") -> "Weighted":
        return self + -1.0 * other

    def __mul__(self, weight: float) -> "Weighted":
        return Weighted(tuple((weight * own, term) for own, term in _parts(self)))

    __rmul__ = __mul__

    def __neg__(self) -> "Weighted":
        return -1.0 * self


@dataclass(frozen=True)
class Weighted(Term):
    """A weighted sum of terms."""

    parts: tuple[tuple[float, Scoring], ...]

    @property
    def sees(self) -> bool:
        """If any of them does."""
        return any(sees(term) for _, term in self.parts)

    def __call__(self, rollout: Rollout, goal: Goal) -> Floats:
        """[B, N]."""
        return np.asarray(np.sum([weight * plain(term(rollout, goal)) for weight, term in self.parts], axis=0))


def _parts(term: Term) -> tuple[tuple[float, Scoring], ...]:
    return term.parts if isinstance(term, Weighted) else ((1.0, term),)


@dataclass(frozen=True)
class Custom(Term):
    """A function of yours, so that it adds up with the others."""

    function: Scoring
    looks: bool = True
    """False: at poses and actions alone"""

    @property
    def sees(self) -> bool:
        """As you say."""
        return self.looks

    def __call__(self, rollout: Rollout, goal: Goal) -> Array:
        """What it says."""
        return self.function(rollout, goal)


@dataclass(frozen=True)
class Reward(Term):
    """The rewards to come, true or learned, each as likely as the episode is to get there."""

    discount: float = 0.97
    """a frame; below 1, sooner is better"""

    def __call__(self, rollout: Rollout, goal: Goal) -> Floats:
        """Sum over frames."""
        rewards, ended = plain(rollout.rewards), plain(rollout.terminated)
        alive = np.concatenate([np.ones_like(ended[..., :1]), np.cumprod(1 - ended[..., :-1], -1)], -1)
        return np.asarray((self.discount ** np.arange(rewards.shape[-1]) * alive * rewards).sum(-1))


@dataclass(frozen=True)
class Success(Term):
    """How sure it is that the task will be solved."""

    def __call__(self, rollout: Rollout, goal: Goal) -> Floats:
        """The surest frame."""
        return np.asarray(plain(rollout.success).max(-1))


@dataclass(frozen=True)
class Near(Term):
    """Minus the mean squared distance between what is wanted and what will be."""

    here: Callable[[Rollout], Array]
    """rollout -> [B, N, T, ...]"""
    there: Callable[[Goal], Array]
    """goal -> [B, ...]"""
    when: When = "last"

    def __call__(self, rollout: Rollout, goal: Goal) -> Array:
        """[B, N]."""
        there, here = self.there(goal), self.here(rollout)
        if tuple(here.shape[3:]) != tuple(there.shape[1:]) or len(there) != len(here):
            raise BadOption(
                f"a goal {list(there.shape)} for futures {list(here.shape)}",
                "[B, ...] for [B, N, T, ...]",
                "Encode alike.",
            )
        shape = (*here.shape[:3], -1)
        gaps = here.reshape(shape) - there.reshape(len(there), 1, 1, -1)
        return -over_time(plain((gaps * gaps).mean(-1)), self.when)


def over_time(values: Floats, when: When) -> Floats:
    """[B, N, T] distances -> [B, N]."""
    if when == "last":
        return values[..., -1]
    return np.asarray(values.min(-1) if when == "closest" else values.mean(-1))


@dataclass(frozen=True)
class GoalImage(Term):
    """Near the goal's picture, in latents or any features."""

    encode: Callable[[Array], Array]
    """uint8 [B, h, w, 3] -> [B, ...]: the codec's encoder, or a judge's features"""
    features: Callable[[Rollout], Array] | None = None
    """rollout -> [B, N, T, ...] in the same features; None: its latents"""
    when: When = "last"

    def __call__(self, rollout: Rollout, goal: Goal) -> Array:
        """[B, N]."""
        near = Near(self.features or latents_of, lambda goal: self.encode(goal.need("image")), self.when)
        return near(rollout, goal)


@dataclass(frozen=True)
class GoalPosture(Term):
    """Standing as the body does in the goal's picture; soon, and then staying there."""

    apart: Callable[[Rollout, Array], Array]
    """rollout, uint8 [B, h, w, 3] -> [B, N, T]: how far from it"""
    when: When = "mean"

    @property
    def sees(self) -> bool:
        """Poses alone."""
        return False

    def __call__(self, rollout: Rollout, goal: Goal) -> Floats:
        """[B, N]."""
        return -over_time(plain(self.apart(rollout, goal.need("image"))), self.when)


@dataclass(frozen=True)
class GoalText(Term):
    """As the goal's sentence says it."""

    alike: Callable[[Rollout, tuple[str, ...]], Array]
    """rollout, B sentences -> [B, N, T], e.g. CLIP's similarity of picture and text"""
    when: When = "last"

    def __call__(self, rollout: Rollout, goal: Goal) -> Floats:
        """[B, N]."""
        return -over_time(-plain(self.alike(rollout, goal.need("text"))), self.when)


@dataclass(frozen=True)
class GoalPose(Term):
    """Minus the distance of some of the pose's numbers from the goal's; of way-points, the mean over all of them."""

    numbers: tuple[int, ...] = (0, 1, 2)
    """which: the camera's place is 0 to 2, the body's senses begin at 7"""
    when: When = "last"
    """of way-points, each counts by its closest frame"""

    @property
    def sees(self) -> bool:
        """Poses alone."""
        return False

    def __call__(self, rollout: Rollout, goal: Goal) -> Floats:
        """[B, N], in metres where the numbers are."""
        here, there = plain(rollout.poses)[..., self.numbers], plain(goal.need("pose"))[..., self.numbers]
        if there.ndim == 2:
            return -over_time(np.linalg.norm(here - there[:, None, None], axis=-1), self.when)
        gaps = np.linalg.norm(here[:, :, :, None] - there[:, None, None], axis=-1)
        return np.asarray(-gaps.min(2).mean(-1))


@dataclass(frozen=True)
class Effort(Term):
    """How much is done: mean square of vectors; of ids, how often another one is chosen. To be subtracted."""

    @property
    def sees(self) -> bool:
        """Actions alone."""
        return False

    def __call__(self, rollout: Rollout, goal: Goal) -> Floats:
        """[B, N]."""
        values = _actions_of(rollout)
        return np.asarray(np.square(values).mean((2, 3)) if values.ndim == 4 else _changes(values))


@dataclass(frozen=True)
class Roughness(Term):
    """How much actions change from frame to frame: mean square, or how often. To be subtracted."""

    @property
    def sees(self) -> bool:
        """Actions alone."""
        return False

    def __call__(self, rollout: Rollout, goal: Goal) -> Floats:
        """[B, N]."""
        values = _actions_of(rollout)
        if values.ndim == 3 or values.shape[2] == 1:
            return _changes(values)
        return np.asarray(np.square(np.diff(values, axis=2)).mean((2, 3)))


@dataclass(frozen=True)
class Uncertainty(Term):
    """How much several dreams of the same differ (`several`), or how undecided the heads are. To be subtracted."""

    def __call__(self, rollout: Rollout, goal: Goal) -> Floats:
        """[B, N], mean over frames."""
        if rollout.doubt is not None:
            return np.asarray(plain(rollout.doubt).mean(-1))
        undecided = [4 * p * (1 - p) for p in (plain(rollout.success), plain(rollout.terminated))]
        return np.asarray(np.mean(undecided, axis=(0, -1)))


def sees(objective: Scoring) -> bool:
    """Does an objective ask for more than poses and actions? Of a plain function nobody knows, so it does."""
    return bool(getattr(objective, "sees", True))


def latents_of(rollout: Rollout) -> Array:
    """[B, N, T, C, h, w]."""
    if rollout.latents is None:
        raise BadOption("a future without latents", "a learned world", "Give features of its pixels instead.")
    return rollout.latents


def _actions_of(rollout: Rollout) -> Floats:
    if rollout.actions is None:
        raise BadOption("a rollout that does not say what was done", "its actions", "Fill in `rollout.actions`.")
    return plain(rollout.actions.values)


def _changes(values: Floats) -> Floats:
    """[B, N, H, ...] -> [B, N]: the share of steps at which something else begins."""
    differs: Any = np.diff(values, axis=2) != 0
    return np.asarray(differs.reshape(*differs.shape[:2], -1).mean(-1) if differs.size else np.zeros(values.shape[:2]))
