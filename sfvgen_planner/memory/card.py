"""What is known of a memory without opening its factors: a card, as JSON beside them, under one checksum with them."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import sha256
from math import inf, isfinite
from typing import Any

import numpy as np

from sfvgen_planner.errors import BadMemory
from sfvgen_planner.memory.config import MemoryConfig
from sfvgen_planner.memory.view import View

VERSION = 1


@dataclass(frozen=True)
class Card:
    """Whose memory it is: told by who remembered."""

    view: View
    """how the episode began, and the body's name"""
    frames: int
    """how many were seen"""
    loss: float | None = None
    """of what was remembered, on noise it was not learned from; None where nobody measured"""
    scene: str = ""
    """anything that names the scene"""
    data: str = ""
    """folder of the data set the episode stands in, if it does"""
    episode: int | None = None
    """its number there"""
    parts: Mapping[str, float] = field(default_factory=dict)
    """names and weights of the memories it was merged from"""

    def __post_init__(self) -> None:
        if self.frames < 1 or not isfinite(self.loss or 0.0):
            raise BadMemory(f"{self.frames} frames and loss {self.loss}", "1 or more, and a number", "Say what it saw.")

    @property
    def task(self) -> str:
        """The body's name."""
        return self.view.task


@dataclass(frozen=True)
class Entry:
    """One memory as a bank knows it."""

    card: Card
    config: MemoryConfig
    world: str
    """identity of the slow weights it was written beside"""
    pace: Mapping[str, float] | None
    checksum: str
    """of everything else in the card and of both files beside it"""

    @property
    def name(self) -> str:
        """Equal content, equal name; and what has a name never changes."""
        return f"{self.card.task}-{self.checksum[:16]}"

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        told = {**vars(self.card), "parts": dict(self.card.parts), "task": self.card.task}
        told["view"] = b64encode(self.card.view.numbers.astype("<f2").tobytes()).decode()
        pace = None if self.pace is None else dict(self.pace)
        config = {name: str(value) if value == inf else value for name, value in asdict(self.config).items()}
        rest = {"config": config, "world": self.world, "pace": pace, "checksum": self.checksum}
        return {"version": VERSION, **told, **rest}

    def text(self) -> str:
        """The card's file: for one entry there is one text."""
        return json.dumps(self.plain(), sort_keys=True, allow_nan=False) + "\n"

    def sealed(self, *files: bytes) -> "Entry":
        """With the checksum of itself and what lies beside it."""
        bare = Entry(self.card, self.config, self.world, self.pace, "")
        known = sha256(bare.text().encode())
        for data in files:
            known.update(sha256(data).digest())
        return Entry(self.card, self.config, self.world, self.pace, known.hexdigest())

    @staticmethod
    def of(told: Mapping[str, Any]) -> "Entry":
        """Back from `plain`; KeyError, TypeError or ValueError where it is not that."""
        if told["version"] != VERSION:
            raise ValueError(f"version {told['version']!r}, where this release writes {VERSION}")
        view = View(told["task"], np.frombuffer(b64decode(told["view"]), "<f2"))
        names = ("frames", "loss", "scene", "data", "episode", "parts")
        card = Card(view, **{name: told[name] for name in names})
        return Entry(card, _config(json.dumps(told["config"])), told["world"], told["pace"], told["checksum"])


@lru_cache
def _config(text: str) -> MemoryConfig:
    """Most memories of a bank are written alike."""
    how: dict[str, Any] = {name: inf if value == "inf" else value for name, value in json.loads(text).items()}
    return MemoryConfig(**{**how, "modules": tuple(how["modules"])})
