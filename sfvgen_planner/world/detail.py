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

    seen: Tensor
    """uint8 [R, h, w, 3]"""
    coded: Tensor
    """uint8 [R, h, w, 3]: as the codec gives them back"""

    @staticmethod
    def of(codec: Codec, seen: Tensor) -> "Detail":
        """Of pictures uint8 [R, h, w, 3]."""
        return Detail(seen, codec.decode(codec.encode(seen)))

    def repeat(self, times: int) -> "Detail":
        """Each so many times in a row."""
        return Detail(self.seen.repeat_interleave(times, 0), self.coded.repeat_interleave(times, 0))

    def rows(self, chosen: Tensor) -> "Detail":
        """Of some of them, int64 [K]."""
        return Detail(self.seen[chosen], self.coded[chosen])

    def put(self, chosen: Tensor, other: "Detail") -> "Detail":
        """With the other's in the places int64 [K]."""
        return Detail(self.seen.index_copy(0, chosen, other.seen), self.coded.index_copy(0, chosen, other.coded))

    def upon(self, drawn: Tensor) -> Tensor:
        """Frames uint8 [R, T, h, w, 3] that the codec drew of a dream that goes on from there -> the same with detail:
        all of it where nothing changed, less the more a pixel did."""
        coded = self.coded.float()[:, None]
        changed = (drawn - coded).abs().amax(-1, keepdim=True)
        missing = self.seen[:, None] - coded
        return (drawn + (1 - changed / CHANGED).clamp(min=0) * missing).round().clamp(0, 255).to(torch.uint8)
