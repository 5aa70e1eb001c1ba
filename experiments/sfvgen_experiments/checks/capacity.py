"""How many episodes fit into one memory? They are written one after another into memories that never begin anew."""

from collections.abc import Callable, Iterator, Sequence

import torch

from sfvgen_experiments.checks.recall import recall
from sfvgen_experiments.checks.scenes import some
from sfvgen_experiments.revisit.arms import Course, rolled, windows_of
from sfvgen_experiments.revisit.ways import Trip
from sfvgen_planner.learning.remembering import remember_all
from sfvgen_planner.memory import MemoryConfig, start
from sfvgen_planner.metrics.statistics import Interval
from sfvgen_planner.world.model import WorldModel


def episodes_of(counts: Sequence[int], memories: int) -> int:
    """How many are needed."""
    return max(counts) + memories - 1


def capacity(
    world: WorldModel,
    trip: Trip,
    how: MemoryConfig,
    counts: Sequence[int],
    memories: int,
    every: int,
    heard: Callable[[int], object],
) -> Iterator[tuple[str, dict[str, Interval | None]]]:
    """By name, after each of the counts: what the first episode and the last one are worth.

    Memory m is written with the episodes m, m + 1, ..., each replaying its own windows alone. So memory m + 1 knows
    all of memory m's but the first, and memory m - 1 all but the last: they are the others it is compared with.
    """
    first = Course.of(world, some(trip, 0, memories))
    memory, course = start(world, how, memories, seeds=torch.arange(memories)), first
    for number in range(max(counts)):
        course = first if number == 0 else Course.of(world, some(trip, number, memories))
        memory = remember_all(world, memory, windows_of(world, course, every), heard)
        if number + 1 in counts:
            yield f"first of {number + 1}", recall(world, first, memory, rolled(memory, -1), range(memories - 1))
            yield f"last of {number + 1}", recall(world, course, memory, rolled(memory, 1), range(1, memories))
