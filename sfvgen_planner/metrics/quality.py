"""Frame against frame: PSNR, SSIM; and how sharp a video is beside the real one. Higher is better in all."""

from typing import Any

import torch
from torch import Tensor

from sfvgen_planner.errors import BadVideo
from sfvgen_planner.metrics.video import LUMA, as_pair, as_video, extra

SSIM_WINDOW = 11
"""Pixels on a side: of the Gaussian window of Wang et al. 2004."""


def psnr(real: Any, fake: Any) -> Tensor:
    """Decibels of each frame, [B, T]; infinite where the frames are equal."""
    a, b = as_pair(real, fake)
    return -10 * torch.log10((a - b).square().mean(dim=(2, 3, 4)))


def ssim(real: Any, fake: Any) -> Tensor:
    """Structural similarity of each frame, [B, T]; 1 where the frames are equal. Needs the extra `metrics`."""
    a, b = as_pair(real, fake)
    rows, frames, h, w, _ = a.shape
    if min(h, w) < SSIM_WINDOW:
        raise BadVideo(f"frames of {h}x{w}", f"at least {SSIM_WINDOW}x{SSIM_WINDOW} for SSIM", "Use larger pictures.")
    measure = extra("torchmetrics.functional.image").structural_similarity_index_measure
    stacked = [video.flatten(0, 1).permute(0, 3, 1, 2) for video in (a, b)]
    values: Tensor = measure(*stacked, data_range=1.0, reduction="none")
    return values.reshape(rows, frames)


def gradient_energy(video: Any) -> Tensor:
    """Mean squared difference of neighbouring pixels' luminance in each frame, [B, T]."""
    x = as_video(video)
    grey = x @ torch.tensor(LUMA, dtype=x.dtype, device=x.device)
    across, down = grey.diff(dim=3), grey.diff(dim=2)
    return across.square().mean(dim=(2, 3)) + down.square().mean(dim=(2, 3))


def relative_sharpness(real: Any, fake: Any) -> Tensor:
    """Gradient energy of the generated frame at each moment over that of the real ones, [T]: 1 as sharp, 0 blank.

    Energies are summed over rows before dividing, so that one nearly blank frame cannot dominate.
    """
    truth, made = gradient_energy(real).sum(0), gradient_energy(fake).sum(0)
    if truth.shape != made.shape:
        raise BadVideo(f"videos of {len(truth)} and {len(made)} frames", "equally many", "Cut the longer one.")
    if not bool((truth > 0).all()):
        raise BadVideo("a real video with a blank frame", "pictures of something", "Look at the real video.")
    return made / truth
