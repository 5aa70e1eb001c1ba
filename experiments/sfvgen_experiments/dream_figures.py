"""What made frames are worth beside the real ones: figures with 95 % intervals over windows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_experiments.dreams import Frames, HeldOut
from sfvgen_planner.data import VectorActions
from sfvgen_planner.data.description import Description
from sfvgen_planner.metrics.adherence import action_adherence, explained
from sfvgen_planner.metrics.figures import Figure, fvd
from sfvgen_planner.metrics.frechet import frechet_distance
from sfvgen_planner.metrics.judge import Judge
from sfvgen_planner.metrics.judge_reading import ClipFeatures, read_actions
from sfvgen_planner.metrics.quality import gradient_energy, psnr, ssim
from sfvgen_planner.metrics.statistics import Interval, bootstrap_interval, mean_interval
from sfvgen_planner.types import FRAMES_PER_CHUNK

CEILING = 48.13
"""dB: errors below one grey level do not count, and a still picture copied is not infinitely good"""

LEGIBLE = 0.1
"""R^2: who reads less than this out of real clips can say nothing of dreams."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Figures:
    """Of B made clips; adherence and FVD where a judge looked, and could read."""

    psnr: Interval
    ssim: Interval
    sharpness: Interval
    """1: as sharp as the real frames"""
    adherence: Interval | None
    """how much of the actions a judge reads out of these clips, over what it reads out of the real ones"""
    fvd: Figure | None

    def to_json(self) -> dict[str, Any]:
        """As it goes into a results file; null where nobody looked."""
        return {name: value and value.to_json() for name, value in vars(self).items()}


class Reader:
    """A judge that reads actions out of one set of windows."""

    def __init__(self, judge: Judge, held: HeldOut, about: Description) -> None:
        self._judge, self._held, self._task = judge, held, about.task
        self.legible = 0.0
        """R^2 of what is read out of the real clips; 0 where the judge does not know such actions"""
        numbers = isinstance(about.actions, VectorActions) and len(about.actions.low) > 0
        if numbers and about.task in {task.task for task in judge.layout.tasks}:
            self._told = judge.layout.scaled(about.task, held.actions).double().numpy()
            self._real = self._read(held.real)
            self.legible = explained(self._real, self._told)

    def adherence(self, made: Frames) -> Interval | None:
        """The ratio of the two R^2; None where real clips tell too little."""
        if self.legible < LEGIBLE:
            return None
        told, real, read = self._told, self._real, self._read(made)
        return bootstrap_interval(lambda rows: action_adherence(read[rows], real[rows], told[rows]).ratio, len(told))

    def _read(self, frames: Frames) -> Floats:
        """[B, T, A] of the new frames, with one chunk of the past before them."""
        clips = np.concatenate([self._held.seen[:, -FRAMES_PER_CHUNK:], frames], axis=1)
        return np.asarray(read_actions(self._judge, torch.from_numpy(clips), self._task, frames.shape[1]), np.float64)


class Yardstick:
    """What made clips of one set of windows are held against; a judge looks at the real ones once."""

    def __init__(self, held: HeldOut, about: Description, judge: Judge | None) -> None:
        self.held = held
        self._extract = None if judge is None else ClipFeatures(judge)
        self._reader = None if judge is None else Reader(judge, held, about)
        self.features = self.features_of(held.real)

    @property
    def legible(self) -> float:
        """See `Reader`."""
        return 0.0 if self._reader is None else self._reader.legible

    def measure(self, made: Frames, features: Tensor | None) -> Figures:
        """Of clips [B, T, h, w, 3] and their `features_of`."""
        real, extract, distance = self.held.real, self._extract, None
        if extract is not None and features is not None and self.features is not None:
            distance = fvd(self.features, features, extract)
        return Figures(
            mean_interval(psnr_of(real, made)),
            mean_interval(ssim(real, made).double().mean(1).numpy()),
            sharpness_of(real, made),
            None if self._reader is None else self._reader.adherence(made),
            distance,
        )

    def features_of(self, frames: Frames) -> Tensor | None:
        """[B, 64] of new frames alone, as the past is real in every arm; None without a judge."""
        return None if self._extract is None else self._extract(torch.from_numpy(frames))


def psnr_of(real: Frames, made: Frames) -> Floats:
    """[B] mean over frames, in dB."""
    return np.asarray(np.minimum(psnr(real, made).double().numpy(), CEILING).mean(1))


def pooled_gain(real: Frames, made: Frames, other: Frames) -> Interval:
    """dB by which `made` is nearer than `other`, of the squared error of all windows together.

    A mean of dB over windows counts those most in which nothing moves: there copying is exact and no codec is.
    """
    least = 255**2 * 10 ** (-CEILING / 10)
    mine, others = (
        np.maximum(np.square(real.astype(np.float64) - one).mean((1, 2, 3, 4)), least) for one in (made, other)
    )
    return bootstrap_interval(lambda rows: 10 * float(np.log10(others[rows].sum() / mine[rows].sum())), len(mine))


def sharpness_of(real: Frames, made: Frames) -> Interval:
    """Gradient energy of all made frames over that of all real ones."""
    truth, dreamt = (gradient_energy(frames).double().mean(1).numpy() for frames in (real, made))
    return bootstrap_interval(lambda rows: float(dreamt[rows].sum() / truth[rows].sum()), len(truth))


def distance_interval(real: Tensor, made: Tensor) -> Interval:
    """FVD's, of paired features [N, D]: the same windows are drawn anew for both."""
    a, b = real.double().numpy(), made.double().numpy()
    return bootstrap_interval(lambda rows: frechet_distance(a[rows], b[rows]), len(a), repeats=100)
