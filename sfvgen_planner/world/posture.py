"""How a body stands, read off a picture: what a goal's picture asks of it.

Where a hand is can be seen in a picture, how fast it moves cannot: so every sense is read together
with how much it may be off, and what is not seen asks for nothing.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from sfvgen_planner.world.spots import Spots

SUREST, BLINDEST = -4.0, 2.0
"""Least and largest logarithm of a doubt."""


@dataclass(frozen=True)
class Posture:
    """Of T frames of R rows, in the body's units."""

    senses: Tensor
    """[R, T, S]"""
    doubt: Tensor
    """[R, T, S]: standard deviation of what was read"""

    def apart(self, senses: Tensor) -> Tensor:
        """Senses [R, ..., S'] of the body's own, no padding -> [R, ...]: their distance from the last of these
        postures, in doubts."""
        rows, own = len(senses), senses.shape[-1]
        wanted, doubt = (
            part[:, -1, :own].reshape(rows, *[1] * (senses.ndim - 2), own) for part in (self.senses, self.doubt)
        )
        return ((senses - wanted) / doubt).square().mean(-1).sqrt()


class PostureHead(nn.Module):
    """See the module's docstring."""

    def __init__(self, latents: tuple[int, int, int], senses: int, bodies: int, dim: int = 128) -> None:
        """Sizes of latents (C, h, w), and how many senses the body with the most of them has."""
        super().__init__()
        self.look, self.body = Spots(*latents, dim), nn.Embedding(bodies, dim)
        self.tell = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 2 * senses))

    def forward(self, latents: Tensor, embodiment: Tensor) -> Posture:
        """Clean latents [R, T, C, h, w], bodies int64 [R]."""
        senses, doubt = self.tell(self.look(latents) + self.body(embodiment)[:, None]).chunk(2, -1)
        return Posture(senses, doubt.clamp(SUREST, BLINDEST).exp())

    def loss(self, latents: Tensor, embodiment: Tensor, senses: Tensor, known: Tensor) -> Tensor:
        """Scalar: how unlikely senses [R, T, S] are by what is read, normal errors taken for granted, where they are
        `known` [R, T, S]."""
        told = self(latents, embodiment)
        unlikely = ((senses - told.senses) / told.doubt).square() / 2 + told.doubt.log()
        loss: Tensor = (unlikely * known).sum() / known.sum().clamp(min=1)
        return loss
