"""The bank: the memories of many episodes on disk, found again by how a place looks.

<root>/memories/<name>/adapter_model.safetensors   the factors, half precision   } PEFT's
<root>/memories/<name>/adapter_config.json                                       }
<root>/memories/<name>/card.json                   see `card.py`
<root>/cards.jsonl                                 all cards: an index, which opening makes up for where it lags

A memory's folder is whole from the moment it has its name, and never changes: the name tells its content.
"""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from sfvgen_planner.data.atomic import building, discard, locked, settle, sweep, write_bytes
from sfvgen_planner.errors import BadCheckpoint, BadMemory, UnknownName, closest
from sfvgen_planner.memory.adam import Trained
from sfvgen_planner.memory.card import Card, Entry
from sfvgen_planner.memory.files import ALBUM, CONFIG, WEIGHTS, factors_of, save, with_album
from sfvgen_planner.memory.merging import merge
from sfvgen_planner.memory.nearest import Group
from sfvgen_planner.memory.start import check_layers, identity
from sfvgen_planner.memory.value import Memory
from sfvgen_planner.memory.view import View
from sfvgen_planner.world.model import WorldModel

CARD, INDEX, LOCK = "card.json", "cards.jsonl", ".lock"
LEAST = 1e-4
"""Share below which a memory is left out of what is recalled."""
FORCE = "Remember again in this world, or force it."


@dataclass(frozen=True)
class Recalled:
    """Where an episode may begin, from memories of places like it."""

    memory: Memory
    """one row, which begins with the weighted merge"""
    weights: Mapping[str, float]
    """by name, nearest first; they sum to 1"""
    distances: Mapping[str, float]
    """of their views from the one asked for: who finds them large may begin anew"""


