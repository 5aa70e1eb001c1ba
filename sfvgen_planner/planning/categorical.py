"""The cross-entropy method over ids: discrete actions, or phrases of a closed list."""

from dataclasses import dataclass

import numpy as np

from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning.cem import elites_of
from sfvgen_planner.planning.noise import Noise
from sfvgen_planner.planning.solver import Values, at, moved
from sfvgen_planner.planning.space import Floats, Space


@dataclass(frozen=True)
class Chances:
    """How likely each id is at each step."""

    chance: Floats
    """[B, H, K]"""


@dataclass(frozen=True)
class CategoricalCEM:
    """Steps are drawn independently; the best draws make their ids likelier."""

    elites: float = 0.125
    momentum: float = 0.2
    """the share of the old chances that stays"""
    least: float = 0.02
    """the share of all chance that is spread evenly: no id is ever lost"""

    def __post_init__(self) -> None:
        if not (0 < self.elites <= 1 and 0 <= self.momentum < 1 and 0 <= self.least <= 1):
            raise BadOption(f"{self}", "elites in (0, 1], momentum in [0, 1), least 0 to 1", "Leave the defaults.")

    def rounds(self, space: Space, asked: int) -> int:
        """As asked."""
        return asked

    def begin(self, space: Space, rows: int) -> Chances:
        """All ids alike."""
        count = len(space.ids().allowed)
        return Chances(np.full((rows, space.horizon, count), 1 / count))

    def propose(self, space: Space, state: Chances, count: int, noise: Noise) -> Values:
        """[B, N, H] places in `allowed`; after the first round the likeliest sequence is among them."""
        drawn = noise.uniform(count, space.horizon)
        steps = np.cumsum(state.chance, -1)[:, None]
        values = (drawn[..., None] >= steps).sum(-1).clip(max=len(space.allowed) - 1)
        if noise.round:
            values[:, 0] = state.chance.argmax(-1)
        return np.asarray(values)

    def improve(self, space: Space, state: Chances, values: Values, scores: Floats) -> Chances:
        """Chances of the elites' ids."""
        count = len(space.allowed)
        chosen, counts = elites_of(scores, self.elites)
        there = counts[..., None, None]
        seen = (np.eye(count)[at(values, chosen)] * there).sum(1) / np.maximum(there.sum(1), 1)
        mixed = self.momentum * state.chance + (1 - self.momentum) * seen
        mixed = (1 - self.least) * mixed + self.least / count
        return Chances(np.where(there.any(1), mixed, state.chance))

    def answer(self, space: Space, state: Chances) -> Values | None:
        """The likeliest sequence."""
        return np.asarray(state.chance.argmax(-1)[:, None])

    def shifted(self, space: Space, state: Chances, steps: int) -> Chances:
        """Chances go on, half forgotten; of what lies behind the old horizon nothing is known."""
        count = len(space.allowed)
        return Chances(0.5 * moved(state.chance, steps, 1, 1 / count) + 0.5 / count)
