"""`sfvgen eval`: agents on a suite of fixed episodes. A killed run goes on where it stopped."""

import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from sfvgen_agents.loading import identify, load_agent
from sfvgen_envs.suites import EpisodeSpec, Suite
from sfvgen_experiments.episodes import DREAM, REAL, Job, Settings, play_all
from sfvgen_experiments.ranking import lines, ranking
from sfvgen_experiments.rows import Row, RowFile
from sfvgen_experiments.scores import compare, summarise, table
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption

FORMAT = "sfvgen-results/v0"
PACKAGES = ("sfvgen-planner", "numpy", "gymnasium", "mujoco", "torch", "stable-baselines3")
SEED_WORD = "SEED"


@dataclass(frozen=True)
class Eval:
    """Options of `sfvgen eval`; their meaning stands in `sfvgen_configs/eval.yaml`."""

    agent: str | tuple[str, ...] = "expert"
    suite: str = "v0"
    tasks: str | tuple[str, ...] | None = None
    lengths: str | tuple[str, ...] = ("short", "medium", "long")
    episodes: int | None = None
    seeds: int | tuple[int, ...] = 0
    camera: str = "fixed"
    size: int = 64
    where: str | tuple[Literal["real", "dream"], ...] = ("real",)
    world: str | None = None
    steps: int = 1
    workers: int = 1
    threads: int = 1
    out: str = "outputs/eval"


@dataclass(frozen=True)
class Player:
    """One agent as it plays one task with one seed: what its rows hang on, and where they lie."""

    card: dict[str, Any]
    spec: str
    files: dict[str, RowFile]
    """by where it plays"""


def main(config: Eval) -> None:
    """Evaluates, writes `results.json`, prints the table."""
    results = evaluate(config)
    print(table(results["summary"], results["differences"]))
    if results["ranking"]:
        print("", *lines(results["ranking"]), sep="\n")
    print(f"\n{len(results['rows'])} episodes of suite {results['suite']['name']}: {Path(config.out) / 'results.json'}")


def evaluate(config: Eval) -> dict[str, Any]:
    """The results, as `suites/v0/results.schema.json` describes them; also written to `out`."""
    _check(config)
    suite = Suite.load(config.suite)
    tasks = _listed(config.tasks) if config.tasks else suite.tasks
    lists = {
        (task, length): suite.episodes(task, length, config.episodes)
        for task, length in product(tasks, _listed(config.lengths))
    }
    suite.verify(spec for specs in lists.values() for spec in specs)
    # `module:Class` may be in the folder the user stands in, which a console script does not search.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    settings = Settings(config.camera, config.size, config.threads, config.world, config.steps)
    players = list(_players(config, suite, lists, settings))
    rows = _play(config, players, lists, settings)
    summary, differences = summarise(rows), compare(rows)
    results = {
        "format": FORMAT,
        "suite": {"name": suite.name, "sha256": suite.digest},
        "settings": _settings(config, tasks),
        "versions": _versions(),
        "agents": [player.card for player in players],
        "rows": [row.plain() for row in rows],
        "summary": summary,
        "differences": differences,
        "ranking": ranking(rows),
    }
    write_bytes(Path(config.out) / "results.json", (json.dumps(results, indent=1, allow_nan=False) + "\n").encode())
    return results


def _play(
    config: Eval, players: Sequence[Player], lists: dict[tuple[str, str], tuple[EpisodeSpec, ...]], settings: Settings
) -> list[Row]:
    """Plays what is missing; returns all rows in the order of agents, tasks, lengths, episodes, seeds."""
    found: dict[tuple[Any, ...], Row] = {}
    jobs: list[tuple[Player, Job]] = []
    wanted: list[tuple[Any, ...]] = []
    for number, player in enumerate(players):
        there = {row.key: row for file in player.files.values() for row in file.read()}
        specs = [spec for (task, _), part in lists.items() if task == player.card["task"] for spec in part]
        for where, spec in product(_listed(config.where), specs):
            key = (number, where, spec.length, spec.seed)
            wanted.append(key)
            if key[1:] in there:
                found[key] = there[key[1:]]
            else:
                jobs.append((player, Job(number, player.card["agent"], player.spec, where, spec, player.card["seed"])))
    bar = tqdm(total=len(wanted), initial=len(found), unit="episode", disable=None)
    with bar:
        for job, row in play_all([job for _, job in jobs], settings, config.workers):
            players[job.player].files[job.where].append([row])
            found[(job.player, *row.key)] = row
            bar.update()
    return [found[key] for key in wanted]


