"""Where a search begins: some of its first candidates are somebody's proposals."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning.goal import Goal
from sfvgen_planner.planning.noise import Noise
from sfvgen_planner.planning.space import Floats, Space
from sfvgen_planner.types import Context

Propose = Callable[[Context, Goal, int, Noise], Floats]
"""(context, goal, N, noise) -> vectors [B, N, H, A], likeliest first, for a horizon of their own; a row hangs on its
own noise alone"""
APART = 1 << 20
"""The round that proposals draw in: no solver gets so far."""


@dataclass(frozen=True)
class Proposals:
    """A share of each plan's first candidates."""

    propose: Propose
    share: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise BadOption(f"a share of {self.share}", "above 0, and up to 1", "Leave proposals out for none.")

    def among(self, space: Space, values: Floats, context: Context, goal: Goal, seeds: np.ndarray, plan: int) -> Floats:
        """Candidates [B, N, H, A] whose first ones are proposals; the solver's last ones make room for them.

        They are first because of equally good candidates the first is taken: where the world knows no difference,
        the likeliest proposal is done. Beyond their horizon they go on as the candidates in whose place they are.
        """
        space.vectors()
        count = max(1, round(self.share * values.shape[1]))
        told = self.propose(context, goal, count, Noise(seeds, plan, APART))[:, :, : space.horizon]
        begun = values[:, -count:].copy()
        begun[:, :, : told.shape[2]] = space.clip(told)
        return np.concatenate([begun, values[:, :-count]], 1)
