"""The last frames that B episodes showed, and the actions between them."""

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.types import FRAMES_PER_CHUNK, Context, Window

Rows = NDArray[np.bool_]


class History:
    """Before an episode's first frame, that frame stood still."""

    def __init__(self, past: int) -> None:
        self.past, self.length = past, past + FRAMES_PER_CHUNK
        self.count = np.zeros(0, np.int64)

    def add(self, pixels: NDArray[np.uint8], poses: NDArray[np.float32], actions: NDArray[np.float32], new: Rows) -> None:
        """One more frame of each row: pixels [B, h, w, 3], poses [B, P], and the actions [B, A] that led there.

        Rows that are `new` begin with it.
        """
        if len(self.count) != len(new):
            self.count = np.zeros(len(new), np.int64)
            new = np.ones(len(new), bool)
            self.pixels, self.poses, self.actions = (
                np.zeros((len(new), self.length, *one.shape[1:]), one.dtype) for one in (pixels, poses, actions)
            )
        self.pixels, self.poses = _later(self.pixels, pixels, new), _later(self.poses, poses, new)
        still = np.zeros_like(actions)
        self.actions = _later(self.actions, np.where(new[:, None], still, actions), new)
        self.count = np.where(new, 1, self.count + 1)

    @property
    def context(self) -> Context:
        """What a world is shown."""
        return Context(self.pixels[:, -self.past :], self.poses[:, -self.past :])

    @property
    def ripe(self) -> Rows:
        """[B] rows whose window holds `past` true frames and a chunk that nobody remembered yet."""
        return ((self.count - 1) % FRAMES_PER_CHUNK == 0) & (self.count > self.length)

    @property
    def window(self) -> Window:
        """What can be remembered."""
        silent = (("",) * self.length,) * len(self.count)
        return Window(self.pixels, self.poses, self.actions, silent, self.count - self.length)


def _later(held: NDArray[np.generic], frame: NDArray[np.generic], new: Rows) -> NDArray[np.generic]:
    """[B, T, ...] one frame on."""
    still = np.repeat(frame[:, None], held.shape[1], 1)
    gone_on = np.concatenate([held[:, 1:], frame[:, None]], 1)
    return np.where(new.reshape(-1, *[1] * (held.ndim - 1)), still, gone_on)
