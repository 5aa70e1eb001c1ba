"""`sfvgen memory ...`: a bank of memories, listed, filled, asked, merged, copied and checked."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sfvgen_experiments.memory_options import MemoryOptions
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadCheckpoint, BadOption
from sfvgen_planner.learning.bodies import camera_of
from sfvgen_planner.learning.remembering import known, remember_all, watched
from sfvgen_planner.memory import Bank, Card, start, view_of
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.model import WorldModel

BANK = "outputs/bank"


@dataclass(frozen=True)
class Add(MemoryOptions):
    """Options of `sfvgen memory add`."""

    data: tuple[str, ...] = ()
    bank: str = BANK
    world: str | None = None
    episodes: int | None = None
    first: int = 0
    frames: int | None = None
    every: int = 1
    rows: int = 4
    threads: int = 2


def add(config: Add) -> None:
    """Remembers episodes, a few at once; those in the bank already are passed over."""
    torch.set_num_threads(config.threads)
    if not config.data or min(config.rows, config.every) < 1 or config.first < 0:
        raise BadOption("no data, or nothing at once", "data=[folder,...], rows and every 1 or more", "Record some.")
    world = WorldModel.from_pretrained(config.world)
    with Bank.begun(config.bank, world) as bank:
        for folder in config.data:
            names = add_set(bank, world, folder, config)
            print(f"{folder}: {len(names)} memories more in {config.bank}, {len(bank)} in all", flush=True)


def add_set(bank: Bank, world: WorldModel, folder: str, config: Add) -> list[str]:
    """Remembers one data set's episodes; their names."""
    dataset, how = Dataset(folder), config.how
    card = dataset.cards[0]
    body, camera, least = str(card["task"]), camera_of(card), world.config.past + FRAMES_PER_CHUNK
    entries = bank.entries.values()
    done = {e.card.episode for e in entries if (e.card.data, e.config, e.world) == (folder, how, bank.known)}
    last = len(dataset) if config.episodes is None else min(len(dataset), config.first + config.episodes)
    asked = [n for n in range(config.first, last) if n not in done and dataset.entries[n].steps + 1 >= least]
    names: list[str] = []
    for begin in range(0, len(asked), config.rows):
        numbers = asked[begin : begin + config.rows]
        episodes = [dataset[number] for number in numbers]
        some = watched(world, episodes, body, camera, config.frames)
        windows = some.windows(world.config.past, config.every)
        # What is drawn while an episode is remembered hangs on the episode alone, not on its company.
        memory = start(world, how, len(numbers), seeds=torch.tensor(numbers))
        with tqdm(total=len(windows), desc=f"{Path(folder).name} {numbers[0]} to {numbers[-1]}", unit="chunk") as bar:
            memory = remember_all(world, memory, windows, lambda chunk, bar=bar: bar.update())  # type: ignore[misc]
        losses = known(world, memory, windows)
        for row, (number, episode) in enumerate(zip(numbers, episodes, strict=True)):
            view = view_of(world, body, episode.pixels[0], episode.poses[0])
            told = Card(view, int(some.lengths[row]), losses[row], _scene(dataset.cards[number]), folder, number)
            names.append(bank.add(memory[row : row + 1], told))
    return names


def _scene(card: dict[str, Any]) -> str:
    """A scene is drawn from its seed and its length, in each split."""
    return " ".join(str(card[key]) for key in ("split", "length", "seed") if key in card)


def listing(bank: str = BANK, task: str | None = None) -> None:
    """One line a memory."""
    entries = sorted(Bank(bank).entries.items())
    print(f"{'name':34}{'frames':>8}{'loss':>10}  {'world':18}scene")
    for name, entry in entries:
        card = entry.card
        if task in (None, card.task):
            loss = "-" if card.loss is None else f"{card.loss:.4f}"
            print(f"{name:34}{card.frames:>8}{loss:>10}  {entry.world:18}{card.scene}")
    print(f"{len(entries)} memories in {bank}")


