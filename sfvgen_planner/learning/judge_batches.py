"""What the judge learns from: clips of real episodes with what was done in them, some in pairs that show one place.

Two places of one scene: where the camera moves, poses tell; where it stands, the picture itself does (same looks, same
place, things included), and only frames a moment apart are sure to look alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_planner.data import Dataset, VectorActions, Windows
from sfvgen_planner.data.episode_file import read_track
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.judge_layout import Layout, TaskLayout
from sfvgen_planner.metrics.revisits import view_codes
from sfvgen_planner.types import Window

STANDS = 1e-3
"""A camera that moves less than this within episodes (root mean square) stands."""

CLEARLY = 1.5
"""So much farther than a clip's partner must another be to count as elsewhere."""

_SURVEYED = 32
"""Episodes looked at to find out how far the camera of a data set goes, and how much actions vary."""

_LEAST_SPREAD = 0.01
"""Of an action's variance: what hardly varies is not to be learned to the last digit."""


@dataclass(frozen=True)
class Places:
    """When two clips show one place, and when surely another; between the two nobody learns."""

    near: float = 0.15
    far: float = 0.5
    """of a moving camera: in spreads of its position within an episode, and 2 for half a turn"""
    moment: int = 2
    """of a standing camera: clips at most so many frames apart show one place"""
    unlike: float = 0.03
    """of a standing camera: pictures whose difference is more (root mean square, of 1) show another"""

    def __post_init__(self) -> None:
        if not 0 <= self.near <= self.far or self.moment < 0 or self.unlike < 0:
            raise BadOption(f"{self}", "0 <= near <= far, and nothing below 0", "Set them.")


@dataclass(frozen=True)
class JudgeBatch:
    """B clips of T frames; rows 2 i and 2 i + 1 show one place, where they are known to be `elsewhere` than others."""

    clips: Tensor
    """uint8 [B, T, h, w, 3]"""
    actions: Tensor
    """float32 [B, T, A], scaled, all tasks side by side; nan where a number is not this task's, or not visible"""
    phrases: Tensor
    """int64 [B, T], numbers in the joint list; -1 where unknown or not visible"""
    elsewhere: Tensor
    """bool [B, B]: does the column surely show another place than the row, of the same episode?"""


def layout_of(datasets: Sequence[Dataset]) -> Layout:
    """The judge's answers for these data sets; those of one task must agree."""
    tasks = []
    for dataset in datasets:
        about = dataset.description
        bounds = (about.actions.low, about.actions.high) if isinstance(about.actions, VectorActions) else ((), ())
        task = TaskLayout(about.task, *bounds, about.phrases)
        if task not in tasks:
            tasks.append(task)
    return Layout(tuple(tasks))


