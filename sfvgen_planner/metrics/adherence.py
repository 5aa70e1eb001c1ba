"""Does the video do what it was told? A judge reads actions out of clips; here they are held against the command."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.errors import BadOption

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Adherence:
    """How well commands can be read from generated and from real clips of the same moments."""

    made: float
    real: float
    """what the reader can do at best: its score on the true video"""
    n: int
    """how many commands"""

    @property
    def ratio(self) -> float:
        """1: the dream obeys as visibly as the world; nan where even real clips tell nothing."""
        return self.made / self.real if self.real > 0 else float("nan")


def action_adherence(made: Any, real: Any, told: Any) -> Adherence:
    """From actions read out of generated and real clips, and those commanded: each [..., A], alike in scale."""
    return Adherence(explained(made, told), explained(real, told), int(np.prod(np.shape(told)[:-1])))


def phrase_adherence(made: Any, real: Any, told: Any) -> Adherence:
    """From logits [N, P] read out of generated and real clips, and ids [N] commanded."""
    return Adherence(accuracy(made, told), accuracy(real, told), len(np.asarray(told)))


def explained(read: Any, told: Any) -> float:
    """R^2 over all action numbers together, floored at 0: a video that moves half as far as told does not get 1."""
    a, b = (np.asarray(values, np.float64) for values in (read, told))
    if a.shape != b.shape or a.ndim < 2 or a.size == 0:
        raise BadOption(f"actions of shapes {list(a.shape)} and {list(b.shape)}", "[..., A] alike", "Pair them.")
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BadOption("actions that are not finite", "numbers", "Look which clip was read as nan.")
    spread = np.square(b - b.mean(0)).sum()
    if spread == 0:
        raise BadOption("commands that are all the same", "different commands", "Nothing can be read from these.")
    return max(1.0 - float(np.square(a - b).sum() / spread), 0.0)


def accuracy(logits: Any, told: Any) -> float:
    """Share of rows whose largest logit is the one commanded."""
    values, ids = np.asarray(logits, np.float64), np.asarray(told)
    if values.ndim != 2 or ids.shape != values.shape[:1] or len(ids) == 0:
        raise BadOption(f"logits {list(values.shape)} for ids {list(ids.shape)}", "[N, P] and [N]", "Pair them.")
    if ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= values.shape[1]:
        raise BadOption("phrase ids outside the logits", f"whole numbers 0 to {values.shape[1] - 1}", "Check the list.")
    return float((values.argmax(1) == ids).mean())
