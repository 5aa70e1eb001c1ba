"""Slow learning: the masked conditional diffusion loss, and with it the pose, outcome and inverse-dynamics heads."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.learning.run import Run, RunConfig, Step
from sfvgen_planner.learning.slow_batches import READING, Batch, Learn, Lived, SlowConfig, draw_batch, to_device
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.denoiser import Denoised
from sfvgen_planner.world.diffusion import masked_loss
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.outcome import Evidence
from sfvgen_planner.world.pose_head import pose_loss
from sfvgen_planner.world.sampler import SamplerConfig

POSES = 0.2
"""Of the other heads' weight: ways of 64 frames have large errors, and the encoder is not theirs alone."""
FIRST_WINDOWS, FIRST_LENGTH = 400, 17
"""Of each set, that straight ways are fitted to."""
STILL = 0.05
"""Mean squared change of latents below which a window counts as still."""


class SlowLoss(nn.Module):
    """The loss as a module's forward, so that every process' gradients meet."""

    def __init__(self, world: WorldModel, heads: float, learn: Learn = "all") -> None:
        super().__init__()
        self.world, self.heads, self.learn = world, heads, learn

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Scalar loss, and its parts."""
        if self.learn == "poses":
            poses = self._poses(batch.motion)
            return poses, {"pose": float(poses.detach())}
        if self.learn in READING:
            read = self._read(batch)
            return torch.stack(list(read.values())).sum(), {name: float(part.detach()) for name, part in read.items()}
        world, process = self.world, self.world.config.process
        noisy = process.noised(self._given(batch), batch.noise, batch.level)
        # Half precision is for the denoiser alone: a direction or a way of 64 steps in it means nothing.
        with torch.autocast(noisy.device.type, enabled=False):
            conditions = world.conditions(batch.facts)
        answer = world.denoiser(noisy, batch.level, conditions)
        with torch.autocast(noisy.device.type, enabled=False):
            diffusion, figures = self._diffusion(batch, answer)
            heads = self._heads(batch, noisy, answer, conditions) if self.learn == "all" and batch.past else {}
        figures |= {name: float(part.detach()) for name, part in heads.items()}
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
            **self._unheard(batch),
            "lived": self._outcomes(batch.lived),
            "pose": self._poses(batch.motion) * POSES,
        }
        clean = world.config.process.to_clean(noisy, answer.output, batch.level)[:, past:].detach()
        features, frame = answer.features[:, past:].to(told.frame.dtype), told.frame[:, past:]
        before, known = noisy[:, past - 1 : past], batch.facts[past - 1 : past]
        seen = Evidence.of(world.encoder, world.pose_head, before, known, clean, batch.facts[past:], features, frame)
        outcomes = (batch.rewards[:, past:], batch.success[:, past:], batch.terminated[:, past:])
        return {**parts, "outcome": world.outcome.loss(seen, *outcomes, batch.weight)}

    def _read(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of heads that learn alone. Half precision is for drawing, and nothing is drawn."""
        with torch.autocast(batch.latents.device.type, enabled=False):
            if batch.ahead is not None:
                return {"ahead": self.world.outcome.loss_ahead(self._evidence(batch.ahead), *batch.ahead.outcomes)}
            others = {} if self.learn == "outcomes" else self._unheard(batch)
            return {**others, "lived": self._outcomes(batch.lived), "outcome": self._dreamt(batch)}

    def _unheard(self, batch: Batch) -> dict[str, Tensor]:
        """Of heads that look at pictures alone."""
        inverse = inverse_loss(self.world, batch.latents, batch.truth)
        return {"inverse": inverse, "posture": self._postures(batch.stances)}

    def _dreamt(self, batch: Batch) -> Tensor:
        """Read off dreams as planners have them: one step, foreseen poses, one chunk from the other."""
        past, told, losses = batch.past, batch.facts, []
        given = self._given(batch)[:, :past]
        dreamt = self.world.dream(given, told[:past], told[past:], batch.seeds, SamplerConfig(steps=1))
        outcomes = torch.stack([batch.rewards, batch.success, batch.terminated])[..., past:]
        for seen in dreamt.evidence:
            frames = seen.moved.shape[1]
            rewards, success, terminated = outcomes[..., :frames]
            losses.append(self.world.outcome.loss(seen, rewards, success, terminated, batch.weight))
            outcomes = outcomes[..., frames:]
        return torch.stack(losses).mean()

    def _outcomes(self, lived: Lived) -> Tensor:
        """Read off true pictures and senses alone: many more than can be dreamt in a step."""
        seen = self._evidence(lived)
        seen = replace(seen, sighting=replace(seen.sighting, picture=seen.latents))
        return self.world.outcome.loss(seen, *lived.outcomes)

    def _evidence(self, lived: Lived) -> Evidence:
        """Of what nobody dreamt."""
        rows, frames = lived.rewards.shape
        blank = [lived.rewards.new_zeros(rows, frames, size) for size in self.world.outcome.told]
        before, clean = lived.latents[:, :1], lived.latents[:, 1:]
        (features, frame), known, facts = blank, lived.facts[:1], lived.facts[1:]
        return Evidence.of(self.world.encoder, self.world.pose_head, before, known, clean, facts, features, frame)

    def _postures(self, stances: Lived) -> Tensor:
        """Read off true pictures, where the body has such senses and somebody knows them."""
        world, facts = self.world, stances.facts
        senses, _ = world.pose_head.moved(facts)
        known = facts.poses_known[..., None] & (world.pose_head.change[facts.embodiment] > 0)[:, None]
        return world.posture.loss(stances.latents, facts.embodiment, senses, known)

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
    freeze_others(world, config.learn)
    if config.learn == "ahead":
        world.outcome.ahead.learned[[world.encoder.layout.index(one.body) for one in sets]] = True
    inner = world.denoiser.matrices if config.learn in ("all", "denoiser") else []
    running = Run(SlowLoss(world, config.heads, config.learn), run, folder, accelerator, inner)

    def loss(model: nn.Module, step: int, process: int) -> tuple[Tensor, dict[str, float]]:
        batch = draw_batch(sets, world.encoder.layout, config, (run.seed, step, process))
        answer: tuple[Tensor, dict[str, float]] = model(to_device(batch, accelerator.device))
        return answer

    return trained(running, world, folder, loss, listen, saved)


