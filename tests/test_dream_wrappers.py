"""Gymnasium's own wrappers over dreams, of one row and of several."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from dream_fakes import arm_world
from gymnasium import spaces, wrappers
from gymnasium.wrappers import vector

WORLD = arm_world()
ID = "sfvgen_envs:sfvgen/Dream-v0"


def one(**settings: Any) -> gym.Env[Any, Any]:
    return gym.make(ID, task="reach", world=WORLD, length="short", **settings)


def some(mode: str = "NextStep", **settings: Any) -> gym.vector.VectorEnv[Any, Any, Any]:
    return gym.make_vec(ID, num_envs=2, task="reach", world=WORLD, length="short", autoreset_mode=mode, **settings)


def pose_alone(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """What most wrappers of observations need: one Box."""
    return wrappers.TransformObservation(env, lambda seen: seen["pose"], env.observation_space["pose"])  # type: ignore[index]


SCALAR: dict[str, Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]] = {
    "TimeLimit": lambda env: wrappers.TimeLimit(env, 4),
    "Autoreset": wrappers.Autoreset,
    "RecordEpisodeStatistics": wrappers.RecordEpisodeStatistics,
    "FrameStackObservation": lambda env: wrappers.FrameStackObservation(env, 3),
    "NormalizeReward": wrappers.NormalizeReward,
    "TransformReward": lambda env: wrappers.TransformReward(env, lambda reward: 2 * reward),
    "ClipReward": lambda env: wrappers.ClipReward(env, -1, 1),
    "FilterObservation": lambda env: wrappers.FilterObservation(env, ["pose"]),
    "FlattenObservation": wrappers.FlattenObservation,
    "TransformObservation": pose_alone,
    "NormalizeObservation": lambda env: wrappers.NormalizeObservation(pose_alone(env)),
    "DelayObservation": lambda env: wrappers.DelayObservation(pose_alone(env), 2),
    "TimeAwareObservation": lambda env: wrappers.TimeAwareObservation(wrappers.TimeLimit(env, 30)),
    "RescaleAction": lambda env: wrappers.RescaleAction(env, np.float32(-2), np.float32(2)),
    "ClipAction": wrappers.ClipAction,
    "StickyAction": lambda env: wrappers.StickyAction(env, 0.5),
    "RenderCollection": wrappers.RenderCollection,
    "AddRenderObservation": wrappers.AddRenderObservation,
    "PassiveEnvChecker": wrappers.PassiveEnvChecker,
    "OrderEnforcing": wrappers.OrderEnforcing,
}

VECTOR: dict[str, Callable[[Any], Any]] = {
    "RecordEpisodeStatistics": vector.RecordEpisodeStatistics,
    "NormalizeReward": vector.NormalizeReward,
    "TransformReward": lambda env: vector.TransformReward(env, lambda reward: 2 * reward),
    "ClipReward": lambda env: vector.ClipReward(env, -1, 1),
    "FilterObservation": lambda env: vector.FilterObservation(env, ["pose"]),
    "FlattenObservation": vector.FlattenObservation,
    "VectorizeTransformObservation": lambda env: vector.VectorizeTransformObservation(
        env, wrappers.FilterObservation, filter_keys=["pose"]
    ),
    "TransformAction": lambda env: vector.TransformAction(env, lambda action: -action),
    "ClipAction": vector.ClipAction,
    "DictInfoToList": vector.DictInfoToList,
}


@pytest.mark.parametrize("name", list(SCALAR))
@pytest.mark.filterwarnings("ignore")
def test_a_wrapper_over_one_dream(name: str) -> None:
    env = SCALAR[name](one())
    observation, _ = env.reset(seed=0)
    over = False
    for _ in range(5):
        action = env.action_space.sample()
        if over and name != "Autoreset":
            observation, _ = env.reset()
        observation, reward, terminated, truncated, _ = env.step(action)
        over = terminated or truncated
        assert np.isfinite(float(reward))
    assert env.observation_space.contains(observation)
    assert (name == "TimeLimit") or not over


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("name", list(VECTOR))
@pytest.mark.filterwarnings("ignore")
def test_a_wrapper_over_several(name: str, mode: str) -> None:
    if mode == "SameStep" and "Observation" in name:
        with pytest.raises(ValueError, match="NEXT_STEP or DISABLED"):  # Gymnasium would leave `final_obs` as it is
            VECTOR[name](some(mode))
        return
    rows = VECTOR[name](some(mode))
    rows.reset(seed=0)
    ended = np.zeros(2, bool)
    for _ in range(32):
        action = rows.action_space.sample()
        _, reward, terminated, truncated, _ = rows.step(action)
        ended |= np.asarray(terminated) | np.asarray(truncated)
        assert np.isfinite(np.asarray(reward)).all()
    assert ended.all()


@pytest.mark.filterwarnings("ignore")
def test_videos_are_recorded(tmp_path: Path) -> None:
    env = wrappers.RecordVideo(one(), str(tmp_path), episode_trigger=lambda episode: True, disable_logger=True)
    env.reset(seed=0)
    for _ in range(30):
        env.step(env.action_space.sample())
    env.close()
    assert [path.stat().st_size > 0 for path in tmp_path.glob("*.mp4")] == [True]
    rows = vector.RecordVideo(some(), str(tmp_path / "rows"), episode_trigger=lambda episode: True, disable_logger=True)
    rows.reset(seed=0)
    for _ in range(31):
        rows.step(rows.action_space.sample())
    rows.close()
    assert list((tmp_path / "rows").glob("*.mp4"))


def test_observations_of_one_picture_go_through_a_stack() -> None:
    env = wrappers.FrameStackObservation(one(), 3)
    space = env.observation_space
    assert isinstance(space, spaces.Dict)
    assert space["pixels"].shape == (3, 16, 16, 3)
    observation, _ = env.reset(seed=0)
    first = observation["pixels"][-1]
    observation, *_ = env.step(np.zeros(4, np.float32))
    np.testing.assert_array_equal(observation["pixels"][1], first)


@pytest.mark.slow
def test_python_blocks_of_the_page_run(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs/dream.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "(64, 64, 3) move the gripper to the" in done.stdout
    assert "(32, 12)" in done.stdout
