"""Consolidation: what fast memories hold of many episodes sinks into the slow weights, or nothing changes at all.

The slow-fast loop runs over the episodes of a bank. Then both worlds are asked about episodes that neither has seen,
without any memory, on the same windows and the same noise: the new one has to be surely better at the task that was
consolidated, and hardly worse at any other. Otherwise the old weights stay.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.learning.loop import LoopConfig, Source, train_loop
from sfvgen_planner.learning.run import RunConfig, Step
from sfvgen_planner.metrics.statistics import Interval, bootstrap_interval, paired_difference
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.diffusion import masked_loss
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.layout import Layout
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.schedule import draw_levels

MOST = 0.02
"""By so much the loss of another task may rise."""
AT_ONCE = 32
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """W windows of held-out episodes with their noise: the same whenever it is asked."""

    latents: Tensor
    """float [W, T, C, h, w]"""
    facts: Facts
    level: Tensor
    """float [W, T]; 0 in the past"""
    noise: Tensor
    """float [W, T, C, h, w]"""
    whose: NDArray[np.int64]
    """[W]: the episode each is of"""


Held = tuple[Question, ...]
"""Of one data set, a batch each."""


@dataclass(frozen=True)
class Verdict:
    """Whether the new weights stay, and why."""

    accepted: bool
    own: Interval
    """how much the loss of the consolidated task rose, over its episodes: below 0 is better"""
    rises: Mapping[str, Interval]
    """by which share the loss of each other task rose"""
    reason: str

    def to_json(self) -> dict[str, Any]:
        """As it goes into a file."""
        rises = {name: rise.to_json() for name, rise in self.rises.items()}
        return {"accepted": self.accepted, "own": self.own.to_json(), "rises": rises, "reason": self.reason}


def held_out(source: LatentSet, layout: Layout, past: int, each: int = 4, seed: int = 0) -> Held:
    """`each` windows of every episode, spread evenly over it; levels and noise are functions of the seed."""
    length = past + FRAMES_PER_CHUNK
    places = [
        (number, start)
        for number, count in enumerate(source.windows(length).tolist())
        for start in sorted({int((i + 0.5) / each * count) for i in range(each)})
        if count
    ]
    if not places:
        raise BadOption(f"no episode of {length} frames", "one at least to hold out", "Record longer ones.")
    draw = torch.Generator().manual_seed(seed)
    levels, found = draw_levels("stratified", (len(places),), draw), []
    for begin in range(0, len(places), AT_ONCE):
        some = places[begin : begin + AT_ONCE]
        read = source.read(some, length)
        level = torch.zeros(len(some), length)
        level[:, past:] = levels[begin : begin + AT_ONCE, None]
        noise = torch.randn(read.latents.shape, generator=draw)
        facts = Facts.of_window(read.window, layout, read.body, read.camera)
        found.append(Question(read.latents, facts, level, noise, np.array([number for number, _ in some])))
    return tuple(found)


def joined(sets: Sequence[Held]) -> Held:
    """Questions of several data sets as one; nobody's episode is taken for another's of the same number."""
    found: list[Question] = []
    for one in sets:
        first = 1 + max((int(asked.whose.max()) for asked in found), default=-1)
        found += [replace(asked, whose=asked.whose + first) for asked in one]
    return tuple(found)


@torch.no_grad()
def slow_losses(world: WorldModel, held: Held) -> Floats:
    """[E]: each episode's mean loss under the slow weights alone, told what was done."""
    one, process, found = next(world.denoiser.parameters()), world.config.process, []
    for asked in held:
        clean, noise, level = (value.to(one) for value in (asked.latents, asked.noise, asked.level))
        conditions = world.conditions(asked.facts.to(one.device))
        answer = world.denoiser(process.noised(clean, noise, level), level, conditions)
        found.append(masked_loss(answer.output, process.target(clean, noise, level), level > 0))
    losses, whose = torch.cat(found).double().cpu().numpy(), np.concatenate([asked.whose for asked in held])
    return np.array([losses[whose == episode].mean() for episode in np.unique(whose)])


def verdict_of(own: tuple[Floats, Floats], others: Mapping[str, tuple[Floats, Floats]], most: float = MOST) -> Verdict:
    """From losses [E] before and after, of the consolidated task and of each other one."""
    before, after = own
    change = paired_difference(after, before)
    rises = {name: _rise(*pair) for name, pair in others.items()}
    worse = [name for name, rise in rises.items() if not rise.mean < most]
    if not change.high < 0:
        reason = f"the old weights stay: not surely better, {_signed(change)} of {before.mean():.4f}"
    elif worse:
        told = ", ".join(f"{name} {rises[name].mean:+.1%}" for name in worse)
        reason = f"the old weights stay: other tasks suffer ({told}, less than {most:+.1%} allowed)"
    else:
        reason = f"the new weights stay: better by {_signed(change)} of {before.mean():.4f}"
    return Verdict(change.high < 0 and not worse, change, rises, reason)


def consolidate(
    world: WorldModel,
    sources: Sequence[Source],
    own: Held,
    others: Mapping[str, Held],
    folder: Path,
    run: RunConfig,
    loop: LoopConfig,
    *,
    most: float = MOST,
    listen: Callable[[Step], None] = lambda step: None,
) -> tuple[WorldModel, Verdict]:
    """The world to go on with: a new one, or the very one that was given, which is never written.

    `sources` are the bank's episodes and, against forgetting, some of other tasks. A killed run goes on.
    """
    new, _ = train_loop(deepcopy(world), sources, folder, run, loop, listen=listen)
    asked = {name: (slow_losses(world, held), slow_losses(new, held)) for name, held in others.items()}
    verdict = verdict_of((slow_losses(world, own), slow_losses(new, own)), asked, most)
    return (new if verdict.accepted else world), verdict


def _rise(before: Floats, after: Floats) -> Interval:
    return bootstrap_interval(lambda rows: float(after[rows].sum() / before[rows].sum()) - 1, len(before))


def _signed(change: Interval) -> str:
    return f"{change.mean:+.4f} ({change.low:+.4f} to {change.high:+.4f})"