def _players(
    config: Eval, suite: Suite, lists: dict[tuple[str, str], tuple[EpisodeSpec, ...]], settings: Settings
) -> Iterator[Player]:
    """Makes every agent once before anything is played: what cannot be loaded should be known at once."""
    places = _listed(config.where)
    dreamt = {"world": world_digest(config.world), "steps": config.steps} if DREAM in places else {}
    first: dict[str, EpisodeSpec] = {}
    for (task, _), part in lists.items():
        first.setdefault(task, part[0])
    for label, (task, example), seed in product(_listed(config.agent), first.items(), _listed(config.seeds)):
        spec = str(label).replace(SEED_WORD, str(seed))
        env = settings.make(example)
        card = {
            "agent": label,
            "task": task,
            "seed": seed,
            **identify(spec, load_agent(spec, task, seed, env.action_space, config.world)),
        }
        env.close()
        decides = {**card, "suite": suite.digest, "camera": config.camera, "size": config.size, "versions": _versions()}
        names = {where: f"{label}-{task}-{seed}" + (f"-{where}" if where != REAL else "") for where in places}
        told = {where: decides if where == REAL else {**decides, **dreamt} for where in places}
        folder = Path(config.out) / "rows"
        yield Player(card, spec, {where: RowFile(folder, names[where], told[where]) for where in places})


def _check(config: Eval) -> None:
    if config.episodes is not None and config.episodes < 1:
        raise BadOption(f"episodes={config.episodes}", "1 or more", "Leave it out for whole lists.")
    for name in ("workers", "threads"):
        if getattr(config, name) < (name == "threads"):
            raise BadOption(f"{name}={getattr(config, name)}", "a positive number", "Try one less than you have cores.")
    if config.steps < 1:
        raise BadOption(f"steps={config.steps}", "1 or more", "They are the sampler's.")
    for name in ("agent", "seeds", "lengths", "where"):
        listed = _listed(getattr(config, name))
        if not listed or len(set(listed)) < len(listed):
            raise BadOption(f"{name}={list(listed)}", "at least one, and none twice", "Means count each of them once.")


def _settings(config: Eval, tasks: Sequence[str]) -> dict[str, Any]:
    return {
        "tasks": list(tasks),
        "lengths": list(_listed(config.lengths)),
        "episodes": config.episodes,
        "seeds": list(_listed(config.seeds)),
        "camera": config.camera,
        "size": config.size,
        "where": list(_listed(config.where)),
        **({"world": config.world, "steps": config.steps} if DREAM in _listed(config.where) else {}),
    }


def world_digest(folder: str | None) -> str:
    """Of the weights dreams are dreamt with."""
    from sfvgen_planner.world.model import SHIPPED

    home, known = SHIPPED if folder is None else Path(folder), sha256()
    for file in sorted(path for path in home.rglob("*") if path.suffix in (".json", ".safetensors")):
        known.update(file.read_bytes())
    return known.hexdigest()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    # Between two releases the number stays and the code moves on.
    home = files("sfvgen_envs")
    code = sha256()
    for file in sorted(Path(str(home)).rglob("*.py")):
        code.update(file.read_bytes())
    return {**found, "sfvgen_envs sha256": code.hexdigest()}


def _listed(value: Any) -> tuple[Any, ...]:
    """One value is a list of one."""
    return tuple(value) if isinstance(value, tuple | list) else (value,)
