"""What waits where a travelling eye will be, read off the last picture that was really seen.

A dream grows softer from chunk to chunk, until a road is no road any more; foreseen poses stay right for much longer.
So a place ahead is looked up in the true picture, by geometry, and nothing that was dreamt is looked at.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.world.address import fourier, rotation
from sfvgen_planner.world.pose import step_between
from sfvgen_planner.world.sight import BEHIND, pictured
from sfvgen_planner.world.spots import fine_maps

FAR = 1.0
"""Lengths from the eye that saw the picture, beyond which what waits can hardly be seen."""
ASIDE, ONWARD, BELOW = 0.4, 0.12, 0.095
"""Lengths: where around a foreseen eye is looked at first, to its sides, before it and below it."""
COLUMNS, FINE, SAID = 9, 4, 8
"""Places in a row, pixels that a latent is split into each way, and numbers that tell what is there."""
OCTAVES = (-1, 2)
"""Of how the eye came there."""
OUTSIDE = 1.3
"""Beyond the edge of a picture, at 1, everything is about as far."""


@dataclass(frozen=True)
class Sighting:
    """What was really seen last, of R rows, and how. It stays the same however long a dream goes on."""

    picture: Tensor
    """[R, 1, C, h, w]"""
    camera: Tensor
    """[R, 8], see `sight`"""

    def repeat(self, times: int) -> "Sighting":
        """[R * N]: every row N times in a row."""
        return Sighting(self.picture.repeat_interleave(times, 0), self.camera.repeat_interleave(times, 0))

    def rows(self, chosen: Tensor) -> "Sighting":
        """Of some of them, int64 [K]."""
        return Sighting(self.picture[chosen], self.camera[chosen])

    def put(self, chosen: Tensor, other: "Sighting") -> "Sighting":
        """With the other's in the places int64 [K]."""
        pairs = (self.picture, other.picture), (self.camera, other.camera)
        return Sighting(*(mine.index_copy(0, chosen, new.to(mine)) for mine, new in pairs))


class Ahead(nn.Module):
    """Logits of outcomes of frames that were not seen, from their foreseen cameras and an earlier picture.

    A few places around each foreseen eye, to its sides and before it, are found in the picture. What is there, how the
    eye came there and what is felt tell the outcome, with the frame before it. The picture is looked at once for all
    frames; where the places are is learned too.
    """

    grid: Tensor
    learned: Tensor
    """bool [bodies]: of which bodies it may be asked"""

    def __init__(self, latents: tuple[int, int, int], senses: int, bodies: int, last: nn.Linear) -> None:
        """Sizes of latents (C, h, w), S, and what tells an outcome in the end."""
        super().__init__()
        (channels, height, width), dim = latents, last.in_features
        self.look = fine_maps(channels + 2, SAID, FINE)
        aside = torch.linspace(-ASIDE, ASIDE, COLUMNS)
        rows = [
            torch.stack([aside, torch.full_like(aside, -BELOW), torch.full_like(aside, -z)], -1) for z in (0, ONWARD)
        ]
        self.around = nn.Parameter(torch.cat(rows))
        steps = 6 * (1 + 2 * (OCTAVES[1] - OCTAVES[0] + 1))
        self.read = nn.Linear(len(self.around) * (SAID + 3) + steps + senses, dim)
        self.body = nn.Embedding(bodies, dim)
        self.tell = nn.Sequential(nn.Linear(2 * dim, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), last)
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("learned", torch.zeros(bodies, dtype=torch.bool))
        self.register_buffer("grid", torch.stack([x, y]), persistent=False)

    def forward(self, seen: Sighting, cameras: Tensor, senses: Tensor, embodiment: Tensor) -> Tensor:
        """Cameras [R, 1 + T, 8] and senses [R, 1 + T, S] of the frames and the one before them -> [R, T, ...]."""
        picture = seen.picture[:, 0]
        shows = self.look(torch.cat([picture, self.grid.expand(len(picture), -1, -1, -1)], 1))
        step = step_between(seen.camera[:, None, :7].expand(-1, cameras.shape[1], -1), cameras[..., :7])
        there, inside = self._found(seen.camera, cameras, step, picture.shape[-1] / picture.shape[-2])
        shown = F.grid_sample(shows, there, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)
        around = torch.cat([shown * inside, there, inside], -1).flatten(2)
        told = self.read(torch.cat([around, step, fourier(step, OCTAVES), senses], -1))
        each = F.silu(told + self.body(embodiment)[:, None])
        answer: Tensor = self.tell(torch.cat([each[:, 1:], each[:, 1:] - each[:, :-1]], -1))
        return answer

    def asked(self, seen: Sighting, cameras: Tensor, embodiment: Tensor) -> Tensor:
        """bool [R, T]: of which frames of travelling eyes, whose cameras [R, T, 8] these are, it knows something."""
        way = (cameras[..., :3] - seen.camera[:, None, :3]).square().sum(-1).sqrt()
        return (way < FAR) & self.learned[embodiment][:, None]

    def _found(self, then: Tensor, cameras: Tensor, step: Tensor, wide: float) -> tuple[Tensor, Tensor]:
        """Where the places around each eye are in the picture of `then`, [R, T, K, 2], and are they in it, [..., 1]."""
        turn = rotation(then[:, 3:7]).transpose(-1, -2)[:, None] @ rotation(cameras[..., 3:7])
        at = torch.einsum("rtij,kj->rtki", turn, self.around) + step[:, :, None, :3]
        tangent = then[:, 7].where(then[:, 7] > 0, 1.0)  # of who does not travel anything may stand there
        there = pictured(at, tangent[:, None, None], wide)
        inside = (there.abs() < 1).all(-1) & (at[..., 2] < -BEHIND)
        return there.clamp(-OUTSIDE, OUTSIDE), inside[..., None].to(there.dtype)
