"""How well a memory knows a window."""

from dataclasses import replace

import torch
from torch import Tensor

from sfvgen_planner.memory.remember import cropped, drawn, losses
from sfvgen_planner.memory.value import Memory
from sfvgen_planner.memory.window import Seen, check_seen
from sfvgen_planner.world.model import WorldModel


@torch.no_grad()
def held_back_loss(world: WorldModel, memory: Memory, window: Seen) -> Tensor:
    """[M]: the loss each row was written by, of what the world is told, on noise that no row learns from and that is
    the same at every age."""
    check_seen(window, memory.rows, world.shape)
    young = replace(memory.trained, steps=torch.zeros_like(memory.trained.steps))
    now = cropped(window, memory.config)
    draw = drawn(replace(memory, trained=young), now)
    noise, level = draw.noise(memory.config.updates, now.latents), draw.level[:, -1]
    return losses(world, memory.told, memory.config, now, noise, level)