class Bank:
    """Memories by name; `entries` are all of them."""

    def __init__(self, root: Path | str, world: WorldModel | None = None) -> None:
        """Without a world it cannot tell whose memories it holds, and gives them out as they are, on the CPU."""
        self.root, self.world = Path(root), world
        if not self._place.is_dir():
            raise BadMemory(f"{root}, where no bank is", "a bank's folder", "Bank.begun(root) makes one.")
        self.known = None if world is None else identity(world)
        self.entries: dict[str, Entry] = self._read()
        self._groups: dict[tuple[str, str | None], list[Group]] = {}

    @classmethod
    def begun(cls, root: Path | str, world: WorldModel | None = None) -> "Bank":
        """The bank in `root`, made if there is none."""
        (Path(root) / "memories").mkdir(parents=True, exist_ok=True)
        return cls(root, world)

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, memory: Memory, card: Card, *, force: bool = False) -> str:
        """Keeps one row in half precision, on the disk when this returns; says under which name."""
        self._check_world(memory.world, force)
        pace = None if memory.pace is None else {name: float(value) for name, value in memory.pace.items()}
        with building(self._place) as folder:
            save(memory, folder, half=True)
            bare = Entry(card, memory.config, memory.world, pace, "")
            entry = bare.sealed(*((folder / name).read_bytes() for name in _files(bare)))
            (folder / CARD).write_text(entry.text())
            self._settle(folder, entry)
        return entry.name

    def load(self, name: str, *, force: bool = False) -> Memory:
        """One row, that begins with what was kept."""
        entry = self.entry(name)
        self._check_world(entry.world, force)
        factors, frames = _read_factors(self._place / name, entry)
        device, dtype = torch.device("cpu"), torch.float32
        if self.world is not None:
            one = next(self.world.denoiser.parameters())
            device, dtype = one.device, one.dtype
        first = {key: value.to(device, dtype) for key, value in factors.items()}
        if self.world is not None and force:
            check_layers(self.world, first, entry.config)
        pace = None if entry.pace is None else {key: torch.tensor(at, device=device) for key, at in entry.pace.items()}
        seeds = torch.zeros(1, dtype=torch.int64, device=device)
        memory = Memory(Trained.fresh(first), first, seeds, entry.config, self.known or entry.world, pace)
        return with_album(memory, frames)

    def recall(self, view: View, k: int = 1, *, force: bool = False) -> Recalled:
        """From the k nearest memories of the same body and world, each weighing by the inverse square of its distance;
        of their own rank."""
        known = self._alike(view.task, None if force else self.known)
        groups = [group for group in known if group.views.shape[1] == len(view.numbers)]
        if not groups or k < 1:
            held = sorted({entry.card.task for entry in self.entries.values()})
            there = sum(len(group.names) for group in groups)
            raise BadMemory(
                f"{k} of {there} memories of {view.task!r} in this world, {len(self)} in all, of {held}",
                "one at least",
                "Remember episodes first: sfvgen memory add.",
            )
        distances = min((group.nearest(view, k) for group in groups), key=lambda found: next(iter(found.values())))
        shares = {name: 1 / max(distance**2, 1e-12) for name, distance in distances.items()}
        kept = {name: share for name, share in shares.items() if share >= LEAST * sum(shares.values())}
        weights = {name: share / sum(kept.values()) for name, share in kept.items()}
        parts = [self.load(name, force=force) for name in weights]
        merged = merge(parts, list(weights.values()), parts[0].config.rank)
        return Recalled(merged, weights, {name: distances[name] for name in weights})

    def merge(self, weights: Mapping[str, float], *, rank: int | None = None, force: bool = False) -> str:
        """Keeps the weighted merge of memories beside them; without `rank` it is exact."""
        parts = [self.load(name, force=force) for name in weights]
        merged = merge(parts, list(weights.values()), rank)
        cards = [self.entries[name].card for name in weights]
        if len({(card.task, len(card.view.numbers)) for card in cards}) > 1:
            raise BadMemory(f"memories of {sorted({c.task for c in cards})}", "of one body", "Merge each apart.")
        shares = np.array(list(weights.values()), np.float64)
        views = np.stack([card.view.numbers.astype(np.float64) for card in cards])
        mean = shares @ views / shares.sum() if shares.sum() else views.mean(0)
        scene = "+".join(sorted({card.scene for card in cards} - {""}))
        card = Card(
            View(cards[0].task, mean.astype(np.float16)), sum(c.frames for c in cards), scene=scene, parts=dict(weights)
        )
        return self.add(merged, card, force=force)

    def forget(self, names: Iterable[str]) -> None:
        """They are gone, each as a whole; also broken ones, by the names of their folders."""
        there = self._names()
        for name in [name if name in there else self.find(name) for name in names]:
            discard(self._place / name)
            self.entries.pop(name, None)
        self._groups = {}

    def export(self, root: Path | str, names: Iterable[str] | None = None) -> list[str]:
        """Copies memories (all, if none are named) into the bank in another folder, made if it is not there."""
        with Bank.begun(root) as other:
            return other.take(self.root, names, force=True)

    def take(self, root: Path | str, names: Iterable[str] | None = None, *, force: bool = False) -> list[str]:
        """Copies memories out of the bank in another folder. All are verified before the first is taken."""
        other = Bank(root)
        chosen = list(other.entries) if names is None else [other.find(name) for name in names]
        if names is None and (broken := other.verify()):
            name, problem = next(iter(broken.items()))
            raise BadCheckpoint(f"{root} with {name}, {problem}", "whole memories", "Forget it, or name the others.")
        for name in chosen:
            self._check_world(other.entries[name].world, force)
            _read_factors(other._place / name, other.entries[name])
        for name in chosen:
            if name in self.entries:
                continue
            with building(self._place) as folder:
                for file in _files(other.entries[name]):
                    (folder / file).write_bytes((other._place / name / file).read_bytes())
                (folder / CARD).write_text(other.entries[name].text())
                self._settle(folder, other.entries[name])
        return chosen

    def verify(self) -> dict[str, str]:
        """What is wrong, by folder: nothing, if all is well."""
        problems = {}
        for name in sorted(self._names()):
            try:
                entry = _read_card(self._place / name)
                _read_factors(self._place / name, entry)
            except (BadCheckpoint, BadMemory) as error:
                problems[name] = error.given
        return problems

    def flush(self) -> None:
        """Writes the index and tidies up after killed writers; what is not flushed the next opening makes up for."""
        with locked(self.root / LOCK):
            sweep(self._place)
            sweep(self.root)
        self.entries = self._read()
        self._groups = {}

    def __enter__(self) -> "Bank":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.flush()

    def entry(self, name: str) -> Entry:
        """Of a memory, by its name."""
        if name not in self.entries:
            raise UnknownName(f"memory {name!r}", f"one of {len(self)} in {self.root}", closest(name, [*self.entries]))
        return self.entries[name]

    def find(self, start: str) -> str:
        """The one memory whose name is this or begins so."""
        found = [start] if start in self.entries else [name for name in self.entries if name.startswith(start)]
        if len(found) > 1:
            raise UnknownName(f"memory {start!r}, as {len(found)} begin", "one", "Give more letters.")
        self.entry(found[0] if found else start)
        return found[0]

    @property
    def _place(self) -> Path:
        return self.root / "memories"

    def _names(self) -> set[str]:
        return {entry.name for entry in os.scandir(self._place) if not entry.name.startswith(".")}

    def _settle(self, folder: Path, entry: Entry) -> None:
        with suppress(FileExistsError):  # the same content is there already
            settle(folder, self._place / entry.name, self.root / LOCK)
        self.entries[entry.name] = entry
        self._groups = {}

    def _read(self) -> dict[str, Entry]:
        """All entries by name; an index that differs from what is there is written again, where this is allowed."""
        known, there = self._index(), self._names()
        entries = {}
        for name in sorted(there):
            try:
                entries[name] = known[name] if name in known else _read_card(self._place / name)
            except BadCheckpoint:
                continue  # told by verify; one bad memory must not lock all others away
        if entries.keys() != known.keys():
            try:
                with locked(self.root / LOCK):
                    write_bytes(self.root / INDEX, "".join(entry.text() for entry in entries.values()).encode())
            except OSError:  # read-only, or the disk is full: still good for reading
                pass
        return entries

    def _index(self) -> dict[str, Entry]:
        try:
            found = [Entry.of(json.loads(line)) for line in (self.root / INDEX).read_text().splitlines()]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {entry.name: entry for entry in found}

    def _alike(self, task: str, world: str | None) -> list[Group]:
        """What may be recalled, and merged with each other."""
        key = (task, world)
        if key not in self._groups:
            hows: dict[object, list[str]] = {}
            for name, entry in sorted(self.entries.items()):
                if entry.card.task == task and world in (None, entry.world):
                    pace = None if entry.pace is None else tuple(sorted(entry.pace.items()))
                    hows.setdefault((entry.config, pace, len(entry.card.view.numbers)), []).append(name)
            self._groups[key] = [Group(names, self._views(names)) for names in hows.values()]
        return self._groups[key]

    def _views(self, names: list[str]) -> NDArray[np.float32]:
        """[N, D]"""
        numbers = np.concatenate([self.entries[name].card.view.numbers for name in names])
        return numbers.reshape(len(names), -1).astype(np.float32)

    def _check_world(self, world: str, force: bool) -> None:
        if not force and self.known not in (None, world):
            raise BadMemory(f"a memory of world {world}", f"one of this world, {self.known}", FORCE)


def _read_card(folder: Path) -> Entry:
    try:
        text = (folder / CARD).read_text()
        entry = Entry.of(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError, BadMemory) as error:
        raise BadCheckpoint(f"{folder}, whose card cannot be read ({error})", "a memory", "Forget it.") from error
    if text != entry.text() or folder.name != entry.name:
        raise BadCheckpoint(f"{folder}, whose card was changed", "the card it was kept with", "Forget it.")
    return entry


def _files(entry: Entry) -> tuple[str, ...]:
    """What lies beside its card."""
    return (WEIGHTS, CONFIG, ALBUM) if entry.config.kept else (WEIGHTS, CONFIG)


def _read_factors(folder: Path, entry: Entry) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """What the files hold, factors and frames, if they are those of the entry."""
    try:
        weights, config, *rest = ((folder / name).read_bytes() for name in _files(entry))
        if entry.sealed(weights, config, *rest).checksum != entry.checksum:
            raise ValueError("its checksum is another")
        frames = safetensors.torch.load(rest[0]) if rest else None
        return factors_of(json.loads(config), safetensors.torch.load(weights), folder), frames
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BadCheckpoint(f"{folder}, which is not what was kept ({error})", "whole files", "Forget it.") from error
