"""Writes suite v0: `python -m sfvgen_envs.suites.write`. The same tasks give the same files, byte for byte.

Only until a version is released: from then on its lists are law, and changed tasks get a new suite.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym

from sfvgen_envs import TASKS
from sfvgen_envs.scene import LENGTHS, Length
from sfvgen_envs.suites.suite import EpisodeSpec, drawn_scene, fingerprint

EPISODES = 200
SEEDS: Mapping[Length, int] = {"short": 1_000_000, "medium": 2_000_000, "long": 3_000_000}
"""First seed of each length, far from the small ones that people train and try things with."""


def write_suite(
    folder: Path | None = None, *, name: str = "v0", tasks: Mapping[str, str] | None = None, episodes: int = EPISODES
) -> None:
    """One file a task; `tasks` are names and ids for `gymnasium.make` (ours, where left out)."""
    folder = Path(__file__).parent / name if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    for task, identity in (tasks or {key: f"sfvgen_envs:{value}" for key, value in TASKS.items()}).items():
        # Written beside and renamed: a reader never sees half a list.
        draft = folder / f"{task}.json.new"
        draft.write_text(_page(name, task, identity, episodes))
        draft.replace(folder / f"{task}.json")


def _page(suite: str, task: str, identity: str, episodes: int) -> str:
    """The file of a task, an episode a line."""
    seen: set[str] = set()
    head = {"suite": suite, "task": task, "id": identity, "split": "test", "camera": "fixed"}
    parts = []
    for length in LENGTHS:
        blank = EpisodeSpec(task, identity, length, 0, 0, "test", "fixed", {}, None, "")
        env = blank.make()
        rows = ",\n".join(f"   {json.dumps(row)}" for row in _rows(env, blank, SEEDS[length], episodes, seen))
        horizon = env.unwrapped.horizon  # type: ignore[attr-defined]
        env.close()
        parts.append(f'  "{length}": {{"horizon": {horizon}, "episodes": [\n{rows}\n  ]}}')
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    return "\n".join(["{", *lines, ' "lengths": {', ",\n".join(parts), " }", "}", ""])


def _rows(
    env: gym.Env[Any, Any], blank: EpisodeSpec, seed: int, episodes: int, seen: set[str]
) -> Iterator[dict[str, Any]]:
    """Consecutive seeds, leaving out those that draw a scene already in the lists of this task."""
    found = 0
    while found < episodes:
        scene = fingerprint(drawn_scene(env, replace(blank, seed=seed)))
        if scene not in seen:
            seen.add(scene)
            found += 1
            yield {"seed": seed, "variation": {}, "goal": None, "scene": scene}
        seed += 1


if __name__ == "__main__":
    write_suite()
