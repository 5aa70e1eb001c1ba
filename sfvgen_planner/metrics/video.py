"""What every measure of videos does first: look whether it was given videos, and bring them to numbers in [0, 1]."""

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfvgen_planner.errors import BadVideo, MissingExtra

LUMA = (0.299, 0.587, 0.114)
"""How bright red, green and blue are."""


def as_video(video: Any, what: str = "a video") -> Tensor:
    """float32 [B, T, h, w, 3] in [0, 1] from uint8 or float of that shape, an array or a tensor.

    float64 stays float64: the numbers of a test need not be rounded.
    """
    tensor = video if isinstance(video, Tensor) else torch.from_numpy(np.ascontiguousarray(video))
    if tensor.ndim != 5 or tensor.shape[-1] != 3 or 0 in tensor.shape:
        raise BadVideo(f"{what} of shape {list(tensor.shape)}", "[B, T, h, w, 3], none of them 0", "Add or move axes.")
    if tensor.dtype == torch.uint8:
        return tensor.float() / 255
    if not tensor.is_floating_point():
        raise BadVideo(f"{what} of {tensor.dtype}", "uint8, or float in [0, 1]", "Convert it first.")
    if not bool(torch.isfinite(tensor).all()) or float(tensor.min()) < -1e-3 or float(tensor.max()) > 1 + 1e-3:
        raise BadVideo(f"{what} of floats that leave [0, 1]", "finite numbers in [0, 1]", "Scale or clamp it first.")
    return tensor.clamp(0, 1) if tensor.dtype == torch.float64 else tensor.float().clamp(0, 1)


def as_pair(real: Any, fake: Any) -> tuple[Tensor, Tensor]:
    """Both as `as_video`, of one shape."""
    a, b = as_video(real, "a real video"), as_video(fake, "a generated video")
    if a.shape != b.shape:
        raise BadVideo(
            f"videos of shapes {list(a.shape)} and {list(b.shape)}", "one shape", "Compare frames of the same moments."
        )
    return a, b


def extra(module: str) -> ModuleType:
    """A module of the extra `metrics`, or an error with the line that installs it."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"no {module} ({error})", "the extra `metrics`", 'Run: pip install "sfvgen-planner[metrics]"'
        ) from error
