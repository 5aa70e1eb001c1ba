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
Found = Mapping[str, Any]
"""What the parts wrote, by name."""


@dataclass(frozen=True)
class Player:
    """Who brings things back, as `bench plan` names planners."""

    knows: str
    """with a memory"""
    blind: str
    """without one"""
    options: Mapping[str, int]


PLAYERS = {
    "cube_return": Player("planner/icem/medium/errand", "planner/icem/medium/errand", {"horizon": 4, "every": 1}),
    "route_return": Player(
        "habits+planner/icem/tiny/retrace", "habits+planner/icem/tiny/reward", {"horizon": 16, "every": 4}
    ),
}
"""By task. Nobody can retrace a way without a memory, so there learned rewards are searched."""
TASKS = tuple(PLAYERS)


def plans_of(found: Found, which: str) -> dict[str, Any]:
    """By task, what is there of plans with a memory (""), WITHOUT or AFTER."""
    return {task: found[name] for task in TASKS if (name := f"{PLANS}{which} of {task}") in found}


@dataclass(frozen=True)
class Asked:
    """What is asked of which world; `loop` is one after `sfvgen loop`."""

    world: str | None
    loop: str | None
    data: tuple[str, ...]
    windows: int
    episodes: int
    planned: int
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
                for task, player in PLAYERS.items():
                    for which, options in self._plays(task, player, name).items():
                        found[f"{PLANS}{which} of {task}"] = {**mine, **options}, plan.main
        if WINDOWS in parts and self.data:
            some = {"worlds": (self.world or str(SHIPPED),), "data": self.data, "windows": self.windows, "long": 2}
            found[WINDOWS] = {**some, "threads": self.threads}, slow.main
        if COST in parts:
            alike = {"world": self.world, "steps": (1,), "every": (1, 4), "repeats": self.repeats}
            found[COST] = {**alike, "threads": self.threads}, memory_cost.main
        return found

    def _plays(self, task: str, player: Player, name: str) -> dict[str, dict[str, Any]]:
        """What `bench plan` is asked of a task; `name` is "" or AFTER."""
        alike = {"tasks": (task,), "bars": (), "least": self.planned, "most": self.planned, **player.options}
        plays = {name: {**alike, "agents": (player.knows,), "memory": OURS if name else FRAMES}}
        return plays if name else {WITHOUT: {**alike, "agents": ("random", player.blind)}, **plays}
