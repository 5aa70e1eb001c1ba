"""What holds for every task: Gymnasium's contract, exact states, scenes that stay in their split."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from sfvgen_envs import TASKS
from sfvgen_envs.scene import SPLITS, split_of
from sfvgen_envs.state import EnvState
from sfvgen_envs.task import Task
from sfvgen_planner.errors import BadAction, BadImageSize, BadOption, BadState, UnknownName

MEMORY_TASKS = ("cube_return", "route_return")

every_task = pytest.mark.parametrize("task", list(TASKS))


def make(task: str, **settings: Any) -> Task[Any, Any]:
    env = gym.make(f"sfvgen_envs:{TASKS[task]}", **settings)
    assert isinstance(env.unwrapped, Task)
    return env.unwrapped


def actions(env: Task[Any, Any], steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, env.action_size))


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, through values, dicts, tuples and arrays."""
    if isinstance(a, EnvState):
        return same(vars(a), vars(b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
    return bool(a == b)


@every_task
@pytest.mark.filterwarnings("ignore")
def test_both_libraries_accept_it(task: str) -> None:
    check_env(make(task))
    from stable_baselines3.common.env_checker import check_env as check_sb3

    check_sb3(make(task))


@every_task
def test_same_seed_same_episode(task: str) -> None:
    def episode() -> list[Any]:
        env = make(task)
        steps = [env.reset(seed=3)]
        steps += [env.step(action) for action in actions(env, 30)]
        return steps

    assert same(episode(), episode())


@every_task
@settings(max_examples=3, deadline=None)
@given(before=st.integers(0, 25), seed=st.integers(0, 1000))
def test_a_state_continues_bit_for_bit_in_another_environment(task: str, before: int, seed: int) -> None:
    env, other = make(task, split="test"), make(task, split="test")
    env.reset(seed=seed)
    other.reset(seed=seed + 1)
    way = actions(env, before + 12, seed)
    for action in way[:before]:
        env.step(action)
    other.set_state(env.get_state())
    assert same(other.get_state(), env.get_state())
    for action in way[before:]:
        assert same(env.step(action), other.step(action))


@every_task
def test_truncation_lives_inside_and_is_part_of_the_state(task: str) -> None:
    env = make(task, length="short")
    env.reset(seed=1)
    state = env.get_state()
    object.__setattr__(state, "steps", env.horizon - 1)
    env.set_state(state)
    *_, truncated, _ = env.step(np.zeros(env.action_size))
    assert truncated


@every_task
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_scene_is_in_one_split_only(task: str, seed: int) -> None:
    """The split is a function of the scene, and both splits obey it: so no scene can be in both."""
    env = make(task)
    scene = env.draw(np.random.default_rng(seed))
    assert split_of(scene) == split_of(scene)
    assert split_of(scene) in SPLITS
    other = next(split for split in SPLITS if split != split_of(scene))
    everything = {name: getattr(scene, name) for name in scene.__dataclass_fields__}
    with pytest.raises(BadState, match="split"):
        env.reset(seed=seed, options={"variation": {"split": other, **everything}})
    assert scene == type(scene)(**everything)


@every_task
def test_every_reset_obeys_the_split(task: str) -> None:
    scenes = {}
    for split in SPLITS:
        env = make(task, split=split, size=16)
        scenes[split] = set()
        for seed in range(8):
            env.reset(seed=seed)
            assert split_of(env.scene) == split
            scenes[split].add(env.scene.signature())
    assert not scenes["train"] & scenes["test"]


@every_task
def test_the_camera_starts_where_the_episode_starts(task: str) -> None:
    env = make(task)
    observation, _ = env.reset(seed=5)
    np.testing.assert_allclose(observation["pose"][:7], [0, 0, 0, 1, 0, 0, 0], atol=1e-7)
    for action in actions(env, 12):
        observation, *_ = env.step(action)
    np.testing.assert_allclose(np.linalg.norm(observation["pose"][3:7]), 1, atol=1e-6)


@every_task
def test_info_tells_what_it_should_and_no_more(task: str) -> None:
    env = make(task)
    _, info = env.reset(seed=0)
    told = {"instruction", "success", "waypoint_distance", "privileged"}
    assert set(info) == (told if task in MEMORY_TASKS else told | {"goal"})
    assert info["instruction"]
    assert not info["success"]
    assert info["waypoint_distance"] >= 0
    if "goal" in info:
        assert info["goal"].shape == (64, 64, 3)
        assert not np.array_equal(info["goal"], env.render())


@every_task
def test_a_vector_of_environments_is_its_rows(task: str) -> None:
    vector = gym.make_vec(f"sfvgen_envs:{TASKS[task]}", num_envs=2, vectorization_mode="sync", size=32)
    observations, _ = vector.reset(seed=7)
    single = make(task, size=32)
    assert same(single.reset(seed=8)[0]["pixels"], observations["pixels"][1])
    action = actions(single, 1)[0].astype(np.float32)
    observations, *_ = vector.step(np.stack([action, action]))
    assert same(single.step(action)[0]["pixels"], observations["pixels"][1])
    vector.close()


@every_task
def test_bad_actions_are_refused(task: str) -> None:
    env = make(task)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(env.action_size))
    env.reset(seed=0)
    state = env.get_state()
    wrong = np.full(env.action_size, np.nan), np.full(env.action_size, 1.5), "move left", None
    for bad in (np.zeros(env.action_size + 1), *wrong):
        with pytest.raises(BadAction, match="expected"):
            env.step(bad)  # type: ignore[arg-type]
    assert same(env.get_state().physics, state.physics)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(BadImageSize):
        make("reach", size=15)
    with pytest.raises(UnknownName, match="'test'"):
        make("reach", split="tset")
    with pytest.raises(UnknownName, match="sweep"):
        make("reach", camera="swep")
    env = make("reach")
    with pytest.raises(UnknownName, match="colour"):
        env.reset(options={"variation": {"color": "red"}})
    with pytest.raises(UnknownName, match="'variation'"):
        env.reset(options={"variaton": {}})
    env.reset(seed=0)
    with pytest.raises(BadOption):
        env.reset(options={"state": env.get_state(), "goal": (0.4, 0.0, 0.1)})
    for task in TASKS:
        with pytest.raises(BadState, match="there"):
            make(task).reset(options={"goal": "over there"})
    with pytest.raises(BadState, match="push_cube"):
        make("push_cube").set_state(env.get_state())
    with pytest.raises(BadState, match="long"):
        make("reach", length="long").set_state(env.get_state())
    with pytest.raises(gym.error.NameNotFound, match="CubeReturn"):
        gym.make("sfvgen_envs:sfvgen/CubeRetrun-v0")


def test_factors_can_be_fixed() -> None:
    env = make("reach")
    env.reset(seed=0, options={"goal": (0.4, 0.1, 0.1), "variation": {"colour": "blue"}})
    assert env.scene.target == (0.4, 0.1, 0.1)
    assert env.scene.colour == "blue"
    assert "blue" in env.instruction()


def test_reset_to_a_state() -> None:
    env, other = make("push_cube"), make("push_cube")
    env.reset(seed=4)
    for action in actions(env, 5):
        last = env.step(action)[0]
    again, _ = other.reset(options={"state": env.get_state()})
    assert same(again, last)
    assert other.steps == 5


def test_any_size_and_no_square_needed() -> None:
    env = make("reach", size=(48, 80))
    observation, info = env.reset(seed=0)
    assert observation["pixels"].shape == info["goal"].shape == (48, 80, 3)
    assert env.observation_space.contains(observation)
