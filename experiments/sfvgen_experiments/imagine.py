"""`sfvgen imagine`: truth, dream and difference side by side, as mp4."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sfvgen_planner.data import Dataset, Windows, write_video
from sfvgen_planner.learning.bodies import camera_of
from sfvgen_planner.types import Window
from sfvgen_planner.world.detail import Detail
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

Frames = NDArray[np.uint8]
ENLARGED = 3


@dataclass(frozen=True)
class ImagineVideos:
    """Options of `sfvgen imagine`."""

    world: str | None = None
    data: str = "???"
    episodes: int = 4
    frames: int = 24
    steps: int = 4
    spacing: Literal["trailing", "leading"] = "trailing"
    guidance: float = 1.0
    threads: int = 2
    out: str = "outputs/imagine"


def main(config: ImagineVideos) -> None:
    """One video for each window."""
    torch.set_num_threads(config.threads)
    world, dataset = WorldModel.from_pretrained(config.world), Dataset(config.data)
    sampler = SamplerConfig(config.steps, config.spacing, guidance=config.guidance)
    windows = Windows(dataset, world.config.past + config.frames)
    chosen = np.linspace(0, len(windows) - 1, min(config.episodes, len(windows))).round().astype(int)
    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    for number, index in enumerate(chosen):
        window, told = told_of(world, dataset, windows, int(index))
        real, dream = window.pixels[0, world.config.past :], dream_again(world, window.pixels, told, sampler)[0]
        path = folder / f"{Path(config.data).name}-{number}.mp4"
        write_video(path, side_by_side(real, dream), dataset.description.frame_rate)
        print(path)


def told_of(world: WorldModel, dataset: Dataset, windows: Windows, index: int) -> tuple[Window, Facts]:
    """Window `index`, a batch of one, and all that its data set says of it."""
    window = windows.batch(np.array([index]))
    card = dataset.cards[0]
    return window, Facts.of_window(window, world.encoder.layout, str(card["task"]), camera_of(card))


def dream_again(world: WorldModel, pixels: Frames, told: Facts, sampler: SamplerConfig) -> Frames:
    """Windows [B, T, h, w, 3] after their past, dreamt anew with their own actions and words: [B, T - past, h, w, 3].

    Of the past only pictures and poses are given, and poses are foreseen; row i's noise is keyed by i.
    """
    past, device = world.config.past, next(world.parameters()).device
    everywhere = torch.ones(told.rows, dtype=torch.bool)
    known = told[:past].withhold(actions=everywhere, texts=everywhere)
    latents = world.codec.encode(torch.from_numpy(pixels[:, :past]).to(device))
    seeds = torch.arange(told.rows, device=device)
    dreamt = world.dream(latents, known.to(device), told[past:].to(device), seeds, sampler)
    seen = Detail.of(world.codec, torch.from_numpy(pixels[:, past - 1]).to(device))
    dream: Frames = seen.upon(world.codec.decode(dreamt.latents)).cpu().numpy()
    return dream


def side_by_side(real: Frames, dream: Frames) -> Frames:
    """[T, h, w, 3] twice -> truth | dream | difference, enlarged."""
    difference = np.abs(real.astype(np.int16) - dream).astype(np.uint8)
    joined = np.concatenate([real, dream, difference], axis=2)
    return joined.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)
