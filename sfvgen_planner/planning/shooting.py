"""Solvers that learn nothing, or only what was best: random shooting and predictive sampling."""

from dataclasses import dataclass, replace

import numpy as np

from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning.noise import Noise
from sfvgen_planner.planning.solver import Gaussian, Values, at, best, moved, unknown
from sfvgen_planner.planning.space import Floats, Space


@dataclass(frozen=True)
class RandomShooting:
    """Everything drawn evenly within the bounds, and the best of it taken."""

    def rounds(self, space: Space, asked: int) -> int:
        """As asked."""
        return asked

    def begin(self, space: Space, rows: int) -> Gaussian:
        """Nothing is known."""
        return unknown(space.vectors(), rows, 1.0)

    def propose(self, space: Space, state: Gaussian, count: int, noise: Noise) -> Values:
        """[B, N, H, A]."""
        drawn = noise.uniform(count, space.horizon, len(space.low))
        return space.middle + space.half * (2 * drawn - 1)

    def improve(self, space: Space, state: Gaussian, values: Values, scores: Floats) -> Gaussian:
        """Nothing is learned."""
        return state

    def answer(self, space: Space, state: Gaussian) -> Values | None:
        """Nothing beside what was seen."""
        return None

    def shifted(self, space: Space, state: Gaussian, steps: int) -> Gaussian:
        """Nothing is carried over."""
        return state


@dataclass(frozen=True)
class PredictiveSampling:
    """The best sequence so far, disturbed at a few knots; whatever beats it takes its place (Howell et al., 2022)."""

    knots: int = 4
    """between them the disturbance is linear"""
    spread: float = 0.5
    """of the disturbance, in half ranges"""
    shrink: float = 0.8
    """each round's spread is so many times the one before; a new plan begins with all of it"""

    def __post_init__(self) -> None:
        if self.knots < 1 or self.spread <= 0 or not 0 < self.shrink <= 1:
            raise BadOption(f"{self}", "1 knot or more, spread above 0, shrink up to 1", "Leave the defaults.")

    def rounds(self, space: Space, asked: int) -> int:
        """As asked."""
        return asked

    def begin(self, space: Space, rows: int) -> Gaussian:
        """Standing in the middle."""
        return unknown(space.vectors(), rows, self.spread)

    def propose(self, space: Space, state: Gaussian, count: int, noise: Noise) -> Values:
        """The best so far is the first of them."""
        knots = min(self.knots, space.horizon)
        drawn = noise.normal(count, knots, len(space.low))
        drawn[:, :1] = 0
        places = np.linspace(0, knots - 1, space.horizon) if knots > 1 else np.zeros(space.horizon)
        below = np.minimum(places.astype(int), max(knots - 2, 0))
        share = (places - below)[:, None]
        between = (1 - share) * drawn[:, :, below] + share * drawn[:, :, np.minimum(below + 1, knots - 1)]
        return space.clip(state.mean[:, None] + state.spread[:, None] * between)

    def improve(self, space: Space, state: Gaussian, values: Values, scores: Floats) -> Gaussian:
        """The best becomes what is disturbed next."""
        first = at(values, best(scores, 1))[:, 0]
        found = np.asarray(np.isfinite(scores).any(1))[:, None, None]
        return replace(state, mean=np.where(found, first, state.mean), spread=self.shrink * state.spread)

    def answer(self, space: Space, state: Gaussian) -> Values | None:
        """It was seen."""
        return None

    def shifted(self, space: Space, state: Gaussian, steps: int) -> Gaussian:
        """Goes on as it would have gone on."""
        return replace(unknown(space, len(state.mean), self.spread), mean=moved(state.mean, steps, 1))
