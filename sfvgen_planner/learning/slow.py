"""Slow learning: the masked conditional diffusion loss, and with it the pose, outcome and inverse-dynamics heads."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.learning.run import Run, RunConfig, Step
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.denoiser import Denoised
from sfvgen_planner.world.diffusion import masked_loss
from sfvgen_planner.world.dropout import DropRates, drop
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.layout import Layout
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.pose_head import pose_loss
from sfvgen_planner.world.schedule import draw_levels

WRITING = DropRates(action=1.0, text=1.0, pose=0.0, wholly=0.0)
"""What is withheld where a memory is written: what was done, not where one looked, for that is the memory's key."""
MOTION_DROP = DropRates(text=0.5, pose=0.0, past=0.5, wholly=0.0)
"""Who foresees poses is told actions or words, and nothing of the past."""
MOTION_CHUNKS = (1, 3, 8)
POSES = 0.2
"""Of the other heads' weight: ways of 64 frames have large errors, and the encoder is not theirs alone."""
FIRST_WINDOWS, FIRST_LENGTH = 400, 17
"""Of each set, that straight ways are fitted to."""
STILL = 0.05
"""Mean squared change of latents below which a window counts as still."""


@dataclass(frozen=True)
class SlowConfig:
    """What a step of slow learning looks at."""

    batch: int = 16
    past: int = 8
    """f_p at most; three windows in ten have fewer"""
    single: float = 0.15
    """share of steps with f_g = 1 instead of a chunk"""
    whole: float = 0.12
    """share of steps on windows that are wholly noise, free of actions: what fast learning will do"""
    drop: DropRates = field(default_factory=DropRates)
    blur: float = 0.05
    """the past is disturbed by up to so much noise: dreams continue dreams, which are never quite clean"""
    worn: float = 0.5
    """share of rows whose past is as soft as what was carried along before"""
    heads: float = 0.1
    """weight of each head's loss"""
    ways: int = 8
    """windows that the pose head learns from: with 2 long ones it never heard actions"""
    heads_only: bool = False
    """the denoiser learns no more: what reads and foresees a finished world is sharpened"""

    def __post_init__(self) -> None:
        if min(self.batch, self.past, self.ways) < 1 or not 0 <= self.single + self.whole <= 1:
            raise BadOption(f"{self}", "a batch, a past, and shares that sum to at most 1", "See SlowConfig.")


@dataclass(frozen=True)
class Batch:
    """R rows of T frames, ready for the loss; the first `past` of them are given."""

    latents: Tensor
    """float [R, T, C, h, w]"""
    facts: Facts
    """what is known of them, some of it withheld"""
    truth: Facts
    """all of it"""
    rewards: Tensor
    """float [R, T]"""
    success: Tensor
    terminated: Tensor
    """bool [R, T]"""
    past: int
    level: Tensor
    """float [R, T]; 0 in the past"""
    noise: Tensor
    """float [R, T, C, h, w]"""
    disturbance: Tensor
    """float [R, T, C, h, w]; 0 in the new frames"""
    wear: Tensor
    """float [R, 2]: pixels that the past was carried there and back by; 0 where it is as sharp as ever"""
    motion: Facts
    """of other, longer windows: what the pose head learns from"""


def frames_of(config: SlowConfig, rng: np.random.Generator) -> tuple[int, int]:
    """(f_p, f_g) of one step."""
    kind = rng.random()
    if kind < config.whole:
        return 0, config.past + FRAMES_PER_CHUNK
    single = kind < config.whole + config.single
    past = config.past if rng.random() < 0.7 else int(rng.integers(1, config.past + 1))
    # Dreamt one by one, frames follow all that were made of their chunk.
    return (past + int(rng.integers(FRAMES_PER_CHUNK)), 1) if single else (past, FRAMES_PER_CHUNK)


