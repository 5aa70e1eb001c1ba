"""Objectives: each term against a computation of its own, and their sums."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planning_fakes import Quadratic, context, rollout_of

from sfvgen_planner.errors import BadOption, BadState
from sfvgen_planner.planning import Goal
from sfvgen_planner.planning.objectives import (
    Custom,
    Effort,
    GoalImage,
    GoalPose,
    GoalPosture,
    GoalText,
    Reward,
    Roughness,
    Success,
    Term,
    Uncertainty,
    sees,
)
from sfvgen_planner.planning.rollouts import plain
from sfvgen_planner.planning.several import several
from sfvgen_planner.types import Actions, Context, Rollout

RNG = np.random.default_rng(0)
B, N, T = 2, 3, 5
REWARDS = RNG.normal(size=(B, N, T))
POSES = RNG.normal(size=(B, N, T, 9))
LATENTS = RNG.normal(size=(B, N, T, 2, 4, 4))
DONE = RNG.uniform(size=(B, N, T))
VALUES = RNG.uniform(-1, 1, (B, N, T, 2))
ROLLOUT = replace(
    rollout_of(POSES, REWARDS),
    latents=torch.from_numpy(LATENTS),
    success=DONE,
    terminated=DONE,
    actions=Actions("vector", VALUES),
)
NONE = Goal()


def test_rewards_count_as_likely_as_the_episode_goes_on() -> None:
    want = np.zeros((B, N))
    for b, n in np.ndindex(B, N):
        alive = 1.0
        for t in range(T):
            want[b, n] += 0.9**t * alive * REWARDS[b, n, t]
            alive *= 1 - DONE[b, n, t]
    assert np.allclose(Reward(0.9)(ROLLOUT, NONE), want)


def test_success_is_the_surest_frame() -> None:
    assert np.array_equal(Success()(ROLLOUT, NONE), DONE.max(-1))


@pytest.mark.parametrize("when", ["last", "closest", "mean"])
def test_a_goal_picture_is_compared_in_latents(when: str) -> None:
    images = RNG.integers(0, 255, (B, 8, 8, 3)).astype(np.uint8)
    there = RNG.normal(size=(B, 2, 4, 4))
    term = GoalImage(lambda image: torch.from_numpy(there), when=when)  # type: ignore[arg-type]
    gaps = np.square(LATENTS - there[:, None, None]).mean((3, 4, 5))
    want = {"last": gaps[..., -1], "closest": gaps.min(-1), "mean": gaps.mean(-1)}[when]
    assert np.allclose(term(ROLLOUT, Goal(images)), -want)


def test_and_in_any_features() -> None:
    features, there = RNG.normal(size=(B, N, T, 6)), RNG.normal(size=(B, 6))
    term = GoalImage(lambda image: there, features=lambda rollout: features)
    assert np.allclose(term(ROLLOUT, Goal(np.zeros(1))), -np.square(features - there[:, None, None]).mean(-1)[..., -1])
    with pytest.raises(BadOption, match="Encode alike"):
        GoalImage(lambda image: there)(ROLLOUT, Goal(np.zeros(1)))
    with pytest.raises(BadOption, match="without latents"):
        GoalImage(lambda image: there)(replace(ROLLOUT, latents=None), Goal(np.zeros(1)))


def test_a_goal_text_is_asked_of_the_function_given() -> None:
    told = []

    def alike(rollout: Rollout, texts: tuple[str, ...]) -> np.ndarray:
        told.append(texts)
        return REWARDS

    assert np.allclose(GoalText(alike)(ROLLOUT, Goal(text=("a", "b"))), REWARDS[..., -1])
    assert np.allclose(GoalText(alike, "closest")(ROLLOUT, Goal(text=("a", "b"))), REWARDS.max(-1))
    assert told == [("a", "b")] * 2
    with pytest.raises(BadState, match="without text"):
        GoalText(alike)(ROLLOUT, NONE)


def test_poses_and_way_points_are_metres() -> None:
    goal = RNG.normal(size=(B, 9))
    away = np.linalg.norm(POSES[..., [7, 8]] - goal[:, None, None, [7, 8]], axis=-1)
    assert np.allclose(GoalPose((7, 8))(ROLLOUT, Goal(pose=goal)), -away[..., -1])
    ways = RNG.normal(size=(B, 4, 9))
    want = np.zeros((B, N))
    for b, n in np.ndindex(B, N):
        want[b, n] = -np.mean([min(np.linalg.norm(POSES[b, n, t, :3] - w[:3]) for t in range(T)) for w in ways[b]])
    assert np.allclose(GoalPose()(ROLLOUT, Goal(pose=ways)), want)


def test_effort_and_roughness() -> None:
    assert np.allclose(Effort()(ROLLOUT, NONE), (VALUES**2).mean((2, 3)))
    assert np.allclose(Roughness()(ROLLOUT, NONE), ((VALUES[:, :, 1:] - VALUES[:, :, :-1]) ** 2).mean((2, 3)))
    ids = replace(ROLLOUT, actions=Actions("discrete", np.array([[[1, 1, 2, 2, 1]] * N] * B)))
    assert np.allclose(Effort()(ids, NONE), 0.5)
    assert np.allclose(Roughness()(ids, NONE), 0.5)
    one = replace(ROLLOUT, actions=Actions("phrase", np.array([[[1]] * N] * B)))
    assert np.array_equal(Effort()(one, NONE), np.zeros((B, N)))
    with pytest.raises(BadOption, match="what was done"):
        Effort()(replace(ROLLOUT, actions=None), NONE)


def test_terms_add_up() -> None:
    total = 2 * Reward(0.9) - 0.1 * Effort() + Custom(lambda rollout, goal: torch.ones(B, N)) * 3
    want = 2 * Reward(0.9)(ROLLOUT, NONE) - 0.1 * Effort()(ROLLOUT, NONE) + 3
    assert np.allclose(total(ROLLOUT, NONE), want)
    assert np.allclose((-total)(ROLLOUT, NONE), -want)
    assert np.allclose((total - total)(ROLLOUT, NONE), 0)


def test_several_dreams_tell_how_sure_they_are() -> None:
    def shaken(by: float) -> object:
        def imagine(context: Context, actions: Actions) -> Rollout:
            found = Quadratic(np.zeros((1, 2)))(context, actions)
            spread = by * plain(actions.values)[..., :1]
            return replace(found, rewards=found.rewards + by, poses=found.poses + spread)

        return imagine

    actions = Actions("vector", np.array([[[[0.0, 0.0]] * 3, [[1.0, 0.0]] * 3]]))
    rollout = several([shaken(-1.0), shaken(1.0)])(context(), actions)  # type: ignore[list-item]
    assert np.allclose(rollout.doubt, [[[0, 0, 0], [1, 1, 1]]])
    assert np.allclose(rollout.rewards, Quadratic(np.zeros((1, 2)))(context(), actions).rewards)
    assert np.allclose(Uncertainty()(rollout, NONE), [[0, 1]])
    with pytest.raises(BadOption, match="two or more"):
        several([shaken(1.0)])  # type: ignore[list-item]


def test_without_several_dreams_the_heads_say_how_undecided_they_are() -> None:
    sure = np.zeros((1, 2, 3))
    half = replace(rollout_of(np.zeros((1, 2, 3, 7)), sure), success=np.array([[[0.5] * 3, [1.0] * 3]]))
    assert np.allclose(Uncertainty()(half, NONE), [[0.5, 0]])


def apart(rollout: Rollout, images: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.linalg.norm(plain(rollout.poses), axis=-1)


BLIND = (
    GoalPose(),
    GoalPosture(apart),
    Effort(),
    Roughness(),
    Custom(lambda rollout, goal: ROLLOUT.poses, looks=False),
)


@pytest.mark.parametrize("term", BLIND)
def test_who_sees_nothing_says_the_same_of_what_was_never_drawn(term: Term) -> None:
    nothing = np.zeros((B, N, T))
    undrawn = replace(ROLLOUT, latents=None, pixels=None, rewards=nothing, success=nothing, terminated=nothing)
    goal = Goal(np.zeros((B, 8, 8, 3), np.uint8), pose=RNG.normal(size=(B, 9)))
    assert not sees(term)
    assert np.array_equal(plain(term(undrawn, goal)), plain(term(ROLLOUT, goal)))


def test_a_sum_sees_if_any_of_it_does() -> None:
    assert sees(GoalPose() + 0.1 * Reward())
    assert not sees(GoalPose() - 0.1 * Effort())
    assert all(sees(term) for term in (Reward(), Success(), Uncertainty(), Custom(apart)))
    assert sees(lambda rollout, goal: ROLLOUT.rewards), "nobody knows what a plain function looks at"
