"""How far a later action leaks into earlier frames: what a planner of single actions must know of its denoiser."""

from dataclasses import replace

import torch
from torch import Tensor

from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.denoiser import Cache, Denoiser
from sfvgen_planner.world.lowrank import LowRank


def leak(
    denoiser: Denoiser,
    cache: Cache,
    noisy: Tensor,
    level: Tensor,
    conditions: Conditions,
    other: Conditions,
    memory: LowRank | None = None,
) -> Tensor:
    """[R, T, T]: entry (k, j) is the relative change of the answer for frame j when frame k's action becomes `other`'s.

    `leak(...).tril(-1)` is what should not be: earlier frames that change. A causal denoiser has exactly 0 there.
    """
    changes = []
    with torch.no_grad():
        before = denoiser.denoise(cache, noisy, level, conditions, memory).output
        for k in range(conditions.frames):
            frame = conditions.frame.clone()
            frame[:, k] = other.frame[:, k]
            after = denoiser.denoise(cache, noisy, level, replace(conditions, frame=frame), memory).output
            changes.append(_per_frame(after - before) / _per_frame(before))
    return torch.stack(changes, 1)


def _per_frame(x: Tensor) -> Tensor:
    """[R, T, C, h, w] -> [R, T]."""
    return x.flatten(2).square().sum(2).sqrt()
