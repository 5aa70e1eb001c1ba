"""How fast does a planner imagine, and what does it pay for that? `sfvgen bench speed`.

One episode, many candidates, 8 past and 8 new frames, one and the same world. Ours: the past is looked at once for all
candidates and steps, few steps, latents only. The paper's: 50 DDIM steps, and in each of them the whole window of every
candidate, as if each had a past of its own. Every arm also dreams the same held-out windows: what is fast and wrong is
no planner's friend.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfvgen_experiments.bench.drift import held_out
from sfvgen_experiments.bench.report import OfSet, Together, cell
from sfvgen_experiments.bench.timing import in_turns
from sfvgen_experiments.dreams import HeldOut, Imagined, dream, dream_by, hold_out
from sfvgen_planner.data import Dataset
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.judge_file import load_judge
from sfvgen_planner.metrics.statistics import Interval, bootstrap_interval
from sfvgen_planner.types import FRAMES_PER_CHUNK, Actions, Context
from sfvgen_planner.world.denoiser import Denoised
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.lowrank import LowRank
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.noise import keyed_noise
from sfvgen_planner.world.pose_head import foresee
from sfvgen_planner.world.sampler import PAPER_SAMPLER, SamplerConfig, guided, sample

PAPER = "as in the paper"
WANTED = 40


def main(
    world: str | None = None,
    data: tuple[str, ...] = (),
    judge: str | None = None,
    candidates: int = 32,
    steps: tuple[int, ...] = (1, 2, 4),
    guidance: float = 1.0,
    repeats: int = 5,
    windows: int = 50,
    threads: int = 2,
    out: str = "outputs/bench/speed.json",
) -> dict[str, Any]:
    """Prints rollouts a second and figures of every arm, writes JSON, returns it."""
    torch.set_num_threads(threads)
    if not data or not steps or min(*steps, candidates, repeats) < 1 or windows < 2:
        raise BadOption(
            f"{len(data)} data sets, {candidates} candidates, steps={list(steps)}, {repeats} repeats of {windows}",
            "data=[folder,...] of the test split, 1 or more of each, 2 windows or more",
            "Record some: sfvgen collect split=test.",
        )
    model, looking = WorldModel.from_pretrained(world), None if judge == "" else load_judge(judge).judge
    sets = {Path(folder).name: held_out(folder) for folder in data}
    samplers = {f"{count} steps" if count > 1 else "1 step": SamplerConfig(count) for count in steps}
    paper = as_in_the_paper(model, guidance)
    speeds = timed(model, next(iter(sets.values())), candidates, samplers, paper, repeats)
    print(told(speeds), flush=True)
    rows = {}
    for name, dataset in sets.items():
        held = hold_out(dataset, model.config.past, FRAMES_PER_CHUNK, windows)
        frames = {arm: dream(model, held, sampler).frames for arm, sampler in samplers.items()}
        frames[PAPER] = dream_by(paper, model, held).frames
        rows[name] = OfSet.of(held, dataset.description, looking, frames)
        print(rows[name].told(name), flush=True)
    together = Together.of(list(rows.values()), looking)
    print(together.told())
    result = {
        "world": world,
        "judge": looking and {"folder": judge, "sha256": looking.identity},
        "asked": {"candidates": candidates, "guidance": guidance, "repeats": repeats, "windows": windows},
        "rollouts_per_second": {arm: rate for arm, (rate, _) in speeds.items()},
        "times_the_paper": {arm: ratio for arm, (_, ratio) in speeds.items()},
        "rows": rows,
        "together": together,
    }
    plain = json.dumps(result, indent=2, default=lambda value: value.to_json())
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(Path(out), plain.encode())
    return dict(json.loads(plain))


def told(speeds: dict[str, tuple[float, Interval]]) -> str:
    """A line an arm."""
    lines = [f"{'':18}{'rollouts a second':>20}{'times the paper':>22}"]
    for arm, (rate, ratio) in speeds.items():
        met = "met" if ratio.mean >= WANTED else "NOT MET"
        wanted = "" if arm == PAPER else f"   at least {WANTED} wanted: {met}"
        lines.append(f"{arm:18}{rate:>20.2f}{cell(ratio, 1):>22}{wanted}")
    return "\n".join(lines)


def as_in_the_paper(
    world: WorldModel, guidance: float = 1.0, memory: LowRank | None = None, foreseen: bool = True
) -> Imagined:
    """DDIM-50 that goes through the whole window again in every step; with guidance twice, told and untold."""

    @torch.no_grad()
    def imagined(past: Tensor, known: Facts, new: Facts, seeds: Tensor) -> Tensor:
        facts = foresee(world.encoder, world.pose_head, known, new) if foreseen else new
        everywhere = torch.ones_like(facts.named)
        untold = facts.withhold(actions=everywhere, texts=everywhere)
        seen, process = world.conditions(known), world.config.process

        def asked(told: Facts) -> Callable[[Tensor, Tensor], Tensor]:
            looked = world.denoiser.prefill(past, seen, memory)
            conditions = world.denoiser.ready(looked, world.conditions(told), memory)

            def denoise(noisy: Tensor, level: Tensor) -> Tensor:
                cache = world.denoiser.prefill(past, seen, memory)
                answer: Denoised = world.denoiser.denoise(cache, noisy, level, conditions, memory)
                return answer.output

            return denoise

        noise = keyed_noise(seeds, torch.zeros_like(seeds), new.frames, world.shape, dtype=past.dtype)
        return sample(guided(asked(facts), asked(untold), guidance), noise, PAPER_SAMPLER.levels(process), process)

    return imagined


def timed(
    world: WorldModel,
    dataset: Dataset,
    candidates: int,
    samplers: dict[str, SamplerConfig],
    paper: Imagined,
    repeats: int,
) -> dict[str, tuple[float, Interval]]:
    """By arm: median rollouts a second, and the median of how many times the paper's, repeat by repeat."""
    held = hold_out(dataset, world.config.past, FRAMES_PER_CHUNK, candidates)
    ways = [*(_ours(world, held, candidates, sampler) for sampler in samplers.values())]
    ways.append(_paper(world, held, candidates, paper))
    in_turns(1, *ways)
    taken = in_turns(repeats, *ways)
    found = {}
    for column, arm in enumerate((*samplers, PAPER)):
        ratios = taken[:, -1] / taken[:, column]
        interval = bootstrap_interval(lambda rows: float(np.median(ratios[rows])), repeats)  # noqa: B023
        found[arm] = candidates / float(np.median(taken[:, column])), interval
    return found


def _ours(world: WorldModel, held: HeldOut, candidates: int, sampler: SamplerConfig) -> Callable[[], object]:
    """As a planner asks: the first window's past, and the actions of the others as candidates."""
    imagine = world.imagine_with(None, body=held.body, camera=held.camera, sampler=sampler, pixels=False)
    context = Context(held.seen[:1], held.window.poses[:1, : held.past])
    values = np.resize(held.actions, (1, candidates, *held.actions.shape[1:]))
    actions = Actions("discrete" if values.ndim == 3 else "vector", values)
    return lambda: imagine(context, actions)


def _paper(
    world: WorldModel,
    held: HeldOut,
    candidates: int,
    paper: Imagined,
) -> Callable[[], object]:
    """The same, with a past for each candidate."""
    first = held.part(slice(0, 1), held.past)
    known, new = first.facts(world)
    seeds = torch.zeros(candidates, dtype=torch.int64)

    def way() -> object:
        past = world.codec.encode(torch.from_numpy(first.seen)).repeat_interleave(candidates, 0)
        return paper(past, known.repeat(candidates), new.repeat(candidates), seeds)

    return way
