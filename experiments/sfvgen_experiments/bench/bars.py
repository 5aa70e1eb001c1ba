"""Bars between agents, as a user writes them: `planner>=0.8*oracle`. Paired episodes decide them, and when to stop."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sfvgen_experiments.rows import Row
from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.metrics.statistics import Interval, mean_interval

Verdict = Literal["met", "not met", "open"]


@dataclass(frozen=True)
class Bar:
    """`ours` solves at least `times` as often as `theirs`."""

    ours: str
    times: float
    theirs: str

    @classmethod
    def parse(cls, text: str, known: Sequence[str]) -> "Bar":
        """From text; both must be among the agents that play."""
        found = re.fullmatch(r"\s*(\S+?)\s*>=\s*(\d+\.?\d*)\s*\*\s*(\S+)\s*", text)
        if found is None:
            raise BadOption(f"the bar {text!r}", "one such as planner>=0.8*oracle", "Name two agents and a number.")
        ours, times, theirs = found.groups()
        for name in (ours, theirs):
            if name not in known:
                raise UnknownName(f"agent {name!r} in a bar", f"one of {list(known)}", closest(name, list(known)))
        return cls(ours, float(times), theirs)

    def __str__(self) -> str:
        return f"{self.ours} >= {self.times:g} x {self.theirs}"

    def gap(self, rows: Mapping[str, Sequence[Row]]) -> Interval:
        """Mean of success - times x success over paired episodes.

        With one imagined episode for each side, as for differences of success: agents who agree everywhere are not
        known to agree for certain.
        """
        ours, theirs = ({row.index: float(row.success) for row in rows[name]} for name in (self.ours, self.theirs))
        both = [ours[index] - self.times * theirs[index] for index in sorted(ours.keys() & theirs.keys())]
        return mean_interval(np.array([*both, 1.0, -self.times]))

    def verdict(self, rows: Mapping[str, Sequence[Row]]) -> Verdict:
        """Decided once the interval clears 0."""
        gap = self.gap(rows)
        if gap.low > 0:
            return "met"
        return "not met" if gap.high < 0 else "open"
