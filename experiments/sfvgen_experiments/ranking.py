"""Does a dream order agents as reality does? Spearman's correlation of their mean returns in both."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvgen_experiments.rows import Row
from sfvgen_planner.metrics.statistics import bootstrap_interval

LEAST = 3
"""Agents (each with each of its seeds), below which there is nothing to order."""
Floats = NDArray[np.float64]


def ranking(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each task and length played in both places; the interval is over which agents were asked."""
    returns: dict[tuple[str, str, str], dict[tuple[str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        returns[row.task, row.length, row.where][row.agent, row.agent_seed].append(row.total)
    found = []
    for task, length in dict.fromkeys((row.task, row.length) for row in rows):
        dream, real = returns[task, length, "dream"], returns[task, length, "real"]
        both = [who for who in dream if who in real]
        if len(both) >= LEAST:
            pairs = np.array([[np.mean(where[who]) for who in both] for where in (dream, real)])
            sure = bootstrap_interval(_of(pairs), len(both)).to_json()
            found.append({"task": task, "length": length, "agents": len(both), "spearman": sure})
    return found


def lines(found: Sequence[dict[str, Any]]) -> list[str]:
    """A line each."""
    told = []
    for one in found:
        mean, low, high = (one["spearman"][key] for key in ("mean", "low", "high"))
        who = f"{one['task']} {one['length']}: {one['agents']} agents by return, dream against reality"
        told.append(f"{who}: Spearman {mean:.2f} [{low:.2f}, {high:.2f}]")
    return told


def spearman(a: Floats, b: Floats) -> float:
    """Of [K] and [K], with mean ranks for ties; 0 where all of one are equal."""
    x, y = (ranks - ranks.mean() for ranks in (_ranks(a), _ranks(b)))
    size = float(np.sqrt(np.square(x).sum() * np.square(y).sum()))
    return float((x * y).sum() / size) if size else 0.0


def _of(pairs: Floats) -> Any:
    return lambda some: spearman(*pairs[:, some])


def _ranks(values: Floats) -> Floats:
    below = (values[:, None] > values[None]).sum(1)
    ties = (values[:, None] == values[None]).sum(1) - 1
    return np.asarray(below + ties / 2, np.float64)
