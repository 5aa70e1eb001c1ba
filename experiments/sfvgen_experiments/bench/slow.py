"""How good is the slow world on held-out windows? `sfvgen bench slow`: a row a task, beside its yardsticks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfvgen_experiments.dreams import Dreams, dream_windows
from sfvgen_planner.data import Dataset
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.quality import psnr, relative_sharpness
from sfvgen_planner.metrics.statistics import Interval, mean_interval, paired_difference
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

CEILING = 48.13
"""dB: errors below one grey level do not count, and a still picture copied is not infinitely good"""
ARMS = ("copied", "coded", "dream", "other")


def main(
    world: str = "outputs/world/world",
    data: tuple[str, ...] = (),
    windows: int = 200,
    steps: int = 4,
    threads: int = 2,
    out: str = "outputs/bench/slow.json",
) -> dict[str, Any]:
    """Prints PSNR with 95 % intervals, writes JSON, returns it."""
    torch.set_num_threads(threads)
    if not data:
        raise BadOption("no data", "data=[folder,...] of the test split", "Record some: sfvgen collect split=test.")
    model, sampler = WorldModel.from_pretrained(world), SamplerConfig(steps=steps)
    rows: dict[str, Any] = {}
    heads = ("copy last", "codec", "dream", "other actions", "over copy", "over other", "sharpness")
    print(f"{'PSNR, 8 new frames':22}" + "".join(f"{head:>19}" for head in heads))
    for folder in data:
        dataset = Dataset(folder)
        splits = {str(card.get("split")) for card in dataset.cards}
        if splits != {"test"}:
            raise BadOption(f"{folder} of split {sorted(splits)}", "the test split alone", "Held out means held out.")
        camera = str(dataset.cards[0].get("camera", "fixed"))
        dreams = dream_windows(model, dataset, camera, windows, sampler)
        figures = judge(dreams)
        sharpness = float(relative_sharpness(dreams.real, dreams.dream).mean())
        rows[Path(folder).name] = {**{name: vars(value) for name, value in figures.items()}, "sharpness": sharpness}
        cells = [_cell(figures[name]) for name in (*ARMS, "over_copy", "over_other")]
        print(f"{Path(folder).name:22}" + "".join(f"{cell:>19}" for cell in (*cells, f"{sharpness:.2f}")), flush=True)
    result = {"world": world, "windows": windows, "steps": steps, "rows": rows}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(Path(out), json.dumps(result, indent=2).encode())
    return result


def judge(dreams: Dreams) -> dict[str, Interval]:
    """Means over windows; the gains are paired."""
    scores = {arm: np.minimum(psnr(dreams.real, getattr(dreams, arm)).numpy(), CEILING).mean(1) for arm in ARMS}
    figures = {arm: mean_interval(score) for arm, score in scores.items()}
    figures["over_copy"] = paired_difference(scores["dream"], scores["copied"])
    figures["over_other"] = paired_difference(scores["dream"], scores["other"])
    return figures


def _cell(interval: Interval) -> str:
    return f"{interval.mean:.2f} ±{(interval.high - interval.low) / 2:.2f}"
