"""What is read off a dream besides its pictures: reward, success, the end.

A reward is earned between two frames, so the head sees where things were and where they are now.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.pose_head import PoseHead

SPOTS, SAID = 16, 4
"""How many places in a picture are looked up, and how many numbers say what is there."""


@dataclass(frozen=True)
class Judged:
    """Per frame, [..., T]."""

    reward: Tensor
    """in the task's own units"""
    success: Tensor
    """probability"""
    terminated: Tensor
    """probability"""


@dataclass(frozen=True)
class Evidence:
    """What outcomes of T frames are read off; pictures and senses begin with the frame before the first of them."""

    latents: Tensor
    """[R, 1 + T, C, h, w]"""
    senses: Tensor
    """[R, 1 + T, S] in the body's units"""
    moved: Tensor
    """[R, T, M]: how the body moved into each frame"""
    features: Tensor
    """[R, T, D]: the denoiser's under the memory, for pictures cannot know a hidden place"""
    frame: Tensor
    """[R, T, E]: what the denoiser was told of each frame"""
    embodiment: Tensor
    """int64 [R]"""

    @staticmethod
    def of(
        head: PoseHead, before: Tensor, known: Facts, clean: Tensor, facts: Facts, features: Tensor, frame: Tensor
    ) -> "Evidence":
        """Of frames `clean` [R, T, C, h, w]; `before` and `known` are of the frame before them, [R, 1, ...], or of
        none: then nothing moved into the first one."""
        if known.frames == 0:
            before, known = clean[:, :1], facts[:1]
        senses, moved = head.moved(Facts.join(known, facts))
        return Evidence(torch.cat([before, clean], 1), senses, moved, features, frame, facts.embodiment)


class OutcomeHead(nn.Module):
    """See the module's docstring."""

    scale: Tensor
    told: tuple[int, int]
    """D and E"""

    def __init__(
        self, latents: tuple[int, int, int], senses: int, moved: int, features: int, frame: int, bodies: int
    ) -> None:
        """Sizes of latents (C, h, w), and S, M, D, E of the evidence."""
        super().__init__()
        self.told, dim = (features, frame), 128
        self.body = nn.Embedding(bodies, dim)
        self.look = Spots(*latents, dim)
        self.feel = nn.Linear(senses, dim, bias=False)
        self.think = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())
        self.read = nn.Linear(moved + features + frame, dim)
        self.tell = nn.Sequential(nn.Linear(3 * dim, dim), nn.SiLU(), nn.Linear(dim, 3))
        self.register_buffer("scale", torch.zeros(bodies))

    @torch.no_grad()
    def begin(self, rewards: Tensor, embodiment: Tensor) -> None:
        """The unit of each body's rewards [R, T], which is their mean size; of bodies that have none yet."""
        for number in sorted(set(embodiment.tolist())):
            if self.scale[number] == 0:
                self.scale[number] = rewards[embodiment == number].abs().mean()

    def logits(self, seen: Evidence) -> Tensor:
        """[R, T, 3]"""
        each = self.think(self.look(seen.latents) + self.feel(seen.senses))
        others = self.read(torch.cat([seen.moved, seen.features, seen.frame], -1)) + self.body(seen.embodiment)[:, None]
        told: Tensor = self.tell(torch.cat([each[:, 1:], each[:, 1:] - each[:, :-1], others], -1))
        return told

    def forward(self, seen: Evidence) -> Judged:
        """The outcomes themselves."""
        reward, success, terminated = self.logits(seen).unbind(-1)
        return Judged(reward * self._unit(seen.embodiment), success.sigmoid(), terminated.sigmoid())

    def loss(self, seen: Evidence, rewards: Tensor, success: Tensor, terminated: Tensor) -> Tensor:
        """Scalar, of outcomes [R, T]: Huber's error of the reward in its unit (so that a rare bonus does not shout)
        and two cross-entropies."""
        logits, binary = self.logits(seen), F.binary_cross_entropy_with_logits
        return (
            F.smooth_l1_loss(logits[..., 0], rewards / self._unit(seen.embodiment))
            + binary(logits[..., 1], success.to(logits.dtype))
            + binary(logits[..., 2], terminated.to(logits.dtype))
        )

    def _unit(self, embodiment: Tensor) -> Tensor:
        """[R, 1]"""
        unit = self.scale[embodiment][:, None]
        return torch.where(unit > 0, unit, 1.0)


class Spots(nn.Module):
    """Where some things are in a picture, and what is there: places are learned from far fewer scenes than by layers
    that must learn each place anew."""

    grid: Tensor

    def __init__(self, channels: int, height: int, width: int, dim: int, brush: int = 32) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(channels, brush, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(brush, brush, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(brush, brush, 3, padding=1),
            nn.SiLU(),
        )
        self.where = nn.Conv2d(brush, SPOTS, 1)
        self.what = nn.Conv2d(brush, SAID, 1)
        self.tell = nn.Linear(SPOTS * (2 + SAID), dim)
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("grid", torch.stack([x, y], -1).flatten(0, 1), persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """[R, T, C, h, w] -> [R, T, D]"""
        looked = self.look(latents.flatten(0, 1))
        share = self.where(looked).flatten(2).softmax(-1)
        found = torch.cat([share @ self.grid, share @ self.what(looked).flatten(2).mT], -1)
        told: Tensor = self.tell(found.flatten(1)).reshape(*latents.shape[:2], -1)
        return told
