"""What the rows of an evaluation amount to: means with 95 % intervals, paired differences, and a table to print."""

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvgen_experiments.rows import Row
from sfvgen_planner.metrics.statistics import (
    mean_interval,
    paired_difference,
    paired_success_difference,
    success_interval,
)

MEASURES = ("success", "waypoint_distance", "return", "steps", "seconds_per_step")
_HEADS = {"success": "success", "waypoint_distance": "waypoint distance (m)", "return": "return"}
Part = tuple[str, str, str]
"""where, task, length"""


def summarise(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Every agent's means, by place, task and length."""
    return [
        {"agent": agent, **_named(part), **{name: _interval(_of(rows, agent, part, name), name) for name in MEASURES}}
        for part in _parts(rows)
        for agent in _agents(rows, part)
    ]


def compare(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Every other agent minus the first, episode by episode."""
    found = []
    for part in _parts(rows):
        first, *others = _agents(rows, part)
        for agent in others:
            pairs = {name: (_of(rows, agent, part, name), _of(rows, first, part, name)) for name in MEASURES}
            gaps = {name: _gap(*pair, name) for name, pair in pairs.items()}
            found.append({"agent": agent, "against": first, **_named(part), **gaps})
    return found


def table(summary: Sequence[dict[str, Any]], differences: Sequence[dict[str, Any]]) -> str:
    """Both as text, a line for each task, length and agent."""
    places = len({row["where"] for row in summary}) > 1 or any(row["where"] != "real" for row in summary)
    lines = [["task", "length", "agent", *(f"{head} [95 %]" for head in _HEADS.values()), "n"]]
    for row in summary:
        cells = [_cell(row[name], name) for name in _HEADS]
        who = f"{row['agent']} ({row['where']})" if places else row["agent"]
        lines.append([row["task"], row["length"], who, *cells, str(row["success"]["n"])])
        for gap in differences:
            if all(gap[key] == row[key] for key in ("agent", "where", "task", "length")):
                cells = [_cell(gap[name], name, "+") for name in _HEADS]
                lines.append(["", "", f"  minus {gap['against']}", *cells, ""])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _parts(rows: Sequence[Row]) -> list[Part]:
    return list(dict.fromkeys((row.where, row.task, row.length) for row in rows))


def _agents(rows: Sequence[Row], part: Part) -> list[str]:
    return list(dict.fromkeys(row.agent for row in rows if (row.where, row.task, row.length) == part))


def _named(part: Part) -> dict[str, str]:
    return dict(zip(("where", "task", "length"), part, strict=True))


def _of(rows: Sequence[Row], agent: str, part: Part, name: str) -> NDArray[np.float64]:
    """[E, S] one measure of one agent, episodes and seeds in order."""
    chosen = [row for row in rows if row.agent == agent and (row.where, row.task, row.length) == part]
    chosen.sort(key=lambda row: (row.index, row.agent_seed))
    seeds = len({row.agent_seed for row in chosen})
    return np.array([_value(row, name) for row in chosen], np.float64).reshape(-1, seeds)


def _value(row: Row, name: str) -> float:
    if name == "seconds_per_step":
        return row.seconds / max(row.steps, 1)
    value = row.plain()[name]
    return nan if value is None else float(value)


def _gap(ours: NDArray[np.float64], theirs: NDArray[np.float64], name: str) -> dict[str, Any] | None:
    if np.isnan(ours).any() or np.isnan(theirs).any():
        return None
    return (paired_success_difference if name == "success" else paired_difference)(ours, theirs).to_json()


def _interval(values: NDArray[np.float64], name: str) -> dict[str, Any] | None:
    if np.isnan(values).any():
        return None
    found = success_interval(values) if name == "success" else mean_interval(values)
    # Distances, steps and seconds are never negative, whatever Student's t believes.
    return (found if name == "return" else replace(found, low=max(found.low, 0.0))).to_json()


def _cell(interval: dict[str, Any] | None, name: str, sign: str = "") -> str:
    if interval is None:
        return "-"
    shown = {"success": ".1%", "return": ".2f"}.get(name, ".4f")
    mean, low, high = (
        "?" if interval[key] is None else format(interval[key], sign + shown) for key in ("mean", "low", "high")
    )
    return f"{mean} [{low}, {high}]"
