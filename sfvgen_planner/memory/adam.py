"""Steps for many rows at once: each row has its own moments, its own age, its own rate, and may sit a step out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]
BETAS, EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class Trained:
    """M rows of numbers in training; every tensor begins with M."""

    weights: Tensors
    first: Tensors
    """mean of the gradients"""
    second: Tensors
    """mean of their squares"""
    steps: Tensor
    """int64 [M]"""

    @staticmethod
    def fresh(weights: Tensors) -> "Trained":
        """Without any step."""
        zeros = {name: torch.zeros_like(value) for name, value in weights.items()}
        one = next(iter(weights.values()))
        return Trained(weights, zeros, zeros, torch.zeros(len(one), dtype=torch.int64, device=one.device))

    def each(self, change: Callable[[Tensor], Tensor]) -> "Trained":
        """With every tensor changed alike."""
        weights, first, second = ({name: change(value) for name, value in part.items()} for part in self.tensors)
        return Trained(weights, first, second, change(self.steps))

    def where(self, rows: Tensor, other: "Trained") -> "Trained":
        """These rows (bool [M]) are mine, all others the other's."""
        weights, first, second = (
            {name: torch.where(along(rows, value), value, theirs[name]) for name, value in mine.items()}
            for mine, theirs in zip(self.tensors, other.tensors, strict=True)
        )
        return Trained(weights, first, second, torch.where(rows, self.steps, other.steps))

    @property
    def tensors(self) -> tuple[Tensors, Tensors, Tensors]:
        """Weights and both moments."""
        return self.weights, self.first, self.second


Way = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(gradient [M, ...], both moments, steps [M]) -> which way to go, and both moments"""


def adam(gradient: Tensor, first: Tensor, second: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every number moves by about the rate."""
    decay, decay2 = (1 - beta ** steps.double() for beta in BETAS)
    first = first.lerp(gradient, 1 - BETAS[0])
    second = second * BETAS[1] + (1 - BETAS[1]) * gradient.square()
    size = (second / along(decay2, second)).sqrt() + EPSILON
    return first / along(decay, first) / size, first, second


def sgd(gradient: Tensor, first: Tensor, second: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Down the slope: it can be differentiated through."""
    return gradient, first, second


def muon(gradient: Tensor, first: Tensor, second: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every direction of a matrix moves alike (Jordan, 2024), its numbers by about the rate.

    What is rare in a window is written as firmly as what is frequent. No moments: a few steps cannot wait for a mean.
    """
    flat = gradient.flatten(2)
    way = orthogonal(flat) * max(flat.shape[1:]) ** 0.5
    return way.reshape(gradient.shape), first, second


WAYS: dict[str, Way] = {"adam": adam, "sgd": sgd, "muon": muon}


def step(
    now: Trained,
    gradients: Tensors,
    rate: Tensor,
    *,
    clip: float,
    start: Tensors | None = None,
    anchor: float = 0.0,
    way: Way = adam,
    pace: Tensors | None = None,
) -> Trained:
    """One step; a row whose rate (float [M]) is 0, or whose gradient is not finite, stays as it was, bit for bit.

    With an anchor, weights first go back towards `start` [1, ...] (decoupled from the gradient, as in AdamW). `pace`
    has a factor of the rate for each tensor by name.
    """
    # In the order of names: what was loaded from files has its tensors in another one, and sums are to be the same.
    length = torch.stack([gradients[name].flatten(1).square().sum(1) for name in sorted(gradients)]).sum(0).sqrt()
    moving = (rate > 0) & length.isfinite()
    # Without a bound nothing is divided, or gradients through this step would be of 0 times infinity.
    short = torch.where(moving, (clip / (length + 1e-6)).clamp(max=1) if clip < inf else 1.0, 0)
    steps = now.steps + 1
    weights, first, second = {}, {}, {}
    for name, value in now.weights.items():
        gradient = torch.where(along(moving, value), gradients[name], 0) * along(short, value)
        go, first[name], second[name] = way(gradient, now.first[name], now.second[name], steps)
        if start is not None and anchor:
            value = value - along(rate, value) * anchor * (value - start[name])
        far = along(rate, value) if pace is None else along(rate, value) * pace[name]
        weights[name] = value - far * go
    return Trained(weights, first, second, steps).where(moving, now)


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """[..., n, m] of the same singular vectors and singular values near 1, by a quintic Newton-Schulz iteration."""
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    square = wide.square().sum((-2, -1), keepdim=True)
    x = torch.where(square > 0, wide / torch.where(square > 0, square, 1).sqrt(), 0)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x if matrices.shape[-2] <= matrices.shape[-1] else x.mT


def along(row: Tensor, like: Tensor) -> Tensor:
    """[M] shaped and, where it is a number, typed to go with `like` [M, ...]."""
    row = row.reshape(-1, *[1] * (like.ndim - 1))
    return row.to(like.dtype) if row.is_floating_point() else row