def draw_batch(sets: Sequence[LatentSet], layout: Layout, config: SlowConfig, key: Sequence[int]) -> Batch:
    """The batch of a key (seed, step, process): a function of nothing else."""
    rng = np.random.default_rng(list(key))
    draw = torch.Generator().manual_seed(int(rng.integers(2**63)))
    past, new = frames_of(config, rng)
    shares = rng.multinomial(config.batch, [1 / len(sets)] * len(sets))
    windows = [one.sample(rng, int(n), past + new) for one, n in zip(sets, shares, strict=True) if n]
    truth = Facts.stack([Facts.of_window(w.window, layout, w.body, w.camera) for w in windows])
    latents = torch.cat([w.latents for w in windows])
    rows, frames = latents.shape[:2]
    level = torch.zeros(rows, frames)
    level[:, past:] = draw_levels("leaning", (rows,), draw)[:, None]
    noise = torch.randn(latents.shape, generator=draw)
    disturbance = (
        torch.randn(latents.shape, generator=draw) * config.blur * torch.rand(rows, 1, 1, 1, 1, generator=draw)
    )
    disturbance[:, past:] = 0
    worn = torch.rand(rows, 1, generator=draw) < config.worn
    wear = (torch.rand(rows, 2, generator=draw) - 0.5) * worn
    return Batch(
        latents,
        drop(truth, config.drop if past else WRITING, draw, past),
        truth,
        torch.cat([window.rewards for window in windows]),
        torch.cat([window.success for window in windows]),
        torch.cat([window.terminated for window in windows]),
        past,
        level,
        noise,
        disturbance,
        wear,
        drop(_motion(sets, layout, config, rng), MOTION_DROP, draw, config.past),
    )


def _motion(sets: Sequence[LatentSet], layout: Layout, config: SlowConfig, rng: np.random.Generator) -> Facts:
    """A body's way over one, three or eight chunks: foreseen poses drift where only short ways were learned."""
    fitting = {
        chunks: [one for one in sets if one.windows(config.past + FRAMES_PER_CHUNK * chunks).any()]
        for chunks in MOTION_CHUNKS
    }
    possible = [chunks for chunks, long in fitting.items() if long]
    if not possible:
        least = config.past + FRAMES_PER_CHUNK
        raise BadOption(f"no episode of {least} frames", "a past and a chunk at least", "Record longer episodes.")
    chunks = int(rng.choice(possible))
    long, length = fitting[chunks], config.past + FRAMES_PER_CHUNK * chunks
    shares = rng.multinomial(config.ways, [1 / len(long)] * len(long))
    parts = [one.sample(rng, int(n), length) for one, n in zip(long, shares, strict=True) if n]
    return Facts.stack([Facts.of_window(part.window, layout, part.body, part.camera) for part in parts])


