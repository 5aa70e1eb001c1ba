"""Where along an episode a place is seen again that has left the window: there, only a memory helps."""

import torch
from torch import Tensor

from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.layout import Layout
from sfvgen_planner.world.pose import metres_between, radians_between

TURN, WAY = 0.25, 0.25
"""Two views are of one place if they differ by less than so many fields of view, and so many lengths of the body."""


def seen_again(facts: Facts, layout: Layout, past: int) -> Tensor:
    """[R, chunks]: the share of each chunk's frames that show what was seen before, but not in the `past` frames.

    0 where poses are unknown, and where nothing ever leaves the window: before a camera that stands still.
    """
    length = torch.tensor([body.length for body in layout.embodiments], device=facts.poses.device)
    poses, known = facts.poses, facts.poses_known
    turned = radians_between(poses[:, :, None], poses[:, None])
    moved = metres_between(poses[:, :, None], poses[:, None])
    near = (turned < TURN * facts.fovy.deg2rad()[:, None, None]) & (
        moved < WAY * length.to(moved.dtype)[facts.embodiment][:, None, None]
    )
    near &= known[:, :, None] & known[:, None]
    shares = []
    for first in range(past, facts.frames, FRAMES_PER_CHUNK):
        new = near[:, first : first + FRAMES_PER_CHUNK]
        again = new[..., : first - past].any(2) & ~new[..., first - past : first].any(2)
        shares.append(again.float().mean(1))
    return torch.stack(shares, 1)
