"""Reads a suite, and notices when the tasks changed under it.

A suite is a folder with one JSON file a task. An episode there is a seed, the factors and the goal fixed on top of it,
and a fingerprint of the scene they drew when the suite was written: a seed alone would silently come to mean another
episode as soon as a task draws one number more.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import gymnasium as gym
import numpy as np

from sfvgen_envs.scene import LENGTHS, Scene, draw_scene
from sfvgen_planner.errors import BadState, SuiteChanged, UnknownName, closest

_HERE = Path(__file__).parent
_DIGITS = 6
"""Significant digits that a fingerprint sees: the last bits of a sine differ between machines, scenes do not."""


@dataclass(frozen=True)
class EpisodeSpec:
    """One episode of a suite: all it takes to play it again."""

    task: str
    id: str
    """what `gymnasium.make` takes"""
    length: str
    index: int
    """place in its list"""
    seed: int
    split: str
    camera: str
    variation: Mapping[str, Any]
    """factors fixed for this episode; the seed draws the others"""
    goal: Any
    """a goal fixed for this episode, or None"""
    scene: str
    """fingerprint of what was drawn"""

    def make(self, **settings: Any) -> gym.Env[Any, Any]:
        """The environment it is played in; `settings` are further arguments of the task, such as `size`."""
        made = {"split": self.split, "length": self.length, "camera": self.camera, **settings}
        return gym.make(self.id, disable_env_checker=True, **made)

    @property
    def options(self) -> dict[str, Any]:
        """What `reset` takes beside the seed."""
        fixed = {"variation": dict(self.variation) or None, "goal": self.goal}
        return {key: value for key, value in fixed.items() if value is not None}


@dataclass(frozen=True)
class Suite:
    """Lists of episodes by task and length."""

    name: str
    digest: str
    """sha256 over its files; results carry it"""
    horizons: Mapping[tuple[str, str], int]
    lists: Mapping[tuple[str, str], tuple[EpisodeSpec, ...]]

    @classmethod
    def load(cls, name: str) -> "Suite":
        """One of those that come with the package ("v0"), or a folder of your own."""
        folder = _HERE / name if name in available() else Path(name)
        pages = [json.loads(file.read_bytes()) for file in _files(folder)]
        if not pages:
            raise UnknownName(f"suite {name!r}", f"one of {available()}, or a folder", closest(name, available()))
        lists, horizons = {}, {}
        for page in pages:
            for length, part in page["lengths"].items():
                lists[page["task"], length] = tuple(_specs(page, length, part["episodes"]))
                horizons[page["task"], length] = int(part["horizon"])
        digest = sha256(json.dumps(pages, sort_keys=True).encode()).hexdigest()
        return cls(folder.name, digest, horizons, lists)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks it has episodes of."""
        return tuple(dict.fromkeys(task for task, _ in self.lists))

    def episodes(self, task: str, length: str, first: int | None = None) -> tuple[EpisodeSpec, ...]:
        """The list of a task and length, or its first so many."""
        if task not in self.tasks:
            raise UnknownName(f"task {task!r}", f"a task of suite {self.name}", closest(task, self.tasks))
        if (task, length) not in self.lists:
            raise UnknownName(f"length {length!r}", f"one of {list(LENGTHS)}", closest(length, LENGTHS))
        return self.lists[task, length][:first]

    def verify(self, specs: Iterable[EpisodeSpec] | None = None) -> None:
        """Draws the scenes again, without building them; raises SuiteChanged at the first surprise."""
        chosen = [spec for part in self.lists.values() for spec in part] if specs is None else list(specs)
        for task, length in dict.fromkeys((spec.task, spec.length) for spec in chosen):
            part = [spec for spec in chosen if (spec.task, spec.length) == (task, length)]
            env = part[0].make()
            horizon = env.unwrapped.horizon  # type: ignore[attr-defined]
            if horizon != self.horizons[task, length]:
                raise _changed(self.name, task, f"lasts {horizon} steps", f"{self.horizons[task, length]}")
            for spec in part:
                found = fingerprint(drawn_scene(env, spec))
                if found != spec.scene:
                    raise _changed(self.name, f"{task} {length} seed {spec.seed}", f"draws scene {found}", spec.scene)
            env.close()


@cache
def available() -> tuple[str, ...]:
    """Suites that come with the package."""
    return tuple(sorted(folder.name for folder in _HERE.iterdir() if _files(folder)))


def fingerprint(scene: Scene) -> str:
    """Eight hexadecimal digits, the same in every process and on every machine."""
    text = json.dumps(_plain(asdict(scene)), sort_keys=True)
    return f"{crc32(f'{type(scene).__name__} {text}'.encode()):08x}"


def drawn_scene(env: gym.Env[Any, Any], spec: EpisodeSpec) -> Scene:
    """What `env.reset(seed, options)` would enter, without entering it."""
    task: Any = env.unwrapped
    rng, _ = gym.utils.seeding.np_random(spec.seed)
    fixed = dict(spec.variation)
    if spec.goal is not None:
        fixed[task.goal_factor] = task.read_goal(spec.goal)
    scene = draw_scene(task.draw, rng, spec.split, fixed)
    if not isinstance(scene, Scene):
        raise BadState(
            f"a {type(scene).__name__} drawn by {spec.task}", "a Scene", "Return a frozen Scene from draw()."
        )
    return scene


def _files(folder: Path) -> list[Path]:
    """One for each task; the schema of results lies beside them."""
    return sorted(file for file in folder.glob("*.json") if not file.name.endswith(".schema.json"))


def _specs(page: Mapping[str, Any], length: str, rows: list[dict[str, Any]]) -> Iterable[EpisodeSpec]:
    for index, row in enumerate(rows):
        yield EpisodeSpec(
            task=page["task"],
            id=page["id"],
            length=length,
            index=index,
            seed=row["seed"],
            split=page["split"],
            camera=page["camera"],
            variation=row.get("variation", {}),
            goal=row.get("goal"),
            scene=row["scene"],
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return f"{value + 0.0:.{_DIGITS}g}" if isinstance(value, float) else value


def _changed(suite: str, where: str, now: str, then: str) -> SuiteChanged:
    hint = "Install the version the suite was written for, or write a new suite: figures of the two do not compare."
    return SuiteChanged(f"suite {suite} no longer means what it meant: {where} now {now}", then, hint)
