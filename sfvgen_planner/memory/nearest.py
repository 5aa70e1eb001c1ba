"""Which of many views are most like one."""

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.memory.view import View

ROUNDING = 1e-5
"""Of squared lengths, in single precision and to spare."""


class Group:
    """Memories that were written alike, by what their views are."""

    def __init__(self, names: list[str], views: NDArray[np.float32]) -> None:
        """Views [N, D] in the order of the names."""
        self.names, self.views = names, views
        self.squares = np.square(views).sum(1)

    def nearest(self, view: View, k: int) -> dict[str, float]:
        """The k nearest with their distances, nearest first."""
        asked = view.numbers.astype(np.float32)
        # One product finds who may be meant; rounding must not decide between them.
        rough = self.squares - 2 * (self.views @ asked)
        slack = ROUNDING * (float(self.squares.max()) + float(asked @ asked))
        last = np.partition(rough, min(k, len(rough)) - 1)[min(k, len(rough)) - 1]
        some = np.flatnonzero(rough <= last + slack)
        away = np.linalg.norm(self.views[some].astype(np.float64) - asked, axis=1)
        order = np.argsort(away, kind="stable")[:k]
        return {self.names[some[i]]: float(away[i]) for i in order}
