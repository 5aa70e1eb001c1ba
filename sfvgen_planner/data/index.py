"""The index of a data set: which episodes there are. It is derived from the episode files, which are the truth.

<root>/data/episodes/episode_00000007.hdf5   one per episode, whole from the moment it has its name
<root>/data/main_data.hdf5                   links episode_0, episode_1, ... to them by number, for Minari
<root>/data/cards.jsonl                      one line per episode: number, size, totals, card
<root>/data/metadata.json                    the description, and the totals

After a kill the index may lack the newest episodes. Opening finds them and writes the index again.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py

from sfvgen_planner.data.atomic import locked, sweep, write_bytes
from sfvgen_planner.data.description import Description
from sfvgen_planner.data.episode_file import read_episode, read_summary
from sfvgen_planner.errors import CorruptDataset

_EPISODE = re.compile(r"episode_(\d{8,})\.hdf5")


@dataclass(frozen=True)
class Entry:
    """One episode as the index knows it."""

    number: int
    size: int
    """bytes of its file"""
    steps: int
    total_reward: float
    success: bool
    """at any step"""
    card: dict[str, Any]


def data_folder(root: Path) -> Path:
    """Where Minari looks."""
    return root / "data"


def episode_path(root: Path, number: int) -> Path:
    """The file of episode `number`."""
    return data_folder(root) / "episodes" / f"episode_{number:08d}.hdf5"


def lock_path(root: Path) -> Path:
    """Held while an episode takes its name, and while the index is written."""
    return data_folder(root) / ".lock"


def read_description(root: Path) -> Description:
    """The description in `metadata.json`."""
    path = data_folder(root) / "metadata.json"
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptDataset(
            f"{root}, where {path.relative_to(root)} cannot be read",
            "a data set",
            "Check the path; `sfvgen collect` and `sfvgen import` make data sets.",
        ) from error
    return Description.from_metadata(text, str(path))


def read_entries(root: Path) -> tuple[Entry, ...]:
    """All episodes by number. An index that lags behind is written again, where this is allowed."""
    entries, fresh = _scan(root)
    if not fresh:
        try:
            return write_index(root, read_description(root))
        except OSError:  # read-only, or the disk is full: still good for reading
            pass
    return entries


def write_index(root: Path, description: Description) -> tuple[Entry, ...]:
    """Write the index anew from the episode files, and tidy up after killed writers."""
    data = data_folder(root)
    with locked(lock_path(root)):
        sweep(data / "episodes")
        sweep(data)
        entries, _ = _scan(root)
        # In this order Minari never reads of more episodes than there are links.
        write_bytes(data / "main_data.hdf5", _links(entries))
        lines = [json.dumps(asdict(entry)) + "\n" for entry in entries]
        write_bytes(data / "cards.jsonl", "".join(lines).encode())
        steps = sum(entry.steps for entry in entries)
        write_bytes(data / "metadata.json", description.to_metadata(len(entries), steps).encode())
    return entries


def repair(root: Path) -> list[Path]:
    """Move episodes that cannot be read back to `<root>/data/broken`; says which (their new places)."""
    moved = []
    for path in _files(root).values():
        try:
            read_episode(path)
        except CorruptDataset:
            target = data_folder(root) / "broken" / path.name
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
            moved.append(target)
    write_index(root, read_description(root))
    return moved


def _scan(root: Path) -> tuple[tuple[Entry, ...], bool]:
    """All entries, and whether the index on disk already says so."""
    known = _known(root)
    files = _files(root)
    entries = []
    for number, path in files.items():
        size = path.stat().st_size
        entry = known.get(number)
        if entry is None or entry.size != size:
            summary, card = read_summary(path)
            entry = Entry(number, size, summary["total_steps"], summary["total_reward"], summary["success"], card)
        entries.append(entry)
    fresh = list(known.values()) == entries and _minari_agrees(root, len(entries))
    return tuple(entries), fresh


def _files(root: Path) -> dict[int, Path]:
    folder = data_folder(root) / "episodes"
    if not folder.is_dir():
        raise CorruptDataset(f"{root} without {folder.relative_to(root)}", "a data set", "Restore the folder.")
    found = {int(match[1]): path for path in folder.iterdir() if (match := _EPISODE.fullmatch(path.name))}
    return dict(sorted(found.items()))


def _known(root: Path) -> dict[int, Entry]:
    try:
        lines = (data_folder(root) / "cards.jsonl").read_text().splitlines()
        entries = [Entry(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError):
        return {}
    return {entry.number: entry for entry in entries}


def _minari_agrees(root: Path, count: int) -> bool:
    data = data_folder(root)
    try:
        with h5py.File(data / "main_data.hdf5", "r") as main:
            links = len(main)
        return bool(links == count == json.loads((data / "metadata.json").read_text())["total_episodes"])
    except (OSError, ValueError, KeyError):
        return False


def _links(entries: tuple[Entry, ...]) -> bytes:
    with h5py.File("main", "w", driver="core", backing_store=False, libver="latest") as main:
        for position, entry in enumerate(entries):
            main[f"episode_{position}"] = h5py.ExternalLink(f"episodes/{episode_path(Path(), entry.number).name}", "/")
        main.flush()
        return bytes(main.id.get_file_image())
