"""The state of an episode as a value, and what one step amounts to."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sfvgen_envs.scene import Scene

P = TypeVar("P")


@dataclass(frozen=True)
class EnvState:
    """All that is needed to go on bit for bit, in this environment or in another of the same task."""

    task: str
    length: str
    scene: Scene
    physics: NDArray[np.float64]
    """MuJoCo's mjSTATE_INTEGRATION"""
    progress: Any
    """the task's own bookkeeping, a frozen value"""
    maneuver: Any
    """what the last phrase set out to do, or None"""
    steps: int
    origin: NDArray[np.float64]
    """[7] camera pose at the episode's start"""
    rng: dict[str, Any]


@dataclass(frozen=True)
class Verdict(Generic[P]):
    """What one step amounts to."""

    progress: P
    reward: float
    terminated: bool
