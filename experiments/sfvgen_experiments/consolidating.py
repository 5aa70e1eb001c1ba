"""`sfvgen consolidate`: what a bank remembers sinks into the slow weights, if that proves good. It resumes."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from sfvgen_experiments.banking import BANK
from sfvgen_experiments.slow_fast import to_learn_from
from sfvgen_experiments.train import listening
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadMemory, BadOption
from sfvgen_planner.learning.consolidate import MOST, Verdict, consolidate, held_out, joined
from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.learning.loop import LoopConfig
from sfvgen_planner.learning.run import RunConfig
from sfvgen_planner.memory import Bank, MemoryConfig
from sfvgen_planner.memory.card import Entry
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.model import WorldModel


@dataclass(frozen=True)
class Consolidate:
    """Options of `sfvgen consolidate`."""

    task: str
    bank: str = BANK
    others: tuple[str, ...] = ()
    replay: int = 50
    world: str | None = None
    out: str = "outputs/consolidate"
    latents: str | None = None
    steps: int = 200
    learning_rate: float = 0.0002
    rows: int = 8
    chunks: int = 6
    lessons: int | None = 2
    again: bool = True
    empty: float = 0.5
    noise: Literal["stratified", "high", "uniform"] = "stratified"
    held: int = 8
    windows: int = 4
    most: float = MOST
    seed: int = 0
    threads: int = 2
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_seconds: float = 120.0


def main(config: Consolidate) -> None:
    """Learns, judges, says what came of it; `out/world` is the world to go on with."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    if config.held < 2 or config.windows < 1 or config.replay < 0:
        given = f"held={config.held}, windows={config.windows}, replay={config.replay}"
        raise BadOption(given, "2, 1 and 0 or more", "Hold out more.")
    out, world = Path(config.out), WorldModel.from_pretrained(config.world)
    place, layout, past = Path(config.latents or out / "latents"), world.encoder.layout, world.config.past
    entries = [e for e in Bank(config.bank).entries.values() if e.card.task == config.task and e.card.data]
    how, numbers = written_alike(entries, config), episodes_of(entries)
    sources, rest, others = [], [], {}
    for folder, known in numbers.items():
        dataset = to_learn_from(folder)
        sources.append(LatentSet(dataset, world.codec, place, only=known))
        left = [number for number in range(len(dataset)) if number not in known][-config.held :]
        rest.append(LatentSet(dataset, world.codec, place, only=left))
    for folder in config.others:
        dataset = to_learn_from(folder)
        split = max(1, len(dataset) - config.held)
        asked = LatentSet(dataset, world.codec, place, only=range(split, len(dataset)))
        others[Path(folder).name] = held_out(asked, layout, past, config.windows, config.seed)
        if config.replay:
            sources.append(LatentSet(dataset, world.codec, place, only=range(min(split, config.replay))))
    own = joined([held_out(one, layout, past, config.windows, config.seed) for one in rest if one.episodes])
    if not own:
        raise BadOption(f"{list(numbers)} with nothing but remembered episodes", "some held out", "Record more.")
    loop = LoopConfig(how, config.rows, past, config.chunks, config.lessons, config.again, config.empty, config.noise)
    frames = config.rows * config.chunks * FRAMES_PER_CHUNK
    with listening(out, config.steps, frames, ("with_memory", "without_memory")) as bar:
        found, verdict = consolidate(
            world, sources, own, others, out, _run(config), loop, most=config.most, listen=bar.hear
        )
    found.save_pretrained(out / "world")
    write_bytes(out / "verdict.json", json.dumps(verdict.to_json(), indent=2).encode())
    print(told(verdict, config, sum(len(known) for known in numbers.values())))


def written_alike(entries: Iterable[Entry], config: Consolidate) -> MemoryConfig:
    """How these memories were written, all of them."""
    hows = list(dict.fromkeys(entry.config for entry in entries))
    if len(hows) != 1:
        raise BadMemory(
            f"{config.bank} with memories of {config.task!r} from episodes of data sets, written in {len(hows)} ways",
            "one way",
            "Fill a bank by `sfvgen memory add`, with one preset.",
        )
    return hows[0]


def episodes_of(entries: Iterable[Entry]) -> dict[str, list[int]]:
    """By data set: the numbers of the episodes that are remembered."""
    found: dict[str, list[int]] = {}
    for entry in entries:
        if entry.card.episode is not None:
            found.setdefault(entry.card.data, []).append(entry.card.episode)
    return {folder: sorted(set(numbers)) for folder, numbers in sorted(found.items())}


def told(verdict: Verdict, config: Consolidate, episodes: int) -> str:
    """In a few lines."""
    lines = [f"{config.task}, {episodes} episodes, {config.steps} steps: {verdict.reason}"]
    for name, rise in verdict.rises.items():
        lines.append(f"  {name}: loss {rise.mean:+.2%} ({rise.low:+.2%} to {rise.high:+.2%})")
    return "\n".join([*lines, f"the world to go on with: {config.out}/world"])


def _run(config: Consolidate) -> RunConfig:
    return RunConfig(
        config.steps,
        config.learning_rate,
        warmup=min(20, config.steps // 5 + 1),
        average=0.98,
        seed=config.seed,
        checkpoint_seconds=config.checkpoint_seconds,
        precision=config.precision,
    )