class SlowLoss(nn.Module):
    """The loss as a module's forward, so that every process' gradients meet."""

    def __init__(self, world: WorldModel, heads: float, heads_only: bool = False) -> None:
        super().__init__()
        self.world, self.heads, self.heads_only = world, heads, heads_only

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Scalar loss, and its parts."""
        world, process = self.world, self.world.config.process
        noisy = process.noised(self._given(batch), batch.noise, batch.level)
        # Half precision is for the denoiser alone: a direction or a way of 64 steps in it means nothing.
        with torch.autocast(noisy.device.type, enabled=False):
            conditions = world.conditions(batch.facts)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.heads_only):
            answer = world.denoiser(noisy, batch.level, conditions)
        with torch.autocast(noisy.device.type, enabled=False):
            diffusion, figures = self._diffusion(batch, answer)
            heads = self._heads(batch, noisy, answer, conditions) if batch.past or self.heads_only else {}
        figures |= {name: float(part.detach()) for name, part in heads.items()}
        if self.heads_only:
            return torch.stack(list(heads.values())).sum(), figures
        return diffusion + self.heads * sum(heads.values()), figures

    def _given(self, batch: Batch) -> Tensor:
        """[R, T, C, h, w] with a past as dreams have it."""
        given, carry = batch.latents + batch.disturbance, getattr(self.world.denoiser, "carry", None)
        if carry is None or not batch.past:
            return given
        with torch.no_grad():
            return torch.cat([carry.worn(given[:, : batch.past], batch.wear), given[:, batch.past :]], 1)

    def _diffusion(self, batch: Batch, answer: Denoised) -> tuple[Tensor, dict[str, float]]:
        process, past = self.world.config.process, batch.past
        new = torch.arange(batch.latents.shape[1], device=batch.latents.device) >= past
        target = process.target(batch.latents, batch.noise, batch.level)
        weight, asked = evened(batch.latents, past), new.expand(batch.level.shape)
        whole = (masked_loss(answer.output, target, asked) * weight).mean()
        figures = {"diffusion": float(whole.detach())}
        if past == 0 or not answer.parts:
            return whole, figures
        # What is carried teaches nothing about drawing, so each part is asked to be right alone as well.
        alone = [(masked_loss(part, target, asked) * weight).mean() for part in answer.parts]
        figures |= {name: float(part.detach()) for name, part in zip(("carried", "drawn"), alone, strict=True)}
        return whole / 2 + torch.stack(alone).mean() / 2, figures

    def _heads(self, batch: Batch, noisy: Tensor, answer: Denoised, told: Conditions) -> dict[str, Tensor]:
        world, past = self.world, batch.past
        parts = {
            "inverse": inverse_loss(world, batch.latents, batch.truth),
            "pose": self._poses(batch.motion) * (1.0 if self.heads_only else POSES),
        }
        if past == 0:
            return parts
        clean = world.config.process.to_clean(noisy, answer.output, batch.level)[:, past:].detach()
        features, frame = answer.features[:, past:].to(told.frame.dtype), told.frame[:, past:]
        before, known = noisy[:, past - 1 : past], batch.facts[past - 1 : past]
        seen = world.evidence(before, known, clean, batch.facts[past:], features, frame)
        outcomes = (batch.rewards[:, past:], batch.success[:, past:], batch.terminated[:, past:])
        return {**parts, "outcome": world.outcome.loss(seen, *outcomes)}

    def _poses(self, motion: Facts) -> Tensor:
        past = self.world.config.past
        frame, _ = self.world.encoder.tell(motion)
        done = self.world.encoder.units(motion)[:, past:]
        poses = self.world.pose_head(motion[:past], frame[:, :past], frame[:, past:], done=done)
        return pose_loss(self.world.pose_head, poses, motion[past:])


def evened(latents: Tensor, past: int) -> Tensor:
    """Weights [R], 1 on average: where little changes after the past, errors are small and count more.

    Otherwise a batch is about its most violent windows alone, and still backgrounds are never got quite right.
    """
    if past == 0:
        return latents.new_ones(len(latents))
    change = (latents[:, past:] - latents[:, past - 1 : past]).square().flatten(1).mean(1)
    weight = (change + STILL).rsqrt()
    return weight / weight.mean()


def inverse_loss(world: WorldModel, latents: Tensor, facts: Facts) -> Tensor:
    """Squared error of the actions between consecutive frames, where they are vectors and known."""
    told = world.inverse(latents[:, :-1], latents[:, 1:], facts.embodiment)
    known = facts.vectors_known[:, 1:]
    error = (told - facts.vectors[:, 1:]).square() * known
    loss: Tensor = error.sum() / known.sum().clamp(min=1)
    return loss


def train_world(
    world: WorldModel,
    sets: Sequence[LatentSet],
    folder: Path,
    run: RunConfig,
    config: SlowConfig,
    *,
    listen: Callable[[Step], None] = lambda step: None,
    saved: Callable[[WorldModel], None] = lambda world: None,
) -> WorldModel:
    """Trains; at every checkpoint the averaged world is in `folder/world` and handed to `saved`."""
    accelerator = run.accelerator()
    begin_heads(world, sets, np.random.default_rng(run.seed))
    if config.heads_only:
        world.requires_grad_(False)
        for head in (world.pose_head, world.outcome, world.inverse):
            head.requires_grad_(True)
    inner = [] if config.heads_only else world.denoiser.matrices
    running = Run(SlowLoss(world, config.heads, config.heads_only), run, folder, accelerator, inner)

    def loss(model: nn.Module, step: int, process: int) -> tuple[Tensor, dict[str, float]]:
        batch = draw_batch(sets, world.encoder.layout, config, (run.seed, step, process))
        answer: tuple[Tensor, dict[str, float]] = model(to_device(batch, accelerator.device))
        return answer

    def keep() -> None:
        if accelerator.is_main_process:
            mean = averaged(running, world)
            mean.save_pretrained(folder / "world")
            saved(mean)

    running.train(loss, listen, keep)
    return averaged(running, world)


def begin_heads(world: WorldModel, sets: Sequence[LatentSet], rng: np.random.Generator) -> None:
    """Straight ways and units of rewards, of bodies that have none yet."""
    layout = world.encoder.layout
    fitting = [one for one in sets if one.windows(FIRST_LENGTH).any()]
    parts = [one.sample(rng, FIRST_WINDOWS, FIRST_LENGTH) for one in fitting]
    if parts:
        facts = Facts.stack([Facts.of_window(part.window, layout, part.body, part.camera) for part in parts])
        world.pose_head.begin(facts, world.encoder.units(facts))
        world.outcome.begin(torch.cat([part.rewards for part in parts]), facts.embodiment)


def averaged(running: Run, world: WorldModel) -> WorldModel:
    """A copy of the world with the moving average of its weights."""
    copy = deepcopy(world).cpu()
    copy.load_state_dict({name.removeprefix("world."): value.cpu() for name, value in running.average.items()})
    return copy.eval()


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The same elsewhere."""
    moved: dict[str, Any] = {
        name: value.to(device) for name, value in vars(batch).items() if isinstance(value, Tensor | Facts)
    }
    return replace(batch, **moved)
