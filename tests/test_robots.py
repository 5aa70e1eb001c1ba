"""The robot tasks: an arm that goes where it is told, experts that succeed, a place that only memory holds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tasks import make

from sfvgen_agents.arms import PushExpert, ReachExpert, ReturnExpert
from sfvgen_envs import arm
from sfvgen_planner.errors import BadState

EXPERTS = {"reach": ReachExpert, "push_cube": PushExpert, "cube_return": ReturnExpert}


def play(env: Any, agent: Any, seed: int) -> tuple[dict[str, Any], list[float]]:
    observation, info = env.reset(seed=seed)
    agent.reset(observation, info)
    rewards: list[float] = []
    while True:
        observation, reward, terminated, truncated, info = env.step(agent.act(observation, info))
        rewards.append(reward)
        if terminated or truncated:
            return info, rewards


@given(st.tuples(*(st.floats(float(low), float(high)) for low, high in zip(arm.LOW, arm.HIGH, strict=True))))
def test_inverse_kinematics_undoes_forward(tip: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(arm.forward(arm.inverse(np.array(tip))), tip, atol=1e-9)


def test_the_body_is_where_kinematics_says() -> None:
    env = make("reach")
    env.reset(seed=0)
    for target in (arm.LOW, arm.HIGH, np.array([0.4, -0.2, 0.1])):
        env.arm.place(env.data, target)
        env._look()
        np.testing.assert_allclose(env.arm.tip(env.data), target, atol=1e-6)


def test_a_step_moves_the_fingertips_three_centimetres() -> None:
    env = make("reach")
    env.reset(seed=0)
    before = env.arm.tip(env.data)
    for _ in range(4):
        env.step(np.array([0.0, 1.0, 0.0, -1.0]))
    for _ in range(4):
        env.step(np.array([0.0, 0.0, 0.0, -1.0]))
    np.testing.assert_allclose(env.arm.tip(env.data) - before, [0, 0.12, 0], atol=2e-3)


@pytest.mark.parametrize("task", EXPERTS)
@pytest.mark.parametrize("length", ["short", "long"])
def test_experts_succeed(task: str, length: str) -> None:
    env = make(task, split="test", length=length, size=16)
    for seed in range(3):
        info, rewards = play(env, EXPERTS[task](), seed)
        assert info["success"], (seed, info)
        assert sum(rewards) > 1


@pytest.mark.slow
@pytest.mark.parametrize("task", EXPERTS)
def test_experts_succeed_nearly_always(task: str) -> None:
    env = make(task, split="test", size=16)
    assert np.mean([play(env, EXPERTS[task](), seed)[0]["success"] for seed in range(100, 140)]) >= 0.95


def test_a_guess_does_not_return_a_cube() -> None:
    env = make("cube_return", split="test", length="short", size=16)
    truth, guess = (
        [play(env, ReturnExpert(belief), s)[0]["waypoint_distance"] for s in range(4)] for belief in ("truth", "guess")
    )
    assert np.mean(guess) > 15 * np.mean(truth)


def test_no_reward_before_the_end_tells_where_a_cube_belongs() -> None:
    """The same way back in two episodes that differ only in the hidden place: equal rewards until the last step."""
    env = make("cube_return", split="test", length="short", size=16)

    def rewards(belong: tuple[float, float] | None) -> list[float]:
        observation, info = env.reset(seed=0)
        agent = ReturnExpert("guess")
        agent.reset(observation, info)
        given: list[float] = []
        while True:
            if belong is not None and info["instruction"].startswith("return"):
                env._scene = replace(env.scene, places=(belong, *env.scene.places[1:]))
            observation, reward, terminated, truncated, info = env.step(agent.act(observation, info))
            given.append(reward)
            if terminated or truncated:
                return given

    here, there = rewards(None), rewards((0.3, 0.0))
    assert here[:-1] == there[:-1]
    assert here[-1] != there[-1]


@pytest.mark.parametrize("length", ["short", "medium", "long"])
def test_a_place_is_out_of_sight_for_forty_frames_before_it_is_needed(length: str) -> None:
    """A place is last seen when its cube is lifted, and needed when the cube is lifted out of the box."""
    env = make("cube_return", split="test", length=length, size=16)
    lifted: dict[int, int] = {}
    gaps: list[int] = []
    for seed in range(2):
        observation, info = env.reset(seed=seed)
        agent = ReturnExpert()
        agent.reset(observation, info)
        lifted.clear()
        needed: dict[int, int] = {}
        ended = False
        while not ended:
            kind, cube = env.stages()[env.progress.stage]
            if kind != "home" and info["privileged"]["cube"][2] > 0.05:
                (lifted if kind == "out" else needed).setdefault(cube, env.steps)
            observation, _, terminated, truncated, info = env.step(agent.act(observation, info))
            ended = terminated or truncated
        gaps += [needed[cube] - lifted[cube] for cube in needed]
    assert min(gaps) >= 40


def test_the_sweeping_camera_loses_places_and_finds_them_again() -> None:
    """Some cube is in the picture at some time, out of it at another, and in again."""
    env = make("cube_return", camera="sweep", length="long", split="test")
    env.reset(seed=3)
    seen = []
    for _ in range(96):
        env.step(np.array([0.0, 0.0, 0.0, -1.0]))
        geoms = set(env._eye.segment(env.data).ravel().tolist())
        seen.append([env.model.body(f"cube{i}").geomadr[0] in geoms for i in range(3)])
    changes = np.abs(np.diff(np.array(seen).astype(int), axis=0)).sum(axis=0)
    assert changes.max() >= 2


def test_places_can_be_given() -> None:
    env = make("cube_return", length="medium")
    env.reset(seed=0, options={"goal": [(0.4, 0.05), (0.3, -0.05)]})
    np.testing.assert_allclose(env.data.body("cube1").xpos[:2], (0.3, -0.05))
    with pytest.raises(BadState, match="has 2"):
        env.reset(options={"goal": [(0.4, 0.05)]})
