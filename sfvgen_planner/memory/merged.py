"""One memory for the length of a plan: W + B A is added once, instead of B A x in every call."""

from copy import deepcopy

import torch
from torch import nn

from sfvgen_planner.errors import BadMemory
from sfvgen_planner.memory.start import check_fits, row_layers
from sfvgen_planner.memory.value import Memory
from sfvgen_planner.world.model import WorldModel


@torch.no_grad()
def merged(world: WorldModel, memory: Memory) -> WorldModel:
    """A world that remembers by itself: its remembered layers have weights of their own, all else is shared.

    The given world is read and never written, also while the copy is in use, so both may be called at once. What the
    copy shares is the given world's: train neither while it lives. Kept frames are in no weights: `memory.beside`.
    """
    if memory.rows != 1:
        raise BadMemory(f"a memory of {memory.rows} rows", "one to merge", "Take memory[i : i + 1].")
    if memory.config.operator != "lowrank":
        raise BadMemory(f"a {memory.config.operator} memory", "one of low rank", "No weights hold it: use its factors.")
    check_fits(world, memory)
    if not memory.factors.down:
        return world
    known = row_layers(world)
    own: dict[int, object] = {id(one): one for one in (*world.parameters(), *world.buffers())}
    for name, down in memory.factors.down.items():
        weight = next(known[name].parameters())
        added = (memory.factors.up[name][0] @ down[0].flatten(1)).reshape(weight.shape)
        own[id(weight)] = nn.Parameter(weight + added, requires_grad=False)
    # A deep copy to which every tensor but the merged ones is already known.
    return deepcopy(world, own)
