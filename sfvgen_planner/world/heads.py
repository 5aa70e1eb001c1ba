"""What is read off a dream besides its pictures: reward, success, the end; and which action made two frames differ."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.world.lowrank import RowLinear


@dataclass(frozen=True)
class Judged:
    """Per frame, [..., T]."""

    reward: Tensor
    """in the task's own units"""
    success: Tensor
    """probability"""
    terminated: Tensor
    """probability"""


class OutcomeHead(nn.Module):
    """Reads the denoiser's features under the memory (clean latents cannot know a hidden place) and the conditions."""

    def __init__(self, features: int, frame: int, bodies: int, dim: int = 96) -> None:
        super().__init__()
        self.body = nn.Embedding(bodies, dim)
        self.read = nn.Sequential(RowLinear(features + frame, dim), nn.SiLU())
        self.tell = nn.Sequential(RowLinear(dim, dim), nn.SiLU(), RowLinear(dim, 3))

    def logits(self, features: Tensor, frame: Tensor, embodiment: Tensor) -> Tensor:
        """Features [R, T, D], conditions [R, T, E], bodies int64 [R] -> [R, T, 3]."""
        told: Tensor = self.tell(self.read(torch.cat([features, frame], -1)) + self.body(embodiment)[:, None])
        return told

    def forward(self, features: Tensor, frame: Tensor, embodiment: Tensor) -> Judged:
        """The outcomes themselves."""
        reward, success, terminated = self.logits(features, frame, embodiment).unbind(-1)
        return Judged(reward, success.sigmoid(), terminated.sigmoid())

    def loss(self, logits: Tensor, rewards: Tensor, success: Tensor, terminated: Tensor) -> Tensor:
        """[R, T] squared error of the reward (Huber, so that a rare bonus does not shout) and two cross-entropies."""
        binary = F.binary_cross_entropy_with_logits
        return (
            F.smooth_l1_loss(logits[..., 0], rewards, reduction="none")
            + binary(logits[..., 1], success.to(logits.dtype), reduction="none")
            + binary(logits[..., 2], terminated.to(logits.dtype), reduction="none")
        )


class InverseDynamics(nn.Module):
    """Two consecutive frames -> the action between them."""

    def __init__(self, channels: int, height: int, width: int, action_size: int, bodies: int, dim: int = 128) -> None:
        super().__init__()
        self.body = nn.Embedding(bodies, dim)
        self.look = nn.Sequential(
            nn.Conv2d(2 * channels, 32, 3, stride=2, padding=1), nn.SiLU(), nn.Conv2d(32, 16, 3, padding=1)
        )
        self.join = nn.Linear(16 * -(-height // 2) * -(-width // 2), dim)
        self.tell = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, action_size))

    def forward(self, before: Tensor, after: Tensor, embodiment: Tensor) -> Tensor:
        """Clean latents [R, T, C, h, w] twice, bodies int64 [R] -> actions [R, T, A]."""
        rows, frames = before.shape[:2]
        pairs = torch.cat([before, after - before], 2).flatten(0, 1)
        hidden = self.join(self.look(pairs).flatten(1)).reshape(rows, frames, -1) + self.body(embodiment)[:, None]
        actions: Tensor = self.tell(hidden)
        return actions
