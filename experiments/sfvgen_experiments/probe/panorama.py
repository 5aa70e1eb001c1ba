"""A made-up world to try memories in: an endless panorama, drawn anew for each episode, before a camera that pans.

Latents are made directly, no codec is in between. What a place looks like follows from nothing else, so whoever
foresees it when it comes back has remembered it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_planner.learning.latents import LatentWindow
from sfvgen_planner.types import Window
from sfvgen_planner.world.address import rays
from sfvgen_planner.world.layout import Embodiment, Layout, Motion

CHANNELS, SIDE = 4, 8
FOVY, PAN = 45.0, 2 * math.pi / 64
"""Degrees of the view, radians of a step: after eight steps nothing is left of what was seen."""
AROUND, UP, ELEVATION = 16, 5, math.pi / 8
"""Independent places around and from -ELEVATION to ELEVATION, between which the panorama is linear."""
SPREAD = 2 / 3
"""Of a mean of four unit normal numbers with bilinear weights, at an average place."""

BODY = Embodiment(
    "panorama",
    size=1,
    low=(-1.0,),
    high=(1.0,),
    cameras={"eye": FOVY},
    motion=Motion(radians=PAN),
)
LAYOUT = Layout((BODY,))

Turn = Callable[[np.random.Generator, int, int], NDArray[np.int64]]
"""(rng, rows, frames) -> the frame in which each row begins to pan the other way; `frames`: never"""


def there_and_back(past: int) -> Turn:
    """Half of what follows the past goes away, half comes back."""
    return lambda rng, rows, frames: np.full(rows, past + (frames - past) // 2)


def sometimes(share: float) -> Turn:
    """Such a share of the rows turns, anywhere."""

    def turn(rng: np.random.Generator, rows: int, frames: int) -> NDArray[np.int64]:
        return np.where(rng.random(rows) < share, rng.integers(1, max(frames, 2), rows), frames)

    return turn


@dataclass(frozen=True)
class Panorama:
    """Windows of episodes that nobody has recorded; see `loop.Source`."""

    turn: Turn
    body: str = BODY.name
    camera: str = "eye"

    def windows(self, length: int) -> NDArray[np.int64]:
        """[1]: as many as anyone may want."""
        return np.array([1 << 20])

    def sample(self, rng: np.random.Generator, count: int, length: int) -> LatentWindow:
        """`count` episodes' windows of `length` frames."""
        way = np.where(rng.random((count, 1)) < 0.5, -1.0, 1.0)
        back = np.arange(length)[None] >= self.turn(rng, count, length)[:, None]
        actions = np.where(back, -way, way)
        angle = rng.uniform(-math.pi, math.pi, (count, 1)) + PAN * actions.cumsum(1)
        poses = np.zeros((count, length, 7), np.float32)
        poses[..., 3], poses[..., 5] = np.cos(angle / 2), np.sin(angle / 2)
        places = rng.standard_normal((count, CHANNELS, UP, AROUND))
        nothing = np.zeros((count, length), np.float32)
        told = Window(
            np.empty(0, np.uint8),
            poses,
            actions[..., None].astype(np.float32),
            (("",) * length,) * count,
            np.ones(count, np.int64),
        )
        never = torch.from_numpy(nothing) > 0
        latents = views(torch.from_numpy(places).float(), torch.from_numpy(poses))
        return LatentWindow(latents, told, torch.from_numpy(nothing), never, never, self.body, self.camera)


def views(places: Tensor, poses: Tensor) -> Tensor:
    """Latents [B, T, C, h, w] of panoramas [B, C, UP, AROUND] before cameras at `poses` [B, T, 7]."""
    rows, frames = poses.shape[:2]
    _, direction = rays(poses, poses.new_full((rows,), FOVY), SIDE, SIDE)
    yaw = torch.atan2(-direction[..., 0], -direction[..., 2]) / (2 * math.pi) % 1
    grid = torch.stack([2 * yaw - 1, -torch.asin(direction[..., 1]) / ELEVATION], -1)
    closed = torch.cat([places, places[..., :1]], -1) / SPREAD
    seen = F.grid_sample(closed, grid.flatten(1, 2), mode="bilinear", padding_mode="border", align_corners=True)
    return seen.reshape(rows, -1, frames, SIDE, SIDE).transpose(1, 2)
