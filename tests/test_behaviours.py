"""Behaviours for recording: noise that moves, words at random, and stretches of whole chunks."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from sfvgen_agents.agent import Agent
from sfvgen_agents.behaviours import MixedAgent, PhraseAgent, RandomAgent, WanderAgent
from sfvgen_envs import arm
from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import FRAMES_PER_CHUNK

BOX = spaces.Box(-1.0, 1.0, (4,), np.float32)


def actions(agent: Agent, count: int, info: Mapping[str, Any] | None = None) -> list[Any]:
    agent.reset({}, info or {})
    return [agent.act({}, info or {}) for _ in range(count)]


def test_noise_keeps_to_the_space_and_to_its_seed() -> None:
    first, again, other = (actions(RandomAgent(BOX, seed=seed), 50) for seed in (1, 1, 2))
    assert all(BOX.contains(action) for action in first)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_noise_is_coloured_and_fills_the_range() -> None:
    walk = np.stack(actions(RandomAgent(BOX), 4000))
    one_step = np.corrcoef(walk[:-1, 0], walk[1:, 0])[0, 1]
    two_chunks = np.corrcoef(walk[: -2 * FRAMES_PER_CHUNK, 0], walk[2 * FRAMES_PER_CHUNK :, 0])[0, 1]
    assert one_step > 0.8
    assert abs(two_chunks) < 0.35
    assert 0.4 < walk.std() < 0.7
    assert np.abs(walk.mean(axis=0)).max() < 0.15


def test_noise_moves_a_robot_further_than_white_noise_does() -> None:
    env = gym.make("sfvgen_envs:sfvgen/Reach-v0", length="long", size=16, disable_env_checker=True)

    def travelled(draw: Any) -> float:
        _, info = env.reset(seed=0)
        start, far = info["privileged"]["tip"], 0.0
        for _ in range(40):
            *_, info = env.step(draw())
            far = max(far, float(np.linalg.norm(info["privileged"]["tip"] - start)))
        return far

    coloured, white = [], []
    for seed in range(6):
        agent = RandomAgent(env.action_space, seed=seed)
        agent.reset({}, {})
        rng = np.random.default_rng(seed)
        coloured.append(travelled(lambda agent=agent: agent.act({}, {})))
        white.append(travelled(lambda rng=rng: np.clip(0.6 * rng.standard_normal(4), -1, 1)))
    env.close()
    assert np.mean(coloured) > 1.5 * np.mean(white)


def tips(agent: Agent, seed: int, steps: int = 60) -> np.ndarray[Any, Any]:
    """[T, 3] where the fingertips of Reach are."""
    env = gym.make("sfvgen_envs:sfvgen/Reach-v0", length="long", size=16, disable_env_checker=True)
    observation, info = env.reset(seed=seed)
    agent.reset(observation, info)
    found = [observation["pose"][7:10]]
    for _ in range(steps):
        observation, *_ = env.step(agent.act(observation, info))
        found.append(observation["pose"][7:10])
    env.close()
    return np.stack(found).astype(float)


def test_who_wanders_is_swift_and_keeps_within_reach() -> None:
    """Without swift ways to nowhere a world takes swiftness for success."""
    wander, noise = WanderAgent(arm.LOW, arm.HIGH, arm.STEP, seed=1), RandomAgent(BOX, seed=1)
    ways = [np.stack([tips(agent, seed) for seed in range(3)]) for agent in (wander, noise)]
    swift, slow = (np.quantile(np.linalg.norm(np.diff(way, axis=1), axis=-1), 0.75) for way in ways)
    assert swift > 1.15 * slow, (swift, slow)
    assert (ways[0] > arm.LOW - 0.01).all()
    assert (ways[0] < arm.HIGH + 0.01).all()
    assert (np.ptp(ways[0], axis=(0, 1)) > 0.5 * (arm.HIGH - arm.LOW)).all()


def test_who_wanders_does_not_care_what_is_there() -> None:
    """It sees its own fingertips alone: other scenes, the same way."""
    first, again, other = (
        tips(WanderAgent(arm.LOW, arm.HIGH, arm.STEP, seed=s), k) for s, k in ((1, 0), (1, 5), (2, 0))
    )
    np.testing.assert_allclose(first, again, atol=1e-4)
    assert np.abs(first - other).max() > 0.05


def test_discrete_actions_are_held_for_a_while() -> None:
    ids = actions(RandomAgent(spaces.Discrete(5, start=2), seed=3), 400)
    changes = np.count_nonzero(np.diff(ids))
    assert set(ids) == {2, 3, 4, 5, 6}
    assert 30 < changes < 150


def test_noise_without_bounds_is_refused() -> None:
    with pytest.raises(BadOption, match="bounds"):
        RandomAgent(spaces.Box(-np.inf, np.inf, (2,)))


def test_phrases_last_one_chunk() -> None:
    said: list[str] = []
    agent = PhraseAgent(("left", "right"), said.append, lambda: len(said), seed=0)
    assert actions(agent, 24) == [1] * 8 + [2] * 8 + [3] * 8
    assert set(said) <= {"left", "right"}


class _Constant:
    """Answers its own name, and counts its resets."""

    def __init__(self, name: str, *, privileged: bool = False) -> None:
        self.name, self.privileged, self.resets = name, privileged, 0
        self.seen: set[str] = set()

    def reset(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        self.resets += 1

    def act(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> str:
        self.seen |= set(info)
        return self.name


def test_mixed_is_made_of_whole_chunks() -> None:
    expert, other = _Constant("expert", privileged=True), _Constant("other")
    mixed = MixedAgent(expert, (other,), seed=1)
    played = actions(mixed, 4000, {"privileged": 1, "success": 1, "instruction": "go"})
    for start in range(0, len(played), FRAMES_PER_CHUNK):
        assert len(set(played[start : start + FRAMES_PER_CHUNK])) == 1
    assert 0.6 < played.count("expert") / len(played) < 0.9
    assert expert.resets == other.resets == 1
    assert "privileged" in expert.seen
    assert other.seen == {"instruction"}, "only the expert may look at the truth"


def test_mixed_starts_afresh_with_a_seed() -> None:
    mixed = MixedAgent(_Constant("expert"), (RandomAgent(BOX), RandomAgent(BOX)))
    mixed.seed(5)
    first = actions(mixed, 100)
    mixed.seed(5)
    assert all(np.array_equal(a, b) for a, b in zip(first, actions(mixed, 100), strict=True))
    walks = [actions(agent, 10) for agent in mixed.others]
    assert not np.array_equal(walks[0], walks[1]), "two noises, not one"
