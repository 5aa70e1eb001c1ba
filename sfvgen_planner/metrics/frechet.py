"""Frechet distance between two sets of features, as Gaussians: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2).

It is biased upwards by few samples and many features, so features are limited, few clips are said aloud, and every
distance travels with its floor: what two halves of the real set score against each other.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_planner.errors import BadOption

ADVISED_CLIPS = 1000
MOST_FEATURES = 64

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Frechet:
    """A distance and what is needed to read it."""

    distance: float
    floor: float
    """mean distance of random halves of the real set: no smaller distance means anything"""
    clips: int
    """of the smaller set"""
    features: int

    @property
    def enough(self) -> bool:
        """Were there as many clips as advised?"""
        return self.clips >= ADVISED_CLIPS


def frechet(real: Any, fake: Any, *, seed: int = 0, most: int = MOST_FEATURES) -> Frechet:
    """Distance of features [N, D] and [M, D]; `seed` draws the halves of the floor."""
    a, b = _features(real, "real", most), _features(fake, "generated", most)
    if a.shape[1] != b.shape[1]:
        raise BadOption(f"{a.shape[1]} and {b.shape[1]} features", "equally many", "Use one extractor for both.")
    return Frechet(_distance(a, b), _floor(a, seed), min(len(a), len(b)), a.shape[1])


def frechet_distance(real: Any, fake: Any, *, most: int = MOST_FEATURES) -> float:
    """The distance alone."""
    return frechet(real, fake, most=most).distance


def gaussian_distance(mean1: Floats, cov1: Floats, mean2: Floats, cov2: Floats) -> float:
    """Squared Frechet (2-Wasserstein) distance of two Gaussians, float64.

    tr (C1 C2)^1/2 = tr (S C2 S)^1/2 with S = C1^1/2: symmetric, so eigenvalues are real and singular covariances do
    not matter.
    """
    root = _root(cov1)
    inner = np.linalg.eigvalsh(root @ cov2 @ root)
    overlap = np.sqrt(np.clip(inner, 0, None)).sum()
    return max(float(np.square(mean1 - mean2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * overlap), 0.0)


def _distance(a: Floats, b: Floats) -> float:
    return gaussian_distance(a.mean(0), _covariance(a), b.mean(0), _covariance(b))


def _floor(real: Floats, seed: int, repeats: int = 5) -> float:
    """The mean over several splits into halves; infinite where a half is a single clip."""
    half = len(real) // 2
    if half < 2:
        return float("inf")
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(real)) for _ in range(repeats)]
    return float(np.mean([_distance(real[order[:half]], real[order[half : 2 * half]]) for order in orders]))


def _covariance(features: Floats) -> Floats:
    return np.atleast_2d(np.cov(features, rowvar=False))


def _root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)


def _features(features: Any, what: str, most: int) -> Floats:
    """float64 [N, D], N >= 2, D <= most, finite."""
    plain = features.detach().cpu().numpy() if isinstance(features, Tensor) else features
    array = np.asarray(plain, np.float64)
    if array.ndim != 2 or len(array) < 2 or not 1 <= array.shape[1] <= most:
        raise BadOption(
            f"{what} features of shape {list(array.shape)}",
            f"[clips, features], 2 clips or more ({ADVISED_CLIPS} advised), at most {most} features",
            "More features need more clips than one has: use an extractor with fewer.",
        )
    if not np.isfinite(array).all():
        raise BadOption(f"{what} features that are not finite", "numbers", "Look which clip made nan or infinity.")
    return array
