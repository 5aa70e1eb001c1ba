"""The cross-entropy method, plain and as iCEM (Pinneri et al., 2020): draw from a Gaussian, fit it to the best."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning.noise import Noise, coloured
from sfvgen_planner.planning.solver import Gaussian, Values, at, best, moved, unknown
from sfvgen_planner.planning.space import Floats, Space


@dataclass(frozen=True)
class CEM:
    """Independent numbers, nothing kept."""

    elites: float = 0.125
    """the share of candidates that the Gaussian is fitted to, two of them at least"""
    spread: float = 0.6
    """of the first candidates, in half ranges"""
    least: float = 0.02
    """spread never falls below, in half ranges"""
    momentum: float = 0.1
    """the share of the old Gaussian that stays"""

    def __post_init__(self) -> None:
        if not (0 < self.elites <= 1 and self.spread > 0 and self.least >= 0 and 0 <= self.momentum < 1):
            raise BadOption(f"{self}", "elites in (0, 1], spread above 0, momentum in [0, 1)", "Leave the defaults.")

    def rounds(self, space: Space, asked: int) -> int:
        """As asked."""
        return asked

    def begin(self, space: Space, rows: int) -> Gaussian:
        """Around the middle."""
        return unknown(space.vectors(), rows, self.spread)

    def propose(self, space: Space, state: Gaussian, count: int, noise: Noise) -> Values:
        """[B, N, H, A]; the mean itself is the first of them."""
        drawn = noise.normal(count, space.horizon, len(space.low))
        drawn[:, :1] = 0
        return space.clip(state.mean[:, None] + state.spread[:, None] * drawn)

    def improve(self, space: Space, state: Gaussian, values: Values, scores: Floats) -> Gaussian:
        """Fitted to the elites."""
        return fitted(space, state, values, scores, self.elites, self.momentum, self.least)

    def answer(self, space: Space, state: Gaussian) -> Values | None:
        """The mean."""
        return space.clip(state.mean[:, None])

    def shifted(self, space: Space, state: Gaussian, steps: int) -> Gaussian:
        """The mean goes on; how sure it was is forgotten."""
        fresh = unknown(space, len(state.mean), self.spread)
        return replace(fresh, mean=moved(state.mean, steps, 1, space.middle))


@dataclass(frozen=True)
class ICEM:
    """Coloured noise, elites kept from round to round and from plan to plan, fewer candidates each round."""

    elites: float = 0.125
    spread: float = 0.6
    least: float = 0.02
    momentum: float = 0.1
    colour: float = 2.0
    """the noise's power falls as frequency^-colour: 0 trembles, 2 sweeps"""
    reused: float = 0.3
    """the share of elites that is looked at again"""
    decay: float = 1.25
    """so many times fewer candidates each round"""

    def __post_init__(self) -> None:
        CEM(self.elites, self.spread, self.least, self.momentum)
        if not (0 <= self.colour <= 4 and 0 <= self.reused <= 1 and self.decay >= 1):
            raise BadOption(f"{self}", "colour 0 to 4, reused 0 to 1, decay from 1 up", "Leave the defaults.")

    def rounds(self, space: Space, asked: int) -> int:
        """As asked."""
        return asked

    def begin(self, space: Space, rows: int) -> Gaussian:
        """Around the middle."""
        return unknown(space.vectors(), rows, self.spread)

    def propose(self, space: Space, state: Gaussian, count: int, noise: Noise) -> Values:
        """The mean, the kept ones, and coloured noise around the mean."""
        wanted = max(round(count * self.decay**-noise.round), min(count, 4))
        old = np.concatenate([state.mean[:, None], state.kept], 1)[:, :wanted]
        white = noise.normal(wanted - old.shape[1], 2 * space.horizon, len(space.low))
        new = state.mean[:, None] + state.spread[:, None] * coloured(white, self.colour)
        return space.clip(np.concatenate([old, new], 1))

    def improve(self, space: Space, state: Gaussian, values: Values, scores: Floats) -> Gaussian:
        """Fitted to the elites, some of which are kept."""
        now = fitted(space, state, values, scores, self.elites, self.momentum, self.least)
        count = max(1, round(self.reused * elite_count(values.shape[1], self.elites)))
        return replace(now, kept=at(values, best(scores, count)))

    def answer(self, space: Space, state: Gaussian) -> Values | None:
        """The mean."""
        return space.clip(state.mean[:, None])

    def shifted(self, space: Space, state: Gaussian, steps: int) -> Gaussian:
        """Mean and kept candidates go on as they would have gone on."""
        fresh = unknown(space, len(state.mean), self.spread)
        return replace(fresh, mean=moved(state.mean, steps, 1), kept=moved(state.kept, steps, 2))


def elite_count(candidates: int, share: float) -> int:
    """Two at least, or the spread would be 0 at once."""
    return min(candidates, max(2, round(share * candidates)))


def elites_of(scores: Floats, share: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """[B, K] the best places, and which of them count: where rewards are rare most candidates are equally worthless,
    and who is no better than the middle one would only teach the order of the list."""
    chosen = best(scores, elite_count(scores.shape[1], share))
    there = np.isfinite(scores)
    middle = np.array(
        [np.median(row[finite]) if finite.any() else np.inf for row, finite in zip(scores, there, strict=True)]
    )
    return chosen, np.take_along_axis(scores, chosen, 1) > middle[:, None]


def fitted(
    space: Space, state: Gaussian, values: Values, scores: Floats, share: float, momentum: float, least: float
) -> Gaussian:
    """The Gaussian of the elites; where there are fewer than wanted, spread stays; without any, all stays."""
    chosen, counts = elites_of(scores, share)
    there = counts[..., None, None]
    elites, count = at(values, chosen), np.maximum(there.sum(1), 1)
    mean = (elites * there).sum(1) / count
    spread = np.sqrt((np.square(elites - mean[:, None]) * there).sum(1) / count)
    sure = there.mean(1)
    spread = sure * spread + (1 - sure) * state.spread
    mean = momentum * state.mean + (1 - momentum) * mean
    spread = np.maximum(momentum * state.spread + (1 - momentum) * spread, least * space.half)
    found = there.any(1)
    return replace(state, mean=np.where(found, mean, state.mean), spread=np.where(found, spread, state.spread))
