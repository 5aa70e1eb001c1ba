"""The last frames that B episodes showed, and the actions between them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.types import FRAMES_PER_CHUNK, Context, Window

Rows = NDArray[np.bool_]
Values = NDArray[Any]


class History:
    """Before an episode's first frame, that frame stood still."""

    def __init__(self, past: int) -> None:
        self.past, self.length = past, past + FRAMES_PER_CHUNK
        self.count = np.zeros(0, np.int64)
        self.actions: Values | None = None

    def add(self, pixels: Values, poses: Values, led: Values | None, new: Rows) -> None:
        """One more frame of each row: pixels [B, h, w, 3], poses [B, P], and the actions that led there, [B, A] or ids.

        Rows that are `new` begin with it; before anybody acted there is nothing that led.
        """
        first = len(self.count) != len(new)
        if first:
            self.count, new = np.zeros(len(new), np.int64), np.ones(len(new), bool)
            self.pixels, self.poses = (np.repeat(one[:, None], self.length, 1) for one in (pixels, poses))
        self.pixels, self.poses = _later(self.pixels, pixels, new), _later(self.poses, poses, new)
        if led is not None:
            led = np.where(new.reshape(-1, *[1] * (led.ndim - 1)), np.zeros_like(led), led)
            held = self.actions if self.actions is not None else np.repeat(np.zeros_like(led)[:, None], self.length, 1)
            self.actions = _later(held, led, new)
        self.count = np.where(new, 1, self.count + 1)

    @property
    def context(self) -> Context:
        """What a world is shown."""
        return Context(self.pixels[:, -self.past :], self.poses[:, -self.past :])

    @property
    def ripe(self) -> Rows:
        """[B] rows whose window holds `past` true frames and a chunk that nobody remembered yet."""
        return np.asarray(((self.count - 1) % FRAMES_PER_CHUNK == 0) & (self.count > self.length))

    @property
    def window(self) -> Window:
        """What can be remembered."""
        silent = (("",) * self.length,) * len(self.count)
        return Window(self.pixels, self.poses, self.actions, silent, self.count - self.length)


def _later(held: Values, frame: Values, new: Rows) -> Values:
    """[B, T, ...] one frame on."""
    still = np.repeat(frame[:, None], held.shape[1], 1)
    gone_on = np.concatenate([held[:, 1:], frame[:, None]], 1)
    return np.where(new.reshape(-1, *[1] * (held.ndim - 1)), still, gone_on)
