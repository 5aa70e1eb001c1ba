"""Model predictive path integral control: candidates around a mean, averaged by the exponent of their scores."""

from dataclasses import dataclass, replace

import numpy as np

from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning.cem import elites_of
from sfvgen_planner.planning.noise import Noise, coloured
from sfvgen_planner.planning.solver import Gaussian, Values, at, moved, unknown
from sfvgen_planner.planning.space import Floats, Space


@dataclass(frozen=True)
class MPPI:
    """Only elites count; the temperature is in units of their scores' spread, so disasters change nothing."""

    temperature: float = 0.5
    """small: the best alone counts; large: all elites alike"""
    elites: float = 0.25
    """the share of candidates that counts"""
    spread: float = 0.5
    """of the candidates, in half ranges"""
    shrink: float = 0.8
    """each round's spread is so many times the one before; a new plan begins with all of it"""
    colour: float = 1.0
    """of the noise, as in ICEM"""

    def __post_init__(self) -> None:
        shares = 0 < self.shrink <= 1 and 0 < self.elites <= 1
        if self.temperature <= 0 or self.spread <= 0 or not 0 <= self.colour <= 4 or not shares:
            raise BadOption(
                f"{self}", "temperature and spread above 0, shares up to 1, colour 0 to 4", "Leave the defaults."
            )

    def rounds(self, space: Space, asked: int) -> int:
        """As asked."""
        return asked

    def begin(self, space: Space, rows: int) -> Gaussian:
        """Around the middle."""
        return unknown(space.vectors(), rows, self.spread)

    def propose(self, space: Space, state: Gaussian, count: int, noise: Noise) -> Values:
        """[B, N, H, A]; the mean itself is the first of them."""
        drawn = coloured(noise.normal(count, 2 * space.horizon, len(space.low)), self.colour)
        drawn[:, :1] = 0
        return space.clip(state.mean[:, None] + state.spread[:, None] * drawn)

    def improve(self, space: Space, state: Gaussian, values: Values, scores: Floats) -> Gaussian:
        """The weighted mean; a row whose candidates were all dropped stays as it was."""
        chosen, counts = elites_of(scores, self.elites)
        weights = softened(np.where(counts, np.take_along_axis(scores, chosen, 1), -np.inf), self.temperature)
        found = (weights.sum(1) > 0)[:, None, None]
        mean = np.einsum("bn,bnha->bha", weights, at(values, chosen))
        spread = np.where(found, self.shrink * state.spread, state.spread)
        return replace(state, mean=np.where(found, mean, state.mean), spread=spread)

    def answer(self, space: Space, state: Gaussian) -> Values | None:
        """The mean."""
        return space.clip(state.mean[:, None])

    def shifted(self, space: Space, state: Gaussian, steps: int) -> Gaussian:
        """The mean goes on."""
        return replace(unknown(space, len(state.mean), self.spread), mean=moved(state.mean, steps, 1))


def softened(scores: Floats, temperature: float) -> Floats:
    """[B, N] weights that add up to 1; all 0 where no score is finite."""
    there = np.isfinite(scores)
    held = np.where(there, scores, 0.0)
    count = np.maximum(there.sum(1, keepdims=True), 1)
    mean = held.sum(1, keepdims=True) / count
    spread = np.sqrt((np.square(held - mean) * there).sum(1, keepdims=True) / count)
    top = np.where(there, scores, -np.inf).max(1, keepdims=True)
    below = np.where(there, scores - np.where(np.isfinite(top), top, 0.0), -np.inf)
    raised = np.exp(below / (temperature * spread + 1e-12))
    return np.asarray(raised / np.maximum(raised.sum(1, keepdims=True), 1e-300))
