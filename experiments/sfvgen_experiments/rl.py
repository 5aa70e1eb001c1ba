"""`sfvgen rl`: a policy of Stable-Baselines3 trains in the dream, or in the true task, and is judged in the latter."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import FilterObservation
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecMonitor
from tqdm import tqdm

from sfvgen_agents.sb3 import Sb3VecEnv
from sfvgen_envs import TASKS
from sfvgen_envs.scene import Length
from sfvgen_experiments.evaluate import world_digest
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption, MissingExtra, UnknownName, closest
from sfvgen_planner.metrics.statistics import mean_interval, success_interval

POLICY, PIXELS = "policy.zip", 64
JUDGED = 0
"""Seed of the episodes that finished policies are judged in."""
TIMED = 16
"""Steps that are timed to foretell a run's cost: two chunks."""


@dataclass(frozen=True)
class Rl:
    """Options of `sfvgen rl`; their meaning stands in `sfvgen_configs/rl.yaml`."""

    task: str = "reach"
    algo: Literal["ppo", "sac", "recurrent"] = "ppo"
    where: Literal["dream", "real"] = "dream"
    world: str | None = None
    length: Length = "short"
    steps: int = 100000
    rows: int = 16
    observe: tuple[str, ...] = ("pixels", "pose")
    updates: float = 0.5
    denoise: int = 1
    memory: str | None = None
    every: int = 1
    penalty: float = 0.0
    reward: Literal["learned", "goal"] = "learned"
    evaluate: int = 10000
    episodes: int = 20
    seed: int = 0
    threads: int = 2
    device: str = "cpu"
    out: str = "outputs/rl"


