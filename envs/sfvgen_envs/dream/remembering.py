"""Memories of dreams: when rows begin, what the world is given of them, how they are written."""

from dataclasses import replace

import torch
from torch import Tensor

from sfvgen_envs.dream.basis import Dream
from sfvgen_envs.dream.state import DreamState, facts_of, in_order, placed
from sfvgen_planner.errors import BadMemory
from sfvgen_planner.memory import Memory, Seen, remember, start
from sfvgen_planner.memory.rows import put, repeated, take
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.lowrank import LowRank


def fresh(dream: Dream, rows: int) -> Memory | None:
    """Of rows that have seen nothing yet; None where nothing is to be remembered."""
    config = dream.config.memory
    return None if config is None or config.nothing else start(dream.world, config, rows)


def begun(state: DreamState, rows: Tensor, gone: Tensor, seeds: Tensor, memory: Memory | None) -> Memory | None:
    """Memories of new episodes: as at the start, or as given."""
    if state.memory is None:
        return None
    if memory is not None:
        return put(_own(state), rows, memory)
    cleared = _own(state).reset(gone)
    return replace(cleared, seeds=placed(cleared.seeds, rows, seeds))


def _own(state: DreamState) -> Memory:
    """A memory of B rows: who writes shares no more."""
    if state.memory is None:
        raise BadMemory("a dream without a memory", "one to write", "Say DreamConfig(memory=...).")
    return repeated(state.memory, state.rows // state.memory.rows)


def factors(state: DreamState, rows: Tensor) -> LowRank | None:
    """What these rows remember, as the world takes it."""
    if state.memory is None:
        return None
    if len(rows) == state.rows and in_order(rows):
        return state.memory.factors
    return take(state.memory, rows // (state.rows // state.memory.rows)).factors


def written(dream: Dream, state: DreamState, rows: Tensor, window: Seen) -> DreamState:
    """These rows learn, all in one backward pass, each from its window and from earlier ones of its episode."""
    memory, earlier = _own(state), []
    if window.past == dream.world.config.past:
        earlier = [_earlier(dream, state, rows, back, window) for back in range(dream.config.earlier, 0, -1)]
    there = [old for old in earlier if bool((old.weights > 0).any())]
    learned = remember(dream.world, take(memory, rows), window, there)
    return replace(state, memory=put(memory, rows, learned))


def _earlier(dream: Dream, state: DreamState, rows: Tensor, back: int, like: Seen) -> Seen:
    """The window so many chunks before the last one, of weight 0 where an episode is not so old."""
    end = state.latents.shape[1] - FRAMES_PER_CHUNK * back
    begin = end - like.frames
    old = state.length[rows] >= state.latents.shape[1] - begin
    weight = torch.where(old, like.weights, 0)
    return Seen(state.latents[rows, begin:end], facts_of(state.facts[begin:end], rows), like.past, weight)
