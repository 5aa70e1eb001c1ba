"""What a dream refuses, by name, and that nothing has happened then."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from dream_fakes import ARM, arm_world, dreams, one_dream
from test_dream import real_context
from world_fakes import tiny_world

from sfvgen_envs.dream import DreamConfig, DreamVectorEnv
from sfvgen_planner.errors import BadAction, BadOption, BadState, UnknownName
from sfvgen_planner.types import Context

WORLD = arm_world()


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        (np.full((2, 4), np.nan), r"actions\[0\]"),
        (np.array([[0, 0, 0, 0], [0, 0, 1.5, 0]]), r"actions\[1\]"),
        (np.zeros((3, 4)), r"\[2, 4\]"),
        (np.zeros((2, 3)), r"\[2, 4\]"),
        (np.zeros(4), r"\[2, 4\]"),
        ("move left", "Sample action_space"),
        (None, "finite numbers"),
        (torch.full((2, 4), torch.inf), r"actions\[0\]"),
    ],
)
def test_bad_actions(actions: Any, said: str) -> None:
    rows = dreams(2, WORLD)
    rows.reset(seed=0)
    before = rows.state
    with pytest.raises(BadAction, match=said):
        rows.step(actions)
    assert rows.state is before
    with pytest.raises(BadAction):
        one_dream_begun().step(np.full(4, 2.0))
    with pytest.raises(BadAction, match=r"\[2, 3, 4\]"):
        rows.step_sequence(np.zeros((1, 3, 4)))


def one_dream_begun() -> Any:
    one = one_dream(WORLD)
    one.reset(seed=0)
    return one


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"context": Context(np.zeros((2, 1, 8, 8, 3), np.uint8), np.zeros((2, 1, 14)))}, "uint8"),
        ({"context": Context(real_context(1).pixels, real_context(1).poses)}, "One row for each dream"),
        ({"context": Context(real_context(2).pixels.astype(np.float32), real_context(2).poses)}, "float32"),
        ({"context": Context(real_context(2).pixels, real_context(2).poses[..., :7])}, "14"),
        ({"context": Context(real_context(2).pixels, np.nan * real_context(2).poses)}, "not finite"),
        ({"context": {"pixels": np.zeros((16, 16, 3), np.uint8)}}, "pose"),
        ({"context": 3}, "int"),
        ({"snapshot": 3}, "int"),
    ],
)
def test_bad_contexts(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadState, match=said):
        dreams(2, WORLD).reset(options=options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reset_mask": np.array([True])}, "reset_mask"),
        ({"reset_mask": np.zeros(2, bool)}, "at least one"),
        ({"reset_mask": [True, False]}, "list"),
        ({"elapsed": 3}, "context"),
        ({"snapshot": 1, "elapsed": 1}, "alone"),
    ],
)
def test_bad_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadOption, match=said):
        dreams(2, WORLD).reset(options=options)
    with pytest.raises(UnknownName, match="'context'"):
        dreams(2, WORLD).reset(options={"contxt": 1})
    with pytest.raises(BadOption, match="3 seeds"):
        dreams(2, WORLD).reset(seed=[1, 2, 3])


def test_before_the_first_reset_and_after_closing() -> None:
    rows = dreams(2, WORLD)
    for call in (lambda: rows.step(np.zeros((2, 4))), rows.render, rows.snapshot, lambda: rows.fork(2)):
        with pytest.raises(gym.error.ResetNeeded):
            call()
    rows.reset(seed=0)
    kept = rows.snapshot()
    rows.close()
    for call in (lambda: rows.step(np.zeros((2, 4))), rows.reset, lambda: rows.restore(kept), rows.render):
        with pytest.raises(gym.error.ClosedEnvironmentError):
            call()


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"task": "reech"}, UnknownName, "'reach'"),
        ({"task": "push_cube"}, BadOption, "world trained for"),
        ({"camera": "sweep"}, BadOption, "sweep"),
        ({"num_envs": 0}, BadOption, "1 or more"),
        ({"obs_type": "jax"}, UnknownName, "numpy"),
        ({"length": "endless"}, UnknownName, "length"),
        ({"world": Path("nowhere")}, BadOption, "nowhere"),
        ({"render_mode": "human"}, UnknownName, "rgb_array"),
    ],
)
def test_bad_settings(settings: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        DreamVectorEnv(**{"task": "reach", "world": WORLD, **settings})


def test_a_world_trained_for_another_body() -> None:
    with pytest.raises(BadOption, match="toy"):
        DreamVectorEnv("reach", world=tiny_world())
    other = type(ARM)("reach", size=2, low=(-1.0,) * 2, high=(1.0,) * 2, pose_size=14, cameras={"fixed": 38.0})
    with pytest.raises(BadOption, match="actions of size 2"):
        DreamVectorEnv("reach", world=tiny_world(body=other))
    with pytest.raises(BadOption, match="2 frames an action"):
        DreamVectorEnv("reach", world=tiny_world(body=replace(ARM, frames_per_action=2)))


@pytest.mark.parametrize(
    "settings",
    [
        {"observe": ()},
        {"observe": ("pixels", "sound")},
        {"threshold": 0.0},
        {"every": 0},
        {"penalty": 1.0},
        {"trust": 0.0},
    ],
)
def test_bad_configs(settings: dict[str, Any]) -> None:
    with pytest.raises(BadOption):
        DreamConfig(**settings)


def test_a_picture_nobody_asked_for_cannot_be_drawn() -> None:
    rows = dreams(1, WORLD, config=DreamConfig(observe=("pose",)))
    rows.reset(seed=0)
    with pytest.raises(BadOption, match="pixels"):
        rows.render()
    with pytest.raises(BadOption, match="reset_mask"):
        one_dream(WORLD).reset(options={"reset_mask": np.array([True])})
