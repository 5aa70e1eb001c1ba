"""How far does a later action leak into earlier frames? `sfvgen bench leak`: who plans action by action must know.

One new frame's action becomes that of another window, and the denoiser is asked again: by how much, relative to its
size, does the answer change for the frames before it (what should not be) and for its own and later ones (what should)?
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfvgen_experiments.bench.drift import held_out
from sfvgen_experiments.dreams import farthest_rows
from sfvgen_planner.data import Dataset, Windows
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.bodies import camera_of
from sfvgen_planner.metrics.statistics import Interval, mean_interval
from sfvgen_planner.types import FRAMES_PER_CHUNK, Window
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.leak import leak
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.noise import keyed_noise

BATCH = 10


def main(
    world: str | None = None,
    data: tuple[str, ...] = (),
    windows: int = 50,
    level: float = 0.5,
    threads: int = 2,
    out: str = "outputs/bench/leak.json",
) -> dict[str, Any]:
    """Prints mean relative changes with 95 % intervals, writes JSON, returns it."""
    torch.set_num_threads(threads)
    if not data:
        raise BadOption("no data", "data=[folder,...] of the test split", "Record some: sfvgen collect split=test.")
    if not 0 < level <= 1:
        raise BadOption(f"level={level}", "above 0, 1 at most", "0 is clean, 1 is noise.")
    model, rows = WorldModel.from_pretrained(world), {}
    print(f"{'relative change':22}{'earlier frames':>20}{'at most':>12}{'own and later':>20}")
    for folder in data:
        changes, name = changes_of(model, held_out(folder), windows, level), Path(folder).name
        earlier, later = earlier_and_later(changes)
        rows[name] = {"earlier": earlier, "most": float(changes.tril(-1).max()), "later": later}
        print(f"{name:22}{_cell(earlier):>20}{rows[name]['most']:>12.4f}{_cell(later):>20}", flush=True)
    result = {"world": world, "kind": model.config.kind, "windows": windows, "level": level, "rows": rows}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(Path(out), json.dumps(result, indent=2, default=vars).encode())
    return result


def changes_of(world: WorldModel, dataset: Dataset, count: int, level: float) -> Tensor:
    """[R, T, T] of `count` windows spread evenly over the set; see `leak`."""
    windows = Windows(dataset, world.config.past + FRAMES_PER_CHUNK)
    chosen = np.linspace(0, len(windows) - 1, min(count, len(windows))).round().astype(int)
    parts = [windows.batch(chosen[start : start + BATCH]) for start in range(0, len(chosen), BATCH)]
    actions = np.concatenate([part.actions for part in parts])
    others = actions[farthest_rows(actions[:, world.config.past :])]
    found = []
    for number, part in enumerate(parts):
        rows = slice(number * BATCH, number * BATCH + len(part.start))
        found.append(_changes(world, dataset, part, others[rows], level, torch.arange(rows.start, rows.stop)))
    return torch.cat(found)


@torch.no_grad()
def _changes(world: WorldModel, dataset: Dataset, part: Window, others: Any, level: float, seeds: Tensor) -> Tensor:
    past, card = world.config.past, dataset.cards[0]
    told, swapped = (
        Facts.of_window(window, world.encoder.layout, str(card["task"]), camera_of(card))
        for window in (part, Window(part.pixels, part.poses, others, part.phrases, part.start))
    )
    everywhere = torch.ones(told.rows, dtype=torch.bool)
    known = told[:past].withhold(actions=everywhere, texts=everywhere)
    latents = world.codec.encode(torch.from_numpy(part.pixels))
    cache = world.denoiser.prefill(latents[:, :past], world.conditions(known))
    noise = keyed_noise(seeds, torch.zeros_like(seeds), FRAMES_PER_CHUNK, world.shape, dtype=latents.dtype)
    levels = torch.full((told.rows, FRAMES_PER_CHUNK), level)
    noisy = world.config.process.noised(latents[:, past:], noise, levels)
    conditions, other = (world.conditions(facts[past:].withhold(texts=everywhere)) for facts in (told, swapped))
    return leak(world.denoiser, cache, noisy, levels, conditions, other)


def earlier_and_later(changes: Tensor) -> tuple[Interval, Interval]:
    """Of [R, T, T]: the mean over pairs of frames, one value a window."""
    earlier = torch.ones(changes.shape[1:], dtype=torch.bool).tril(-1)
    first, second = (mean_interval(changes[:, mask].mean(1).double().numpy()) for mask in (earlier, ~earlier))
    return first, second


def _cell(interval: Interval) -> str:
    return f"{interval.mean:.4f} ±{(interval.high - interval.low) / 2:.4f}"
