"""`sfvgen imagine`: truth, dream and difference side by side, as mp4."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sfvgen_experiments.dreams import Frames, dream_windows
from sfvgen_planner.data import Dataset
from sfvgen_planner.data.video import write_video
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

ENLARGED = 3


@dataclass(frozen=True)
class ImagineVideos:
    """Options of `sfvgen imagine`."""

    world: str = "outputs/world/world"
    data: str = "???"
    episodes: int = 4
    frames: int = 24
    steps: int = 4
    threads: int = 2
    out: str = "outputs/imagine"


def main(config: ImagineVideos) -> None:
    """One video for each window."""
    torch.set_num_threads(config.threads)
    world, dataset = WorldModel.from_pretrained(config.world), Dataset(config.data)
    camera = str(dataset.cards[0].get("camera", "fixed"))
    dreams = dream_windows(world, dataset, camera, config.episodes, SamplerConfig(steps=config.steps), config.frames)
    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    for number, (real, dream) in enumerate(zip(dreams.real, dreams.dream, strict=True)):
        path = folder / f"{Path(config.data).name}-{number}.mp4"
        write_video(path, side_by_side(real, dream), dataset.description.frame_rate)
        print(path)


def side_by_side(real: Frames, dream: Frames) -> Frames:
    """[T, h, w, 3] twice -> truth | dream | difference, enlarged."""
    difference = np.abs(real.astype(np.int16) - dream).astype(np.uint8)
    joined = np.concatenate([real, dream, difference], axis=2)
    return joined.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)
