"""One agent plays one episode."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from time import perf_counter
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sfvgen_agents.agent import Agent, shown
from sfvgen_planner.errors import BadAction


class Spec(Protocol):
    """What `play` needs to know of an episode."""

    @property
    def seed(self) -> int:
        """For `env.reset`."""

    @property
    def options(self) -> dict[str, Any]:
        """For `env.reset`: variation and goal."""


@dataclass(frozen=True)
class EpisodeResult:
    """How it went."""

    success: bool
    """was the task solved when the episode ended; in a dream, does the world say so"""
    total: float
    """sum of the rewards: the return"""
    waypoint_distance: float
    """metres, when the episode ended; NaN in a dream, where nobody knows"""
    steps: int
    seconds: float
    """the agent's own time, in `reset` and `act`"""


def play(env: gym.Env[Any, Any], agent: Agent, spec: Spec) -> EpisodeResult:
    """One episode, from reset to its end. The caller made `env` and closes it."""
    observation, info = env.reset(seed=spec.seed, options=spec.options)
    began = perf_counter()
    agent.reset(observation, shown(info, agent))
    seconds, total, steps, over = perf_counter() - began, 0.0, 0, False
    while not over:
        began = perf_counter()
        action = agent.act(observation, shown(info, agent))
        seconds += perf_counter() - began
        observation, reward, terminated, truncated, info = env.step(_numbers(action, env, agent))
        total, steps, over = total + float(reward), steps + 1, bool(terminated or truncated)
    return EpisodeResult(_solved(info), total, float(info.get("waypoint_distance", nan)), steps, seconds)


def _solved(info: Mapping[str, Any]) -> bool:
    if "success" in info:
        return bool(info["success"])
    return bool(info["success_predicted"] > 0.5)


def _numbers(action: Any, env: gym.Env[Any, Any], agent: object) -> Any:
    """The action as the environment wants it; what is not even numbers is refused here, by the agent's name."""
    if not isinstance(env.action_space, spaces.Box):
        return action
    try:
        return np.asarray(action, np.float64)
    except (TypeError, ValueError) as error:
        raise BadAction(
            f"action {action!r} of {type(agent).__name__}",
            f"{env.action_space.shape[0]} numbers",
            "Return a numpy array from act().",
        ) from error
