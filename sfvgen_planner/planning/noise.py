"""Noise keyed by row and round: a row draws the same in any company, and a search done again is the same search."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """The draws of one round of B searches."""

    seeds: NDArray[np.int64]
    """[B]"""
    plan: int = 0
    """how many plans these searches made before: another plan of the same episode draws anew"""
    round: int = 0

    def normal(self, *shape: int) -> Floats:
        """[B, *shape] standard normal."""
        return np.stack([rng.standard_normal(shape) for rng in self._generators()])

    def uniform(self, *shape: int) -> Floats:
        """[B, *shape] in [0, 1)."""
        return np.stack([rng.random(shape) for rng in self._generators()])

    def _generators(self) -> list[Any]:
        return [np.random.default_rng([int(seed), self.plan, self.round]) for seed in self.seeds]


def coloured(white: Floats, exponent: float) -> Floats:
    """White noise [..., 2 H, A] -> [..., H, A] whose power falls with frequency as f^-exponent, of variance 1.

    Twice the length, because what a Fourier transform makes is periodic, and a plan's end is no beginning.
    """
    long = white.shape[-2]
    frequencies = np.fft.rfftfreq(long)
    frequencies[0] = frequencies[1] if len(frequencies) > 1 else 1.0
    gain = frequencies ** (-exponent / 2)
    # Every frequency but the first and (for an even length) the last is there twice.
    times = np.full(len(gain), 2.0)
    times[0] = 1.0
    times[-1] = 1.0 if long % 2 == 0 else 2.0
    gain = gain / np.sqrt((times * gain**2).sum() / long)
    drawn = np.fft.irfft(np.fft.rfft(white, axis=-2) * gain[:, None], n=long, axis=-2)
    return np.asarray(drawn[..., : long // 2, :])
