"""Three open checks of a memory, `sfvgen bench checks`: on tables before a sweeping camera, against the simulator.

`isolation`: slow weights alone, a memory in weights that were never trained, both, and both after the loop.
`capacity`: so many episodes written into one memory, one after another; what is left of the first, and of the last.
`generalisation`: scenes that differ from all that was trained on in one thing.

Everywhere one sweep is seen and remembered, and the next frames, of views last seen 40 frames ago or more, are dreamt
under true poses.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sfvgen_experiments.bench.report import cell
from sfvgen_experiments.checks.capacity import capacity, episodes_of
from sfvgen_experiments.checks.kept import Figures, Kept
from sfvgen_experiments.checks.picture import plot
from sfvgen_experiments.checks.recall import recall
from sfvgen_experiments.checks.scenes import KINDS, TRAINED, record
from sfvgen_experiments.revisit.arms import Course, remembered, rolled, windows_of
from sfvgen_experiments.revisit.ways import Trip
from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.memory import PRESETS, MemoryConfig, remember, start
from sfvgen_planner.memory.start import identity
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.model import WorldModel

CHECKS = ("isolation", "capacity", "generalisation")
UNTRAINED, LOOP, LAST = "untrained", "loop", "last of "
DECIDING = ("body", "preset", "episodes", "memories", "first", "seen", "dreamt", "every", "loop")
"""Options that decide a figure, beside the world and its own name."""


@dataclass(frozen=True)
class Checks:
    """Options of `sfvgen bench checks`."""

    world: str | None = None
    loop: str | None = None
    body: str = "cube_return"
    checks: tuple[str, ...] = CHECKS
    kinds: tuple[str, ...] = tuple(KINDS)
    preset: str = "default"
    episodes: int = 6
    counts: tuple[int, ...] = (1, 2, 5, 10, 20)
    memories: int = 5
    first: int = 0
    seen: int = 96
    dreamt: int = 48
    every: int = 1
    threads: int = 2
    out: str = "outputs/bench/checks"

    def __post_init__(self) -> None:
        for names, known in ((self.checks, CHECKS), (self.kinds, tuple(KINDS)), ((self.preset,), tuple(PRESETS))):
            for name in names:
                if name not in known:
                    raise UnknownName(f"{name!r}", f"one of {list(known)}", closest(name, known))
        whole = self.seen % FRAMES_PER_CHUNK == 0 == self.dreamt % FRAMES_PER_CHUNK and min(self.seen, self.dreamt) > 0
        counts = list(self.counts)
        if not whole or min(self.episodes, self.every) < 1 or self.episodes < 2 or self.memories < 3:
            raise BadOption(
                f"{self.episodes} episodes, {self.memories} memories, {self.seen} frames seen, {self.dreamt} dreamt",
                "2 episodes, 3 memories or more, and whole chunks of 8",
                "See the defaults.",
            )
        if not counts or counts != sorted(set(counts)) or counts[0] < 1:
            raise BadOption(f"counts={counts}", "rising numbers from 1", "For example counts=[1,2,5].")

    @property
    def how(self) -> MemoryConfig:
        """How memories are written."""
        return PRESETS[self.preset]


def main(config: Checks) -> dict[str, Any]:
    """Prints what it will cost, then each figure; writes JSON after each and a picture of each check; returns it."""
    torch.set_num_threads(config.threads)
    world = WorldModel.from_pretrained(config.world)
    size = int(world.codec.decode(torch.zeros(1, *world.shape)).shape[1])
    kept = Kept(Path(config.out), {**asked(config), "world": identity(world)})
    todo = [piece for piece in pieces(config) if not kept.has(piece)]
    print(cost(world, config, todo, size), flush=True)
    if "isolation" in config.checks and config.loop is None:
        print("loop: not given, so no world after the loop is asked (loop=<world>)", flush=True)
    for piece in todo:
        with tqdm(desc=piece, unit="chunk", leave=False) as bar:
            for name, figures in measured(world, config, piece, size, lambda chunk, bar=bar: bar.update()):  # type: ignore[misc]
                kept.put(name, figures)
                print(f"{name:28}" + "  ".join(f"{one} {cell(value, 2)}" for one, value in figures.items()), flush=True)
    pictures(config, kept)
    return kept.told


def pieces(config: Checks) -> list[str]:
    """What is measured by itself; what two checks ask is measured once."""
    found = [TRAINED, UNTRAINED, *([LOOP] if config.loop else [])] if "isolation" in config.checks else []
    found += [kind for kind in config.kinds if "generalisation" in config.checks and kind not in found]
    return [*found, *([f"last of {max(config.counts)}"] if "capacity" in config.checks else [])]


def measured(
    world: WorldModel, config: Checks, piece: str, size: int, heard: Callable[[int], object]
) -> Iterator[tuple[str, Figures]]:
    """Figures of a piece by name; of capacity one for each count."""
    if piece.startswith(LAST):
        trip = tables(config, TRAINED, episodes_of(config.counts, config.memories), size)
        yield from capacity(world, trip, config.how, config.counts, config.memories, config.every, heard)
        return
    used = WorldModel.from_pretrained(config.loop) if piece == LOOP else world
    used = untrained(world) if piece == UNTRAINED else used
    course = Course.of(used, tables(config, piece if piece in KINDS else TRAINED, config.episodes, size))
    # Layers that answer 0 before they are trained would bound what is added to them by 0.
    how = replace(config.how, bound=inf) if piece == UNTRAINED else config.how
    memory = remembered(used, course, how, heard, config.every)
    yield piece, recall(used, course, memory, rolled(memory))


def tables(config: Checks, kind: str, count: int, size: int) -> Trip:
    """So many episodes."""
    trip = record(kind, range(config.first, config.first + count), config.seen, config.dreamt, size)
    return replace(trip, body=config.body)


def untrained(world: WorldModel, seed: int = 0) -> WorldModel:
    """The same codec and conditions with a denoiser as it is before its first step: it knows geometry and no more."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return WorldModel(world.config, world.codec, world.encoder).to(next(world.denoiser.parameters()).device).eval()


