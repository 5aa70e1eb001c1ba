"""What does remembering cost? `sfvgen bench memory_cost`: time and peak memory of a chunk, with and without.

One row. A chunk is dreamt by a world with a memory merged into it; after every so many chunks the last window is
remembered, earlier ones replayed, and the memory is merged anew. In the paper's setting (50 steps, with and without
guidance; as the paper has it, each of them through the whole window, and as we do, the past looked at once) and at few
steps. All ways are timed in turns, and ratios are those of one turn. What is shown does not matter
for time, so latents are made up, before a camera that turns; what is dreamt was seen before, so that where frames are
kept every new one is carried from one of them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_experiments.bench.report import cell, percent
from sfvgen_experiments.bench.speed import as_in_the_paper
from sfvgen_experiments.bench.timing import in_turns, peak
from sfvgen_experiments.memory_options import MemoryOptions
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory import Memory, MemoryConfig, Seen, merged, remember, start
from sfvgen_planner.metrics.statistics import Interval, bootstrap_interval
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.lowrank import LowRank
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.pose import turned_by
from sfvgen_planner.world.sampler import PAPER_SAMPLER, SamplerConfig

GUIDED = 2.0
PLAIN, TWICE = "50 steps", f"50 steps, guidance {GUIDED:g}"
PAPER = ", as in the paper"
WANTED = {PLAIN + PAPER: 0.05, TWICE + PAPER: 0.03, PLAIN: 0.05, TWICE: 0.03}
"""More time for every chunk remembered; the paper pays 6.8 % and 3.7 %."""
EARLIER = 4
"""windows that are replayed from; how many makes no difference to time"""
TURN = 0.1
"""radians that the camera turns from frame to frame"""
Remembered = tuple[WorldModel, LowRank | None]
"""A world with a memory in its weights, and what no weights can hold."""
Dream = Callable[[WorldModel, LowRank | None], object]


@dataclass(frozen=True)
class Asked:
    """One row's past and new frames, and the windows before."""

    world: WorldModel
    windows: tuple[Seen, ...]
    """the last one is to be dreamt, then remembered"""

    @staticmethod
    def of(world: WorldModel) -> "Asked":
        """Made up."""
        layout, past, device = world.encoder.layout, world.config.past, next(world.parameters()).device
        body = layout.embodiments[0]
        frames = past + (EARLIER + 1) * FRAMES_PER_CHUNK
        latents = torch.randn(1, frames, *world.shape, generator=torch.Generator().manual_seed(0)).to(device)
        poses = torch.zeros(1, frames, body.pose_size)
        poses[0, :, 3:7] = turned_by(TURN * torch.arange(frames)[:, None] * torch.tensor([0.0, 1.0, 0.0]))
        facts = Facts.of_poses(poses, layout, body.name, next(iter(body.cameras), None)).to(device)
        parts = [slice(end - past - FRAMES_PER_CHUNK, end) for end in range(frames, past, -FRAMES_PER_CHUNK)]
        return Asked(world, tuple(Seen(latents[:, part], facts[part], past) for part in reversed(parts)))

    def told(self) -> tuple[Tensor, Facts, Facts, Tensor]:
        """The last window's past, what is known of it and of the new frames, and a seed."""
        one = self.windows[-1]
        seeds = torch.zeros(1, dtype=torch.int64, device=one.latents.device)
        return one.latents[:, : one.past], one.facts[: one.past], one.facts[one.past :], seeds

    def dreams(self, steps: tuple[int, ...]) -> dict[str, Dream]:
        """By name, the ways of dreaming the last window's new frames."""
        samplers = {PLAIN: PAPER_SAMPLER, TWICE: replace(PAPER_SAMPLER, guidance=GUIDED)}
        samplers |= {f"{count} steps" if count > 1 else "1 step": SamplerConfig(count) for count in steps}
        told = self.told()
        ways: dict[str, Dream] = {
            name + PAPER: lambda world, beside, guidance=samplers[name].guidance: as_in_the_paper(  # type: ignore[misc]
                world, guidance, beside, foreseen=False
            )(*told)
            for name in (PLAIN, TWICE)
        }
        return ways | {
            name: lambda world, beside, sampler=sampler: world.dream(*told, sampler, beside, foreseen=False)
            for name, sampler in samplers.items()
        }

    def write(self, how: MemoryConfig) -> Callable[[], Remembered]:
        """The last window remembered, and the memory merged."""
        begun = self.begun(how)
        *earlier, now = self.windows

        def written() -> Remembered:
            memory = remember(self.world, begun, now, earlier)
            return merged(self.world, memory), memory.beside

        return written

    def begun(self, how: MemoryConfig) -> Memory:
        """Of one row."""
        return start(self.world, how, 1)


