"""What is asked for the tables: each part is a benchmark of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sfvgen_experiments.bench import memory_cost, plan, revisit, slow
from sfvgen_experiments.revisit.arms import COPY, NONE
from sfvgen_planner.world.model import SHIPPED

WINDOWS, WAYS, PLANS, COST = "windows", "ways", "plans", "cost"
PARTS = (WINDOWS, WAYS, PLANS, COST)
WITHOUT, AFTER = " without memory", " after the loop"
OURS, FULL = "hybrid", "full"
LOWRANK, FRAMES = "default", "album"
"""Its two halves."""
ROUTE, CUBE = "out_and_back", "object"
CHOICES = (COPY, NONE, "longer", "anchor", "bank")
MEMORIES = (OURS, FRAMES, LOWRANK, FULL, "original", "global", "frame")
TASKS = ("cube_return", "route_return")
Found = Mapping[str, Any]
"""What the parts wrote, by name."""


@dataclass(frozen=True)
class Asked:
    """What is asked of which world; `loop` is one after `sfvgen loop`."""

    world: str | None
    loop: str | None
    data: tuple[str, ...]
    windows: int
    episodes: int
    planned: int
    planner: str
    repeats: int
    threads: int

    def tasks(self, parts: Sequence[str]) -> dict[str, tuple[dict[str, Any], Callable[..., Any]]]:
        """By name: what a benchmark is asked, and which."""
        found: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {}
        worlds = {"": self.world, AFTER: self.loop} if self.loop else {"": self.world}
        for name, world in worlds.items():
            mine = {"world": world, "threads": self.threads}
            if WAYS in parts:
                arms = (*CHOICES, *MEMORIES) if not name else (NONE, LOWRANK)
                asked = {**mine, "ways": (ROUTE, CUBE), "arms": arms, "episodes": self.episodes}
                found[WAYS + name] = asked, revisit.main
            if PLANS in parts:
                play = {
                    "tasks": TASKS,
                    "bars": (),
                    "least": self.planned,
                    "most": self.planned,
                    "budget": "tiny",
                }
                alike = {**mine, **play, "horizon": 8, "every": 8}
                if not name:
                    found[PLANS + WITHOUT] = {**alike, "agents": ("random", self.planner)}, plan.main
                found[PLANS + name] = {**alike, "agents": (self.planner,), "memory": OURS}, plan.main
        if WINDOWS in parts and self.data:
            some = {"worlds": (self.world or str(SHIPPED),), "data": self.data, "windows": self.windows, "long": 2}
            found[WINDOWS] = {**some, "threads": self.threads}, slow.main
        if COST in parts:
            alike = {"world": self.world, "steps": (1,), "every": (1, 4), "repeats": self.repeats}
            found[COST] = {**alike, "threads": self.threads}, memory_cost.main
        return found