def cost(world: WorldModel, config: Checks, todo: list[str], size: int) -> str:
    """In minutes, from one window that is remembered by the clock."""
    if not todo:
        return "all of it is there already"
    windows = windows_of(world, Course.of(world, tables(config, TRAINED, 1, size)), config.every)
    how = replace(config.how, beyond=0.0)
    began = time.perf_counter()
    remember(world, start(world, how, 1), windows[-1], windows[:1])
    second = time.perf_counter() - began
    many = max(config.counts) * config.memories
    count = len(windows) * sum(many if piece.startswith(LAST) else config.episodes for piece in todo)
    return f"{len(todo)} pieces, {count} windows to remember at {second:.1f} s: about {count * second / 60:.0f} minutes"


def asked(config: Checks) -> dict[str, Any]:
    """What decides every figure, beside the world."""
    return {name: value for name, value in asdict(config).items() if name in DECIDING}


def pictures(config: Checks, kept: Kept) -> None:
    """One of each check."""
    folder, get = Path(config.out), kept.get
    if "isolation" in config.checks:
        bars = {
            "copy": (TRAINED, "copy"),
            "neither": (UNTRAINED, "off"),
            "fast only": (UNTRAINED, "own"),
            "slow only": (TRAINED, "off"),
            "both": (TRAINED, "own"),
            **({"loop, slow only": (LOOP, "off"), "loop": (LOOP, "own")} if config.loop else {}),
        }
        values = {"mean and interval": [get(*where) for where in bars.values()]}
        plot(folder / "isolation.png", "views seen 40 frames ago or more, PSNR in dB", list(bars), values)
    if "capacity" in config.checks:
        labels = [str(count) for count in config.counts]
        lines = {
            f"{which}: {told}": [get(f"{which} of {count}", measure) for count in config.counts]
            for which, measure, told in (
                ("first", "gain", "own"),
                ("first", "style", "another's"),
                ("last", "gain", "own"),
                ("last", "style", "another's"),
            )
        }
        title = "dB over no memory, by how many episodes one memory was written with"
        plot(folder / "capacity.png", title, labels, lines, joined=True)
    if "generalisation" in config.checks:
        told = {"slow over copying": "slow", "own memory": "gain", "another's": "style"}
        lines = {name: [get(kind, measure) for kind in config.kinds] for name, measure in told.items()}
        plot(folder / "generalisation.png", "dB, by kind of scenes", list(config.kinds), lines)
