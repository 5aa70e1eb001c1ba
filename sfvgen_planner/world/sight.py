"""Where something seen now was in an earlier picture: geometry of cameras, nothing learned.

A camera is 8 numbers: place in the body's lengths (3), quaternion w x y z (4), and the tangent of half its angle of
view from top to bottom; 0 where nobody knows how it looks. Where it is unknown, everything stays in its place.
Places in a picture are (x, y) in [-1, 1], x to the right and y down, as `torch.nn.functional.grid_sample` has them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_planner.world.address import rotation, stilled

CAMERA = 8
BEHIND = 0.05
"""Least distance along the axis, of that before: what has come beside the camera was never before it."""
COARSE = 8
"""Places across and down by which pictures are compared."""
DEPTHS = (0.0, 1.0)
"""Nearnesses that are told apart there, in 1 / lengths: endlessly far, and a body's length away."""


def cameras(poses: Tensor, known: Tensor, fovy: Tensor, length: Tensor) -> Tensor:
    """[R, T, 8] of poses [R, T, >= 7], known [R, T], fovy [R] in degrees, length [R]."""
    still = stilled(poses, known)
    tangent = torch.tan(torch.deg2rad(fovy) / 2)[:, None] * known
    return torch.cat([still[..., :3] / length[:, None, None], still[..., 3:7], tangent[..., None]], -1)


def unknown(like: Tensor) -> Tensor:
    """[*like, 8]: cameras of which nobody knows anything."""
    blank = like.new_zeros(*like.shape, CAMERA)
    blank[..., 3] = 1
    return blank


def places(like: Tensor) -> Tensor:
    """[h, w, 2]: the middles of the pixels of pictures [..., h, w]."""
    height, width = like.shape[-2:]
    y, x = torch.meshgrid(
        (2 * torch.arange(height, device=like.device, dtype=like.dtype) + 1) / height - 1,
        (2 * torch.arange(width, device=like.device, dtype=like.dtype) + 1) / width - 1,
        indexing="ij",
    )
    return torch.stack([x, y], -1)


def pictured(at: Tensor, tangent: Tensor, wide: float) -> Tensor:
    """[..., 2]: where points at [..., 3], in the camera's frame, are in its picture, which is so many times as `wide`
    as it is high; `tangent` [...] is of half its angle of view."""
    return _flat(_stretched(at, tangent, wide))


def _stretched(at: Tensor, tangent: Tensor, wide: float) -> Tensor:
    """Points [..., 3] as x and y of a picture would have them, and how far away they are: still a linear map."""
    return torch.stack([at[..., 0] / (tangent * wide), -at[..., 1] / tangent, -at[..., 2]], -1)


def _flat(stretched: Tensor) -> Tensor:
    """[..., 3] -> [..., 2]"""
    return stretched[..., :2] / stretched[..., 2:].clamp(min=BEHIND)


@dataclass(frozen=True)
class Between:
    """What two cameras say of every pixel, however near it is: made once, asked for many nearnesses."""

    here: Tensor
    """[h, w, 2]: places of the pixels"""
    ray: Tensor
    """[R, T, h, w, 3]: where what is endlessly far away is for the earlier camera, stretched"""
    way: Tensor
    """[R, T, 3]: what a nearness of 1 adds"""
    known: Tensor
    """bool [R, T]: does anybody know both cameras"""

    @staticmethod
    def of(now: Tensor, then: Tensor, like: Tensor) -> "Between":
        """Pictures taken by cameras `now` [R, T, 8] and earlier ones by `then` [R, 8], both as large as [..., h, w]."""
        height, width = like.shape[-2:]
        here, wide = places(like), width / height
        known = (now[..., 7] > 0) & (then[:, None, 7] > 0)
        tangent = torch.where(known, now[..., 7], 1.0)[..., None, None]
        x, y = here.expand(*now.shape[:2], -1, -1, -1).unbind(-1)
        ray = torch.stack([x * wide * tangent, -y * tangent, -torch.ones_like(x)], -1)
        back = rotation(then[:, 3:7]).transpose(-1, -2)[:, None]
        seen = torch.einsum("rtij,rthwj->rthwi", back @ rotation(now[..., 3:7]), ray)
        way = (back @ (now[..., :3] - then[:, None, :3])[..., None])[..., 0]
        before = torch.where(known, then[:, None, 7], 1.0)
        return Between(here, _stretched(seen, before[..., None, None], wide), _stretched(way, before, wide), known)

    def at(self, nearness: Tensor) -> Tensor:
        """[R, T, h, w, 2]: where each pixel was in the earlier picture, when it is 1 / `nearness` [R, T, h, w] lengths
        away along the axis; at 0 only turns count."""
        there = _flat(self.ray + nearness[..., None] * self.way[:, :, None, None])
        return torch.where(self.known[..., None, None, None], there, self.here)


def shift(now: Tensor, then: Tensor, nearness: Tensor) -> Tensor:
    """[R, T, h, w, 2]: how far from its place each pixel was in the earlier picture, see `Between`."""
    between = Between.of(now, then, nearness)
    return between.at(nearness) - between.here


def strain(now: Tensor, then: Tensor) -> Tensor:
    """[R, K]: how badly each picture taken by `then` [R, K, 8] shows what cameras `now` [R, T, 8] see: which share was
    not in it, and by how much, in half pictures, what is near moves otherwise than what is far. 0 where none knows."""
    rows, kept = then.shape[:2]
    here, there = now.repeat_interleave(kept, 0), then.flatten(0, 1)
    grid = now.new_zeros(rows * kept, now.shape[1], COARSE, COARSE)
    between = Between.of(here, there, grid)
    far, near = (between.at(grid + nearness) for nearness in DEPTHS)
    beyond = near.abs() - 1
    outside = (beyond * COARSE / 2 + 0.5).clamp(0, 1).amax(-1)
    lost: Tensor = ((near - far).norm(dim=-1).clamp(max=2) + outside).mean((1, 2, 3))
    return lost.reshape(rows, kept)
