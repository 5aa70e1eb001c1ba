"""What a solver is: three pure functions beside a frozen config. It proposes candidates and learns from their scores.

All arrays are numpy, and every array of a state begins with B: rows know nothing of each other. Scores of candidates
that were dropped are -inf.
"""

from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.planning.noise import Noise
from sfvgen_planner.planning.space import Floats, Space

S = TypeVar("S")
Values = NDArray[Any]
"""[B, N, H, A] of vectors, or [B, N, H] places in `space.allowed`"""


class Solver(Protocol):
    """`state` is the solver's own frozen dataclass."""

    def rounds(self, space: Space, asked: int) -> int:
        """How many rounds, where so many are asked for."""

    def begin(self, space: Space, rows: int) -> Any:
        """Knowing nothing."""

    def propose(self, space: Space, state: Any, count: int, noise: Noise) -> Values:
        """`count` candidates, or fewer."""

    def improve(self, space: Space, state: Any, values: Values, scores: Floats) -> Any:
        """Learned from values and their scores [B, N]."""

    def answer(self, space: Space, state: Any) -> Values | None:
        """What the state itself holds best, N = 1, if that is a candidate nobody has seen yet."""

    def shifted(self, space: Space, state: Any, steps: int) -> Any:
        """What still holds after so many decisions were carried out: where the next plan may begin."""


@dataclass(frozen=True)
class Gaussian:
    """Where good sequences lie, as far as is known."""

    mean: Floats
    """[B, H, A]"""
    spread: Floats
    """[B, H, A]"""
    kept: Floats
    """[B, K, H, A] candidates to be looked at again; K may be 0"""


def unknown(space: Space, rows: int, spread: float) -> Gaussian:
    """The middle of the bounds; `spread` is in half ranges."""
    shape = (rows, space.horizon, len(space.low))
    mean, half = np.broadcast_to(space.middle, shape), np.broadcast_to(space.half, shape)
    return Gaussian(mean.copy(), spread * half, np.zeros((rows, 0, *shape[1:])))


def best(scores: Floats, count: int) -> NDArray[np.int64]:
    """[B, N] -> [B, count] places of the highest, best first; of equal ones the earlier."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def at(values: Values, places: NDArray[np.int64]) -> Values:
    """[B, N, ...] at [B, K] -> [B, K, ...]."""
    return np.asarray(values[np.arange(len(values))[:, None], places])


def moved(values: Values, steps: int, axis: int, fill: Any = None) -> Values:
    """Forward in time: what was at `steps` is first now; the end goes on with `fill`, or as it was at the end."""
    steps = min(steps, values.shape[axis])
    last = np.take(values, [-1], axis) if fill is None else np.broadcast_to(fill, np.take(values, [-1], axis).shape)
    rest = np.take(values, range(steps, values.shape[axis]), axis)
    return np.concatenate([rest, np.repeat(last, steps, axis)], axis)


def by_row(rows: NDArray[np.bool_], fresh: S, other: S) -> S:
    """The state of `fresh` in these rows [B], of `other` in the rest."""
    made = {}
    for field in fields(fresh):  # type: ignore[arg-type]
        one, two = getattr(fresh, field.name), getattr(other, field.name)
        if one.shape != two.shape:
            # Who has kept nothing keeps its mean, as often as the others keep something.
            one = np.broadcast_to(fresh.mean[:, None], two.shape)  # type: ignore[attr-defined]
        made[field.name] = np.where(rows.reshape(-1, *[1] * (one.ndim - 1)), one, two)
    return type(fresh)(**made)
