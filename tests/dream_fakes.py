"""A tiny world of the arm that reaches, and dreams of it."""

from typing import Any

from world_fakes import tiny_world

from sfvgen_envs.dream import DreamConfig, DreamEnv, DreamVectorEnv
from sfvgen_planner.memory import MemoryConfig
from sfvgen_planner.world.layout import Embodiment
from sfvgen_planner.world.model import WorldModel

ARM = Embodiment(
    "reach", size=4, low=(-1.0,) * 4, high=(1.0,) * 4, phrases=("wait",), pose_size=14, cameras={"fixed": 38.0}
)
MEMORY = MemoryConfig(rank=2, updates=2, draws=1, rate=0.05, rise=float("inf"))
"""Quick, and so greedy that every update shows."""


def arm_world(kind: str = "causal", double: bool = False) -> WorldModel:
    """Random; pictures are 16 x 16. It never says that an episode ends."""
    world = tiny_world(kind, body=ARM)
    world.outcome.tell[-1].bias.data[2] = -20.0
    return world.double() if double else world


def ending(world: WorldModel, bias: float) -> WorldModel:
    """The same, but the logit of its ends is raised by so much: some rows end early, others do not."""
    world.outcome.tell[-1].bias.data[2] = bias
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
