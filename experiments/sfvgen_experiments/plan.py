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
from sfvgen_agents.relay import Relay
from sfvgen_envs.scene import Length
from sfvgen_envs.suites import EpisodeSpec, Suite
from sfvgen_experiments.plan_picture import panels
from sfvgen_experiments.thinking import AFTER, LEARNED, ORACLE, Arm, Thinking
from sfvgen_planner.data import write_video
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.statistics import mean_interval, success_interval
from sfvgen_planner.planning.search import Trace

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class PlanConfig:
    """Options of `sfvgen plan`; their meaning stands in `sfvgen_configs/plan.yaml`."""

    task: str = "push_cube"
    length: Length = "short"
    episodes: int = 2
    world: str | None = None
    memory: str | None = None
    bank: str | None = None
    solver: str = "icem"
    budget: str = "small"
    seconds: float | None = None
    steps: int | None = None
    habits: float = 0.0
    led: str | None = None
    horizon: int = 16
    every: int = 4
    objective: str = "reward"
    clip: str | None = None
    suite: str = "v0"
    size: int = 64
    camera: str = "fixed"
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
    path.parent.mkdir(parents=True, exist_ok=True)
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
        bank=config.bank,
        horizon=config.horizon,
        every=config.every,
        objective=config.objective,
        clip=config.clip,
        solver=config.solver,
        budget=config.budget,
        seconds=config.seconds,
        steps=config.steps,
        habits=config.habits,
        camera=config.camera,
    )
    env = spec.make(size=config.size, camera=config.camera)
    try:
        name = where if config.led is None else f"{config.led}{AFTER}{where}"
        agent = Arm.parse(name, thinking).agent(env, spec.task, config.seed, thinking)
        if not isinstance(agent, PlannerAgent | Relay):
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
    agent: PlannerAgent | Relay,
    spec: EpisodeSpec,
    film: Callable[[Frame], None] | None = None,
    video: str | None = None,
) -> Played:
    """From reset to the end; `film` is given a frame a step."""
    observation, info = env.reset(seed=spec.seed, options=spec.options)
    agent.reset(observation, shown(info, agent))
    planner = agent.then if isinstance(agent, Relay) else agent
    traces: list[Trace] = []
    total, steps, began, over, future = 0.0, 0, 0, False, np.full_like(observation["pixels"][None], 255)
    horizon = int(env.unwrapped.horizon)  # type: ignore[attr-defined]
    with tqdm(total=horizon, unit="step", desc=f"{spec.task} {spec.index}", leave=False, disable=None) as bar:
        while not over:
            action, told = agent.act(observation, shown(info, agent)), str(info["instruction"])
            plan = planner.plan
            if plan is not None and (not traces or plan.trace is not traces[-1]):
                traces.append(plan.trace)
                began, future = steps, planner.mind.picture(planner.history.context, plan)[0] if film else future
            observation, reward, terminated, truncated, info = env.step(np.asarray(action, np.float64))
            if film:
                took = f"{planner.seconds[-1]:.2f} s a plan" if traces else "somebody else leads"
                caption = f"step {steps + 1}   {told}   {took}"
                scores = [one[0] for one in traces[-1].scores] if traces else []
                now = future[min(steps - began, len(future) - 1)]
                film(panels(observation["pixels"], now, future[-1], scores, caption))
            total, steps, over = total + float(reward), steps + 1, bool(terminated or truncated)
            bar.update()
    return Played(
        task=spec.task,
        length=spec.length,
        index=spec.index,
        success=bool(info["success"]),
        waypoint_distance=float(info["waypoint_distance"]),
        total=total,
        steps=steps,
        replans=len(traces),
        seconds_per_replan=float(np.mean(planner.seconds[-len(traces) :])) if traces else 0.0,
        imagined_frames=sum(trace.frames for trace in traces),
        dropped=sum(trace.dropped for trace in traces),
        video=video,
    )
