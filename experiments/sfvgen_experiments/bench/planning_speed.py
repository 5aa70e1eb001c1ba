"""How quick is a plan? `sfvgen bench planning_speed`: the same search in the same world, twice.

Ours: the past looked at once for all candidates, candidates in one batch, latents only; and nothing drawn at all where
the objective asks only where the body will be. The naive way, as one would write it with a diffusers pipeline: a call
for each candidate, in each denoising step the whole window, and frames that come out decoded. Both make the same draws,
so both find the same plan; that their scores agree is printed beside the times.
"""

import json
from collections.abc import Callable
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

import sfvgen_envs
from sfvgen_agents.dreaming import Foreseeing
from sfvgen_experiments.bench.report import cell
from sfvgen_experiments.bench.timing import in_turns, peak
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.metrics.statistics import Interval, bootstrap_interval
from sfvgen_planner.planning import ICEM, Budget, Goal, Planner, Space
from sfvgen_planner.planning.objectives import GoalPose, Reward, Term, sees
from sfvgen_planner.planning.splitting import in_parts
from sfvgen_planner.types import POSE_CAMERA, Context, Imagine, Plan
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

TIMES, ARITHMETIC, SECONDS = 5.0, 0.02, 0.25
"""What is wanted: so many times the naive way at 64 candidates, the solver's share, and seconds on an accelerator."""
AGREE = 1e-3
OBJECTIVES: dict[str, Term] = {
    "reward": Reward(),
    "pose": GoalPose((POSE_CAMERA, POSE_CAMERA + 1), "mean"),
}
"""Learned rewards of what is drawn; how far two senses (x and y of fingertips) are from where they are now."""


class WholeWindow(nn.Module):
    """A denoiser without a cache: whatever it is asked, it looks at the past again."""

    def __init__(self, denoiser: Any) -> None:
        super().__init__()
        self.inner = denoiser

    def prefill(self, past: Tensor, conditions: Any, memory: Any = None) -> tuple[Tensor, Any]:
        """Only kept."""
        return past, conditions

    def ready(self, cache: tuple[Tensor, Any], conditions: Any, memory: Any = None) -> Any:
        """Nothing is made ready."""
        return conditions

    def denoise(self, cache: tuple[Tensor, Any], noisy: Tensor, level: Tensor, conditions: Any, memory: Any) -> Any:
        """The whole window."""
        past, known = cache
        return self.inner.denoise(self.inner.prefill(past, known, memory), noisy, level, conditions, memory)


@dataclass(frozen=True)
class Speed:
    """N candidates."""

    candidates: int
    seconds: float
    """a plan, median"""
    frames_per_second: float
    """imagined, of all candidates"""
    times: Interval | None
    """the naive way's seconds over ours, median of repeats in turns; None where the naive way was left out"""
    score_gap: float | None
    """largest difference of a candidate's score between both ways"""
    solver: float
    """its share of the time, without world and objective"""
    megabytes: float | None
    """peak that a plan adds; None where nobody can tell"""


def main(
    world: str | None = None,
    task: str = "reach",
    candidates: tuple[int, ...] = (16, 64, 256),
    frames: int = 8,
    iterations: int = 1,
    steps: int = 1,
    naive: int = 64,
    at_once: int | None = None,
    objective: str = "reward",
    repeats: int = 3,
    device: str = "cpu",
    compiled: bool = False,
    threads: int = 2,
    out: str = "outputs/bench/planning_speed.json",
) -> dict[str, Any]:
    """Prints a line for each N, and whether the bars are met; writes JSON, returns it."""
    torch.set_num_threads(threads)
    if not candidates or min(*candidates, frames, iterations, steps, repeats) < 1:
        raise BadOption(f"candidates={list(candidates)}, repeats={repeats}", "1 or more of each", "Leave the defaults.")
    if objective not in OBJECTIVES:
        raise UnknownName(
            f"objective {objective!r}", f"one of {list(OBJECTIVES)}", closest(objective, list(OBJECTIVES))
        )
    model = WorldModel.from_pretrained(world).to(device)
    if compiled:
        model.denoiser.denoise = torch.compile(model.denoiser.denoise, mode="reduce-overhead")
    asked = Question(model, task, seen(task, model.config.past), frames, iterations, steps, at_once, objective)
    print(
        f"{'candidates':>10}{'s a plan':>10}{'frames/s':>10}{'times the naive':>17}{'scores':>10}{'solver':>8}{'MB':>7}"
    )
    found = []
    for count in candidates:
        found.append(measured(asked, count, repeats, naive=count <= naive))
        print(told(found[-1]), flush=True)
    share = of_peak(asked, candidates[-1], found[-1].seconds)
    lines = judged(found, device, frames, iterations)
    print("\n".join([f"{share:.1%} of the measured peak of matrix products at N = {candidates[-1]}", *lines]))
    result = {
        "asked": {
            "task": task,
            "frames": frames,
            "iterations": iterations,
            "steps": steps,
            "at_once": at_once,
            "objective": objective,
        },
        "device": device if device == "cpu" else torch.cuda.get_device_name(device),
        "compiled": compiled,
        "threads": threads,
        "share_of_peak": share,
        "rows": [{**asdict(one), "times": one.times and one.times.to_json()} for one in found],
    }
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(Path(out), json.dumps(result, indent=1).encode())
    return result


