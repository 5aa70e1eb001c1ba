"""Any Gymnasium environment with pictures, recorded into a data set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_planner.data.dataset import Dataset
from sfvgen_planner.data.description import ActionKind, Description, DiscreteActions, VectorActions
from sfvgen_planner.data.recorder import Act, record_episode
from sfvgen_planner.data.video import resized
from sfvgen_planner.errors import BadImageSize, BadOption
from sfvgen_planner.types import POSE_CAMERA


def import_env(
    env: Any,
    out: Path | str,
    episodes: int,
    *,
    name: str,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    policy: Act | None = None,
    max_steps: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Record `episodes` episodes of `env`, a Gymnasium environment with render_mode="rgb_array"; resume if interrupted.

    `policy` is given the environment's own observation; without one actions are random. Episode i is played with seed
    `seed + i`. Poses are unknown: all episodes stand at the origin.
    """
    kind = _action_kind(env)
    spec = getattr(env, "spec", None)
    description = Description(
        name=name,
        task=str(getattr(spec, "id", type(env).__name__)),
        picture=size,
        actions=kind,
        pose_size=POSE_CAMERA,
        frame_rate=float(getattr(env, "metadata", {}).get("render_fps", 30)),
        env_spec=_spec_json(spec),
    )
    seen = _Pictured(env, size)
    with Dataset.resume(out, description) as dataset:
        for number in dataset.missing(range(episodes)):
            env.action_space.seed(seed + number)
            behaviour = "random" if policy is None else "policy"
            episode = record_episode(
                seen,
                _acting(env, seen, policy),
                seed=seed + number,
                max_steps=max_steps,
                card={"task": description.task, "behaviour": behaviour, "poses": "unknown"},
            )
            dataset.put(number, episode)
            on_progress(number + 1, episodes)
    return dataset


class _Pictured:
    """The environment as the recorder sees it: its rendering, at the wanted size, and a pose nobody knows."""

    def __init__(self, env: Any, size: tuple[int, int]) -> None:
        self.env, self.size = env, size
        self.observation: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.observation, info = self.env.reset(seed=seed, options=options)
        return self._seen(), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        shaped = int(action) if hasattr(self.env.action_space, "n") else np.reshape(action, self.env.action_space.shape)
        self.observation, reward, terminated, truncated, info = self.env.step(shaped)
        return (
            self._seen(),
            reward,
            terminated,
            truncated,
            {**info, "success": info.get("is_success", False) or info.get("success", False)},
        )

    def _seen(self) -> dict[str, Any]:
        frame = self.env.render()
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise BadImageSize(
                f"a rendering of type {type(frame).__name__} {getattr(frame, 'shape', '')}",
                "uint8 [h, w, 3]",
                'Make the environment with render_mode="rgb_array".',
            )
        return {"pixels": resized(frame, self.size), "pose": unknown_poses(1)[0]}


def unknown_poses(frames: int) -> Any:
    """float32 [T, 7]: at the origin, turned nowhere."""
    poses = np.zeros((frames, POSE_CAMERA), np.float32)
    poses[:, 3] = 1
    return poses


def _acting(env: Any, seen: _Pictured, policy: Act | None) -> Act:
    if policy is None:
        return lambda _, info: env.action_space.sample()
    return lambda _, info: policy(seen.observation, info)


def _action_kind(env: Any) -> ActionKind:
    space = env.action_space
    if hasattr(space, "n") and not space.shape:
        return DiscreteActions(int(space.n), int(getattr(space, "start", 0)))
    if hasattr(space, "low") and hasattr(space, "high"):
        return VectorActions.of(space.low, space.high)
    raise BadOption(f"an action space {space}", "Box or Discrete", "Wrap the environment to give it one of these.")


def _spec_json(spec: Any) -> str:
    """Minari recovers the environment from it; one made of live objects cannot be written down."""
    try:
        return str(spec.to_json()) if spec is not None else ""
    except (TypeError, ValueError):
        return ""
