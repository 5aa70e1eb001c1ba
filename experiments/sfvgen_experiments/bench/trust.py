"""How far are a dream's returns to be trusted? `sfvgen bench trust`.

Policies of differing strength (the expert, of whose actions a growing share is random) play test episodes in the true
task; the same actions are then dreamt from the same first frames. Do dream and truth order the policies alike? And how
much less than promised gets who chooses the best of an episode's candidates by its dreamt return, as planners and
policy gradients do, with a penalty on the dream's doubts and without?
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfvgen_agents.agent import shown
from sfvgen_agents.loading import load_agent
from sfvgen_envs.dream import DreamConfig, DreamVectorEnv
from sfvgen_envs.scene import Length
from sfvgen_envs.suites import EpisodeSpec, Suite
from sfvgen_experiments.ranking import spearman
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.statistics import bootstrap_interval, mean_interval
from sfvgen_planner.types import Context
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

Floats = NDArray[np.float64]
WANTED = 0.8
TIMED = 8


@dataclass(frozen=True)
class Truth:
    """One candidate as it went in the true task."""

    pixels: NDArray[np.uint8]
    """[h, w, 3] first frame"""
    pose: NDArray[np.float32]
    """[P] at the first frame"""
    actions: NDArray[np.float32]
    """[T, A]"""
    total: float
    """its return"""


@dataclass(frozen=True)
class Dreamt:
    """E episodes of K candidates: [E, K] each."""

    total: Floats
    doubt: Floats
    """sum over the steps"""


def main(
    world: str | None = None,
    task: str = "reach",
    length: Length = "short",
    policies: int = 8,
    episodes: int = 20,
    denoise: int = 1,
    penalties: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0),
    suite: str = "v0",
    threads: int = 2,
    device: str = "cpu",
    out: str = "outputs/bench/trust.json",
) -> dict[str, Any]:
    """Prints how alike both order policies, and what choosing by the dream is worth; writes JSON, returns it."""
    if min(policies - 2, episodes, denoise, threads) < 1 or min(penalties, default=-1) < 0:
        raise BadOption(
            f"policies={policies} episodes={episodes} denoise={denoise} penalties={list(penalties)}",
            "3 policies or more, 1 or more of the others, penalties from 0 up",
            "Raise them.",
        )
    torch.set_num_threads(threads)
    model = WorldModel.from_pretrained(world).to(device)
    size = model.shape[1] * model.codec.shrink
    specs = Suite.load(suite).episodes(task, length, episodes)
    shares = np.linspace(0, 1, policies)
    truth = [[played(spec, share, number, size) for number, share in enumerate(shares)] for spec in specs]
    config = DreamConfig(sampler=SamplerConfig(denoise), doubts=True)
    env = DreamVectorEnv(task, len(specs) * policies, world=model, split="test", length=length, config=config)
    dreamt = dreamt_again(env, truth)
    real = np.array([[one.total for one in row] for row in truth])
    result = {
        "world": world,
        "task": task,
        "length": length,
        "asked": {"policies": policies, "episodes": len(specs), "denoise": denoise},
        "random share": shares.tolist(),
        "real": [mean_interval(column).to_json() for column in real.T],
        "dream": [mean_interval(column).to_json() for column in dreamt.total.T],
        "ranking": ordered(real, dreamt.total).to_json(),
        "candidates": bootstrap_interval(
            lambda some: spearman(real[some].ravel(), dreamt.total[some].ravel()), len(real)
        ).to_json(),
        "choosing": [choosing(real, dreamt, penalty) for penalty in penalties],
        "chance": mean_interval(real.mean(1)).to_json(),
        "best": mean_interval(real.max(1)).to_json(),
    }
    print(told(result))
    write_bytes(Path(out), json.dumps(result, indent=2).encode())
    return result


def played(spec: EpisodeSpec, share: float, number: int, size: int) -> Truth:
    """The expert, but for a share of its actions; draws are keyed by episode and candidate."""
    env = spec.make(size=size)
    draw = np.random.default_rng([spec.seed, number])
    observation, info = env.reset(seed=spec.seed, options=spec.options)
    agent = load_agent("expert", spec.task, spec.seed, env.action_space)
    agent.reset(observation, shown(info, agent))
    first, actions, total, over = observation, [], 0.0, False
    while not over:
        random = draw.uniform(-1, 1, env.action_space.shape)
        chosen = agent.act(observation, shown(info, agent))
        action = np.asarray(random if draw.random() < share else chosen, np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        actions.append(action)
        total, over = total + float(reward), bool(terminated or truncated)
    env.close()
    return Truth(first["pixels"], first["pose"], np.stack(actions), total)


def dreamt_again(env: DreamVectorEnv, truth: Sequence[Sequence[Truth]]) -> Dreamt:
    """All candidates at once. Those of one episode share their noise; what follows a dreamt end counts no more."""
    flat = [one for row in truth for one in row]
    each = len(truth[0])
    context = Context(np.stack([one.pixels for one in flat])[:, None], np.stack([one.pose for one in flat])[:, None])
    env.reset(seed=[row for row in range(len(truth)) for _ in range(each)], options={"context": context})
    steps = max(len(one.actions) for one in flat)
    actions = np.zeros((steps, *env.action_space.shape), np.float32)  # type: ignore[misc]
    for row, one in enumerate(flat):
        actions[: len(one.actions), row] = one.actions
    last = np.array([len(one.actions) for one in flat])
    going, total, doubt = np.ones(len(flat), bool), np.zeros(len(flat)), np.zeros(len(flat))
    began = perf_counter()
    for number, action in enumerate(actions):
        going &= number < last
        _, reward, terminated, truncated, info = env.step(action)
        total += np.where(going, reward, 0)
        doubt += np.where(going, info["uncertainty"], 0)
        going &= ~(terminated | truncated)
        if number + 1 == TIMED:
            left = (perf_counter() - began) / TIMED * (steps - TIMED) / 60
            print(f"{len(flat)} dreams of {steps} steps: about {left:.0f} minutes more", flush=True)
    return Dreamt(total.reshape(len(truth), each), doubt.reshape(len(truth), each))


def ordered(real: Floats, dream: Floats) -> Any:
    """Spearman of the policies' mean returns; the interval is over episodes."""
    return bootstrap_interval(lambda some: spearman(real[some].mean(0), dream[some].mean(0)), len(real))


