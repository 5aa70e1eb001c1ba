"""What a dream takes over from the task it imitates: spaces, time limit, body."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from sfvgen_envs import TASKS
from sfvgen_envs.task import Task
from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.world.model import WorldModel


@dataclass(frozen=True)
class Imitated:
    """One task, as far as a world can know it."""

    name: str
    """of the task, and of the body in the world's layout"""
    camera: str
    horizon: int
    """steps until truncation"""
    picture: tuple[int, int]
    """height and width"""
    pose: spaces.Box
    action: spaces.Box
    fps: float


def make_task(task: str, **settings: Any) -> Task[Any, Any]:
    """The real one."""
    if task not in TASKS:
        raise UnknownName(f"task {task!r}", f"one of {list(TASKS)}", closest(str(task), tuple(TASKS)))
    env = gym.make(TASKS[task], disable_env_checker=True, **settings).unwrapped
    if not isinstance(env, Task):
        raise BadOption(
            f"{TASKS[task]!r}, which is a {type(env).__name__}", "a Task", "Register no other under its id."
        )
    return env


def picture_of(world: WorldModel) -> tuple[int, int]:
    """Height and width of what a world dreams, in pixels."""
    _, height, width = world.shape
    return height * world.codec.shrink, width * world.codec.shrink


def imitated(task: Task[Any, Any], world: WorldModel) -> Imitated:
    """A task that this world was trained for, or an error that says why not."""
    name, layout = task.name, world.encoder.layout
    known = tuple(body.name for body in layout.embodiments)
    if name not in known:
        raise BadOption(f"task {name!r} in a world trained for {list(known)}", "one of those", "Load another world.")
    body, picture = layout[name], picture_of(world)
    observed, action = task.observation_space, task.action_space
    if not isinstance(observed, Mapping) or not isinstance(action, spaces.Box):
        raise BadOption(f"task {name!r} with spaces {observed} and {action}", "Dict and Box", "Dream of another task.")
    wanted = (body.kind, body.size, body.pose_size, task.camera in body.cameras, picture)
    found = ("vector", action.shape[0], observed["pose"].shape[0], True, task.size)
    if wanted != found:
        raise BadOption(
            f"a world whose {name!r} has {body.kind} actions of size {body.size}, poses of {body.pose_size}, cameras "
            f"{list(body.cameras)} and pictures of {picture}",
            f"actions of size {action.shape[0]}, poses of {found[2]}, camera {task.camera!r}, pictures of {task.size}",
            "Load a world trained for this task and camera.",
        )
    if body.frames_per_action != 1:
        raise BadOption(
            f"a world of {body.frames_per_action} frames an action", "1, as in every task", "Train on frames of steps."
        )
    return Imitated(
        name, task.camera, task.horizon, picture, observed["pose"], action, float(task.metadata["render_fps"])
    )
