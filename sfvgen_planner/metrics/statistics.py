"""Means with 95 % intervals over episodes and seeds.

E episodes, S seeds of the agent. Values are [E], or [E, S] where every seed played every episode. Episodes and seeds
are both samples (of what could have been asked, and of how training could have gone), so with seeds the variance of
the mean is that of a crossed design: 200 episodes of one lucky seed are not 200 episodes. Choices, each checked for
coverage by simulation in the tests:

- means: Student's t; with seeds, Satterthwaite's degrees of freedom;
- success rates: Wilson, which keeps its coverage near 0 and 1 and never has width 0; with seeds, Wilson on the
  effective number of episodes (Korn and Graubard);
- differences of two agents: t on the differences of each episode, so what episodes have in common cancels;
- one number of a whole set (a Frechet distance, a ratio of sums): as wide as it is among sets drawn anew from that one;
- differences of success: the same with one imagined episode for each side (Bonett and Price), so that two agents who
  agree everywhere are not called equal with certainty.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.student import student_quantile

LEVEL = 0.95
_UPPER = (1 + LEVEL) / 2
_Z = NormalDist().inv_cdf(_UPPER)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and where the true one lies, 95 times in 100; infinite where one value alone tells nothing."""

    mean: float
    low: float
    high: float
    n: int
    """how many values went into it"""

    def to_json(self) -> dict[str, float | None]:
        """JSON knows no infinity: a bound nobody knows is null."""
        low, high = (bound if math.isfinite(bound) else None for bound in (self.low, self.high))
        return {"mean": self.mean, "low": low, "high": high, "n": self.n}

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> "Interval":
        """Back from there."""
        low, high = (told["low"], told["high"])
        return Interval(told["mean"], -math.inf if low is None else low, math.inf if high is None else high, told["n"])


def mean_interval(values: ArrayLike) -> Interval:
    """Mean of any measure, [E] or [E, S]."""
    table = _table(values)
    mean = float(table.mean())
    half = _half_width(*_spread(table))
    return Interval(mean, mean - half, mean + half, table.size)


def success_interval(values: ArrayLike) -> Interval:
    """Rate of successes (0, 1, or booleans), [E] or [E, S]."""
    table = _successes(values)
    rate = float(table.mean())
    low, high = _wilson(rate, _effective_episodes(table))
    return Interval(rate, low, high, table.size)


def paired_difference(ours: ArrayLike, theirs: ArrayLike) -> Interval:
    """Mean of `ours - theirs`, the same episodes (and seeds) in the same order."""
    a, b = _pair(_table(ours), _table(theirs))
    return mean_interval(a - b)


def paired_success_difference(ours: ArrayLike, theirs: ArrayLike) -> Interval:
    """Difference of two success rates on the same episodes (and seeds)."""
    a, b = _pair(_successes(ours), _successes(theirs))
    difference = a - b
    imagined = np.concatenate([difference, np.full((1, a.shape[1]), 1.0), np.full((1, a.shape[1]), -1.0)])
    centre = float(imagined.mean())
    half = _half_width(*_spread(imagined))
    return Interval(float(difference.mean()), max(centre - half, -1.0), min(centre + half, 1.0), difference.size)


def bootstrap_interval(
    number: Callable[[NDArray[np.int64]], float], rows: int, *, repeats: int = 200, seed: int = 0
) -> Interval:
    """`number` of a whole set, from the positions of its rows.

    Around the number itself, not around its mean over redrawn sets: what few samples bias, repeating them biases more.
    """
    rng = np.random.default_rng(seed)
    value = float(number(np.arange(rows)))
    if rows < 2:
        return Interval(value, -math.inf, math.inf, rows)
    half = _Z * float(np.std([number(rng.integers(rows, size=rows)) for _ in range(repeats)], ddof=1))
    return Interval(value, value - half, value + half, rows)


def _spread(table: Floats) -> tuple[float, float]:
    """Variance of the mean of [E, S], and its degrees of freedom (0: unknown)."""
    episodes, seeds = table.shape
    if episodes == 1 or seeds == 1:
        return (float(table.var(ddof=1)) / table.size, table.size - 1) if table.size > 1 else (math.inf, 0)
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    rest = table - rows[:, None] - columns[None, :] + table.mean()
    by_rest = (episodes - 1) * (seeds - 1)
    mean_squares = np.array(
        [seeds * rows.var(ddof=1), episodes * columns.var(ddof=1), float(np.square(rest).sum()) / by_rest]
    )
    # Unbiased is episodes + seeds - rest; the floor is what either alone would give.
    total = max(float(mean_squares[0] + mean_squares[1] - mean_squares[2]), float(mean_squares[:2].max()))
    blur = float((np.square(mean_squares) / np.array([episodes - 1, seeds - 1, by_rest])).sum())
    return total / table.size, max(float(total**2 / blur), 1.0) if blur else float(by_rest)


def _half_width(variance: float, df: float) -> float:
    return math.inf if df < 1 else float(student_quantile(_UPPER, round(df, 3)) * math.sqrt(variance))


def _effective_episodes(table: Floats) -> float:
    episodes, seeds = table.shape
    rate = float(table.mean())
    if episodes == 1 or seeds == 1:
        return float(table.size)
    if rate in (0.0, 1.0):
        return float(episodes)
    variance, df = _spread(table)
    wider = (_Z / student_quantile(_UPPER, round(df, 3))) ** 2
    return min(rate * (1 - rate) / variance * wider, float(table.size))


def _wilson(rate: float, n: float) -> tuple[float, float]:
    square = _Z**2 / n
    centre = (rate + square / 2) / (1 + square)
    half = math.sqrt(rate * (1 - rate) * square + square**2 / 4) / (1 + square)
    # At 0 and 1 the two terms cancel exactly, but for rounding.
    return (0.0 if rate == 0 else centre - half), (1.0 if rate == 1 else centre + half)


def _table(values: ArrayLike) -> Floats:
    """[E, S] of finite numbers."""
    array: NDArray[Any] = np.asarray(values, np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.size == 0:
        raise BadOption(f"values of shape {array.shape}", "[episodes] or [episodes, seeds]", "Pass at least one value.")
    if not np.isfinite(array).all():
        raise BadOption("values that are not finite", "numbers", "Look which episode measured nan or infinity.")
    return array


def _successes(values: ArrayLike) -> Floats:
    table = _table(values)
    if not np.isin(table, (0.0, 1.0)).all():
        raise BadOption("successes other than 0 and 1", "0, 1 or booleans", "Use mean_interval for other measures.")
    return table


def _pair(ours: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    if ours.shape != theirs.shape:
        raise BadOption(
            f"{list(ours.shape)} against {list(theirs.shape)} values",
            "the same episodes and seeds for both agents",
            "Play both agents on the same list.",
        )
    return ours, theirs
