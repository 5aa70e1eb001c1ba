"""What a dream begins with: the last frames of something real."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sfvgen_envs.dream.imitated import Imitated
from sfvgen_envs.task import Task
from sfvgen_planner.data import Dataset, Windows
from sfvgen_planner.data.episode_file import read_instruction
from sfvgen_planner.errors import BadOption

ENDLESS = 2**31


@dataclass(frozen=True)
class Start:
    """The last Tp frames of one episode."""

    pixels: NDArray[np.uint8]
    """[Tp, h, w, 3]"""
    poses: NDArray[np.float32]
    """[Tp, P]"""
    elapsed: int = 0
    """steps the episode has taken so far: its time limit counts them"""
    instruction: str = ""
    goal: NDArray[np.uint8] | None = None
    """a picture of the solved state, where one may be shown"""


Starts: TypeAlias = Callable[[np.random.Generator, int | None, Mapping[str, Any]], Start]
"""A start, drawn by a row's generator. The seed is the user's, where he gave one; so are a `goal` and a `variation`."""


class TaskStarts:
    """The first frame of the real task: a dream of seed 7 begins where the real episode of seed 7 does."""

    def __init__(self, task: Task[Any, Any]) -> None:
        self.task = task

    def __call__(self, rng: np.random.Generator, seed: int | None, fixed: Mapping[str, Any]) -> Start:
        """Resets the task; all that is random in it follows a seed."""
        drawn = int(rng.integers(2**31))
        observation, info = self.task.reset(seed=drawn if seed is None else seed, options=dict(fixed))
        pixels, pose = observation["pixels"][None], observation["pose"][None]
        return Start(pixels, pose, 0, info["instruction"], info.get("goal"))


class DataStarts:
    """Frames of recorded episodes of the same task and camera: their first ones, or `frames` anywhere in them."""

    def __init__(self, data: Path | str, imitated: Imitated, length: str, frames: int = 1, *, anywhere: bool = False):
        def fits(card: Mapping[str, Any]) -> bool:
            like = {"task": imitated.name, "camera": imitated.camera, "length": length}
            return all(card.get(key, value) == value for key, value in like.items())

        dataset = Dataset(data)
        if dataset.description.picture != imitated.picture or not any(fits(card) for card in dataset.cards):
            raise BadOption(
                f"{data} with pictures of {dataset.description.picture}",
                f"episodes of {imitated.name!r}, {length}, seen by {imitated.camera!r} in {imitated.picture}",
                "Record some: sfvgen collect.",
            )
        # One window a stride: an endless stride leaves each episode its first.
        length_of_window, stride = (frames, 1) if anywhere else (1, ENDLESS)
        self._windows = Windows(dataset, length_of_window, stride=stride, where=fits)

    def __call__(self, rng: np.random.Generator, seed: int | None, fixed: Mapping[str, Any]) -> Start:
        """Each start as likely as any other."""
        if fixed:
            raise BadOption(f"{sorted(fixed)} for recorded episodes", "none", "Use starts='task' to vary a scene.")
        index = int(rng.integers(len(self._windows)))
        window, (path, first) = self._windows[index], self._windows.place(index)
        now = first + len(window.pixels) - 1
        return Start(window.pixels, np.asarray(window.poses, np.float32), now, read_instruction(path, now))
