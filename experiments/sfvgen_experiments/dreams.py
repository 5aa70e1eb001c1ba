"""Held-out windows, and what a world makes of them: the same past, the same actions (or others)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_planner.data import Dataset, Windows
from sfvgen_planner.learning.bodies import camera_of
from sfvgen_planner.types import FRAMES_PER_CHUNK, Window
from sfvgen_planner.world.detail import Detail
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

Frames = NDArray[np.uint8]
Imagined = Callable[[Tensor, Facts, Facts, Tensor], Tensor]
"""(past latents, facts of the past, facts of what is to come, seeds) -> new latents"""
BATCH = 25


@dataclass(frozen=True)
class HeldOut:
    """B windows of one data set: `past` frames that are shown, and T that came after them."""

    window: Window
    """a batch"""
    past: int
    body: str
    camera: str | None

    @property
    def rows(self) -> int:
        """B."""
        return len(self.window.start)

    @property
    def seen(self) -> Frames:
        """uint8 [B, past, h, w, 3]."""
        return np.asarray(self.window.pixels[:, : self.past])

    @property
    def real(self) -> Frames:
        """uint8 [B, T, h, w, 3]: what came."""
        return np.asarray(self.window.pixels[:, self.past :])

    @property
    def actions(self) -> NDArray[np.float32]:
        """[B, T, A]: what led into it."""
        return np.asarray(self.window.actions[:, self.past :])

    def told_others(self) -> "HeldOut":
        """The same, but each window with the actions of the one whose actions are farthest from its own."""
        return replace(self, window=replace(self.window, actions=self.window.actions[farthest_rows(self.actions)]))

    def facts(self, world: WorldModel) -> tuple[Facts, Facts]:
        """As a planner knows them: of the past pictures and poses, of what is to come actions."""
        told = Facts.of_window(self.window, world.encoder.layout, self.body, self.camera)
        everywhere = torch.ones(self.rows, dtype=torch.bool)
        known = told[: self.past].withhold(actions=everywhere, texts=everywhere)
        return known, told[self.past :].withhold(texts=everywhere)

    def part(self, rows: slice, past: int) -> "HeldOut":
        """Some of the windows, with less of the past."""
        whole, frames = self.window, slice(self.past - past, None)
        window = Window(
            whole.pixels[rows, frames],
            whole.poses[rows, frames],
            whole.actions[rows, frames],
            tuple(texts[frames] for texts in whole.phrases[rows]),
            np.asarray(whole.start[rows]) + self.past - past,
        )
        return replace(self, window=window, past=past)


@dataclass(frozen=True)
class Dream:
    """What a world made of B windows."""

    frames: Frames
    """uint8 [B, T, h, w, 3]"""
    finite: bool
    """no NaN and no infinity in any latent"""


def hold_out(dataset: Dataset, past: int, new: int, count: int, behaviour: str = "") -> HeldOut:
    """`count` windows spread evenly over the set (or over its episodes of one behaviour): the same ones every time."""
    windows = Windows(dataset, past + new, where=_shown_by(behaviour))
    chosen = np.linspace(0, len(windows) - 1, min(count, len(windows))).round().astype(int)
    card = dataset.cards[0]
    return HeldOut(windows.batch(chosen), past, str(card["task"]), camera_of(card))


def longest(dataset: Dataset, past: int, most: int, count: int, behaviour: str = "") -> int:
    """Whole chunks, as many new frames up to `most` as `count` windows of the set have; one chunk at least."""
    shown = _shown_by(behaviour)
    steps = np.array([entry.steps for entry in dataset.entries if shown(entry.card)])
    for new in range(most // FRAMES_PER_CHUNK * FRAMES_PER_CHUNK, FRAMES_PER_CHUNK, -FRAMES_PER_CHUNK):
        if (steps + 2 - past - new).clip(min=0).sum() >= count:
            return new
    return FRAMES_PER_CHUNK


def dream(world: WorldModel, held: HeldOut, sampler: SamplerConfig) -> Dream:
    """Told the actions, but no words; poses are foreseen, not given. Row i's noise is keyed by i."""

    def imagined(past: Tensor, known: Facts, new: Facts, seeds: Tensor) -> Tensor:
        return world.dream(past, known, new, seeds, sampler).latents

    return dream_by(imagined, world, held)


def dream_by(imagined: Imagined, world: WorldModel, held: HeldOut) -> Dream:
    """The same by any way from past latents, facts and seeds to new latents."""
    parts, finite = [], True
    for start in range(0, held.rows, BATCH):
        part = held.part(slice(start, start + BATCH), world.config.past)
        known, new = part.facts(world)
        past = world.codec.encode(torch.from_numpy(part.seen))
        latents = imagined(past, known, new, torch.arange(part.rows) + start)
        finite &= bool(latents.isfinite().all())
        seen = Detail.of(world.codec, torch.from_numpy(part.seen[:, -1]))
        parts.append(seen.upon(world.codec.decode(latents.nan_to_num())).numpy())
    return Dream(np.concatenate(parts), finite)


def copied(held: HeldOut) -> Frames:
    """The last frame of the past, again and again."""
    return held.seen[:, -1:].repeat(held.actions.shape[1], axis=1)


def coded(world: WorldModel, frames: Frames) -> Frames:
    """Real frames through the codec and back: no dream can be sharper."""
    parts = [frames[start : start + BATCH] for start in range(0, len(frames), BATCH)]
    return np.concatenate([world.codec.decode(world.codec.encode(torch.from_numpy(part))).numpy() for part in parts])


def farthest_rows(actions: NDArray[np.float32]) -> NDArray[np.int64]:
    """[B] for each row of [B, T, A] the row whose actions differ most."""
    flat = actions.reshape(len(actions), -1).astype(np.float64)
    square = np.square(flat).sum(1)
    return np.asarray((square[:, None] + square[None] - 2 * flat @ flat.T).argmax(1))


def _shown_by(behaviour: str) -> Callable[[dict[str, Any]], bool]:
    return lambda card: not behaviour or card.get("behaviour") == behaviour
