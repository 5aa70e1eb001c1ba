"""A second visit: what was learned on another way through the same scene is recalled from a bank by the first frame."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from sfvgen_experiments.revisit.arms import Course, remembered
from sfvgen_planner.memory import Bank, Card, Memory, MemoryConfig, start, view_of
from sfvgen_planner.memory.rows import put
from sfvgen_planner.world.model import WorldModel

BEFORE = {"out_and_back": "a_b_c_a", "a_b_a": "out_and_back", "a_b_c_a": "out_and_back"}
"""The way of the first visit. Elsewhere there is but one way, and seeing it twice would be no question."""


def recalled(
    world: WorldModel, first: Course, second: Course, how: MemoryConfig, heard: Callable[[int], object]
) -> tuple[Memory, float]:
    """Memories of a second visit's episodes as they begin, and the share that were recalled from the right scene."""
    learned, task = remembered(world, first, how, heard), first.trip.body
    memory, right = start(world, how, learned.rows), []
    with TemporaryDirectory() as folder:
        bank = Bank.begun(Path(folder), world)
        for row in range(learned.rows):
            view = view_of(world, task, first.trip.pixels[row, 0], first.trip.poses[row, 0])
            bank.add(learned[row : row + 1], Card(view, first.trip.seen, scene=str(row)))
        for row in range(learned.rows):
            found = bank.recall(view_of(world, task, second.trip.pixels[row, 0], second.trip.poses[row, 0]))
            memory = put(memory, torch.tensor([row], device=memory.seeds.device), found.memory)
            right.append(bank.entry(next(iter(found.weights))).card.scene == str(row))
    return memory, float(np.mean(right))
