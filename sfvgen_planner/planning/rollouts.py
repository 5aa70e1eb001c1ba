"""Rollouts taken apart and put together, whether numpy or torch holds them."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfvgen_planner.types import Actions, Array, Rollout

PER_FRAME = ("poses", "rewards", "success", "terminated", "pixels", "latents", "doubt")
"""Fields [B, N, T, ...]."""


def plain(values: Array) -> NDArray[np.float64]:
    """As float64 on the CPU."""
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64)
    return np.asarray(values, np.float64)


def chosen(rollout: Rollout, places: NDArray[np.int64]) -> Rollout:
    """Candidates [B, K] of each row."""
    rows = np.arange(len(places))[:, None]

    def taken(values: Array) -> Array:
        if isinstance(values, torch.Tensor):
            device = values.device
            return values[torch.as_tensor(rows, device=device), torch.as_tensor(places, device=device)]
        return values[rows, places]

    made = {name: taken(value) for name, value in _arrays(rollout)}
    return replace(rollout, **made, actions=picked(rollout.actions, places))


def picked(actions: Actions | None, places: NDArray[np.int64]) -> Actions | None:
    """The same of actions."""
    if actions is None:
        return None
    return replace(actions, values=actions.values[np.arange(len(places))[:, None], places])


def joined(parts: Sequence[Rollout], axis: int = 1) -> Rollout:
    """Side by side: more candidates (axis 1) or more frames (axis 2) of the same rows."""
    if len(parts) == 1:
        return parts[0]
    made = {name: _cat([getattr(part, name) for part in parts], axis) for name, _ in _arrays(parts[0])}
    told = [part.actions for part in parts]
    first = told[0]
    if first is not None and all(one is not None for one in told):
        values = np.concatenate([one.values for one in told if one is not None], axis)
        return replace(parts[0], **made, actions=replace(first, values=values))
    return replace(parts[0], **made, actions=None)


def _arrays(rollout: Rollout) -> list[tuple[str, Any]]:
    held = {field.name for field in fields(Rollout)} & {*PER_FRAME}
    return [(name, getattr(rollout, name)) for name in sorted(held) if getattr(rollout, name) is not None]


def _cat(values: Sequence[Array], axis: int) -> Array:
    if isinstance(values[0], torch.Tensor):
        return torch.cat([*values], axis)
    return np.concatenate([*values], axis)
