"""`sfvgen collect`: episodes of one task, recorded by one or several processes."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from tqdm import tqdm

import sfvgen_envs
from sfvgen_agents.agent import Agent, shown
from sfvgen_agents.behaviours import MixedAgent, PhraseAgent, RandomAgent, WanderAgent
from sfvgen_agents.loading import NAMES, load_agent
from sfvgen_envs import arm
from sfvgen_envs.language import Namer
from sfvgen_envs.scene import Length, Split
from sfvgen_envs.table import ArmTask
from sfvgen_envs.task import Task
from sfvgen_experiments.collecting import Progress, Record, collect
from sfvgen_planner.data import Dataset, Description, VectorActions, record_episode
from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.types import Episode

BEHAVIOURS = ("random", "phrases", "mixed", "wander")
"""Ways to act that exist for recording; besides, every agent that can be evaluated."""


@dataclass(frozen=True)
class Collect:
    """Options of `sfvgen collect`."""

    task: str = "cube_return"
    episodes: int = 10
    behaviour: str | dict[str, float] = "expert"
    split: Split = "train"
    length: Length = "medium"
    camera: str = "fixed"
    size: int = 64
    steps: int | None = None
    workers: int = 0
    seed: int = 0
    compression: Literal["none", "gzip"] = "none"
    variation: dict[str, Any] | None = None
    out: str | None = None

    def __post_init__(self) -> None:
        if self.task not in sfvgen_envs.TASKS:
            known = tuple(sfvgen_envs.TASKS)
            raise UnknownName(f"task {self.task!r}", f"one of {list(known)}", closest(self.task, known))
        for name in ("episodes", "seed"):
            if getattr(self, name) < 0:
                raise BadOption(f"{name}={getattr(self, name)}", "0 or more", f"Set {name}.")
        if self.steps is not None and self.steps < 1:
            raise BadOption(f"steps={self.steps}", "1 or more", "Leave it out for whole episodes.")
        shares = self.shares
        if not shares or min(shares.values()) < 0 or sum(shares.values()) == 0:
            raise BadOption(
                f"behaviour={self.behaviour}", "weights of which one is above 0", "E.g. {expert:1,random:1}"
            )

    @property
    def folder(self) -> Path:
        """Where the data set goes."""
        return Path(self.out or f"outputs/collect/{self.task}")

    @property
    def options(self) -> dict[str, Any]:
        """What every episode's reset is told."""
        if not self.variation:
            return {}
        lists = {name: tuple(value) if isinstance(value, list) else value for name, value in self.variation.items()}
        return {"variation": lists}

    @property
    def shares(self) -> Mapping[str, float]:
        """Weight of each behaviour."""
        return {self.behaviour: 1.0} if isinstance(self.behaviour, str) else self.behaviour


def main(config: Collect) -> None:
    """Records what is missing, with a progress bar, and says what there is."""
    told: list[Progress] = []
    dataset = record(config, told.append)
    success = sum(entry.success for entry in dataset.entries)
    frames = sum(entry.steps + 1 for entry in dataset.entries)
    print(f"{config.folder}: {len(dataset)} episodes, {frames} frames, {success} of them solved")
    if told[-1].recorded:
        print(f"{told[-1].recorded} recorded now, {told[-1].frames / told[-1].seconds:.0f} frames/s")
    print(f"Look at it: sfvgen inspect data={config.folder}")


def record(config: Collect, on_progress: Callable[[Progress], None] = lambda progress: None) -> Dataset:
    """The data set that `config` asks for; whatever of it is on the disk already is kept."""
    with Dataset.resume(config.folder, describe(config)) as dataset:
        _same_recipe(config, dataset)
    with tqdm(total=config.episodes, unit="episode", desc=config.task, disable=None) as bar:

        def show(progress: Progress) -> None:
            if progress.recorded == 0:
                bar.initial = progress.done  # what was there before must not count as speed
            bar.n = progress.done
            bar.set_postfix_str(f"{progress.frames / max(progress.seconds, 1e-9):.0f} frames/s", refresh=False)
            bar.refresh()
            on_progress(progress)

        return collect(range(config.episodes), config.folder, config.workers, Recorder(config), show)


def describe(config: Collect) -> Description:
    """What all episodes have in common. Whoever cannot act is found out here, before there is a folder."""
    env, task = _make(config)
    for behaviour in config.shares:
        make_agent(behaviour, config.task, task, config.seed)
    space = task.action_space
    description = Description(
        name=f"sfvgen/{config.task.replace('_', '-')}-v0",
        task=sfvgen_envs.TASKS[config.task],
        picture=task.size,
        actions=VectorActions.of(space.low, space.high),  # type: ignore[attr-defined]
        pose_size=task.observation_space["pose"].shape[0],  # type: ignore[index]
        frame_rate=float(task.metadata["render_fps"]),
        phrases=task.phrases,
        compression=config.compression,
        env_spec=env.spec.to_json() if env.spec else "",
    )
    env.close()
    return description


