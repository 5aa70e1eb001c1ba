"""Does a memory recall a place? `sfvgen probe memory`: the panorama's way back with every kind of help, by age.

What a memory of another episode takes off the error is style; what is lost with it is recall.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfvgen_experiments.bench.report import cell
from sfvgen_experiments.looped import Looped
from sfvgen_experiments.memory_options import MemoryOptions
from sfvgen_experiments.probe.arms import Trip, errors, remembered, swapped
from sfvgen_experiments.probe.base import panorama_base
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory import Memory, MemoryConfig
from sfvgen_planner.metrics.statistics import Interval, bootstrap_interval, mean_interval
from sfvgen_planner.world.sampler import SamplerConfig

Errors = NDArray[np.float64]
"""[E, K]"""


@dataclass(frozen=True)
class Probe(MemoryOptions):
    """Options of `sfvgen probe memory`."""

    world: str | None = None
    episodes: int = 48
    chunks: int = 3
    steps: int = 6
    seed: int = 0
    threads: int = 2
    name: str = "memory"
    out: str = "outputs/probe"


@dataclass(frozen=True)
class Recall:
    """Of chunks that had left the window, where one began to come back."""

    recalled: Interval
    """share of the error that the memory takes away"""
    lost: Interval | None
    """share of that which another episode's memory does not take away; None where nothing was recalled"""

    @staticmethod
    def of(off: Errors, own: Errors, other: Errors) -> "Recall":
        """From errors without memory, with the episode's own, and with another's."""
        late = [one[:, 1:] for one in (off, own, other)]

        def recalled(some: NDArray[np.int64]) -> float:
            without, mine, _ = (float(one[some].mean()) for one in late)
            return 1 - mine / without

        def lost(some: NDArray[np.int64]) -> float:
            without, mine, theirs = (float(one[some].mean()) for one in late)
            return (theirs - mine) / (without - mine)

        found = bootstrap_interval(recalled, len(off))
        return Recall(found, bootstrap_interval(lost, len(off)) if found.mean > 0 else None)


def main(config: Probe) -> dict[str, Any]:
    """Prints a line an arm, writes JSON, returns it."""
    if config.chunks < 2 or config.episodes < 2:
        raise BadOption(f"{config.episodes} episodes of {config.chunks} chunks", "2 or more of each", "Raise them.")
    torch.set_num_threads(config.threads)
    folder = Path(config.out)
    looped = Looped(panorama_base(folder)) if config.world is None else Looped.of(config.world)
    first = looped.begin(config.how, 1)
    trip = Trip.of(config.seed, config.episodes, config.chunks)
    found, seconds = arms(looped, config.how, trip, SamplerConfig(steps=config.steps))
    recall = Recall.of(found["off"], found["memory"], found["swap"])
    result = {
        "options": asdict(config),
        "memory": asdict(first.config),
        "numbers": first.numbers,
        "seconds": seconds,
        "arms": {arm: [mean_interval(column).to_json() for column in table.T] for arm, table in found.items()},
        "recalled": recall.recalled.to_json(),
        "lost": recall.lost and recall.lost.to_json(),
    }
    print(told(found, recall, first, seconds), flush=True)
    write_bytes(folder / f"{config.name}.json", json.dumps(result, indent=2).encode())
    return result


def arms(
    looped: Looped, how: MemoryConfig, trip: Trip, sampler: SamplerConfig
) -> tuple[dict[str, Errors], dict[str, float]]:
    """Errors of each arm, and seconds that a chunk of all episodes takes to be dreamt and to be remembered."""
    rows, world = len(trip.latents), looped.world
    began = time.perf_counter()
    found = {"off": errors(world, trip, sampler)}
    dreaming = (time.perf_counter() - began) / trip.chunks
    memory = looped.begin(how, rows, torch.arange(rows))
    began = time.perf_counter()
    memory = remembered(world, memory, trip)
    seconds = {"dreaming": dreaming, "remembering": (time.perf_counter() - began) / trip.chunks}
    found["memory"] = errors(world, trip, sampler, memory.factors)
    found["swap"] = errors(world, trip, sampler, swapped(memory))
    found["bank"] = errors(world, trip, sampler, context="bank")
    found["all"] = errors(world, trip, sampler, context="all")
    return {arm: table.double().numpy() for arm, table in found.items()}, seconds


def told(found: dict[str, Errors], recall: Recall, first: Memory, seconds: dict[str, float]) -> str:
    """A line an arm."""
    chunks = next(iter(found.values())).shape[1]
    lines = [f"{'error of the way back':24}" + "".join(f"{f'chunk {k + 1}':>16}" for k in range(chunks))]
    for arm, table in found.items():
        lines.append(f"{arm:24}" + "".join(f"{cell(mean_interval(column), 3):>16}" for column in table.T))
    config = first.config
    lines += [
        f"recalled {cell(recall.recalled, 2)}, of which {cell(recall.lost, 2)} is lost on swap",
        f"{config.updates} updates of {config.draws} draws a chunk, {first.numbers} numbers a memory; all rows' chunk: "
        f"{seconds['remembering']:.2f} s to remember, {seconds['dreaming']:.2f} s to dream",
    ]
    return "\n".join(lines)
