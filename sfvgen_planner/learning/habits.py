"""Learning habits: from what was seen, what those did next who knew how."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.learning.run import Run, RunConfig, Step
from sfvgen_planner.learning.slow import trained
from sfvgen_planner.types import POSE_CAMERA, Window
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.habits import AHEAD, said
from sfvgen_planner.world.layout import Layout
from sfvgen_planner.world.model import WorldModel

UNHEARD, UNSAID = 0.25, 0.1
"""Shares of words and of whole sentences that are withheld: a longer sentence is to mean the same as a shorter one."""
TREMBLE = 0.05
"""By which senses are disturbed, in their units: nobody is ever again exactly where somebody was."""


@dataclass(frozen=True)
class Practised:
    """Episodes of one data set, of those in which somebody knew how."""

    latents: LatentSet
    told: Sequence[Sequence[str]]
    """of each episode, what was wanted at each step"""
    able: Sequence[NDArray[np.bool_]]
    """of each episode, which steps were taken by somebody who knew how"""
    places: NDArray[np.int64] = field(init=False)
    """[K, 2] episode and step of each of these"""

    def __post_init__(self) -> None:
        steps = [np.flatnonzero(one) for one in self.able]
        pairs = [np.stack([np.full_like(step, episode), step], 1) for episode, step in enumerate(steps)]
        object.__setattr__(self, "places", np.concatenate([np.zeros((0, 2), np.int64), *pairs]))

    def sample(self, rng: np.random.Generator, count: int, layout: Layout) -> "Lesson":
        """Steps, each as likely as any other, with what followed them, until somebody else took over."""
        chosen = self.places[rng.integers(len(self.places), size=count)]
        episodes = [self.latents.episodes[episode] for episode, _ in chosen]
        spans = [slice(step + 1, step + 1 + AHEAD) for _, step in chosen]
        actions = np.stack([_to(AHEAD, one["actions"][span]) for one, span in zip(episodes, spans, strict=True)])
        able = np.stack([_to(AHEAD, self.able[episode][step : step + AHEAD]) for episode, step in chosen])
        poses = np.stack([one["poses"][step] for one, (_, step) in zip(episodes, chosen, strict=True)])
        body, camera = self.latents.body, self.latents.camera
        # Actions do not belong to the frame they were chosen in, so they are facts of frames of their own.
        ahead = Window(
            np.empty(0), np.repeat(poses[:, None], AHEAD, 1), actions, (("",) * AHEAD,) * count, np.ones(count)
        )
        facts = Facts.of_window(ahead, layout, body, camera)
        done = torch.from_numpy(np.logical_and.accumulate(able, 1))[..., None] & facts.vectors_known
        latents = np.stack([one["latents"][step] for one, (_, step) in zip(episodes, chosen, strict=True)])
        texts = tuple(self.told[episode][step] for episode, step in chosen)
        return Lesson(torch.from_numpy(latents).float(), facts, done, texts)


@dataclass(frozen=True)
class Lesson:
    """R rows."""

    latents: Tensor
    """float [R, C, h, w]"""
    facts: Facts
    """[R, H]: the pose in which it was chosen what to do, and what was done"""
    done: Tensor
    """bool [R, H, A]: knowingly"""
    texts: tuple[str, ...]
    """what was wanted"""

    @staticmethod
    def joined(parts: Sequence["Lesson"]) -> "Lesson":
        """The rows of several, of whatever bodies."""
        latents, done = (torch.cat([getattr(part, name) for part in parts]) for name in ("latents", "done"))
        texts = tuple(text for part in parts for text in part.texts)
        return Lesson(latents, Facts.stack([part.facts for part in parts]), done, texts)


class HabitLoss(nn.Module):
    """The loss as a module's forward, so that every process' gradients meet."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__()
        self.world = world

    def forward(self, lesson: Lesson, tremble: Tensor, words: Tensor) -> Tensor:
        """Scalar. `tremble` [R, S] disturbs senses; `words` [R, X] is what was heard."""
        world, facts = self.world, lesson.facts
        senses = world.pose_head.moved(facts[:1])[0][:, 0]
        habits = world.habits(lesson.latents, senses + tremble, facts.embodiment, words)
        loss: Tensor = world.habits.loss(habits, world.encoder.units(facts), lesson.done)
        return loss


def train_habits(
    world: WorldModel,
    sets: Sequence[Practised],
    folder: Path,
    run: RunConfig,
    rows: int,
    *,
    listen: Callable[[Step], None] = lambda step: None,
    saved: Callable[[WorldModel], None] = lambda world: None,
) -> WorldModel:
    """Trains the habits alone, `rows` steps of somebody at a time; at every checkpoint the averaged world is in
    `folder/world` and handed to `saved`."""
    able = [one for one in sets if len(one.places)]
    if not able:
        raise BadOption("data in which nobody knows how", "an expert, or somebody's own recordings", "Record some.")
    accelerator, layout = run.accelerator(), world.encoder.layout
    begin(world, able)
    running = Run(HabitLoss(world), run, folder, accelerator)

    def loss(model: nn.Module, step: int, process: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([run.seed, step, process])
        counts = rng.multinomial(rows, [1 / len(able)] * len(able))
        lesson = Lesson.joined([one.sample(rng, int(n), layout) for one, n in zip(able, counts, strict=True) if n])
        told = [text if rng.random() > UNSAID else "" for text in lesson.texts]
        words = said(world.encoder.text, told, UNHEARD, torch.Generator().manual_seed(int(rng.integers(2**63))))
        tremble = torch.from_numpy(TREMBLE * rng.standard_normal((rows, layout.pose_size - POSE_CAMERA))).float()
        device = accelerator.device
        moved = replace(
            lesson, latents=lesson.latents.to(device), facts=lesson.facts.to(device), done=lesson.done.to(device)
        )
        value: Tensor = model(moved, tremble.to(device), words.to(device))
        return value, {"habits": float(value.detach())}

    return trained(running, world, folder, loss, listen, saved)


def begin(world: WorldModel, sets: Sequence[Practised]) -> None:
    """Only habits learn. Where there are none yet they begin with the eyes of who reads outcomes, which know where
    things are: learned from what people do alone, that takes far longer."""
    if not world.habits.known.any():
        world.habits.look.load_state_dict(world.outcome.look.state_dict())
    for one in sets:
        world.habits.known[world.encoder.layout.index(one.latents.body)] = True
    world.requires_grad_(False)
    world.habits.requires_grad_(True)


def _to(length: int, values: NDArray[np.generic]) -> NDArray[np.generic]:
    """[t, ...] -> [length, ...], zeros at the end."""
    return np.concatenate([values, np.zeros((length - len(values), *values.shape[1:]), values.dtype)])
