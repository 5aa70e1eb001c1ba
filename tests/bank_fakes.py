"""Made-up memories of made-up places."""

from dataclasses import replace

import numpy as np
import torch
from memory_fakes import SMALL

from sfvgen_planner.memory import Bank, Card, Memory, View, start
from sfvgen_planner.memory.adam import Trained
from sfvgen_planner.world.model import WorldModel


def place(number: float, task: str = "toy") -> View:
    """Views as far apart as their numbers."""
    return View(task, np.array([number, 1, 0], np.float16))


def card(number: float, **told: object) -> Card:
    """Of an episode that began there."""
    return replace(Card(place(number), frames=24, loss=0.5, scene=f"scene {number}"), **told)  # type: ignore[arg-type]


def memory_of(world: WorldModel, seed: int, *, shared: bool = False, rank: int = SMALL.rank) -> Memory:
    """Random factors that half precision keeps exactly; all of one A, if `shared`."""
    begun, draw = start(world, replace(SMALL, rank=rank), 1), torch.Generator().manual_seed(seed)

    def drawn(name: str, value: torch.Tensor) -> torch.Tensor:
        keep = shared and name.endswith("lora_A")
        return (value if keep else torch.randn(value.shape, generator=draw)).half().to(value.dtype)

    return replace(begun, trained=Trained.fresh({name: drawn(name, value) for name, value in begun.start.items()}))


def filled(bank: Bank, world: WorldModel, count: int) -> list[str]:
    """Names of memories of places 0, 1, 2, ..."""
    return [bank.add(memory_of(world, number), card(number)) for number in range(count)]
