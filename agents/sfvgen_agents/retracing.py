"""The way back along the frames that a memory has kept: no picture of the goal shows it, and no word names a place."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sfvgen_planner.world.address import rotation

Floats = NDArray[np.float64]
BACK = "the way you came"
"""Where an instruction says this, what is wanted is where one has been."""
COUNT, APART = 6, 1.0
"""Places ahead that a plan is to pass, and metres between them: a car does so much within a plan."""
FACING = 3.0
"""Metres that half of a full turn away from the way's direction is worth twice: whoever faces it is faster later."""
LOOK = 8.0
"""Metres of the way, beyond where one was last, that one may be at now: a way may cross itself."""


@dataclass(frozen=True)
class Trail:
    """A way to be gone, and how far one has come."""

    places: Floats
    """[K, 3] in metres, from here on"""
    along: float = 0.0
    """metres of it behind one"""

    @staticmethod
    def back(kept: Floats, here: Floats) -> "Trail":
        """From here [3] by places [K, 3] where something was seen, the oldest first, to where the episode began: all
        places are relative to that."""
        return Trail(np.concatenate([here[None], kept[::-1], np.zeros((1, 3))]))

    @property
    def metres(self) -> Floats:
        """[K] how far along the way each of its places is."""
        steps = np.linalg.norm(np.diff(self.places, axis=0), axis=1)
        return np.concatenate([np.zeros(1), steps.cumsum()])

    def at(self, metres: Floats) -> Floats:
        """[M, 3]: where the way is after so many metres [M]; at its end it ends."""
        known = self.metres
        return np.stack([np.interp(metres, known, axis) for axis in self.places.T], -1)

    def gone(self, here: Floats) -> "Trail":
        """As far along as the nearest place of what may have been gone since."""
        near = self.along + np.linspace(0, LOOK, 81)
        found = near[np.linalg.norm(self.at(near) - here, axis=1).argmin()]
        return Trail(self.places, float(min(found, self.metres[-1])))

    def ahead(self) -> Floats:
        """[COUNT, 3]: places to be passed next."""
        return self.at(self.along + APART * np.arange(1, COUNT + 1, dtype=np.float64))


def astray(places: Floats, poses: Floats) -> Floats:
    """[B, N], 0 to 2: by how much poses [B, N, >= 7] do not face the way of places [B, M, 3], as 1 minus the cosine."""
    way = places[:, -1] - places[:, 0]
    way = way / np.maximum(np.linalg.norm(way, axis=-1, keepdims=True), 1e-6)
    facing = -rotation(torch.as_tensor(np.asarray(poses, np.float64)[..., 3:7]))[..., 2].numpy()
    return np.asarray(1 - (facing * way[:, None]).sum(-1))