def main(config: Rl) -> dict[str, Any]:
    """Trains; writes the policy, TensorBoard files, the curve of returns in the true task, and `rl.json`."""
    _check(config)
    torch.set_num_threads(config.threads)
    folder = Path(config.out)
    env = VecMonitor(Sb3VecEnv(training_rows(config)))
    env.seed(config.seed)
    print(expected_cost(env, config), flush=True)
    model = algorithm(config, env)
    model.set_logger(configure(str(folder / "tensorboard"), ["tensorboard"]))
    judged = [] if not config.evaluate else [judge(config, folder)]
    with tqdm(total=config.steps, unit="step", disable=None) as bar:
        model.learn(config.steps, callback=CallbackList([Bar(bar), *judged]))
    model.save(folder / POLICY)
    result = {**identity(config), "steps": int(model.num_timesteps), **outcome(model, config)}
    write_bytes(folder / "rl.json", (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
    print(told(result, folder))
    return result


def identity(config: Rl) -> dict[str, Any]:
    """All that decides a run, in JSON values: its options, and the world where one is needed."""
    needed = config.where == "dream" or "goal" in config.observe
    options = json.loads(json.dumps(asdict(config)))
    return {"config": options, "world": world_digest(config.world) if needed else None}


def training_rows(config: Rl) -> gym.vector.VectorEnv[Any, Any, Any]:
    """What is trained in: so many dreams of the task, or so many of the task itself."""
    if config.where == "real":
        return true_rows(config, config.rows, "train")
    from sfvgen_envs.dream import DreamConfig
    from sfvgen_planner.memory import PRESETS
    from sfvgen_planner.world.sampler import SamplerConfig

    if config.memory is not None and config.memory not in PRESETS:
        raise UnknownName(f"memory={config.memory}", f"one of {list(PRESETS)}", closest(config.memory, tuple(PRESETS)))
    return gym.make_vec(
        "sfvgen/Dream-v0",
        num_envs=config.rows,
        task=config.task,
        world=known(config),
        length=config.length,
        autoreset_mode=AutoresetMode.SAME_STEP,
        device=config.device,
        config=DreamConfig(
            sampler=SamplerConfig(config.denoise),
            observe=config.observe,
            memory=None if config.memory is None else PRESETS[config.memory],
            every=config.every,
            doubts=config.penalty > 0,
            penalty=config.penalty,
            reward=config.reward,
        ),
    )


def true_rows(config: Rl, rows: int, split: str) -> gym.vector.VectorEnv[Any, Any, Any]:
    """The task itself, of which a policy sees what it is trained on."""
    wrappers: list[Any] = [partial(FilterObservation, filter_keys=list(config.observe))]
    if "goal" in config.observe:
        from sfvgen_envs.dream import SeesGoal

        wrappers.insert(0, partial(SeesGoal, world=known(config), body=config.task))
    return gym.make_vec(
        TASKS[config.task],
        num_envs=rows,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        wrappers=wrappers,
        split=split,
        length=config.length,
        size=PIXELS,
    )


def known(config: Rl) -> Any:
    """The world that is dreamt with, and that reads goals."""
    from sfvgen_planner.world.model import WorldModel

    return WorldModel.from_pretrained(config.world).to(config.device).eval()


def expected_cost(env: VecMonitor, config: Rl) -> str:
    """A line, from a few steps that are thrown away."""
    env.reset()
    still = np.zeros((config.rows, *env.action_space.shape), np.float32)
    env.step(still)
    began = perf_counter()
    for _ in range(TIMED):
        env.step(still)
    rate = TIMED * config.rows / (perf_counter() - began)
    env.seed(config.seed)
    return (
        f"{config.steps} steps at {rate:.0f} a second: about {config.steps / rate / 60:.0f} minutes in the "
        f"{'dream' if config.where == 'dream' else 'true task'}; learning and judging come on top"
    )


def algorithm(config: Rl, env: VecMonitor) -> BaseAlgorithm:
    """A fresh one; sizes fit episodes of some dozens of steps."""
    common: dict[str, Any] = {"seed": config.seed, "device": config.device, "gamma": 0.97, "verbose": 0}
    batches = {"n_steps": max(2, 1024 // config.rows), "batch_size": 256, "n_epochs": 5, "learning_rate": 0.0005}
    if config.algo == "sac":
        return SAC("MultiInputPolicy", env, **often(config), **common)
    if config.algo == "ppo":
        return PPO("MultiInputPolicy", env, **batches, **common)
    try:
        from sb3_contrib import RecurrentPPO
    except ModuleNotFoundError as error:
        raise MissingExtra("algo=recurrent", "sb3-contrib", "pip install 'sfvgen-planner[recurrent]'") from error
    recurrent: BaseAlgorithm = RecurrentPPO("MultiInputLstmPolicy", env, **batches, **common)
    return recurrent


def often(config: Rl) -> dict[str, Any]:
    """SAC's own: it learns after each step of all rows, more than once if there are many. Rewards of our tasks are
    small, so that it must not begin with wishing for chance above all."""
    room = min(config.steps, 20000)  # a picture is 12 kB, and each step keeps two
    return {
        "buffer_size": room,
        "learning_starts": min(500, room // 2),
        "train_freq": 1,
        "gradient_steps": max(1, round(config.updates * config.rows)),
        "learning_rate": 0.001,
        "ent_coef": "auto_0.05",
        "policy_kwargs": {"net_arch": [128, 128]},
    }


def judge(config: Rl, folder: Path) -> EvalCallback:
    """In scenes never trained on, every so many steps; the policy of that moment is saved each time."""
    truth = VecMonitor(Sb3VecEnv(true_rows(config, min(4, config.episodes), "test")))
    return EvalCallback(
        truth,
        n_eval_episodes=config.episodes,
        eval_freq=max(1, config.evaluate // config.rows),
        log_path=str(folder),
        callback_after_eval=Keep(folder / POLICY),
        verbose=0,
    )


def outcome(model: BaseAlgorithm, config: Rl) -> dict[str, Any]:
    """Return and success in the true task at the end, of the policy and of chance: the same episodes one after another,
    whoever plays and whatever it was seeded with."""
    if not config.evaluate:
        return {}
    found: dict[str, Any] = {}
    for name, predictor in (("policy", model), ("random", Chance(model))):
        truth = VecMonitor(Sb3VecEnv(true_rows(config, 1, "test")))
        truth.seed(JUDGED)
        solved: list[bool] = []

        def note(local: dict[str, Any], _: Any, solved: list[bool] = solved) -> None:
            if local["done"]:
                solved.append(bool(local["info"]["is_success"]))

        returns, _ = evaluate_policy(
            predictor, truth, config.episodes, callback=note, return_episode_rewards=True, deterministic=True
        )
        truth.close()
        found[name] = {
            "returns": [float(one) for one in returns],
            "successes": solved[: config.episodes],
            "return": mean_interval(returns).to_json(),
            "success": success_interval(solved[: config.episodes]).to_json(),
        }
    return {"true task": found}


def told(result: dict[str, Any], folder: Path) -> str:
    """The last lines."""
    lines = [f"{folder / POLICY} after {result['steps']} steps"]
    for name, figures in result.get("true task", {}).items():
        ret, won = figures["return"], figures["success"]
        lines.append(
            f"  {name:8} in the true task, {ret['n']} test episodes: return {ret['mean']:.2f} "
            f"[{ret['low']:.2f}, {ret['high']:.2f}], success {won['mean']:.0%} [{won['low']:.0%}, {won['high']:.0%}]"
        )
    return "\n".join(lines)


class Chance:
    """What SB3 evaluates like a policy, but draws its actions."""

    def __init__(self, model: BaseAlgorithm) -> None:
        self.space = model.action_space
        self.space.seed(0)

    def predict(self, observation: Any, **unused: Any) -> tuple[Any, None]:
        """As many actions as there are rows."""
        rows = len(next(iter(observation.values())))
        return np.stack([self.space.sample() for _ in range(rows)]), None


class Bar(BaseCallback):  # type: ignore[misc]
    """A progress bar."""

    def __init__(self, bar: Any) -> None:
        super().__init__()
        self.bar = bar

    def _on_step(self) -> bool:
        self.bar.update(self.num_timesteps - self.bar.n)
        return True


class Keep(BaseCallback):  # type: ignore[misc]
    """Saves the policy whenever it was judged, so that an interrupted run leaves one."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def _on_step(self) -> bool:
        self.model.save(self.path)
        return True


def _check(config: Rl) -> None:
    if config.task not in TASKS:
        raise UnknownName(f"task={config.task}", f"one of {list(TASKS)}", closest(config.task, tuple(TASKS)))
    if min(config.steps, config.rows, config.episodes, config.denoise, config.threads) < 1 or config.evaluate < 0:
        raise BadOption(
            f"steps={config.steps} rows={config.rows} episodes={config.episodes} denoise={config.denoise}",
            "1 or more",
            "evaluate=0 never judges.",
        )
    if config.updates <= 0:
        raise BadOption(f"updates={config.updates}", "above 0", "They are SAC's for each step of one row.")
    if config.where == "real" and config.reward != "learned":
        raise BadOption(f"reward={config.reward} in the true task", "its own reward", "Leave reward out.")
    if "features" in config.observe and (config.where == "real" or config.evaluate):
        raise BadOption("features of the dream in the true task", "pixels and pose", "Or train with evaluate=0.")
