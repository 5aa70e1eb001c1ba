"""The true task as a policy sees it whose dreams show a `goal`."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.wanting import GoalSense


class SeesGoal(gym.Wrapper[Any, Any, Any, Any]):
    """Adds `goal`, float32 [S]: how much each of the body's senses is off from how it stands in the picture that
    `info["goal"]` shows, as `world` reads it. Dreams with `goal` in what they observe tell the same."""

    def __init__(self, env: gym.Env[Any, Any], world: WorldModel, body: str) -> None:
        super().__init__(env)
        self.sense = GoalSense(world, body)
        box = spaces.Box(-np.inf, np.inf, (self.sense.size,), np.float32)
        self.observation_space = spaces.Dict({**dict(env.observation_space), "goal": box})  # type: ignore[call-overload]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._seen(observation, info), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._seen(observation, info), reward, terminated, truncated, info

    def _seen(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
        if "goal" not in info:
            raise BadOption(
                f"a goal to be seen in {self.sense.body!r}, which shows none",
                "a task with a goal's picture",
                "Leave goal out of observe.",
            )
        return {**observation, "goal": self.sense(info["goal"], observation["pose"])}
