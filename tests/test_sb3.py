"""Stable-Baselines3 trains in dreams, and in real tasks, through one adapter."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from dream_fakes import arm_world, dreams, ending
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnvWrapper, VecFrameStack, VecMonitor
from test_dream import real_context

from sfvgen_agents.policies import load_policy
from sfvgen_agents.sb3 import Sb3VecEnv
from sfvgen_envs import TASKS
from sfvgen_envs.dream import DreamConfig
from sfvgen_planner.errors import BadOption

WORLD = arm_world()
POSE = DreamConfig(observe=("pose",))


def rows(count: int = 2, **settings: Any) -> Sb3VecEnv:
    return Sb3VecEnv(dreams(count, settings.pop("world", WORLD), autoreset_mode="SameStep", **settings))


def real(count: int = 2, size: int = 16) -> Sb3VecEnv:
    return Sb3VecEnv(
        gym.make_vec(
            f"sfvgen_envs:{TASKS['reach']}",
            num_envs=count,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
            size=size,
            length="short",
        )
    )


class Only(VecEnvWrapper):
    """One key of the observation, as a Dict still."""

    def __init__(self, env: Sb3VecEnv, key: str) -> None:
        super().__init__(env, observation_space=spaces.Dict({key: env.observation_space[key]}))

    def reset(self) -> Any:
        return self._kept(self.venv.reset())

    def step_wait(self) -> Any:
        observation, *rest = self.venv.step_wait()
        return self._kept(observation), *rest

    def _kept(self, observation: Any) -> Any:
        return {key: observation[key] for key in self.observation_space}


def test_an_episode_s_end_is_told_as_sb3_wants_it() -> None:
    env = rows()
    env.set_options({"context": real_context(), "elapsed": [28, 27]})
    env.seed(3)
    first = env.reset()
    assert env.reset_infos[0]["instruction"] == ""
    table = [([False, False]), ([True, False]), ([False, True])]
    for ends in table:
        observation, reward, done, infos = env.step(np.zeros((2, 4), np.float32))
        assert done.tolist() == ends
        assert reward.dtype == np.float32
        for row, info in enumerate(infos):
            assert ("terminal_observation" in info) == ends[row]
            if ends[row]:
                assert info["TimeLimit.truncated"]
                last = info["terminal_observation"]
                assert env.observation_space.contains(last)
                assert not np.array_equal(last["pose"], observation["pose"][row])
                assert isinstance(info["is_success"], bool)
    assert set(first) == {"pixels", "pose"}


def test_an_end_that_the_world_says_is_no_time_limit() -> None:
    env = rows(world=ending(arm_world(), 1.0))
    env.reset()
    _, _, done, infos = env.step(np.zeros((2, 4), np.float32))
    assert done.all()
    assert not any(info["TimeLimit.truncated"] for info in infos)


def test_seeds_and_tensors() -> None:
    one, other = rows(), rows(obs_type="torch")
    for env in (one, other):
        env.seed(7)
    first, second = one.reset(), other.reset()
    for key in first:
        assert isinstance(second[key], np.ndarray)
        np.testing.assert_array_equal(first[key], second[key])
    a = one.step(np.zeros((2, 4), np.float32))
    b = other.step(torch.zeros(2, 4))
    np.testing.assert_array_equal(a[0]["pixels"], b[0]["pixels"])
    np.testing.assert_array_equal(a[1], b[1])


def test_attributes_and_methods() -> None:
    env = rows()
    env.reset()
    assert env.get_attr("render_mode") == ["rgb_array"] * 2
    assert env.get_attr("num_envs", indices=[1]) == [2]
    assert len(env.env_method("snapshot")) == 2
    assert [picture.shape for picture in env.env_method("render")] == [(16, 16, 3)] * 2
    assert env.get_images()[1].shape == (16, 16, 3)
    env.set_attr("render_mode", None)
    assert env.get_attr("render_mode") == [None, None]
    with pytest.raises(BadOption, match="all rows"):
        env.set_attr("render_mode", None, indices=[0])
    assert env.env_is_wrapped(gym.wrappers.TimeLimit) == [False, False]
    truth = real()
    truth.reset()
    assert truth.get_attr("horizon") == [30, 30]
    assert truth.env_method("get_wrapper_attr", "horizon", indices=[0]) == [30]
    assert truth.env_is_wrapped(gym.wrappers.OrderEnforcing) == [True, True]
    env.close()
    truth.close()


def test_another_mode_is_refused() -> None:
    with pytest.raises(BadOption, match="SAME_STEP"):
        Sb3VecEnv(dreams(2, WORLD))


@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_policies_train_in_a_dream_and_are_judged_outside(algorithm: Any, tmp_path: Path) -> None:
    env = VecMonitor(rows(config=POSE))
    settings = {"n_steps": 32, "batch_size": 32} if algorithm is PPO else {"learning_starts": 16, "batch_size": 16}
    model = algorithm("MultiInputPolicy", env, seed=0, device="cpu", **settings)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}

    judge = EvalCallback(VecMonitor(Only(real(1), "pose")), eval_freq=32, n_eval_episodes=2, verbose=0)
    model.learn(96, callback=judge)
    assert np.isfinite(judge.last_mean_reward)
    assert any(not torch.equal(value, before[name]) for name, value in model.policy.state_dict().items())
    assert len(env.env_method("snapshot")) == 2
    model.save(tmp_path / "policy.zip")
    agent = load_policy(tmp_path / "policy.zip", 0, "reach")
    seen, info = gym.make(f"sfvgen_envs:{TASKS['reach']}", size=16).reset(seed=0)
    agent.reset(seen, info)
    assert agent.act(seen, info).shape == (4,)
    mean, _ = evaluate_policy(model, env, n_eval_episodes=2)
    assert np.isfinite(mean)


def test_pictures_and_stacks_of_them() -> None:
    stacked = VecFrameStack(rows(), 2)
    assert stacked.reset()["pixels"].shape == (2, 16, 16, 6)
    assert stacked.step(np.zeros((2, 4), np.float32))[0]["pose"].shape == (2, 28)
    env = VecFrameStack(real(size=64), 2)
    model = PPO("MultiInputPolicy", env, n_steps=16, batch_size=16, seed=0, device="cpu")
    model.learn(64)
    assert model.num_timesteps >= 64


def test_recurrent_policies_read_what_is_remembered() -> None:
    contrib = pytest.importorskip("sb3_contrib")
    env = rows(config=DreamConfig(observe=("pose", "features")))
    model = contrib.RecurrentPPO("MultiInputLstmPolicy", env, n_steps=16, batch_size=16, seed=0, device="cpu")
    model.learn(64)
    assert model.num_timesteps >= 64
