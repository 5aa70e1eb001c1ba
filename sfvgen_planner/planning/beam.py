"""Beam search: sequences grow by one id a round; of all continuations the best few go on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning.noise import Noise
from sfvgen_planner.planning.solver import Values, at, best
from sfvgen_planner.planning.space import Floats, Space


@dataclass(frozen=True)
class Beam:
    """The beginnings that are still followed."""

    prefixes: NDArray[np.int64]
    """[B, W, d] places in `allowed`, best first"""


@dataclass(frozen=True)
class BeamSearch:
    """A tree over ids or language sub-goals. As wide as the candidates allow: N ids in all, so N // K beginnings.

    As many rounds as the horizon has steps, whatever is asked: a shorter sequence is no answer to a longer question.
    """

    width: int | None = None
    """the most beginnings that are followed"""

    def rounds(self, space: Space, asked: int) -> int:
        """One a step."""
        return space.horizon

    def begin(self, space: Space, rows: int) -> Beam:
        """The empty beginning."""
        space.ids()
        return Beam(np.zeros((rows, 1, 0), np.int64))

    def propose(self, space: Space, state: Beam, count: int, noise: Noise) -> Values:
        """[B, W * K, d + 1]: every beginning, continued by every id."""
        choices = len(space.allowed)
        width = min(count // choices, self.width or count)
        if width < 1:
            raise BadOption(f"{count} candidates for {choices} ids", f"{choices} or more", "Widen budget.candidates.")
        kept = state.prefixes[:, :width]
        rows, beams, depth = kept.shape
        grown = np.empty((rows, beams, choices, depth + 1), np.int64)
        grown[..., :depth] = kept[:, :, None]
        grown[..., depth] = np.arange(choices)
        return grown.reshape(rows, beams * choices, depth + 1)

    def improve(self, space: Space, state: Beam, values: Values, scores: Floats) -> Beam:
        """Sorted by score."""
        return Beam(at(values, best(scores, values.shape[1])))

    def answer(self, space: Space, state: Beam) -> Values | None:
        """It was seen."""
        return None

    def shifted(self, space: Space, state: Beam, steps: int) -> Beam:
        """Nothing is carried over: a tree is grown anew."""
        return self.begin(space, len(state.prefixes))
