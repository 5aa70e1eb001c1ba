"""`sfvgen plan`: a planner plays test episodes of a task; a video of what it saw and thought, and figures."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from sfvgen_agents.agent import shown
from sfvgen_agents.planner_agent import PlannerAgent
from sfvgen_envs.scene import Length
from sfvgen_envs.suites import EpisodeSpec, Suite
from sfvgen_experiments.plan_picture import panels
from sfvgen_experiments.thinking import LEARNED, ORACLE, Arm, Thinking
from sfvgen_planner.data import write_video
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.statistics import mean_interval, success_interval

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class PlanConfig:
    """Options of `sfvgen plan`; their meaning stands in `sfvgen_configs/plan.yaml`."""

    task: str = "push_cube"
    length: Length = "short"
    episodes: int = 2
    world: str | None = None
    memory: str | None = None
    solver: str = "icem"
    budget: str = "small"
    horizon: int = 16
    every: int = 4
    objective: str = "reward"
    clip: str | None = None
    suite: str = "v0"
    size: int = 64
    seed: int = 0
    threads: int = 2
    videos: bool = True
    out: str = "outputs/plan"


@dataclass(frozen=True)
class Played:
    """One episode of a planner."""

    task: str
    length: str
    index: int
    success: bool
    waypoint_distance: float
    total: float
    steps: int
    replans: int
    seconds_per_replan: float
    imagined_frames: int
    dropped: int
    video: str | None


def main(config: PlanConfig) -> dict[str, Any]:
    """Plays, prints, writes `plan.json` and a video an episode."""
    torch.set_num_threads(config.threads)
    if config.episodes < 1:
        raise BadOption(f"episodes={config.episodes}", "1 or more", "Leave it out for two.")
    suite = Suite.load(config.suite)
    specs = suite.episodes(config.task, config.length, config.episodes)
    suite.verify(specs)
    print(f"{'episode':<24}{'solved':>8}{'distance':>12}{'steps':>7}{'plans':>7}{'s a plan':>10}")
    rows = []
    for spec in specs:
        rows.append(play_one(config, spec))
        print(told(rows[-1]), flush=True)
    result = {
        "config": asdict(config),
        "suite": {"name": suite.name, "sha256": suite.digest},
        "episodes": [asdict(row) for row in rows],
        "success": success_interval([row.success for row in rows]).to_json(),
        "waypoint_distance": mean_interval([row.waypoint_distance for row in rows]).to_json(),
        "seconds_per_replan": mean_interval([row.seconds_per_replan for row in rows]).to_json(),
    }
    path = Path(config.out) / "plan.json"
    write_bytes(path, (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
    solved, away = sum(row.success for row in rows), np.mean([row.waypoint_distance for row in rows])
    print(f"{solved} of {len(rows)} solved, {away:.3f} m from the way-points in the mean: {path}")
    return result


def told(row: Played) -> str:
    """A line of the table."""
    name = f"{row.task} {row.length} {row.index}"
    solved = "yes" if row.success else "no"
    return (
        f"{name:<24}{solved:>8}{row.waypoint_distance:>10.3f} m{row.steps:>7}{row.replans:>7}"
        f"{row.seconds_per_replan:>10.2f}"
    )


def play_one(config: PlanConfig, spec: EpisodeSpec) -> Played:
    """One episode, and its video."""
    where = ORACLE if config.world == ORACLE else LEARNED
    thinking = Thinking(
        world=None if where == ORACLE else config.world,
        memory=config.memory,
        horizon=config.horizon,
        every=config.every,
        objective=config.objective,
        clip=config.clip,
        solver=config.solver,
        budget=config.budget,
    )
    env = spec.make(size=config.size)
    try:
        agent = Arm.parse(where, thinking).agent(env, spec.task, config.seed, thinking)
        if not isinstance(agent, PlannerAgent):
            raise BadOption(f"agent {where}", "a planner", "Say world=oracle or a folder.")
        path = Path(config.out) / f"{spec.task}_{spec.length}_{spec.index:02d}.mp4" if config.videos else None
        frames: list[Frame] = []
        row = episode(env, agent, spec, frames.append if path else None, str(path) if path else None)
        if path:
            write_video(path, np.stack(frames), env.metadata["render_fps"])
        return row
    finally:
        env.close()


def episode(
    env: gym.Env[Any, Any],
    agent: PlannerAgent,
    spec: EpisodeSpec,
    film: Callable[[Frame], None] | None = None,
    video: str | None = None,
) -> Played:
    """From reset to the end; `film` is given a frame a step."""
    observation, info = env.reset(seed=spec.seed, options=spec.options)
    agent.reset(observation, shown(info, agent))
    before, total, steps, imagined, dropped, over = len(agent.seconds), 0.0, 0, 0, 0, False
    future: Frame = np.zeros(0, np.uint8)
    bar = tqdm(total=env.unwrapped.horizon, unit="step", desc=f"{spec.task} {spec.index}", leave=False, disable=None)  # type: ignore[attr-defined]
    with bar:
        while not over:
            plans = len(agent.seconds)
            action = agent.act(observation, shown(info, agent))
            plan = agent.plan
            if plan is not None and len(agent.seconds) > plans:
                imagined, dropped = imagined + plan.trace.frames, dropped + plan.trace.dropped
                future = agent.mind.picture(plan)[0] if film else future
                offset = 0
            told = str(info.get("instruction", ""))
            observation, reward, terminated, truncated, info = env.step(np.asarray(action, np.float64))
            total, steps, over = total + float(reward), steps + 1, bool(terminated or truncated)
            if film and plan is not None:
                scores = [one[0] for one in plan.trace.scores]
                caption = f"step {steps}   {told}   return {total:.2f}   {agent.seconds[-1]:.2f} s a plan"
                film(panels(observation["pixels"], future[min(offset, len(future) - 1)], future[-1], scores, caption))
                offset += 1
            bar.update()
    seconds = agent.seconds[before:]
    return Played(
        spec.task,
        spec.length,
        spec.index,
        bool(info["success"]),
        float(info["waypoint_distance"]),
        total,
        steps,
        len(seconds),
        float(np.mean(seconds)),
        imagined,
        dropped,
        video,
    )