class Scenes:
    """The episodes of one data set, ready to be drawn from."""

    def __init__(
        self, dataset: Dataset, layout: Layout, places: Places, where: Callable[[dict[str, Any]], bool]
    ) -> None:
        self.task, self.layout, self.places = dataset.description.task, layout, places
        self._dataset, self._where = dataset, where
        self._chosen = [position for position, card in enumerate(dataset.cards) if where(card)]
        self._windows: dict[int, tuple[Windows, list[int], Any]] = {}
        self._poses: dict[int, NDArray[np.float32]] = {}
        joint = layout.phrases
        self._ids = {text: joint.index(text) for text in layout.task(self.task).phrases}
        self.spread = self._survey()
        """how far the camera goes from its episode's mean, root mean square"""

    @property
    def moves(self) -> bool:
        """Does the camera?"""
        return self.spread > STANDS

    def draw(self, rng: np.random.Generator, frames: int, pairs: int) -> JudgeBatch:
        """B = 2 `pairs` clips of one episode."""
        windows, long, ends = self._open(frames)
        row = int(rng.integers(len(long)))
        first, end = int(ends[row]), int(ends[row + 1])
        anchors = rng.integers(end - first, size=pairs)
        starts = np.stack(
            [anchors, [self._partner(rng, long[row], frames, s, end - first) for s in anchors]], 1
        ).ravel()
        window = windows.batch(first + starts)
        elsewhere = self._elsewhere(long[row], starts + frames // 2, window.pixels[:, frames // 2])
        return self._told(window, torch.from_numpy(elsewhere))

    def one(self, rng: np.random.Generator, frames: int) -> JudgeBatch:
        """B = 1 clip, of any episode as likely."""
        windows, long, ends = self._open(frames)
        row = int(rng.integers(len(long)))
        return self._told(windows.batch(rng.integers(ends[row], ends[row + 1], size=1)), torch.zeros(1, 1).bool())

    def actions(self) -> NDArray[np.float32]:
        """[N, A] of some episodes, in the task's own units."""
        few = self._chosen[:: max(1, len(self._chosen) // _SURVEYED)]
        return np.concatenate([read_track(self._dataset.path(episode))[1] for episode in few])

    def _told(self, window: Window, elsewhere: Tensor) -> JudgeBatch:
        pixels = torch.from_numpy(window.pixels)
        return JudgeBatch(pixels, self._actions(window.actions), self._phrases(window.phrases), elsewhere)

    def _open(self, frames: int) -> tuple[Windows, list[int], Any]:
        """Windows of this length, the episodes that have any, and where in the order each begins."""
        if frames not in self._windows:
            windows = Windows(self._dataset, frames, where=self._where)
            steps = {position: self._dataset.entries[position].steps for position in self._chosen}
            long = [position for position in self._chosen if steps[position] + 1 >= frames]
            ends = np.cumsum([0, *(steps[position] + 2 - frames for position in long)])
            self._windows[frames] = windows, long, ends
        return self._windows[frames]

    def _partner(self, rng: np.random.Generator, episode: int, frames: int, start: int, count: int) -> int:
        """Another start whose middle frame shows the same place; itself where there is none."""
        starts = np.arange(count)
        if self.moves:
            codes = self._codes(episode)[frames // 2 :][:count]
            same = np.linalg.norm(codes - codes[start], axis=1) <= self.places.near
        else:
            same = np.abs(starts - start) <= self.places.moment
        others = starts[same & (starts != start)]
        return int(rng.choice(others)) if len(others) else start

    def _elsewhere(self, episode: int, middles: Any, pictures: Any) -> NDArray[np.bool_]:
        """[B, B] from the clips' middle frames."""
        if self.moves:
            what, limit = self._codes(episode)[middles], self.places.far
        else:
            flat = pictures.reshape(len(pictures), -1).astype(np.float32) / 255
            what, limit = flat / np.sqrt(flat.shape[1]), self.places.unlike
        apart = np.linalg.norm(what[:, None] - what[None], axis=-1)
        rows = np.arange(len(apart))
        # Where much moves within a moment, only what is clearly less alike than one's own partner is elsewhere.
        return np.asarray(apart > np.maximum(limit, CLEARLY * apart[rows, rows ^ 1])[:, None])

    def _actions(self, actions: Any) -> Tensor:
        rows, frames = actions.shape[:2]
        joint = torch.full((rows, frames, self.layout.actions), float("nan"))
        part = self.layout.part(self.task)
        if part.stop > part.start:
            # What led into a clip's first frame cannot be seen in it.
            joint[:, 1:, part] = self.layout.scaled(self.task, actions[:, 1:])
        return joint

    def _phrases(self, phrases: tuple[Any, ...]) -> Tensor:
        return torch.tensor([[-1, *(self._ids.get(text, -1) for text in row[1:])] for row in phrases])

    def _codes(self, episode: int) -> Any:
        return view_codes(self._track(episode), self.spread)

    def _track(self, episode: int) -> NDArray[np.float32]:
        if episode not in self._poses:
            self._poses[episode] = read_track(self._dataset.path(episode))[0]
        return self._poses[episode]

    def _survey(self) -> float:
        squares = [
            np.square(p - p.mean(0)).sum(1).mean() for p in (self._track(e)[:, :3] for e in self._chosen[:_SURVEYED])
        ]
        return float(np.sqrt(np.mean(squares))) if squares else 0.0


def spread_of(scenes: Sequence[Scenes], layout: Layout) -> Tensor:
    """float32 [A]: how much each action number varies, as a variance of what is scaled to [-1, 1]."""
    spread = torch.ones(layout.actions)
    for task in layout.tasks:
        own = [scene.actions() for scene in scenes if scene.task == task.task]
        if own and task.low:
            spread[layout.part(task.task)] = layout.scaled(task.task, np.concatenate(own)).var(0, correction=0)
    return spread.clamp(min=_LEAST_SPREAD)


def stilled(batch: JudgeBatch, rng: np.random.Generator) -> JudgeBatch:
    """Half of the pairs have a still of its middle frame for the second clip: so single frames are shown to the judge
    when it is asked for places. A still tells nothing of actions."""
    rows = 2 * np.flatnonzero(rng.random(len(batch.clips) // 2) < 0.5) + 1
    clips, actions, phrases = batch.clips.clone(), batch.actions.clone(), batch.phrases.clone()
    middle = clips.shape[1] // 2
    clips[rows] = clips[rows, middle : middle + 1]
    actions[rows], phrases[rows] = float("nan"), -1
    return JudgeBatch(clips, actions, phrases, batch.elsewhere)


def joined(batches: Sequence[JudgeBatch]) -> JudgeBatch:
    """Several episodes' clips; nobody is elsewhere in another episode, as scenes are too easily told apart."""
    return JudgeBatch(
        torch.cat([batch.clips for batch in batches]),
        torch.cat([batch.actions for batch in batches]),
        torch.cat([batch.phrases for batch in batches]),
        torch.block_diag(*(batch.elsewhere for batch in batches)).bool(),  # type: ignore[no-untyped-call]
    )
