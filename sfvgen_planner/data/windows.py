"""Windows: T consecutive frames of an episode, at random for training or in order for evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_planner.data.dataset import Dataset
from sfvgen_planner.data.description import DiscreteActions
from sfvgen_planner.data.episode_file import read_frames, read_track
from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import Window


class Windows:
    """All windows of `length` frames in a data set as it stands now: `len`, `[i]` in a fixed order, `sample`.

    Files are opened for each window and closed again: so it may be forked and pickled, and a set may have any number of
    episodes. What is small (poses, actions, phrases) is kept in memory once read.
    """

    def __init__(
        self,
        dataset: Dataset,
        length: int,
        *,
        stride: int = 1,
        where: Callable[[dict[str, Any]], bool] = lambda card: True,
    ) -> None:
        """`where` chooses episodes by their cards; `stride` is the distance between the starts of windows."""
        if length < 1 or stride < 1:
            raise BadOption(f"windows of {length} frames every {stride}", "1 or more of each", "Set length and stride.")
        chosen = [position for position, card in enumerate(dataset.cards) if where(card)]
        entries = dataset.entries
        long = [position for position in chosen if entries[position].steps + 1 >= length]
        if not long:
            raise BadOption(
                f"{len(dataset)} episodes, {len(chosen)} of them chosen, none as long as {length} frames",
                "an episode that fits",
                "Choose other episodes or shorter windows.",
            )
        self.length, self.stride = length, stride
        self.skipped = len(chosen) - len(long)
        """chosen episodes that are shorter than a window"""
        self._picture = dataset.description.picture
        self._discrete = isinstance(dataset.description.actions, DiscreteActions)
        self._paths = [dataset.path(position) for position in long]
        counts = [(entries[position].steps + 1 - length) // stride + 1 for position in long]
        self._ends = np.cumsum(counts)
        self._tracks: dict[int, tuple[Any, Any, tuple[str, ...]]] = {}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Window:
        """Window `index`, without a leading B."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        batch = self.batch(np.array([index]))
        return Window(batch.pixels[0], batch.poses[0], batch.actions[0], batch.phrases[0], int(batch.start[0]))

    def place(self, index: int) -> tuple[Path, int]:
        """The file that window `index` lies in, and its first frame there."""
        episode = int(np.searchsorted(self._ends, index, side="right"))
        before = int(self._ends[episode - 1]) if episode else 0
        return self._paths[episode], (index - before) * self.stride

    def sample(self, rng: np.random.Generator, count: int) -> Window:
        """B = `count` windows, each as likely as any other."""
        return self.batch(rng.integers(len(self), size=count))

    def batch(self, indices: Any) -> Window:
        """The windows `indices` (int [B]): pixels uint8 [B, T, h, w, 3], phrases B tuples of T texts, and so on."""
        episodes = np.searchsorted(self._ends, indices, side="right")
        first = np.concatenate([[0], self._ends])[episodes]
        starts = (np.asarray(indices) - first) * self.stride
        pixels = np.empty((len(episodes), self.length, *self._picture, 3), np.uint8)
        poses, actions, phrases = [], [], []
        for row, (episode, start) in enumerate(zip(episodes.tolist(), starts.tolist(), strict=True)):
            read_frames(self._paths[episode], start, pixels[row])
            part = slice(start, start + self.length)
            track = self._track(episode)
            poses.append(track[0][part])
            actions.append(track[1][part])
            phrases.append(track[2][part])
        return Window(pixels, np.stack(poses), np.stack(actions), tuple(phrases), starts)

    def _track(self, episode: int) -> tuple[Any, Any, tuple[str, ...]]:
        """Poses, actions and phrases with a row per frame: what led INTO it, nothing for the first."""
        if episode not in self._tracks:
            poses, actions, phrases = read_track(self._paths[episode])
            nothing = np.zeros((1, *actions.shape[1:]), actions.dtype)
            self._tracks[episode] = poses, np.concatenate([nothing, actions]), ("", *phrases)
        return self._tracks[episode]
