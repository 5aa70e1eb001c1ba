"""The true simulator as a world: it tells what will happen, and changes nothing."""

import numpy as np
import pytest
from test_tasks import every_task, make, same

from sfvgen_envs.language import LanguageActions
from sfvgen_envs.oracle import oracle_imagine
from sfvgen_planner.errors import BadAction, BadOption
from sfvgen_planner.types import Actions, Context


@every_task
def test_what_is_imagined_happens(task: str) -> None:
    envs = [make(task, size=32) for _ in range(2)]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
        env.step(np.full(env.action_size, 0.5))
    before = [env.get_state() for env in envs]
    values = np.random.default_rng(0).uniform(-1, 1, (2, 3, 6, envs[0].action_size))
    rollout = oracle_imagine(envs)(None, Actions("vector", values))
    assert rollout.pixels is not None
    assert rollout.pixels.shape == (2, 3, 6, 32, 32, 3)
    for row, env in enumerate(envs):
        assert same(env.get_state().physics, before[row].physics)
        for t in range(6):
            observation, reward, terminated, _, info = env.step(values[row, 2, t])
            assert np.array_equal(observation["pixels"], rollout.pixels[row, 2, t])
            assert np.array_equal(observation["pose"], rollout.poses[row, 2, t])
            assert rollout.rewards[row, 2, t] == np.float32(reward)
            assert rollout.success[row, 2, t] == info["success"]
            assert rollout.terminated[row, 2, t] == terminated


def test_phrases_are_imagined_as_they_are_said() -> None:
    env = LanguageActions(make("cube_return", size=32))
    env.reset(seed=0)
    words = np.array([[[2, 0]]])
    rollout = oracle_imagine([env])(None, Actions("phrase", words))
    said = [env.step(int(word))[4]["frames"] for word in words[0, 0]]
    assert rollout.pixels is not None
    assert np.array_equal(rollout.pixels[0, 0], np.concatenate(said))


def test_discrete_ids_go_to_discrete_environments() -> None:
    env = LanguageActions(make("reach", size=32))
    env.reset(seed=0)
    rollout = oracle_imagine([env])(None, Actions("discrete", np.array([[[0, 2]]])))
    assert rollout.poses.shape[:3] == (1, 1, 2)
    with pytest.raises(BadAction, match="vector"):
        oracle_imagine([env.unwrapped])(None, Actions("discrete", np.array([[[0, 2]]])))


def test_after_the_end_the_last_frame_stays() -> None:
    env = make("reach", length="short", size=32)
    _, info = env.reset(seed=0)
    way = (info["privileged"]["target"] - info["privileged"]["tip"]) / 0.03
    values = np.zeros((1, 1, 20, 4))
    values[0, 0, :10, :3] = way / 10 if np.abs(way).max() <= 10 else np.sign(way)
    rollout = oracle_imagine([env], pixels=False)(None, Actions("vector", values))
    end = int(np.argmax(rollout.terminated[0, 0]))
    assert rollout.pixels is None
    assert rollout.success[0, 0, -1]
    assert rollout.terminated[0, 0, end:].all()
    assert (rollout.rewards[0, 0, end + 1 :] == 0).all()
    assert (rollout.poses[0, 0, end:] == rollout.poses[0, 0, end]).all()


def test_rows_must_agree() -> None:
    env = make("reach")
    env.reset(seed=0)
    context = Context(np.zeros((2, 1, 64, 64, 3), np.uint8), np.zeros((2, 1, 14), np.float32))
    with pytest.raises(BadOption, match="one for each environment"):
        oracle_imagine([env])(context, Actions("vector", np.zeros((1, 1, 4, 4))))
    with pytest.raises(BadAction, match=r"\[B, N, H, A\]"):
        Actions("vector", np.zeros((1, 4, 4)))
