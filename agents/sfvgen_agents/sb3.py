"""Any Gymnasium vector environment as a `VecEnv`, so that Stable-Baselines3 trains in it: dreams, or the real tasks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from sfvgen_planner.errors import BadOption

SUCCESS = ("success", "success_predicted")
"""Keys of an info that tell success, the truth first; SB3 calls it `is_success`."""
PASSED = ("success_predicted", "uncertainty", "instruction")
"""What SB3's callbacks may read beside it. Never `privileged`."""


class Sb3VecEnv(VecEnv):  # type: ignore[misc]
    """One call a step for all rows. Observations may be tensors on a device; what comes out is numpy.

    The environment resets rows in the same step (`AutoresetMode.SAME_STEP`), because SB3 wants to see the first
    observation of the next episode at once, and the last one of this in `info["terminal_observation"]`.
    """

    def __init__(self, rows: VectorEnv[Any, Any, Any]) -> None:
        mode = rows.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise BadOption(
                f"a vector environment in mode {mode}", "AutoresetMode.SAME_STEP", "Make it with that autoreset_mode."
            )
        self.rows = rows
        self._actions: Any = None
        super().__init__(rows.num_envs, rows.single_observation_space, rows.single_action_space)

    def reset(self) -> Any:
        """Of all rows, with the seeds that `seed()` and options that `set_options()` gave."""
        options = next((one for one in self._options if one), None)
        seeds = self._seeds if any(one is not None for one in self._seeds) else None
        observation, info = self.rows.reset(seed=seeds, options=options)
        self.reset_infos = [self._told(info, row) for row in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return _plain(observation)

    def step_async(self, actions: Any) -> None:
        """Keeps them for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """The step."""
        observation, reward, terminated, truncated, info = self.rows.step(self._actions)
        ended, cut = _array(terminated).astype(bool), _array(truncated).astype(bool)
        done, infos = ended | cut, [self._told(info, row) for row in range(self.num_envs)]
        for row in np.flatnonzero(done).tolist():
            last = self._told(info["final_info"], row)
            last["terminal_observation"] = _plain(info["final_obs"][row])
            last["TimeLimit.truncated"] = bool(cut[row] and not ended[row])
            infos[row] = last
        return _plain(observation), _array(reward).astype(np.float32), done, infos

    def close(self) -> None:
        """Closes the environment."""
        self.rows.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """The last picture of each row."""
        pictures: Any = self.rows.render()
        return [None] * self.num_envs if pictures is None else list(pictures)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Of each row; what all rows have in common, once for each."""
        each = getattr(self.rows, "get_attr", None)
        values = each(attr_name) if each is not None else [getattr(self.rows, attr_name)] * self.num_envs
        return [values[row] for row in self._indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Of all rows: they have it in common."""
        if hasattr(self.rows, "set_attr"):
            rows: Any = self.rows
            known, chosen = rows.get_attr(attr_name), set(self._indices(indices))
            rows.set_attr(attr_name, [value if row in chosen else one for row, one in enumerate(known)])
        else:
            self._check_all(indices, f"set_attr({attr_name!r})")
            setattr(self.rows, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Called on each row; where rows are one environment, on it, and each row is told its part of the answer."""
        if hasattr(self.rows, "call"):
            answers = self.rows.call(method_name, *method_args, **method_kwargs)
        else:
            answer = getattr(self.rows, method_name)(*method_args, **method_kwargs)
            shared = not isinstance(answer, tuple | list) or len(answer) != self.num_envs
            answers = [answer] * self.num_envs if shared else answer
        return [answers[row] for row in self._indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """In what the rows are, where they are environments of their own."""
        envs = getattr(self.rows, "envs", [None] * self.num_envs)
        return [_wrapped(envs[row], wrapper_class) for row in self._indices(indices)]

    def _indices(self, indices: int | Iterable[int] | None) -> list[int]:
        return list(self._get_indices(indices))

    def _check_all(self, indices: Any, what: str) -> None:
        if len(self._indices(indices)) < self.num_envs:
            raise BadOption(f"{what} of rows {indices}", "all rows", "They are one environment.")

    def _told(self, info: Mapping[str, Any], row: int) -> dict[str, Any]:
        """One row's part of an info, as numbers and texts."""
        told = {key: _item(info[key], row) for key in PASSED if key in info}
        known = next((key for key in SUCCESS if key in info), None)
        if known is not None:
            told["is_success"] = bool(float(_item(info[known], row)) > 0.5)
        return told


def _wrapped(env: Any, kind: type) -> bool:
    while env is not None and not isinstance(env, kind):
        env = getattr(env, "env", None)
    return env is not None


def _plain(observation: Any) -> Any:
    if isinstance(observation, Mapping):
        return {key: _array(value) for key, value in observation.items()}
    return _array(observation)


def _array(value: Any) -> NDArray[Any]:
    return np.asarray(value.cpu() if hasattr(value, "cpu") else value)


def _item(values: Any, row: int) -> Any:
    one = values[row]
    return one.item() if hasattr(one, "item") else one