@dataclass(frozen=True)
class Recorder:
    """Makes, in each worker, the function that records the episode of a number."""

    config: Collect

    def __call__(self) -> Record:
        """An environment of the worker's own, and how to record in it."""
        env, task = _make(self.config)
        return lambda number: record_one(self.config, env, task, number)


def record_one(config: Collect, env: gym.Env[Any, Any], task: Task[Any, Any], number: int) -> Episode:
    """Episode `number`: its scene, behaviour and noise hang on `config.seed` and the number alone."""
    scene_seed, agent_seed, choice = seeds_of(config.seed, number)
    names, weights = zip(*config.shares.items(), strict=True)
    drawn = np.random.default_rng(choice).choice(len(names), p=np.array(weights) / sum(weights))
    behaviour = str(names[int(drawn)])
    agent = make_agent(behaviour, config.task, task, agent_seed)
    begun = False

    def act(observation: Any, info: dict[str, Any]) -> Any:
        nonlocal begun
        if not begun:
            agent.reset(observation, shown(info, agent))
            begun = True
        return agent.act(observation, shown(info, agent))

    card = {"task": config.task, "behaviour": behaviour, "number": number, **_recipe(config)}
    things = task.things if isinstance(task, ArmTask) else None
    episode = record_episode(
        env,
        act,
        seed=scene_seed,
        options=config.options,
        annotate=Namer(task),
        things=things,
        max_steps=config.steps,
        card=card,
    )
    # Known only now; the card is this episode's own dictionary.
    episode.card.update(scene=asdict(task.scene), waypoint_distance=task.waypoint_distance())
    return episode


def seeds_of(seed: int, number: int) -> tuple[int, int, int]:
    """Of an episode's scene, of who acts in it, and of the choice who that is."""
    scene, agent, choice = np.random.SeedSequence([seed, number]).generate_state(3).tolist()
    return scene, agent, choice


def make_agent(behaviour: str, name: str, task: Task[Any, Any], seed: int) -> Agent:
    """Who acts: one of the behaviours for recording, or any agent that can be evaluated."""
    noise = RandomAgent(task.action_space, seed=seed)
    talker = PhraseAgent(task.phrases, task.say, task.obey, seed=seed)
    if behaviour == "random":
        return noise
    if behaviour == "phrases":
        return talker
    if behaviour == "wander":
        if not isinstance(task, ArmTask):
            raise BadOption(f"behaviour=wander in {name}", "a task of the arm", "Use random or phrases here.")
        return WanderAgent(arm.LOW, arm.HIGH, arm.STEP, seed=seed)
    if behaviour == "mixed":
        return MixedAgent(load_agent("expert", name, seed, task.action_space), (noise, talker), seed=seed)
    known = tuple(dict.fromkeys((*NAMES, *BEHAVIOURS)))
    if ":" not in behaviour and not behaviour.endswith(".zip") and behaviour not in known:
        expected = f"one of {list(known)}, module:Class or a .zip"
        raise UnknownName(f"behaviour {behaviour!r}", expected, closest(behaviour, known))
    agent = load_agent(behaviour, name, seed, task.action_space)
    if hasattr(agent, "seed"):
        agent.seed(seed)
    return agent


def _make(config: Collect) -> tuple[gym.Env[Any, Any], Task[Any, Any]]:
    env: gym.Env[Any, Any] = gym.make(
        f"sfvgen_envs:{sfvgen_envs.TASKS[config.task]}",
        disable_env_checker=True,
        split=config.split,
        length=config.length,
        size=config.size,
        camera=config.camera,
    )
    task: Task[Any, Any] = env.unwrapped  # type: ignore[assignment]
    return env, task


def _recipe(config: Collect) -> dict[str, Any]:
    """What must not change when a data set is continued."""
    return {
        "split": config.split,
        "length": config.length,
        "camera": config.camera,
        "collect": {
            "seed": config.seed,
            "behaviour": config.behaviour,
            **({"variation": config.variation} if config.variation else {}),
            **({"steps": config.steps} if config.steps else {}),
        },
    }


def _same_recipe(config: Collect, dataset: Dataset) -> None:
    if not len(dataset):
        return
    card, recipe = dataset.cards[0], _recipe(config)
    for key, value in recipe.items():
        if card.get(key) != value:
            raise BadOption(
                f"{config.folder}, which was begun with {key} {card.get(key)}, and now {value}",
                "a data set of the same recipe",
                "Choose another `out`, or the settings it was begun with.",
            )