def choosing(real: Floats, dreamt: Dreamt, penalty: float) -> dict[str, Any]:
    """What whoever takes each episode's best dream was promised, and gets."""
    chosen = (dreamt.total - penalty * dreamt.doubt).argmax(1)[:, None]
    promised, got = (np.take_along_axis(values, chosen, 1)[:, 0] for values in (dreamt.total, real))
    return {
        "penalty": penalty,
        "promised": mean_interval(promised).to_json(),
        "got": mean_interval(got).to_json(),
        "gap": mean_interval(promised - got).to_json(),
    }


def told(result: dict[str, Any]) -> str:
    """All of it in lines."""
    lines = [f"{'random share':>14}{'true return':>22}{'dreamt return':>22}"]
    for share, real, dream in zip(result["random share"], result["real"], result["dream"], strict=True):
        lines.append(f"{share:>14.2f}{_cell(real):>22}{_cell(dream):>22}")
    rank = result["ranking"]
    met = "met" if rank["mean"] >= WANTED else "NOT MET"
    lines.append(f"Spearman of {len(result['random share'])} policies {_cell(rank)}; {WANTED} wanted: {met}")
    lines.append(f"Spearman of all candidates {_cell(result['candidates'])}")
    lines.append(f"{'penalty':>14}{'promised':>22}{'got':>22}{'gap':>22}")
    for one in result["choosing"]:
        cells = "".join(f"{_cell(one[key]):>22}" for key in ("promised", "got", "gap"))
        lines.append(f"{one['penalty']:>14.2f}{cells}")
    lines.append(f"without choosing {_cell(result['chance'])}, the truly best {_cell(result['best'])}")
    return "\n".join(lines)


def _cell(interval: dict[str, Any]) -> str:
    low, high = (np.inf if interval[key] is None else interval[key] for key in ("low", "high"))
    return f"{interval['mean']:.2f} ±{(high - low) / 2:.2f}" if np.isfinite(high) else f"{interval['mean']:.2f}"


if __name__ == "__main__":
    main()
