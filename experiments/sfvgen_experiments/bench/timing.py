"""Ways of doing the same timed in turns, so that a slow moment of the machine hits all of them."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def in_turns(repeats: int, *ways: Callable[[], object]) -> NDArray[np.float64]:
    """[repeats, ways] seconds."""
    taken = np.empty((repeats, len(ways)))
    for row in taken:
        for column, way in enumerate(ways):
            began = time.perf_counter()
            way()
            row[column] = time.perf_counter() - began
    return taken