@dataclass(frozen=True)
class Show:
    """Options of `sfvgen memory show`."""

    name: str
    bank: str = BANK


def show(config: Show) -> None:
    """The card, but for the view's numbers."""
    there = Bank(config.bank)
    entry = there.entry(there.find(config.name))
    told = {"name": entry.name, **entry.plain(), "view": f"{len(entry.card.view.numbers)} numbers"}
    print(json.dumps(told, indent=2))


@dataclass(frozen=True)
class Recall:
    """Options of `sfvgen memory recall`."""

    data: str
    episode: int = 0
    frame: int = 0
    bank: str = BANK
    world: str | None = None
    k: int = 3


def recall(config: Recall) -> None:
    """Says which memories a frame of a data set calls up."""
    number, frame = config.episode, config.frame
    world, seen = WorldModel.from_pretrained(config.world), Dataset(config.data)
    if not 0 <= number < len(seen) or not 0 <= frame <= seen.entries[number].steps:
        raise BadOption(f"episode {number}, frame {frame}", f"one of {len(seen)} episodes, in it", "Count from 0.")
    one, task, there = seen[number], str(seen.cards[number]["task"]), Bank(config.bank, world)
    found = there.recall(view_of(world, task, one.pixels[frame], one.poses[frame]), config.k)
    print(f"{'name':34}{'weight':>8}{'distance':>10}  scene")
    for name, weight in found.weights.items():
        print(f"{name:34}{weight:>8.3f}{found.distances[name]:>10.4f}  {there.entry(name).card.scene}")


@dataclass(frozen=True)
class Merge:
    """Options of `sfvgen memory merge`."""

    names: tuple[str, ...]
    weights: tuple[float, ...] = ()
    rank: int | None = None
    bank: str = BANK


def merge(config: Merge) -> None:
    """Keeps a merge beside its parts."""
    with Bank(config.bank) as there:
        chosen = [there.find(name) for name in config.names]
        shares = config.weights or (1 / max(1, len(chosen)),) * len(chosen)
        if len(set(chosen)) != len(chosen) or len(shares) != len(chosen):
            raise BadOption(f"{len(chosen)} names and {len(shares)} weights", "as many, each name once", "Weigh each.")
        name = there.merge(dict(zip(chosen, shares, strict=True)), rank=config.rank)
        print(f"{name}: rank {there.entry(name).config.rank}, of {len(chosen)} memories")


@dataclass(frozen=True)
class Forget:
    """Options of `sfvgen memory forget`."""

    names: tuple[str, ...]
    bank: str = BANK


def forget(config: Forget) -> None:
    """They are gone for good."""
    with Bank(config.bank) as there:
        there.forget(config.names)
        print(f"{len(config.names)} forgotten, {len(there)} left in {config.bank}")


@dataclass(frozen=True)
class Export:
    """Options of `sfvgen memory export`."""

    out: str
    names: tuple[str, ...] = ()
    bank: str = BANK


def export(config: Export) -> None:
    """Into the bank in another folder."""
    copied = Bank(config.bank).export(config.out, config.names or None)
    print(f"{len(copied)} memories in {config.out}")


@dataclass(frozen=True)
class Import:
    """Options of `sfvgen memory import`."""

    source: str
    names: tuple[str, ...] = ()
    bank: str = BANK
    world: str | None = None
    force: bool = False


def import_from(config: Import) -> None:
    """Out of the bank in another folder."""
    with Bank.begun(config.bank, WorldModel.from_pretrained(config.world)) as there:
        taken = there.take(config.source, config.names or None, force=config.force)
        print(f"{len(taken)} memories from {config.source}, {len(there)} in {config.bank}")


def verify(bank: str = BANK) -> None:
    """Reads every memory; one that is broken is an error."""
    there = Bank(bank)
    problems = there.verify()
    for problem in problems.values():
        print(problem)
    if problems:
        raise BadCheckpoint(f"{bank} with {len(problems)} broken memories", "none", "Forget or restore their folders.")
    print(f"{len(there)} memories in {bank}, all whole")
