"""What a world in training dreams: the same few windows of its training sets at every checkpoint, as one video."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfvgen_experiments.imagine import Frames, dream_again, side_by_side, told_of
from sfvgen_planner.data import Dataset, Windows, write_video
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

FRAMES = 24
"""new frames of a video, where every set has an episode as long"""
SAMPLER = SamplerConfig(steps=4)


@dataclass(frozen=True)
class Samples:
    """B windows and what is told of them. Nothing is drawn at random: a training with samples is one without."""

    pixels: Frames
    """uint8 [B, T, h, w, 3]"""
    told: Facts
    frame_rate: float

    @classmethod
    def of(cls, world: WorldModel, datasets: Sequence[Dataset], count: int) -> "Samples":
        """`count` windows, spread evenly over the sets and over what each holds."""
        chosen = [datasets[i * len(datasets) // count] for i in range(count)]
        longest = min(max(entry.steps for entry in dataset.entries) + 1 for dataset in chosen)
        length = max(world.config.past + 1, min(world.config.past + FRAMES, longest))
        windows = {dataset.root: Windows(dataset, length) for dataset in chosen}
        picked = [
            told_of(world, one, windows[one.root], int((i + 0.5) / count * len(windows[one.root])))
            for i, one in enumerate(chosen)
        ]
        pixels = np.concatenate([window.pixels for window, _ in picked])
        return cls(pixels, Facts.stack([told for _, told in picked]), chosen[0].description.frame_rate)

    def write(self, world: WorldModel, path: Path) -> None:
        """Dreams them with this world: truth, dream and difference, one row a window."""
        real, dream = self.pixels[:, world.config.past :], dream_again(world, self.pixels, self.told, SAMPLER)
        rows = [side_by_side(one, other) for one, other in zip(real, dream, strict=True)]
        write_video(path, np.concatenate(rows, axis=1), self.frame_rate)
