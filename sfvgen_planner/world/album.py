"""Frames of an episode that are kept beside a world's weights, and found again by where a camera looks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from sfvgen_planner.world.sight import strain, unknown

BETTER = 0.75
"""A kept frame has to strain less than so much of what the last one does: that one knows what has happened since."""


WELL = 0.01
"""A last frame that strains less needs no other: foreseen cameras never stand quite still."""
ABOUT = 0.03
"""Strains that differ by less are about the same."""


@dataclass(frozen=True)
class Shown:
    """A frame of each of R rows; zeros where there is none."""

    latents: Tensor
    """[R, C, h, w]"""
    camera: Tensor
    """[R, 8]"""
    given: Tensor
    """[R]: 1 where there is one, else 0"""


@dataclass(frozen=True)
class Album:
    """Up to K frames of each of M episodes, oldest first."""

    latents: Tensor
    """[M, K, C, h, w]"""
    cameras: Tensor
    """[M, K, 8]"""
    given: Tensor
    """[M, K]: 1 where there is a frame, else 0"""

    @staticmethod
    def of(latents: Tensor, cameras: Tensor, size: int) -> "Album":
        """One row with room for `size` frames, the first of them latents [n, C, h, w] as cameras [n, 8] saw them."""
        many, given = len(latents), latents.new_zeros(size)
        given[:many] = 1
        rest = latents.new_zeros(size - many, *latents.shape[1:])
        both = torch.cat([latents, rest]), torch.cat([cameras, unknown(given[many:])])
        return Album(both[0][None], both[1][None], given[None])

    def frames(self, row: int) -> tuple[Tensor, Tensor]:
        """And back: what a row holds."""
        there = self.given[row] > 0
        return self.latents[row, there], self.cameras[row, there]

    @property
    def rows(self) -> int:
        """M."""
        return int(self.given.shape[0])

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return {"latents": self.latents, "cameras": self.cameras, "given": self.given}

    def each(self, change: Callable[[Tensor], Tensor]) -> "Album":
        """With every tensor changed alike."""
        return Album(*(change(value) for value in self.tensors.values()))

    @staticmethod
    def stack(parts: Sequence["Album"]) -> "Album":
        """The rows of several that are as large."""
        return Album(*(torch.cat(values) for values in zip(*(part.tensors.values() for part in parts), strict=True)))

    def where(self, rows: Tensor, other: "Album") -> "Album":
        """These rows (bool [M]) are mine, all others the other's."""
        return Album(
            *(
                torch.where(rows.reshape(-1, *[1] * (mine.ndim - 1)), mine, theirs)
                for mine, theirs in zip(self.tensors.values(), other.tensors.values(), strict=True)
            )
        )

    @property
    def emptied(self) -> "Album":
        """As large, and nothing in it."""
        return Album(torch.zeros_like(self.latents), unknown(self.given), torch.zeros_like(self.given))

    def nearest(self, now: Tensor, last: Shown) -> Shown:
        """For each new frame as cameras [M * N, T, 8] see it, after `last`: the kept frame that shows it with the least
        strain, as M * N * T rows; none where the last one is nearly as good, as before a camera that stands still."""
        rows, frames = now.shape[:2]
        row = torch.arange(rows * frames, device=now.device)
        mine, one = row // (rows // self.rows * frames), now.flatten(0, 1)[:, None]
        with torch.autocast(now.device.type, enabled=False):  # a place has no small errors
            nobody = (self.given == 0) | (self.cameras[..., 7] == 0)
            strained = strain(one, self.cameras[mine]).masked_fill(nobody[mine], inf)
            least = strained.amin(1)
            # Of those that show it about as well the newest: things may have moved.
            which = (strained <= least[:, None] + ABOUT).long().cumsum(1).argmax(1)
            before = strain(one, last.camera.repeat_interleave(frames, 0)[:, None])[:, 0]
        there = ((before > WELL) & (least < BETTER * before)).to(now.dtype) * last.given.repeat_interleave(frames, 0)
        latents = self.latents[mine, which] * there[:, None, None, None]
        return Shown(latents.to(last.latents.dtype), self.cameras[mine, which], there)
