"""`DreamEnv`: one dream as a Gymnasium environment, the batch of one of `DreamVectorEnv`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from sfvgen_envs.dream.config import DreamConfig
from sfvgen_envs.dream.starts import Starts
from sfvgen_envs.dream.state import DreamState
from sfvgen_envs.dream.vector import DreamVectorEnv
from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.model import WorldModel


class DreamEnv(gym.Env[Any, Any]):
    """What `DreamVectorEnv` is, of one row. Arguments, spaces and infos are described there."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        task: str,
        *,
        world: WorldModel | Path | str | None = None,
        starts: Starts | Path | str = "task",
        split: Literal["train", "test"] = "train",
        length: Literal["short", "medium", "long"] = "medium",
        camera: str = "fixed",
        config: DreamConfig | None = None,
        obs_type: Literal["numpy", "torch"] = "numpy",
        device: torch.device | str | None = None,
        render_mode: str | None = "rgb_array",
    ) -> None:
        self.rows = DreamVectorEnv(
            task,
            1,
            world=world,
            starts=starts,
            split=split,
            length=length,
            camera=camera,
            config=config,
            obs_type=obs_type,
            autoreset_mode=AutoresetMode.DISABLED,
            device=device,
            render_mode=render_mode,
        )
        self.metadata = {key: self.rows.metadata[key] for key in ("render_modes", "render_fps")}
        self.render_mode = render_mode
        self.observation_space = self.rows.single_observation_space
        self.action_space = self.rows.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode; options as for the vector, without `reset_mask`."""
        if "reset_mask" in (options or {}):
            raise BadOption("a reset_mask for one dream", "none", "Call reset().")
        super().reset(seed=seed)
        observation, info = self.rows.reset(seed=seed, options=options)
        # The row's generator is this environment's own.
        self._np_random = self.rows.randoms[0]
        return _first(observation), _told(info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One action [A], one frame."""
        batch = action[None] if isinstance(action, torch.Tensor) else np.asarray(action)[None]
        observation, reward, terminated, truncated, info = self.rows.step(batch)
        return _first(observation), float(reward[0]), bool(terminated[0]), bool(truncated[0]), _told(info)

    def step_sequence(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """H actions [H, A] in one go, for planners; see the vector's."""
        observation, *rest, info = self.rows.step_sequence(actions[None])
        return _first(observation), *(one[0] for one in rest), _told(info)

    def render(self) -> NDArray[np.uint8]:
        """The last picture."""
        return self.rows.render()[0]

    def snapshot(self) -> DreamState:
        """A value to go on from, bit for bit."""
        return self.rows.snapshot()

    def restore(self, snapshot: DreamState) -> None:
        """Goes on from there."""
        self.rows.restore(snapshot)
        self._np_random = self.rows.randoms[0]

    def fork(self, count: int, seeds: list[int] | None = None) -> DreamVectorEnv:
        """`count` branches that this dream never hears of."""
        return self.rows.fork(count, seeds)

    def close(self) -> None:
        """Nothing goes on after it."""
        self.rows.close()


def _first(observation: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value[0] for key, value in observation.items()}


def _told(info: Mapping[str, Any]) -> dict[str, Any]:
    """One row's info: numbers where the vector has arrays of numbers."""
    kept = {key: value[0] for key, value in info.items() if not key.startswith("_") and info[f"_{key}"][0]}
    return {
        key: float(value) if np.ndim(value) == 0 and not isinstance(value, str) else value
        for key, value in kept.items()
    }
