"""What is searched: sequences of H decisions, each a bounded vector, one of some ids, or one of some phrases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import FRAMES_PER_CHUNK, Actions

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Space:
    """Use `Space.box`, `Space.discrete` or `Space.phrases`."""

    kind: Literal["vector", "discrete", "phrase"]
    horizon: int
    """H: how many decisions; a phrase is one, and lasts a chunk"""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    """bounds of a vector's A numbers"""
    allowed: tuple[int, ...] = ()
    """K ids, of actions or of phrases"""

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise BadOption(f"a horizon of {self.horizon}", "1 decision or more", "Look at least one step ahead.")
        bounds = np.array([self.low, self.high], float)
        if self.kind == "vector" and not (bounds.size and np.isfinite(bounds).all() and (bounds[0] < bounds[1]).all()):
            raise BadOption(
                f"bounds {self.low} to {self.high}", "finite numbers, low < high", "Take the action space's."
            )
        if self.kind != "vector" and (not self.allowed or len({*self.allowed}) < len(self.allowed)):
            raise BadOption(
                f"{self.kind} ids {list(self.allowed)}", "one or more, none twice", "Name what may be chosen."
            )

    @classmethod
    def box(cls, low: Sequence[float], high: Sequence[float], horizon: int) -> "Space":
        """Vectors of A numbers."""
        if len(low) != len(high):
            raise BadOption(f"{len(low)} lower and {len(high)} upper bounds", "as many", "Give each number both.")
        return cls("vector", horizon, tuple(map(float, low)), tuple(map(float, high)))

    @classmethod
    def discrete(cls, count: int, horizon: int, first: int = 0) -> "Space":
        """Ids of a discrete action space."""
        return cls("discrete", horizon, allowed=tuple(range(first, first + count)))

    @classmethod
    def phrases(cls, allowed: int | Sequence[int], chunks: int) -> "Space":
        """Phrases of a closed list, all of so many or some; H counts chunks."""
        ids = range(allowed) if isinstance(allowed, int) else allowed
        return cls("phrase", chunks, allowed=tuple(ids))

    @property
    def frames(self) -> int:
        """How many frames a sequence lasts."""
        return self.horizon * self.frames_each

    @property
    def frames_each(self) -> int:
        """How many frames a decision lasts."""
        return FRAMES_PER_CHUNK if self.kind == "phrase" else 1

    @property
    def half(self) -> Floats:
        """[A] half of each number's range."""
        return np.asarray((np.array(self.high) - np.array(self.low)) / 2)

    @property
    def middle(self) -> Floats:
        """[A]."""
        return np.asarray((np.array(self.high) + np.array(self.low)) / 2)

    def clip(self, values: Floats) -> Floats:
        """[..., A] within the bounds."""
        return np.clip(values, self.low, self.high)

    def vectors(self) -> "Space":
        """Itself, for a solver that needs numbers."""
        if self.kind != "vector":
            raise BadOption(f"a search in {self.kind} ids", "vectors", "Choose categorical or beam.")
        return self

    def ids(self) -> "Space":
        """Itself, for a solver that needs choices."""
        if self.kind == "vector":
            raise BadOption("a search in vectors", "ids or phrases", "Choose shooting, cem, icem, mppi or predictive.")
        return self

    def actions(self, values: NDArray[Any]) -> Actions:
        """What solvers make, [B, N, H, A] or places in `allowed` [B, N, H], as the world takes it."""
        if self.kind == "vector":
            # Rounding to float32 may step over a bound that float32 does not know.
            low, high = (np.array(bound, np.float32) for bound in (self.low, self.high))
            return Actions("vector", np.clip(values.astype(np.float32), low, high))
        return Actions(self.kind, np.array(self.allowed)[values])
