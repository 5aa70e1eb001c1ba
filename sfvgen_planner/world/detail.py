"""What a codec leaves out of the last picture that was really seen, kept wherever a dream changes nothing.

A codec loses a little of every picture, a still table's grain among it, and no dream can bring it back.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_planner.world.codec import Codec

CHANGED = 32.0
"""Of 255: where a channel changes by so much, something else is seen."""


@dataclass(frozen=True)
class Detail:
    """Of R pictures."""

    coded: Tensor
    """float [R, h, w, 3]: as the codec gives them back"""
    missing: Tensor
    """float [R, h, w, 3]: what has to be added to that"""

    @staticmethod
    def of(codec: Codec, seen: Tensor) -> "Detail":
        """Of pictures uint8 [R, h, w, 3]."""
        coded = codec.decode(codec.encode(seen)).float()
        return Detail(coded, seen - coded)

    def repeat(self, times: int) -> "Detail":
        """Each so many times in a row."""
        return Detail(self.coded.repeat_interleave(times, 0), self.missing.repeat_interleave(times, 0))

    def upon(self, drawn: Tensor) -> Tensor:
        """Frames uint8 [R, T, h, w, 3] that the codec drew of a dream that goes on from there -> the same with detail:
        all of it where nothing changed, less the more a pixel did."""
        changed = (drawn - self.coded[:, None]).abs().amax(-1, keepdim=True)
        kept = (1 - changed / CHANGED).clamp(min=0) * self.missing[:, None]
        return (drawn + kept).round().clamp(0, 255).to(torch.uint8)
