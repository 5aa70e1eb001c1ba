"""What all dreams of one environment have in common, and what is observed of a frame."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_envs.dream.config import DreamConfig
from sfvgen_envs.dream.imitated import Imitated
from sfvgen_envs.dream.state import Shown, facts_as
from sfvgen_planner.types import FRAMES_PER_CHUNK, Actions
from sfvgen_planner.world.detail import Detail
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.wanting import missing


@dataclass(frozen=True)
class Dream:
    """What all dreams of one environment have in common."""

    world: WorldModel
    config: DreamConfig
    imitated: Imitated
    identity: str
    """of the world's slow weights"""

    @property
    def device(self) -> torch.device:
        """Where it is dreamt."""
        return next(self.world.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of latents."""
        one: Tensor = next(self.world.denoiser.parameters())
        return one.dtype

    @property
    def kept(self) -> int:
        """Frames of history: a chunk's past, and what may be replayed."""
        past = self.world.config.past
        return past + (0 if self.config.memory is None else FRAMES_PER_CHUNK * (1 + self.config.earlier))

    def facts(self, poses: Tensor) -> Facts:
        """Of frames whose poses [R, T, P] are known."""
        one = self.imitated
        return facts_as(Facts.of_poses(poses, self.world.encoder.layout, one.name, one.camera), self.dtype)

    def happens(self, actions: Tensor) -> Facts:
        """Of frames that actions [R, T, A] lead into."""
        one, told = self.imitated, Actions("vector", actions[:, None])
        return facts_as(Facts.of_actions(told, self.world.encoder.layout, one.name, one.camera), self.dtype)


def shown_of(
    dream: Dream,
    latents: Tensor,
    poses: Tensor,
    features: Tensor | None = None,
    asked: Tensor | None = None,
    detail: Detail | None = None,
) -> Shown:
    """What is observed of K frames [K, C, h, w] with poses [K, P], in episodes whose goals ask for [K, 2, S] and that
    began with pictures of this detail."""
    observe, size = dream.config.observe, dream.imitated.pose.shape[0]
    if "features" in observe and features is None:
        features = latents.new_zeros(len(latents), feature_size(dream.world))
    own, goal = poses[:, :size], None
    if asked is not None and "goal" in observe:
        goal = missing(dream.world, dream.imitated.name, asked, own).float()
    return Shown(
        None if detail is None else detail.upon(dream.world.codec.decode(latents)[:, None])[:, 0],
        own.float() if "pose" in observe else None,
        features.float() if features is not None and "features" in observe else None,
        goal,
    )


def feature_size(world: WorldModel) -> int:
    """D: the denoiser's features that the outcome head reads."""
    return int(world.outcome.told[0])
