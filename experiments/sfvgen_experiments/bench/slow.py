"""How good are slow worlds on held-out windows? `sfvgen bench slow`: a block a data set, a line an arm, then the bars.

Arms: copying the last frame, each world, and its codec alone (the best it could look). A world dreams every window
twice, told the true actions and told those of the window whose actions are farthest; and some windows for much longer.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfvgen_experiments.bench.drift import held_out
from sfvgen_experiments.bench.report import OfSet, OfWorld, Together
from sfvgen_experiments.dream_figures import pooled_gain, psnr_of, sharpness_of
from sfvgen_experiments.dreams import Frames, coded, copied, dream, hold_out, longest
from sfvgen_planner.data import Dataset
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.judge import Judge
from sfvgen_planner.metrics.judge_file import load_judge
from sfvgen_planner.metrics.statistics import Interval, paired_difference
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.model import SHIPPED, WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

COPY = "copy last"
LONGEST = 64


@dataclass(frozen=True)
class Plan:
    """What is dreamt of each data set, and who looks at it."""

    windows: int
    long: int
    behaviour: str
    sampler: SamplerConfig
    at_length: SamplerConfig
    """of long dreams"""
    judge: Judge | None


def main(
    worlds: tuple[str, ...] = (),
    data: tuple[str, ...] = (),
    judge: str | None = None,
    windows: int = 200,
    long: int = 32,
    steps: int = 1,
    long_steps: int = 50,
    guidance: float = 1.0,
    behaviour: str = "",
    threads: int = 2,
    out: str = "outputs/bench/slow.json",
) -> dict[str, Any]:
    """Prints figures with 95 % intervals and whether each bar is met, writes JSON, returns it."""
    torch.set_num_threads(threads)
    if not data or min(windows, long) < 2:
        raise BadOption(
            f"{len(data)} data sets, {windows} windows, {long} long ones",
            "data=[folder,...] of the test split, 2 windows of each length or more",
            "Record some: sfvgen collect split=test.",
        )
    looking = None if judge == "" else load_judge(judge).judge
    models = named(worlds or (str(SHIPPED),))
    short, at_length = (SamplerConfig(count, guidance=guidance) for count in (steps, long_steps))
    plan = Plan(windows, long, behaviour, short, at_length, looking)
    rows: dict[str, OfSet] = {}
    for folder in data:
        name = Path(folder).name
        rows[name] = measure(models, held_out(folder), plan)
        print(rows[name].told(name), flush=True)
    together = Together.of(list(rows.values()), looking)
    print(together.told())
    result = {
        "worlds": {name: {"folder": folder} for name, folder in zip(models, worlds or ("shipped",), strict=True)},
        "judge": looking and {"folder": judge or "shipped", "sha256": looking.identity},
        "asked": {
            "windows": windows,
            "long": long,
            "steps": steps,
            "long_steps": long_steps,
            "guidance": guidance,
            "behaviour": behaviour,
        },
        "rows": rows,
        "together": together,
    }
    plain = json.dumps(result, indent=2, default=lambda value: value.to_json())
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(Path(out), plain.encode())
    return dict(json.loads(plain))


def named(folders: Sequence[str]) -> dict[str, WorldModel]:
    """Worlds by their kind, or by kind and folder where two are of one kind."""
    found = [WorldModel.from_pretrained(folder) for folder in folders]
    kinds: list[str] = [world.config.kind for world in found]
    names = [kind if kinds.count(kind) == 1 else f"{kind} {path}" for kind, path in zip(kinds, folders, strict=True)]
    if len(set(names)) < len(names):
        raise BadOption(f"worlds {list(folders)}", "each once", "Name other folders.")
    return dict(zip(names, found, strict=True))


def measure(worlds: dict[str, WorldModel], dataset: Dataset, plan: Plan) -> OfSet:
    """Everything about one data set; every arm sees the same windows."""
    past = max(world.config.past for world in worlds.values())
    held = hold_out(dataset, past, FRAMES_PER_CHUNK, plan.windows, plan.behaviour)
    others = held.told_others()
    dreamt = {name: [dream(world, one, plan.sampler) for one in (held, others)] for name, world in worlds.items()}
    frames: dict[str, Frames] = {COPY: copied(held)}
    for name, world in worlds.items():
        frames |= {f"{name}, codec alone": coded(world, held.real), name: dreamt[name][0].frames}
    found = OfSet.of(held, dataset.description, plan.judge, frames)
    copying = psnr_of(held.real, frames[COPY])
    by_world = {}
    for name, world in worlds.items():
        mine, misled = (psnr_of(held.real, one.frames) for one in dreamt[name])
        chunks, finite = long_dreams(world, dataset, plan)
        by_world[name] = OfWorld(
            over_copy=paired_difference(mine, copying),
            pooled_over_copy=pooled_gain(held.real, dreamt[name][0].frames, frames[COPY]),
            over_other=paired_difference(mine, misled),
            adherence=found.arms[name].adherence,
            long_sharpness=max(chunks, key=lambda chunk: abs(np.log(max(chunk.mean, 1e-9)))),
            chunks=chunks,
            finite=finite and all(one.finite for one in dreamt[name]),
        )
    return replace(found, worlds=by_world)


def long_dreams(world: WorldModel, dataset: Dataset, plan: Plan) -> tuple[tuple[Interval, ...], bool]:
    """Sharpness of each chunk of dreams as long as the set's episodes allow, and whether all of it was finite."""
    past = world.config.past
    new = longest(dataset, past, LONGEST, plan.long, plan.behaviour)
    held = hold_out(dataset, past, new, plan.long, plan.behaviour)
    dreamt = dream(world, held, plan.at_length)
    parts = [slice(start, start + FRAMES_PER_CHUNK) for start in range(0, new, FRAMES_PER_CHUNK)]
    return tuple(sharpness_of(held.real[:, part], dreamt.frames[:, part]) for part in parts), dreamt.finite