def trained(
    running: Run,
    world: WorldModel,
    folder: Path,
    loss: Callable[[nn.Module, int, int], tuple[Tensor, dict[str, float]]],
    listen: Callable[[Step], None],
    saved: Callable[[WorldModel], None],
) -> WorldModel:
    """To its end; at every checkpoint the averaged world is in `folder/world` and handed to `saved`."""

    def keep() -> None:
        if running.accelerator.is_main_process:
            mean = averaged(running, world)
            mean.save_pretrained(folder / "world")
            saved(mean)

    running.train(loss, listen, keep)
    return averaged(running, world)


def freeze_others(world: WorldModel, learn: Learn) -> None:
    """Only the named part learns; what was frozen before, a codec or a text encoder by path, stays so."""
    words = [part for part in (world.encoder.say, world.encoder.text) if part is not None]
    learning: dict[Learn, list[nn.Module]] = {
        "all": [part for part in world.children() if part not in (world.habits, world.things)],  # each alone
        "denoiser": [world.denoiser],
        "heads": [world.outcome, world.posture, world.inverse],
        "outcomes": [world.outcome],
        "ahead": [world.outcome.ahead],
        "poses": [world.pose_head, *words],
    }
    kept = {id(parameter) for part in learning[learn] for parameter in part.parameters()}
    if learn != "ahead":  # it learns alone
        kept -= {id(parameter) for parameter in world.outcome.ahead.parameters()}
    for parameter in world.parameters():
        parameter.requires_grad_(parameter.requires_grad and id(parameter) in kept)


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
