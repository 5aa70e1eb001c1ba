"""Adam for many rows at once: each row has its own moments, its own age, its own rate, and may sit a step out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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


def step(
    now: Trained, gradients: Tensors, rate: Tensor, *, clip: float, start: Tensors | None = None, anchor: float = 0.0
) -> Trained:
    """One step; a row whose rate (float [M]) is 0, or whose gradient is not finite, stays as it was, bit for bit.

    With an anchor, weights first go back towards `start` [1, ...] (decoupled from the gradient, as in AdamW).
    """
    length = torch.stack([value.flatten(1).square().sum(1) for value in gradients.values()]).sum(0).sqrt()
    moving = (rate > 0) & length.isfinite()
    short = torch.where(moving, (clip / (length + 1e-6)).clamp(max=1), 0)
    steps = now.steps + 1
    decay, decay2 = (1 - beta ** steps.double() for beta in BETAS)
    weights, first, second = {}, {}, {}
    for name, value in now.weights.items():
        gradient = torch.where(along(moving, value), gradients[name], 0) * along(short, value)
        first[name] = now.first[name].lerp(gradient, 1 - BETAS[0])
        second[name] = now.second[name] * BETAS[1] + (1 - BETAS[1]) * gradient.square()
        size = (second[name] / along(decay2, value)).sqrt() + EPSILON
        if start is not None and anchor:
            value = value - along(rate, value) * anchor * (value - start[name])
        weights[name] = value - along(rate / decay, value) * first[name] / size
    return Trained(weights, first, second, steps).where(moving, now)


def along(row: Tensor, like: Tensor) -> Tensor:
    """[M] shaped and, where it is a number, typed to go with `like` [M, ...]."""
    row = row.reshape(-1, *[1] * (like.ndim - 1))
    return row.to(like.dtype) if row.is_floating_point() else row
