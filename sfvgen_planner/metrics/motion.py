"""Where the picture moves: optical flow after Lucas and Kanade (1981), nothing learned.

A judge small enough for a processor is slow to find out by itself what motion is. Here each place's shift (u, v) is the
least-squares answer to `dI/dx u + dI/dy v + dI/dt = 0` over a few pixels around it, in pictures of two sizes: the
smaller one shows what moves far.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sfvgen_planner.metrics.video import LUMA

LOOKS = ((2, 5), (4, 3))
"""Of each: so many times smaller, and pixels on a side of the neighbourhood."""
FLOWS = 2 * len(LOOKS)

_FARTHEST = 4.0
"""Pixels of the smaller picture: more cannot be seen."""
_PLAIN = 1e-4
"""Squared gradient, of 1, up to which a place is too plain to tell."""


def flow(x: Tensor) -> Tensor:
    """float [B, 3, T, h, w] in [0, 1] to [B, 4, T, h / 2, w / 2]: (u, v) since the frame before, for each look.

    In pixels of the smaller picture, u to the right and v down; nothing moves into the first frame.
    """
    grey = (x * x.new_tensor(LUMA).view(1, 3, 1, 1, 1)).sum(1)
    rows, frames, h, w = grey.shape
    looks = []
    for shrink, side in LOOKS:
        shifts = _shifts(F.avg_pool2d(grey, shrink), side)
        looks.append(F.interpolate(shifts.flatten(0, 1), (h // 2, w // 2)).reshape(rows, frames - 1, 2, h // 2, w // 2))
    return F.pad(torch.cat(looks, 2).transpose(1, 2), (0, 0, 0, 0, 1, 0))


def _shifts(grey: Tensor, side: int) -> Tensor:
    """[B, T, h, w] to [B, T - 1, 2, h, w]."""
    between, later = (grey[:, 1:] + grey[:, :-1]) / 2, grey.diff(dim=1)
    padded = F.pad(between, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    products = torch.stack([across * across, across * down, down * down, across * later, down * later], 2)
    around = F.avg_pool2d(products.flatten(0, 1), side, 1, side // 2, count_include_pad=False)
    xx, xy, yy, xt, yt = around.reshape(products.shape).unbind(2)
    xx, yy = xx + _PLAIN, yy + _PLAIN
    both = xx * yy - xy * xy
    shifts = torch.stack([xy * yt - yy * xt, xy * xt - xx * yt], 2) / both[:, :, None]
    return shifts.clamp(-_FARTHEST, _FARTHEST)