def main(
    world: str | None = None,
    presets: tuple[str, ...] = ("paper", "default"),
    updates: int | None = None,
    draws: int | None = None,
    rise: float | None = None,
    steps: tuple[int, ...] = (1, 2, 4),
    every: tuple[int, ...] = (1, 2, 4),
    repeats: int = 7,
    threads: int = 2,
    device: str = "cpu",
    out: str = "outputs/bench/memory_cost.json",
) -> dict[str, Any]:
    """Prints a line for each way of sampling under each preset, writes JSON, returns it."""
    if not presets or not every or min(*steps, *every, repeats, threads) < 1:
        raise BadOption(f"steps={list(steps)} every={list(every)} repeats={repeats}", "1 or more", "Raise them.")
    torch.set_num_threads(threads)
    hows = {name: MemoryOptions(name, updates=updates, draws=draws, rise=rise).how for name in presets}
    asked = Asked.of(WorldModel.from_pretrained(world).to(device))
    rows, lines = [], []
    for name, how in hows.items():
        found = measured(asked, how, asked.dreams(steps), every, repeats)
        told = {"preset": name, "updates": 0 if how.variant == "off" else how.updates, "draws": how.draws, **found}
        rows.append(told)
        print(shown(told, every), flush=True)
        lines += bars(told)
    print("\n".join(lines))
    result = {
        "world": world or "shipped",
        "asked": {"repeats": repeats, "threads": threads, "rise": rise},
        "rows": rows,
    }
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    plain = json.dumps(result, indent=2, default=Interval.to_json)
    write_bytes(Path(out), plain.encode())
    return dict(json.loads(plain))


def measured(
    asked: Asked, how: MemoryConfig, dreams: dict[str, Dream], every: tuple[int, ...], repeats: int
) -> dict[str, Any]:
    """Seconds of each part (medians), what remembering adds to a chunk, and megabytes each adds at its peak."""
    write = asked.write(how)
    remembering = write()
    ways: list[Callable[[], object]] = [write]
    for dream in dreams.values():
        ways += [partial(dream, asked.world, None), partial(dream, *remembering)]
    in_turns(1, *ways)
    taken = in_turns(repeats, *(_finished(way, asked.windows[-1].latents) for way in ways))
    written, chunks = taken[:, 0], {}
    for column, name in enumerate(dreams):
        plain, with_memory = taken[:, 1 + 2 * column], taken[:, 2 + 2 * column]
        extra = {n: _median((with_memory + written / n) / plain - 1) for n in every}
        chunks[name] = {"seconds": float(np.median(plain)), "extra": extra}
    device = asked.windows[-1].latents.device
    room = {name: peak(way, device)[1] for name, way in (("dream", ways[1]), ("write", write))}
    kept = 2 * asked.begun(how).numbers
    return {"write_seconds": float(np.median(written)), "chunks": chunks, "peak_mb": room, "bytes": kept}


def shown(row: dict[str, Any], every: tuple[int, ...]) -> str:
    """A preset's lines."""
    room = {name: "-" if mb is None else f"{mb:.0f} MB" for name, mb in row["peak_mb"].items()}
    lines = [
        f"{row['preset']}: {row['updates']} updates of {row['draws']} draws, written in {row['write_seconds']:.3f} s; "
        f"at its peak a dream adds {room['dream']}, writing {room['write']}",
        f"  {'a chunk of':40}{'seconds':>10}" + "".join(f"{f'every {n}, % more':>22}" for n in every),
    ]
    for name, one in row["chunks"].items():
        cells = [cell(percent(one["extra"][n]), 1) for n in every]
        lines.append(f"  {name:40}{one['seconds']:>10.3f}" + "".join(f"{told:>22}" for told in cells))
    return "\n".join(lines)


def bars(row: dict[str, Any]) -> list[str]:
    """What was wanted of remembering every chunk, or, if it was not asked, the most often asked."""
    lines = []
    for name, most in WANTED.items():
        often, extra = min(row["chunks"][name]["extra"].items())
        met = "met" if extra.mean <= most else "NOT MET"
        lines.append(
            f"{row['preset']}, {name}, every {often}: {extra.mean:.1%} more time, {most:.0%} at most wanted: {met}"
        )
    return lines


def _median(values: NDArray[np.float64]) -> Interval:
    return bootstrap_interval(lambda some: float(np.median(values[some])), len(values))


def _finished(way: Callable[[], object], like: Tensor) -> Callable[[], None]:
    """An accelerator answers before it is done."""

    def done() -> None:
        way()
        if like.is_cuda:
            torch.cuda.synchronize(like.device)

    return done


if __name__ == "__main__":
    main()
