"""A tiny world of the arm that reaches, and dreams of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from world_fakes import tiny_world

from sfvgen_envs.dream import DreamConfig, DreamEnv, DreamVectorEnv
from sfvgen_planner.memory import MemoryConfig
from sfvgen_planner.world.layout import Embodiment
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.outcome import Evidence, Judged, OutcomeHead

ARM = Embodiment(
    "reach", size=4, low=(-1.0,) * 4, high=(1.0,) * 4, phrases=("wait",), pose_size=14, cameras={"fixed": 38.0}
)
MEMORY = MemoryConfig(rank=2, updates=2, draws=1, rate=0.05, rise=float("inf"))
"""Quick, and so greedy that every update shows."""


def arm_world(kind: str = "causal", double: bool = False, process: str = "flow") -> WorldModel:
    """Random; pictures are 16 x 16. It never says that an episode ends."""
    world = tiny_world(kind, process=process, body=ARM)
    world.outcome.tell[-1].bias.data[2] = -20.0
    return world.double() if double else world


class EndsSometimes(OutcomeHead):
    """Ends an episode where the conditions' numbers add up to more than `limit`: by its actions, that is."""

    limit: float
    sums: list[Tensor]

    def forward(self, seen: Evidence) -> Judged:
        """As it was, but for the end."""
        found, total = super().forward(seen), seen.frame.sum(-1)
        self.sums.append(total.flatten())
        return replace(found, terminated=(total > self.limit).to(total))


def ending(world: WorldModel, share: float) -> WorldModel:
    """The same, but about so many steps of random actions end an episode."""
    head = world.outcome
    head.__class__ = EndsSometimes
    head.limit, head.sums = float("inf"), []
    rows = dreams(4, world)
    rows.reset(seed=0)
    for action in np.random.default_rng(0).uniform(-1, 1, (20, 4, 4)):
        rows.step(action)
    head.limit = float(torch.cat(head.sums).quantile(1 - share)) if share < 1 else -float("inf")
    return world


def dreams(rows: int, world: WorldModel | None = None, **settings: Any) -> DreamVectorEnv:
    """A vector of short episodes (30 steps)."""
    return DreamVectorEnv("reach", rows, world=world or arm_world(), length="short", **settings)


def one_dream(world: WorldModel | None = None, **settings: Any) -> DreamEnv:
    """One."""
    return DreamEnv("reach", world=world or arm_world(), length="short", **settings)


def remembering(**settings: Any) -> DreamConfig:
    """A config with a memory."""
    return DreamConfig(memory=MEMORY, **settings)
