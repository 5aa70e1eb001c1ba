"""Some of the rows of a memory, taken out, written elsewhere, and put back."""

from dataclasses import replace

import torch
from torch import Tensor

from sfvgen_planner.errors import BadMemory
from sfvgen_planner.memory.adam import Trained
from sfvgen_planner.memory.value import Memory
from sfvgen_planner.world.album import Album


def take(memory: Memory, rows: Tensor) -> Memory:
    """The rows of these numbers (int64 [K], any of them more than once)."""
    return memory.each(lambda value: value[rows])


def put(memory: Memory, rows: Tensor, part: Memory) -> Memory:
    """With `part`'s K rows in the places int64 [K]; all other rows are as they were, bit for bit."""
    if (part.config, part.world, part.rows) != (memory.config, memory.world, len(rows)):
        raise BadMemory(
            f"{part.rows} rows of world {part.world} for {len(rows)} places of world {memory.world}",
            "as many rows, of one world and config",
            "Begin both with the same start().",
        )

    def placed(whole: Tensor, some: Tensor) -> Tensor:
        return whole.index_copy(0, rows, some.to(whole))

    weights, first, second = (
        {name: placed(value, theirs[name]) for name, value in mine.items()}
        for mine, theirs in zip(memory.trained.tensors, part.trained.tensors, strict=True)
    )
    trained = Trained(weights, first, second, placed(memory.trained.steps, part.trained.steps))
    album = memory.album
    if album is not None and part.album is not None:
        album = Album(*(placed(album.tensors[name], theirs) for name, theirs in part.album.tensors.items()))
    return replace(memory, trained=trained, seeds=placed(memory.seeds, part.seeds), album=album)


def repeated(memory: Memory, times: int) -> Memory:
    """Every row so many times in a row."""
    return memory if times == 1 else take(memory, torch.arange(memory.rows).repeat_interleave(times))
