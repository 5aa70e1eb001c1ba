"""Has a camera looked elsewhere? Before one that stands still nothing leaves the view, and nothing need be kept."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sfvgen_planner.memory.window import Seen
from sfvgen_planner.world.layout import Layout
from sfvgen_planner.world.pose import metres_between, radians_between


def elsewhere(windows: Sequence[Seen], layout: Layout, far: float) -> Tensor:
    """bool [M]: did some frame of a row's windows look `far` or farther from a frame of its last one?

    In fields of view and lengths of the body, together. True where nobody knows the poses.
    """
    now = windows[-1]
    poses, known = now.facts.poses, now.facts.poses_known.all(1) & (now.facts.fovy > 0)
    length = torch.tensor([body.length for body in layout.embodiments], dtype=poses.dtype, device=poses.device)
    wide, metres = now.facts.fovy.deg2rad().clamp(min=1e-6)[:, None, None], length[now.facts.embodiment][:, None, None]
    there = ~known
    for one in windows:
        before, after = one.facts.poses[:, :, None], poses[:, None]
        apart = radians_between(before, after) / wide + metres_between(before, after) / metres
        looked = (apart >= far).flatten(1).any(1) | ~one.facts.poses_known.all(1)
        there = there | (looked & (one.weights > 0))
    return there
