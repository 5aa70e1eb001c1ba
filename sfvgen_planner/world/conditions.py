"""What a denoiser is told of each frame beside its picture: a small value, made by `ConditionEncoder`."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.sight import unknown


@dataclass(frozen=True)
class Conditions:
    """R rows of T frames; an absent condition is its learned null, or None."""

    frame: Tensor
    """float [R, T, E]: what happens INTO each frame (action, discrete id, text, embodiment), embedded and summed"""
    address: Tensor
    """float [R, T, F, h, w]: where each latent pixel (each token of `causal`) looks; zeros where nobody knows"""
    text: Tensor | None = None
    """float [R, L, X]: the chunk's words, for cross-attention"""
    camera: Tensor | None = None
    """float [R, T, 8]: how each frame is seen, see `sight`; None where nobody knows"""
    ready: Any = None
    """the denoiser's own, see `Denoiser.ready`; gone in what is cut out, joined or repeated"""

    def __post_init__(self) -> None:
        if self.frame.ndim != 3 or self.address.ndim != 5 or self.frame.shape[:2] != self.address.shape[:2]:
            raise BadOption(
                f"conditions of shapes {list(self.frame.shape)} and {list(self.address.shape)}",
                "[R, T, E] and [R, T, F, h, w]",
                "Make them with ConditionEncoder.",
            )

    @property
    def frames(self) -> int:
        """T."""
        return int(self.frame.shape[1])

    @property
    def cameras(self) -> Tensor:
        """[R, T, 8]"""
        return unknown(self.frame[..., 0]) if self.camera is None else self.camera

    def __getitem__(self, frames: slice) -> "Conditions":
        """The same for some of the frames."""
        return Conditions(self.frame[:, frames], self.address[:, frames], self.text, self.cameras[:, frames])

    @staticmethod
    def join(past: "Conditions", new: "Conditions") -> "Conditions":
        """Past and new frames in one window; the new chunk's words count."""
        frame, address, camera = (
            torch.cat([getattr(past, name), getattr(new, name)], 1) for name in ("frame", "address", "cameras")
        )
        return Conditions(frame, address, new.text, camera)

    def repeat(self, candidates: int) -> "Conditions":
        """[R * N, ...]: every row N times in a row."""
        text = None if self.text is None else self.text.repeat_interleave(candidates, 0)
        frame, address, camera = (
            part.repeat_interleave(candidates, 0) for part in (self.frame, self.address, self.cameras)
        )
        return Conditions(frame, address, text, camera)
