"""Would a planner choose well in this world? `sfvgen bench ranking`: the same candidates in it and in the simulator.

From one and the same state all candidates of a planner's first round are imagined twice. What counts is not how well
rewards are foretold over a data set, where good agents make good moves likely, but whether the candidates of one state
are put into the right order. A minute of this tells what episodes take hours to tell.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from sfvgen_agents.behaviours import RandomAgent
from sfvgen_agents.history import History
from sfvgen_envs.oracle import oracle_imagine
from sfvgen_envs.suites import EpisodeSpec, Suite
from sfvgen_experiments.bench.report import cell
from sfvgen_experiments.thinking import loaded
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.statistics import Interval, mean_interval
from sfvgen_planner.planning import ICEM, Goal, Space
from sfvgen_planner.planning.noise import Noise
from sfvgen_planner.planning.objectives import Reward
from sfvgen_planner.planning.rollouts import plain
from sfvgen_planner.types import Context, Imagine
from sfvgen_planner.world.sampler import SamplerConfig

Floats = NDArray[np.float64]
FLAT = 1e-3
"""Scores that lie closer together are all alike."""


@dataclass(frozen=True)
class Ranking:
    """Of one task."""

    order: Interval
    """rank correlation of foretold and true scores among the candidates of a state"""
    won: Interval
    """of what the best candidate is worth above the mean one, the share that the chosen one has"""
    flat: int
    """states in which all candidates are worth the same, which are left out"""


def main(
    world: str | None = None,
    tasks: tuple[str, ...] = ("reach", "push_cube", "lane_keep"),
    states: int = 20,
    candidates: int = 32,
    horizon: int = 8,
    steps: int = 1,
    suite: str = "v0",
    size: int = 64,
    seed: int = 0,
    threads: int = 2,
    out: str = "outputs/bench/ranking.json",
) -> dict[str, Any]:
    """Prints a line a task, writes JSON, returns it."""
    torch.set_num_threads(threads)
    if min(states, candidates) < 3 or not tasks:
        raise BadOption(f"{states} states of {candidates} candidates", "3 or more of each", "Leave the defaults.")
    model, chosen = loaded(world), Suite.load(suite)
    print(f"{'task':<14}{'order':>16}{'share won':>16}{'flat':>6}")
    found = {}
    for task in tasks:
        camera = next(iter(model.encoder.layout[task].cameras), None)
        imagine = model.imagine_with(None, body=task, camera=camera, sampler=SamplerConfig(steps), pixels=False)
        pairs = [
            scored(imagine, spec, model.config.past, candidates, horizon, size, seed)
            for spec in tqdm(chosen.episodes(task, "short", states), desc=task, leave=False, disable=None)
        ]
        found[task] = ranking(pairs)
        one = found[task]
        print(f"{task:<14}{cell(one.order, 2):>16}{cell(one.won, 2):>16}{one.flat:>6}", flush=True)
    result = {
        "asked": {"states": states, "candidates": candidates, "horizon": horizon, "steps": steps, "seed": seed},
        "tasks": {
            task: {"order": one.order.to_json(), "won": one.won.to_json(), "flat": one.flat}
            for task, one in found.items()
        },
    }
    write_bytes(Path(out), (json.dumps(result, indent=1) + "\n").encode())
    return result


def scored(
    imagine: Imagine, spec: EpisodeSpec, past: int, candidates: int, horizon: int, size: int, seed: int
) -> tuple[Floats, Floats]:
    """[N] true and foretold scores of the candidates of one state: 0, 8 or 16 random steps into the episode."""
    env = spec.make(size=size)
    observation, info = env.reset(seed=spec.seed, options=spec.options)
    agent, history = RandomAgent(env.action_space, seed=seed + spec.index), History(past)
    agent.reset(observation, info)
    history.add(observation["pixels"][None], observation["pose"][None], None, np.array([True]))
    for _ in range(8 * (spec.index % 3)):
        before = env.unwrapped.get_state()  # type: ignore[attr-defined]
        observation, _, terminated, truncated, _ = env.step(agent.act(observation, info).astype(float))
        if terminated or truncated:
            env.unwrapped.set_state(before)  # type: ignore[attr-defined]
            break
        history.add(observation["pixels"][None], observation["pose"][None], None, np.array([False]))
    space = Space.box([-1.0] * len(env.action_space.low), [1.0] * len(env.action_space.low), horizon)  # type: ignore[attr-defined]
    solver = ICEM()
    drawn = solver.propose(space, solver.begin(space, 1), candidates, Noise(np.array([seed + spec.index])))
    actions, context = space.actions(drawn), history.context
    both = [
        plain(Reward()(world(Context(context.pixels, context.poses), actions), Goal()))[0]
        for world in (oracle_imagine([env], pixels=False), imagine)
    ]
    env.close()
    return both[0], both[1]


def ranking(pairs: list[tuple[Floats, Floats]]) -> Ranking:
    """Over states; in some of which nothing can be won."""
    telling = [(true, told) for true, told in pairs if np.ptp(true) > FLAT]
    if not telling:
        raise BadOption(
            f"{len(pairs)} states, all flat", "one in which actions make a difference", "Look further ahead."
        )
    order = [correlation(true, told) for true, told in telling]
    won = [(true[told.argmax()] - true.mean()) / (true.max() - true.mean()) for true, told in telling]
    return Ranking(mean_interval(order), mean_interval(won), len(pairs) - len(telling))


def correlation(one: Floats, other: Floats) -> float:
    """Spearman's; 0 where all of one are alike."""
    ranks = [_ranks(values) for values in (one, other)]
    spread = ranks[0].std() * ranks[1].std()
    if spread == 0:
        return 0.0
    return float(((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())).mean() / spread)


def _ranks(values: Floats) -> Floats:
    """Equal values share the mean of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], np.float64)
