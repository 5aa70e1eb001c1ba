"""Our worlds for others' solvers: the duck type `get_cost(info, actions [B, S, H, A]) -> costs [B, S]`.

That is what stable-worldmodel's solvers (CEM, iCEM, MPPI, ...) ask of a model. Nothing of that package is imported.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_planner.errors import BadAction, BadState
from sfvgen_planner.planning.goal import Goal
from sfvgen_planner.planning.rollouts import joined, plain
from sfvgen_planner.planning.space import Space
from sfvgen_planner.planning.splitting import Split
from sfvgen_planner.types import Actions, Array, Context, Imagine, Rollout


class CostModel:
    """A world and an objective as one such model. A cost is minus a score; what is not finite costs infinitely much."""

    def __init__(
        self,
        imagine: Imagine,
        objective: Callable[[Rollout, Goal], Array],
        low: Sequence[float],
        high: Sequence[float],
        *,
        device: torch.device | str = "cpu",
        at_once: int | None = None,
    ) -> None:
        self.imagine, self.objective = imagine, objective
        self.space, self.split = Space.box(low, high, 1), Split(at_once)
        self._like = torch.zeros(1, device=device)

    def parameters(self) -> Iterator[Tensor]:
        """One number: solvers look here for dtype and device."""
        yield self._like

    def get_cost(self, info: Mapping[str, Any], actions: Any) -> Tensor:
        """[B, S] costs of S candidates for each of B environments.

        `info` holds `pixels` [B, S, T, ...], pictures uint8 or 0 to 1, channels first or last; `pose` [B, S, T, P]; and
        `goal`, a picture, if the objective wants one. All candidates of a row begin alike, so only the first is read.
        Solvers draw from Gaussians, so actions [B, S, H, k * A] are clipped to the bounds; k frames in one step, as
        stable-worldmodel's `action_block` has it, are taken apart.
        """
        values = plain(actions)
        size = len(self.space.low)
        if values.ndim != 4 or values.shape[3] % size:
            raise BadAction(f"actions {list(values.shape)}", f"[B, S, H, {size} or a multiple]", "See `action_block`.")
        rows, samples = values.shape[:2]
        values = self.space.clip(values.reshape(rows, samples, -1, size))
        context = Context(pictures(_need(info, "pixels")), plain(_need(info, "pose"))[:, 0].astype(np.float32))
        image = pictures(info["goal"]) if "goal" in info else None
        goal = Goal(image=image[:, -1] if image is not None else None)
        goal.check(context)

        def ask(first: int, end: int) -> Rollout:
            asked: Actions = self.space.actions(values[:, first:end])
            return replace(self.imagine(context, asked), actions=asked)

        scores = plain(self.objective(joined(list(self.split.parts(samples, ask))), goal))
        costs = np.where(np.isfinite(scores), -scores, np.inf)
        return torch.as_tensor(costs, dtype=self._like.dtype, device=self._like.device)


def pictures(values: Any) -> NDArray[np.uint8]:
    """[B, S, (T), ...] -> uint8 [B, T, h, w, 3] of the first candidate."""
    array = plain(values)[:, 0]
    whole = isinstance(values, np.ndarray | Tensor) and "uint8" in str(values.dtype)
    if array.ndim == 4:
        array = array[:, None]
    if array.ndim != 5 or 3 not in (array.shape[-1], array.shape[2]):
        raise BadState(
            f"pictures {list(np.shape(values))}", "[B, S, T, h, w, 3] or [B, S, T, 3, h, w]", "Leave them as observed."
        )
    if array.shape[-1] != 3:
        array = np.moveaxis(array, 2, -1)
    if not whole and (array.min() < 0 or array.max() > 1):
        raise BadState(
            f"pictures from {array.min():.3g} to {array.max():.3g}", "uint8, or numbers 0 to 1", "Do not normalise."
        )
    return np.asarray((array if whole else 255 * array).round(), np.uint8)


def _need(info: Mapping[str, Any], key: str) -> Any:
    if key not in info:
        raise BadState(f"info with {sorted(info)}", f"{key!r} in it", "Hand on what the environment showed.")
    return info[key]
