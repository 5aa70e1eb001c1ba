"""What a bench of dreams finds: figures of every arm on every data set, the bars of worlds, and all that in words."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
from torch import Tensor

from sfvgen_experiments.dream_figures import Figures, Yardstick, distance_interval
from sfvgen_experiments.dreams import Frames, HeldOut
from sfvgen_planner.data.description import Description
from sfvgen_planner.metrics.figures import Figure, fvd
from sfvgen_planner.metrics.judge import Judge
from sfvgen_planner.metrics.judge_reading import ClipFeatures
from sfvgen_planner.metrics.statistics import Interval

COLUMNS = {"psnr": ("PSNR, dB", 2), "ssim": ("SSIM", 3), "adherence": ("adherence", 2), "sharpness": ("sharpness", 2)}


@dataclass(frozen=True)
class Bar:
    """What a world has to reach on every data set."""

    what: str
    low: float
    high: float = inf

    def met(self, value: Interval) -> bool:
        """Is it?"""
        return self.low <= value.mean <= self.high

    def told(self, value: Interval | None) -> str:
        """In words."""
        if value is None:
            return f"{self.what}: not measured"
        wanted = f"at least {self.low:g}" if self.high == inf else f"{self.low:g} to {self.high:g}"
        return f"{self.what}: {cell(value, 2)}, {wanted} wanted: {'met' if self.met(value) else 'NOT MET'}"


BARS = {
    "over_copy": Bar("dB over copying the last frame", 3),
    "over_other": Bar("dB over the same world told other actions", 2),
    "adherence": Bar("action adherence", 0.9),
    "long_sharpness": Bar("sharpness of the least lifelike chunk of long dreams", 0.8, 1.2),
}


@dataclass(frozen=True)
class OfWorld:
    """One world on one data set, beyond what every arm has; among it a field for each bar."""

    over_copy: Interval
    pooled_over_copy: Interval
    """the same, of all windows' error together"""
    over_other: Interval
    adherence: Interval | None
    long_sharpness: Interval
    chunks: tuple[Interval, ...]
    """sharpness of each chunk of long dreams"""
    finite: bool
    """no NaN in any dream"""

    @property
    def met(self) -> dict[str, bool | None]:
        """Which bars are; None where nobody could look."""
        values = {name: getattr(self, name) for name in BARS}
        return {**{name: value and BARS[name].met(value) for name, value in values.items()}, "finite": self.finite}

    def told(self) -> list[str]:
        """Each bar in words."""
        return [
            *(bar.told(getattr(self, name)) for name, bar in BARS.items()),
            f"dB over copying, of all windows' error together: {cell(self.pooled_over_copy, 2)}",
            f"NaN in {8 * len(self.chunks)}-frame dreams: {'none: met' if self.finite else 'some: NOT MET'}",
        ]

    def to_json(self) -> dict[str, Any]:
        """As it goes into a results file."""
        return {**vars(self), "met": self.met}


@dataclass(frozen=True)
class OfSet:
    """All arms on one data set."""

    windows: int
    legible: float
    """R^2 of the actions a judge reads out of the real clips"""
    arms: dict[str, Figures]
    features: dict[str, Tensor | None]
    """of each arm's clips"""
    real: Tensor | None
    """features of the real ones"""
    worlds: dict[str, OfWorld] = field(default_factory=dict)

    @classmethod
    def of(cls, held: HeldOut, about: Description, judge: Judge | None, frames: dict[str, Frames]) -> "OfSet":
        """Of each arm's clips of the same windows."""
        yard = Yardstick(held, about, judge)
        features = {arm: yard.features_of(made) for arm, made in frames.items()}
        arms = {arm: yard.measure(made, features[arm]) for arm, made in frames.items()}
        return cls(held.rows, yard.legible, arms, features, yard.features)

    def to_json(self) -> dict[str, Any]:
        """Without the features."""
        return {name: getattr(self, name) for name in ("windows", "legible", "arms", "worlds")}

    def told(self, name: str) -> str:
        """A line an arm, then the bars."""
        judged = self.real is not None
        reads = f"; of real actions the judge reads R2 {self.legible:.2f}" if judged else ""
        heads = "".join(f"{head:>16}" for head, _ in COLUMNS.values()) + (f"{'FVD(judge)':>14}" if judged else "")
        lines = [f"\n{name}: {self.windows} windows{reads}", f"{'':30}{heads}"]
        for arm, figures in self.arms.items():
            cells = "".join(f"{cell(getattr(figures, key), digits):>16}" for key, (_, digits) in COLUMNS.items())
            lines.append(f"  {arm:28}{cells}" + (f"{figures.fvd.value:>14.3f}" if figures.fvd else ""))
        lines += [f"  {world}: {bar}" for world, found in self.worlds.items() for bar in found.told()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Together:
    """Clips of all data sets as one: so many that a Frechet distance means something."""

    arms: dict[str, tuple[Figure, Interval]]

    @classmethod
    def of(cls, sets: Sequence[OfSet], judge: Judge | None) -> "Together":
        """FVD(judge) of each arm; nothing without a judge."""
        if judge is None:
            return cls({})
        real, found = _joined([one.real for one in sets]), {}
        for arm in sets[0].features:
            made = _joined([one.features[arm] for one in sets])
            found[arm] = fvd(real, made, ClipFeatures(judge)), distance_interval(real, made)
        return cls(found)

    def to_json(self) -> dict[str, Any]:
        """As it goes into a results file."""
        return {arm: {**figure.to_json(), "interval": sure} for arm, (figure, sure) in self.arms.items()}

    def told(self) -> str:
        """A line an arm."""
        if not self.arms:
            return "\nno judge: no FVD(judge), no adherence"
        first = next(iter(self.arms.values()))[0]
        warning = f" ({first.warning})" if first.warning else ""
        head = f"\n{first.name} of all {first.n} clips{warning}; halves of the real ones are {first.floor:.3f} apart"
        return "\n".join([head, *(f"  {arm:28}{cell(sure, 3):>16}" for arm, (_, sure) in self.arms.items())])


def _joined(parts: Sequence[Tensor | None]) -> Tensor:
    return torch.cat([part for part in parts if part is not None])


def cell(value: Interval | None, digits: int) -> str:
    """A mean and half its interval's width."""
    return "-" if value is None else f"{value.mean:.{digits}f} ±{(value.high - value.low) / 2:.{digits}f}"


def percent(share: Interval) -> Interval:
    """A hundred times as much."""
    return Interval(100 * share.mean, 100 * share.low, 100 * share.high, share.n)
