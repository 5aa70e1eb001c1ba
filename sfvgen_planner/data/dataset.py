"""A data set: a folder of episodes that Minari can open too."""

from bisect import insort
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.data.description import Description, DiscreteActions
from sfvgen_planner.data.episode_file import encode_episode, read_episode, summary_of
from sfvgen_planner.data.index import (
    Entry,
    data_folder,
    episode_path,
    lock_path,
    read_description,
    read_entries,
    write_index,
)
from sfvgen_planner.errors import BadEpisode, BadOption
from sfvgen_planner.types import Episode


class Dataset:
    """Episodes in order of their numbers: `len`, `[i]`, iteration, and appending.

    An episode is on the disk when `append` or `put` returns. The index for Minari follows with `flush`, which leaving a
    `with` block calls, and which the next opening makes up for after a kill.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.description = read_description(self.root)
        self._entries = list(read_entries(self.root))

    @classmethod
    def create(cls, root: Path | str, description: Description) -> "Dataset":
        """A new, empty data set in the folder `root`."""
        root = Path(root)
        if (data_folder(root) / "metadata.json").exists():
            raise BadOption(f"{root}, which holds a data set", "a new folder", "Resume it, or choose another name.")
        (data_folder(root) / "episodes").mkdir(parents=True, exist_ok=True)
        write_index(root, description)
        return cls(root)

    @classmethod
    def resume(cls, root: Path | str, description: Description) -> "Dataset":
        """The data set in `root`, made if it is not there; it must be of the same description."""
        root = Path(root)
        if not (data_folder(root) / "metadata.json").exists():
            return cls.create(root, description)
        dataset = cls(root)
        if differences := dataset.description.differences(description):
            raise BadOption(
                f"{root}, whose {' and '.join(differences)} differ from what is asked",
                "a data set of the same description",
                "Choose another folder, or the settings it was begun with.",
            )
        return dataset

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is known of each episode without opening its file."""
        return tuple(self._entries)

    @property
    def cards(self) -> tuple[dict[str, Any], ...]:
        """The card of each episode."""
        return tuple(entry.card for entry in self._entries)

    def path(self, position: int) -> Path:
        """The file of the episode at `position`."""
        return episode_path(self.root, self._entries[position].number)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, position: int) -> Episode:
        return read_episode(self.path(position))

    def __iter__(self) -> Iterator[Episode]:
        return (self[position] for position in range(len(self)))

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """Which of these numbers are not recorded yet."""
        return [number for number in numbers if not episode_path(self.root, number).exists()]

    def append(self, episode: Episode) -> int:
        """Add an episode under the next free number, which is returned."""
        number = self._entries[-1].number + 1 if self._entries else 0
        while not self.put(number, episode):
            number += 1
        return number

    def put(self, number: int, episode: Episode) -> bool:
        """Add an episode under this number; False, and nothing done, if the number is taken."""
        path = episode_path(self.root, number)
        self._check(episode)
        if path.exists():
            return False
        data = encode_episode(episode, self.description.compression)
        try:
            write_bytes(path, data, lock_path(self.root))
        except FileExistsError:
            return False
        summary = summary_of(episode)
        entry = Entry(
            number, len(data), summary["total_steps"], summary["total_reward"], summary["success"], dict(episode.card)
        )
        insort(self._entries, entry, key=lambda known: known.number)
        return True

    def flush(self) -> None:
        """Write the index from the files there are, those of other processes included."""
        self._entries = list(write_index(self.root, self.description))

    def __enter__(self) -> "Dataset":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def _check(self, episode: Episode) -> None:
        """Episode and description must agree, or the set could not be opened as one."""
        actions, kind = np.asarray(episode.actions), self.description.actions
        hint = "Nothing was written; mend what made the episode, or describe the data set anew."
        fits = {
            f"pixels of {list(self.description.picture)}": tuple(episode.pixels.shape[1:3]) == self.description.picture,
            f"poses of {self.description.pose_size}": episode.poses.shape[1:] == (self.description.pose_size,),
        }
        if isinstance(kind, DiscreteActions):
            inside = actions.dtype.kind == "i" and ((actions >= kind.start) & (actions < kind.start + kind.count)).all()
            fits[f"ids from {kind.start} to {kind.start + kind.count - 1}"] = bool(inside)
        else:
            fits[f"actions of {len(kind.low)} numbers"] = actions.dtype.kind == "f" and actions.shape[1:] == (
                len(kind.low),
            )
        for expected, good in fits.items():
            if not good:
                shapes = f"{list(episode.pixels.shape)}, {list(episode.poses.shape)}, {list(actions.shape)}"
                raise BadEpisode(
                    f"an episode with pixels, poses, actions of {shapes} ({actions.dtype})", expected, hint
                )
