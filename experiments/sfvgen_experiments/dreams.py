"""Held-out windows dreamt anew: the same past, the same actions (or others), beside what really came."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sfvgen_planner.data import Dataset, Windows
from sfvgen_planner.types import FRAMES_PER_CHUNK, Window
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

Frames = NDArray[np.uint8]
BATCH = 25


@dataclass(frozen=True)
class Dreams:
    """B windows of T new frames, uint8 [B, T, h, w, 3] each."""

    real: Frames
    dream: Frames
    """told the true actions; poses are foreseen, not given"""
    other: Frames
    """told the actions of the window of the same set whose actions are farthest"""
    copied: Frames
    """the last frame of the past, again and again"""
    coded: Frames
    """the real frames through the codec and back: no dream can be sharper"""
    actions: NDArray[np.float32]
    """[B, T, A] told"""


def dream_windows(
    world: WorldModel, dataset: Dataset, camera: str, count: int, sampler: SamplerConfig, new: int = FRAMES_PER_CHUNK
) -> Dreams:
    """`count` windows spread evenly over the set: the same ones every time, noise keyed by their number."""
    past = world.config.past
    windows = Windows(dataset, past + new)
    chosen = np.linspace(0, len(windows) - 1, min(count, len(windows))).round().astype(int)
    whole = windows.batch(chosen)
    farthest = whole.actions[farthest_rows(whole.actions[:, past:])]
    swapped = Window(whole.pixels, whole.poses, farthest, whole.phrases, whole.start)
    real = whole.pixels[:, past:]
    parts = [slice(start, start + BATCH) for start in range(0, len(chosen), BATCH)]
    body = str(dataset.cards[0]["task"])

    def dreamt(window: Window) -> Frames:
        return np.concatenate([_dream(world, window, part, body, camera, past, sampler) for part in parts])

    coded = [world.codec.decode(world.codec.encode(torch.from_numpy(real[part]))).numpy() for part in parts]
    return Dreams(
        real,
        dreamt(whole),
        dreamt(swapped),
        np.repeat(whole.pixels[:, past - 1 : past], new, axis=1),
        np.concatenate(coded),
        whole.actions[:, past:],
    )


def farthest_rows(actions: NDArray[np.float32]) -> NDArray[np.int64]:
    """[B] for each row of [B, T, A] the row whose actions differ most."""
    flat = actions.reshape(len(actions), -1).astype(np.float64)
    square = np.square(flat).sum(1)
    return np.asarray((square[:, None] + square[None] - 2 * flat @ flat.T).argmax(1))


def _dream(
    world: WorldModel, window: Window, part: slice, body: str, camera: str, past: int, sampler: SamplerConfig
) -> Frames:
    row = Window(
        window.pixels[part], window.poses[part], window.actions[part], window.phrases[part], window.start[part]
    )
    facts = Facts.of_window(row, world.encoder.layout, body, camera)
    everywhere = torch.ones(facts.rows, dtype=torch.bool)
    known = facts[:past].withhold(actions=everywhere, texts=everywhere)
    latents = world.codec.encode(torch.from_numpy(row.pixels[:, :past]))
    seeds = torch.arange(facts.rows) + (part.start or 0)
    dreamt = world.dream(latents, known, facts[past:].withhold(texts=everywhere), seeds, sampler)
    return world.codec.decode(dreamt.latents).numpy()
