"""The true simulator as a world to plan in: the ceiling of every planner, and a debugging aid."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from sfvgen_envs.task import Task
from sfvgen_planner.errors import BadAction, BadOption
from sfvgen_planner.types import FRAMES_PER_CHUNK, Actions, Context, Imagine, Rollout


def oracle_imagine(envs: Sequence[gym.Env[Any, Any]], *, pixels: bool = True) -> Imagine:
    """Binds B environments into `imagine(context, actions) -> Rollout`, from wherever they are when it is called.

    The environments come out exactly as they went in. The context's pictures are not needed, the environments are the
    context; only its B is checked. Vector actions are the task's own; phrase ids are said to the body, 8 frames each;
    discrete ids go to environments whose action space is discrete. With `pixels=False` the pictures are left out.
    """

    def imagine(context: Context | None, actions: Actions) -> Rollout:
        rows = int(actions.values.shape[0])
        if rows != len(envs) or (context is not None and len(context.poses) != rows):
            raise BadOption(
                f"{rows} rows of actions and {None if context is None else len(context.poses)} of context",
                f"{len(envs)} of each, one for each environment",
                "Slice them alike.",
            )
        values = np.asarray(actions.values)
        drawn = [
            [_branch(env, actions.kind, candidate, pixels) for candidate in candidates]
            for env, candidates in zip(envs, values, strict=True)
        ]
        stacked = {key: np.stack([np.stack([branch[key] for branch in row]) for row in drawn]) for key in drawn[0][0]}
        return Rollout(
            poses=stacked["poses"],
            rewards=stacked["rewards"],
            success=stacked["success"],
            terminated=stacked["terminated"],
            pixels=stacked.get("pixels"),
        )

    return imagine


def _branch(env: gym.Env[Any, Any], kind: str, values: NDArray[Any], pixels: bool) -> dict[str, NDArray[Any]]:
    """One candidate in one environment: [T, ...] arrays."""
    task: Task[Any, Any] = env.unwrapped  # type: ignore[assignment]
    state = task.get_state()
    step = _stepper(env, task, kind)
    frames: list[dict[str, Any]] = []
    ended = False
    try:
        for number in range(len(values) * (FRAMES_PER_CHUNK if kind == "phrase" else 1)):
            if ended:
                frames.append({**frames[-1], "rewards": 0.0})
                continue
            reward, terminated, truncated = step(values, number)
            ended = terminated or truncated
            frame = {"poses": task.pose(), "rewards": reward, "success": task.success(), "terminated": terminated}
            frames.append({**frame, "pixels": task.render()} if pixels else frame)
    finally:
        task.set_state(state)
    types = {"poses": np.float32, "rewards": np.float32, "success": np.bool_, "terminated": np.bool_}
    return {key: np.stack([frame[key] for frame in frames]).astype(types.get(key, np.uint8)) for key in frames[0]}


def _stepper(
    env: gym.Env[Any, Any], task: Task[Any, Any], kind: str
) -> Callable[[NDArray[Any], int], tuple[float, bool, bool]]:
    """How frame `number` of a candidate is made: reward, terminated, truncated."""

    def say(values: NDArray[Any], number: int) -> tuple[float, bool, bool]:
        if number % FRAMES_PER_CHUNK == 0:
            word = int(values[number // FRAMES_PER_CHUNK])
            if not 0 <= word < len(task.phrases):
                raise BadAction(f"phrase id {word}", f"0 to {len(task.phrases) - 1}", f"See {task.name}'s `phrases`.")
            task.say(task.phrases[word])
        return task.tick(task.obey())

    def choose(values: NDArray[Any], number: int) -> tuple[float, bool, bool]:
        _, reward, terminated, truncated, _ = env.step(values[number])
        return float(reward), terminated, truncated

    if kind == "phrase":
        return say
    if kind == "vector":
        return lambda values, number: task.tick(values[number])
    if not isinstance(env.action_space, gym.spaces.Discrete):
        raise BadAction("discrete ids", f"vectors of {task.action_size} numbers for {task.name}", "Set kind='vector'.")
    return choose
