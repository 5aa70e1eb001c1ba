"""Figures in a file, so that a bench that was stopped goes on."""

import json
from pathlib import Path
from typing import Any

from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.metrics.statistics import Interval

Figures = dict[str, Interval | None]


class Kept:
    """Figures in a JSON file; those that were asked for otherwise are not taken over."""

    def __init__(self, folder: Path, asked: dict[str, Any]) -> None:
        self.path = folder / "checks.json"
        self.told: dict[str, Any] = {"asked": asked, "figures": {}}
        if self.path.exists():
            before = json.loads(self.path.read_text())
            self.told = before if before["asked"] == json.loads(json.dumps(asked)) else self.told

    def has(self, name: str) -> bool:
        """Is it measured?"""
        return name in self.told["figures"]

    def put(self, name: str, figures: Figures) -> None:
        """On the disk when this returns."""
        self.told["figures"][name] = {one: value and value.to_json() for one, value in figures.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path, json.dumps(self.told, indent=2).encode())

    def get(self, name: str, measure: str) -> Interval | None:
        """A figure, if it is there."""
        value = self.told["figures"].get(name, {}).get(measure)
        return None if value is None else Interval.from_json(value)