@dataclass(frozen=True)
class Question:
    """What is planned."""

    world: WorldModel
    body: str
    context: Context
    frames: int
    iterations: int
    steps: int
    at_once: int | None = None
    objective: str = "reward"

    @property
    def camera(self) -> str | None:
        """The body's first one."""
        return next(iter(self.world.encoder.layout[self.body].cameras), None)

    def imagine(self, world: WorldModel, pixels: bool = False) -> Imagine:
        """Told no memory."""
        sampler = SamplerConfig(self.steps)
        return world.imagine_with(None, body=self.body, camera=self.camera, sampler=sampler, pixels=pixels)

    def ours(self, count: int) -> Callable[[], Plan]:
        """One plan."""
        blind = Foreseeing(self.world, self.body, self.camera)
        return self._plan(self.imagine(self.world) if sees(OBJECTIVES[self.objective]) else blind, count, self.at_once)

    def naive(self, count: int) -> Callable[[], Plan]:
        """The same with a call and a past for each candidate."""
        whole = copy(self.world)
        whole._modules = {**self.world._modules, "denoiser": WholeWindow(self.world.denoiser)}
        return self._plan(in_parts(self.imagine(whole, pixels=True), 1), count, None)

    def _plan(self, imagine: Imagine, count: int, at_once: int | None) -> Callable[[], Plan]:
        one = self.world.encoder.layout[self.body]
        space = Space.box(one.low, one.high, self.frames)
        # Without decay every round has N candidates, so that N means N.
        budget = Budget(count, self.iterations, at_once=at_once)
        planner = Planner(imagine, OBJECTIVES[self.objective], space, ICEM(decay=1.0), budget)
        return lambda: planner.plan(self.context, Goal(pose=self.context.poses[:, -1]))


def measured(asked: Question, count: int, repeats: int, naive: bool) -> Speed:
    """Both ways in turns, after one of each to warm up."""
    ours, ways = asked.ours(count), [asked.ours(count), *([asked.naive(count)] if naive else [])]
    plan, megabytes = peak(ours, next(asked.world.parameters()).device)
    gap = None
    if naive:
        theirs = asked.naive(count)()
        gap = max(float(np.abs(a - b).max()) for a, b in zip(plan.trace.scores, theirs.trace.scores, strict=True))
    taken = in_turns(repeats, *ways)
    ratios = taken[:, -1] / taken[:, 0]
    times = bootstrap_interval(lambda rows: float(np.median(ratios[rows])), repeats) if naive else None
    seconds, trace = float(np.median(taken[:, 0])), ours().trace
    solver = 1 - (trace.imagining + trace.judging) / trace.seconds
    return Speed(count, seconds, trace.frames / seconds, times, gap, solver, megabytes)


def told(one: Speed) -> str:
    """A line."""
    gap = "-" if one.score_gap is None else f"{one.score_gap:.1e}"
    room = "-" if one.megabytes is None else f"{one.megabytes:.0f}"
    return (
        f"{one.candidates:>10}{one.seconds:>10.2f}{one.frames_per_second:>10.0f}{cell(one.times, 1):>17}{gap:>10}"
        f"{one.solver:>8.1%}{room:>7}"
    )


def judged(found: list[Speed], device: str, frames: int, iterations: int) -> list[str]:
    """Which bars are met."""
    lines = []
    for one in found:
        if one.candidates == 64 and one.times is not None and one.score_gap is not None:
            met = one.times.mean >= TIMES and one.score_gap <= AGREE
            lines.append(f"{TIMES:g} times the naive way at 64 candidates, scores equal to {AGREE:g}: {_met(met)}")
        if device != "cpu" and (one.candidates, frames, iterations) == (256, 16, 3):
            lines.append(f"256 candidates x 16 frames x 3 rounds in {SECONDS} s: {_met(one.seconds <= SECONDS)}")
    worst = max(one.solver for one in found)
    return [*lines, f"the solver's share below {ARITHMETIC:.0%}: {_met(worst < ARITHMETIC)}"]


def _met(met: bool) -> str:
    return "met" if met else "NOT MET"


def seen(task: str, frames: int) -> Context:
    """The first frames of an episode in which nothing is done."""
    env = gym.make(sfvgen_envs.TASKS[task], split="test", length="short")
    observation, _ = env.reset(seed=0)
    shown = [observation]
    for _ in range(frames - 1):
        shown.append(env.step(np.zeros(env.action_space.shape or ()))[0])
    env.close()
    return Context(*(np.stack([one[key] for one in shown])[None] for key in ("pixels", "pose")))


def of_peak(asked: Question, count: int, seconds: float) -> float:
    """Floating-point operations of a plan, over what this device does in matrix products in that time."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        asked.ours(count)()
    device = next(asked.world.parameters()).device
    size = 4096 if device.type == "cuda" else 1024
    one = torch.randn(size, size, device=device)
    rates = []
    for _ in range(5):
        began = perf_counter()
        product = one @ one
        float(product[0, 0])
        rates.append(2 * size**3 / (perf_counter() - began))
    return float(counter.get_total_flops() / seconds / max(rates))
