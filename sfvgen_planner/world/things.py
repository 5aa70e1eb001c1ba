"""Where things stand that words name, read off one picture.

Each spot of a picture is asked how much it looks like what was said. The middle of these spots is a ray by geometry;
how high the thing is, told by what is seen there and what the body feels, says where on the ray it stands. How far it
may be off is told too: what hangs in the air is as near as it is large, and what an arm hides can only be guessed.

The camera may turn, but it stays where it first stood, above the things.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.world.address import rotation
from sfvgen_planner.world.sight import pictured, places
from sfvgen_planner.world.spots import fine_maps

METRES = 0.1
"""Of a unit of heights and doubts."""
SUREST, BLINDEST = -4.0, 1.5
"""Least and largest logarithm of a doubt, in these units."""
GLANCES, SAID, FINE = 4, 24, 2
"""Maps of a thing, numbers that tell what a spot shows, and spots that a latent is split into each way."""
NUDGE = 0.1
"""Of half a picture: a unit by which the middle of a half hidden thing is told to be elsewhere."""
FARTHEST = 2.0
"""Doubts along a ray within which a thing is looked for."""
DOWN = 0.1
"""Least slope of a ray that is looked along."""


@dataclass(frozen=True)
class Found:
    """K things asked of R pictures."""

    place: Tensor
    """[R, K, 3] their middles in metres, in the frame of the body's senses"""
    doubt: Tensor
    """[R, K, 3] standard deviations of these, in metres"""
    seen: Tensor
    """[R, K] logit: does the picture show it"""
    likely: Tensor
    """[R, K, spots] logits of where in the picture it is"""


class ThingHead(nn.Module):
    """See the module's docstring."""

    grid: Tensor
    known: Tensor
    """bool [bodies]: around whom things were learned"""
    eye: Tensor
    """[bodies, 7]: each body's first camera, in the frame of its senses"""

    def __init__(self, latents: tuple[int, int, int], senses: int, words: int, bodies: int, dim: int = 128) -> None:
        """Sizes: latents (C, h, w), senses of the body with the most of them, numbers of a word."""
        super().__init__()
        channels, height, width = latents
        self.look = fine_maps(channels, SAID, FINE)
        self.body, self.hear = nn.Embedding(bodies, dim), nn.Linear(words, dim)
        self.key = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, GLANCES * SAID))
        self.feel, self.read = nn.Linear(senses, dim), nn.Linear(GLANCES * (2 + SAID + 1), dim)
        self.tell = nn.Sequential(
            nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 7)
        )
        self.register_buffer("grid", places(torch.zeros(FINE * height, FINE * width)).flatten(0, 1), persistent=False)
        self.register_buffer("known", torch.zeros(bodies, dtype=torch.bool))
        self.register_buffer("eye", torch.tensor([0.0, 0, 1, 1, 0, 0, 0]).repeat(bodies, 1))

    def forward(self, latents: Tensor, cameras: Tensor, senses: Tensor, embodiment: Tensor, words: Tensor) -> Found:
        """Clean latents [R, C, h, w], cameras [R, 8] (see `sight`), senses [R, S] in the body's units, bodies int64
        [R], names [R, K, X] in words."""
        (rows, named), wide = words.shape[:2], latents.shape[-1] / latents.shape[-2]
        shows = self.look(latents).flatten(2)
        asked = self.hear(words) + self.body(embodiment)[:, None]
        likely = self.key(asked).reshape(rows, named * GLANCES, SAID) @ shows
        share = likely.softmax(-1)
        parts = [share @ self.grid, share @ shows.mT, likely.logsumexp(-1, keepdim=True)]
        at, what, loud = (part.reshape(rows, named, -1) for part in parts)
        told = self.tell(self.read(torch.cat([at, what, loud], -1)) + self.feel(senses)[:, None] + asked)
        nudge, height, doubt, seen = told.split([2, 1, 3, 1], -1)
        place = standing(at[..., :2] + NUDGE * nudge, METRES * height, cameras, self.eye[embodiment], wide)
        doubt = METRES * doubt.clamp(SUREST, BLINDEST).exp()
        return Found(place, doubt, seen[..., 0], likely.reshape(rows, named, GLANCES, -1)[:, :, 0])

    def loss(self, found: Found, spots: Tensor, place: Tensor, there: Tensor, shown: Tensor) -> Tensor:
        """Scalar: how far off places [R, K, 3] are where things are `there`, bool [R, K], how badly doubts tell it, how
        badly it is told whether they are `shown`, bool [R, K], and where in the picture: `spots` [R, K, 2]."""
        off, doubt = (found.place - place) / METRES, found.doubt / METRES
        # What is far off is not given up, as it would be if doubts excused it: these learn beside, from distances.
        far = off.square().sum(-1).add(1e-6).sqrt() + ((off.detach() / doubt).square() / 2 + doubt.log()).sum(-1)
        apart = (spots[:, :, None] - self.grid).abs() * self.grid.new_tensor(self._spots()) / 2
        target = (1 - apart).clamp(min=0).prod(-1)
        missed = -(target * found.likely.log_softmax(-1)).sum(-1)
        told = F.binary_cross_entropy_with_logits(found.seen, shown.to(found.seen.dtype))
        parts = [(part * some).sum() / some.sum().clamp(min=1) for part, some in ((far, there), (missed, shown))]
        loss: Tensor = parts[0] + parts[1] + told
        return loss

    def _spots(self) -> tuple[float, float]:
        """How many spots are side by side, and below each other."""
        across = int((self.grid[:, 1] == self.grid[0, 1]).sum())
        return float(across), float(len(self.grid) // across)


def spread(found: Found, eye: Tensor, number: int, far: float = FARTHEST) -> Tensor:
    """[R, K, S, 3]: so many places where things may be as well, from the nearest to the eye [R, 7] to the farthest,
    `far` doubts either way: across its ray a thing is hardly ever elsewhere, along it may be."""
    ray = F.normalize(found.place - eye[:, None, :3], dim=-1)
    steps = torch.linspace(-far, far, number, device=ray.device)[:, None] * found.doubt.norm(dim=-1)[..., None, None]
    spread_out: Tensor = found.place[:, :, None] + steps * ray[:, :, None]
    return spread_out


def standing(at: Tensor, height: Tensor, cameras: Tensor, eye: Tensor, wide: float) -> Tensor:
    """[R, K, 3]: what is so high [R, K, 1] and at places `at` [R, K, 2] in pictures, so many times as `wide` as high,
    taken by cameras [R, 8], the first of which was `eye` [R, 7]."""
    tangent = torch.where(cameras[:, 7] > 0, cameras[:, 7], 1.0)[:, None]
    ray = torch.stack([at[..., 0] * wide * tangent, -at[..., 1] * tangent, -torch.ones_like(at[..., 0])], -1)
    ray = ray @ (rotation(eye[:, 3:]) @ rotation(cameras[:, 3:7])).mT
    far = (eye[:, None, 2:3] - height) / (-ray[..., 2:]).clamp(min=DOWN)
    return eye[:, None, :3] + far * ray


def shown_at(place: Tensor, cameras: Tensor, eye: Tensor, wide: float) -> Tensor:
    """[R, K, 2]: where pictures show places [R, K, 3]; the other way round."""
    turn = rotation(eye[:, 3:]) @ rotation(cameras[:, 3:7])
    tangent = torch.where(cameras[:, 7] > 0, cameras[:, 7], 1.0)[:, None]
    return pictured((place - eye[:, None, :3]) @ turn, tangent, wide)
