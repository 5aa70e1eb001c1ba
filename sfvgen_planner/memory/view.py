"""What a place looks like in a few numbers, by which memories of it are found again."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sfvgen_planner.errors import BadMemory
from sfvgen_planner.types import POSE_CAMERA
from sfvgen_planner.world.address import rotation
from sfvgen_planner.world.model import WorldModel

GRID = 4
"""Latents are averaged over so many cells each way: nearly the same place should be nearly the same numbers."""


@dataclass(frozen=True)
class View:
    """One picture of one body's episode."""

    task: str
    """the body's name"""
    numbers: NDArray[np.float16]
    """[D]: their Euclidean distance says how different two views are; a turn by 60 degrees alone is 1, and so is a way
    of the body's length; of pictures it is the root mean square of their latents, averaged over cells"""

    def __post_init__(self) -> None:
        if self.numbers.ndim != 1 or not np.isfinite(self.numbers).all():
            raise BadMemory(
                f"a view {list(self.numbers.shape)} with NaN or infinity",
                "finite numbers [D]",
                "A pose needs a quaternion that turns somewhere.",
            )
        self.numbers.flags.writeable = False


@torch.no_grad()
def view_of(world: WorldModel, task: str, pixels: Any, pose: Any) -> View:
    """Of pixels uint8 [h, w, 3] and a pose [P] relative to the episode's start, by the world's codec."""
    device = next(world.parameters()).device
    latents = world.codec.encode(torch.as_tensor(np.asarray(pixels), device=device)[None])
    looks = F.adaptive_avg_pool2d(latents, GRID).flatten().double().cpu()
    camera = torch.as_tensor(np.asarray(pose), dtype=torch.float64)[:POSE_CAMERA]
    place = camera[:3] / world.encoder.layout[task].length
    turn = rotation(camera[3:]).flatten() / 2**0.5
    numbers = torch.cat([looks / len(looks) ** 0.5, place, turn])
    return View(task, numbers.numpy().astype(np.float16))
