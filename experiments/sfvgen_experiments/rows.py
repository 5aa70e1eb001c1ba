"""Rows of an evaluation: one for each episode played, kept in files that only grow, so that a killed run goes on."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any
from zlib import crc32


@dataclass(frozen=True)
class Row:
    """One agent, one episode. Everything but `seconds` is the same whenever it is played again."""

    agent: str
    where: str
    task: str
    length: str
    index: int
    """the episode's place in its list"""
    seed: int
    """the episode's seed"""
    agent_seed: int
    success: bool
    total: float
    waypoint_distance: float
    """NaN where nobody knows, as in a dream"""
    steps: int
    seconds: float

    @property
    def key(self) -> tuple[str, str, int]:
        """Which episode, among those of one agent, task and seed of the agent."""
        return self.where, self.length, self.seed

    def plain(self) -> dict[str, Any]:
        """As in results: the sum of rewards goes by its own name there, which Python keeps for itself; JSON knows no
        NaN."""
        row = asdict(self)
        row["waypoint_distance"] = None if isnan(self.waypoint_distance) else self.waypoint_distance
        row["return"] = row.pop("total")
        return row


class RowFile:
    """The rows of one agent, one task and one seed of the agent.

    Its name carries a hash of everything that decides a row, so rows of a changed agent or suite are never mixed.
    """

    def __init__(self, folder: Path, title: str, identity: dict[str, Any]) -> None:
        known_by = crc32(json.dumps(identity, sort_keys=True, default=str).encode())
        name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in title)
        self.path = folder / f"{name}-{known_by:08x}.jsonl"

    def read(self) -> list[Row]:
        """Rows that are there. A last line cut off by a kill is left out: its episode is played again."""
        if not self.path.is_file():
            return []
        rows: dict[tuple[str, str, int], Row] = {}
        for line in self.path.read_text().splitlines():
            try:
                row = Row(**json.loads(line))
            except (ValueError, TypeError):
                continue
            rows[row.key] = row
        return list(rows.values())

    def append(self, rows: Iterable[Row]) -> None:
        """Adds rows, each on the disk before the next."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+") as file:
            if file.tell() and not self.path.read_text().endswith("\n"):
                file.write("\n")
            for row in rows:
                file.write(json.dumps(asdict(row)) + "\n")
                file.flush()
