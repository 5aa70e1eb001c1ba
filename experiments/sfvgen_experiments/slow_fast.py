"""`sfvgen loop`: the slow-fast loop on data sets, or on the probe's panorama. It resumes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from tqdm import tqdm

from sfvgen_experiments.memory_options import MemoryOptions
from sfvgen_experiments.probe.base import PAST, TOLD, panorama_base
from sfvgen_experiments.probe.panorama import Panorama, there_and_back
from sfvgen_experiments.train import listening
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption, UnknownName
from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.learning.loop import LoopConfig, Source, train_loop
from sfvgen_planner.learning.run import RunConfig
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.dropout import DropRates
from sfvgen_planner.world.model import WorldModel


@dataclass(frozen=True)
class Loop(MemoryOptions):
    """Options of `sfvgen loop`."""

    task: str | None = None
    data: tuple[str, ...] = ()
    episodes: int | None = None
    world: str | None = None
    out: str = "outputs/loop"
    steps: int = 1000
    learning_rate: float = 0.0005
    rows: int = 8
    chunks: int = 6
    lessons: int | None = None
    again: bool = True
    empty: float = 0.25
    noise: Literal["stratified", "high", "uniform"] = "stratified"
    order: Literal["first", "second"] = "first"
    start: bool = True
    pace: bool = True
    base: str = "outputs/probe"
    seed: int = 0
    threads: int = 2
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_seconds: float = 120.0


def main(config: Loop) -> None:
    """Trains, with a progress bar; `out/world` and `out/start` are what it has learned."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    world, sources, past, drop = _task(config)
    run = RunConfig(
        config.steps,
        config.learning_rate,
        warmup=min(20, config.steps // 5 + 1),
        average=0.98,
        seed=config.seed,
        checkpoint_seconds=config.checkpoint_seconds,
        precision=config.precision,
    )
    loop = LoopConfig(
        config.how,
        config.rows,
        past,
        config.chunks,
        config.lessons,
        config.again,
        config.empty,
        config.noise,
        config.order,
        config.start,
        config.pace,
        drop,
    )
    frames = config.rows * config.chunks * FRAMES_PER_CHUNK
    with listening(Path(config.out), config.steps, frames, ("with_memory", "without_memory")) as bar:
        train_loop(world, sources, Path(config.out), run, loop, listen=bar.hear)


def _task(config: Loop) -> tuple[WorldModel, list[Source], int, DropRates]:
    """What learns, from what, how much past it is given, and what is withheld."""
    if config.task == "panorama" and not config.data:
        if config.world is None:
            world = panorama_base(Path(config.base))
        else:
            world = WorldModel.from_pretrained(Path(config.world) / "world")
        return world, [Panorama(there_and_back(PAST))], PAST, TOLD
    if config.task is not None:
        raise UnknownName(f"task={config.task}", "panorama, or data=[folder,...]", "Record a task: sfvgen collect.")
    if not config.data:
        raise BadOption("neither a task nor data", "task=panorama or data=[folder,...]", "Record some: sfvgen collect.")
    world = WorldModel.from_pretrained(config.world)
    datasets = [to_learn_from(path) for path in config.data]
    place = Path(config.out) / "latents"
    sets: list[Source] = [
        LatentSet(one, world.codec, place, config.episodes) for one in tqdm(datasets, desc="latents", unit="set")
    ]
    return world, sets, world.config.past, DropRates()


def to_learn_from(folder: str) -> Dataset:
    """A data set, but for the test split's."""
    dataset = Dataset(folder)
    if any(card.get("split") == "test" for card in dataset.cards):
        raise BadOption(f"{folder} of the test split", "data to learn from", "It is for measuring only.")
    return dataset
