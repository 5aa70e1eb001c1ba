"""The planner: budgets are kept, the best is returned, memory and time may run short, and what is odd has a name."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_fakes import Bimodal, Obstacle, Quadratic, Sentence, Small, Ticking, context, rollout_of

from sfvgen_planner.errors import BadOption, BadState, NoPlan, UnknownName
from sfvgen_planner.planning import (
    BUDGETS,
    CEM,
    ICEM,
    BeamSearch,
    Budget,
    CategoricalCEM,
    Goal,
    Planner,
    RandomShooting,
    Space,
    budget_of,
)
from sfvgen_planner.planning.objectives import Custom, GoalImage, Reward
from sfvgen_planner.planning.rollouts import chosen, joined, plain
from sfvgen_planner.planning.splitting import Split, in_parts
from sfvgen_planner.types import Actions, Context, Rollout

LINE = Space.box((-1.0,), (1.0,), 1)
SQUARE = Space.box((-1.0, -1.0), (1.0, 1.0), 24)
PAID = Reward(discount=1.0)


class Coarse:
    """A bowl whose rewards are shaken by as much as it is coarse, in a way that actions decide alone."""

    def __init__(self, shaken: float) -> None:
        self.shaken, self.asked = shaken, 0

    def __call__(self, context: Context, actions: Actions) -> Rollout:
        values = plain(actions.values)
        self.asked += values.shape[0] * values.shape[1]
        rewards = -np.square(values - 0.3).sum(-1) + self.shaken * np.sin(900 * values).sum(-1)
        return rollout_of(np.zeros((*rewards.shape, 7)), rewards)


def test_a_plan_says_what_will_be_done_what_it_is_worth_and_what_is_expected() -> None:
    plan = Planner(Obstacle(), PAID, SQUARE, ICEM(), Budget(16, 2)).plan(context(3))
    assert plan.actions.values.shape == (3, 1, 24, 2)
    assert plan.score.shape == (3,)
    assert plan.rollout.poses.shape == (3, 1, 24, 7)
    again = Obstacle()(context(3), plan.actions)
    assert np.allclose(again.rewards.sum(-1)[:, 0], plan.score)
    assert np.array_equal(again.poses, plan.rollout.poses)


def test_no_more_is_imagined_than_the_budget_says() -> None:
    world = Quadratic(np.array([[0.2, 0.2]]))
    plan = Planner(world, PAID, SQUARE, CEM(), Budget(10, 3)).plan(context())
    assert world.asked == [10, 10, 10]
    assert plan.trace.frames == 10 * 3 * 24
    assert [scores.shape for scores in plan.trace.scores] == [(1, 10)] * 3


def test_the_best_of_all_rounds_is_returned() -> None:
    plan = Planner(Bimodal(), PAID, LINE, RandomShooting(), Budget(20, 4)).plan(context(2))
    assert np.array_equal(plan.score, np.concatenate(plan.trace.scores, 1).max(1))


def test_a_time_limit_returns_the_best_so_far() -> None:
    world = Ticking(Quadratic(np.array([[0.2, 0.2]])))
    planner = Planner(world, PAID, SQUARE, CEM(), Budget(10, 50, seconds=4.5))
    plan = planner.plan(context(), clock=world.clock)
    assert len(plan.trace.scores) == 4
    assert world.now == 4
    assert plan.score[0] == max(scores.max() for scores in plan.trace.scores)


def test_a_round_too_long_for_the_limit_is_cut_short_and_still_answers() -> None:
    world = Ticking(Quadratic(np.array([[0.2, 0.2]])))
    plan = Planner(world, PAID, SQUARE, CEM(), Budget(10, 5, seconds=2.5, at_once=2)).plan(context(), clock=world.clock)
    assert world.now == 3
    assert plan.trace.scores[0].shape == (1, 6)


def test_finalists_are_judged_by_the_finer_world() -> None:
    coarse, fine = Coarse(0.5), Coarse(0.0)
    budget = Budget(64, 2, finalists=8)
    only = Planner(coarse, PAID, LINE, CEM(), budget).plan(context())
    both = Planner(coarse, PAID, LINE, CEM(), budget, fine).plan(context())
    true = [-float(np.square(plan.actions.values - 0.3).sum()) for plan in (only, both)]
    assert fine.asked == 9, "the finalists, and the solver's own answer"
    assert both.score[0] == pytest.approx(true[1], abs=1e-6), "and it is the fine world's score that is told"
    assert true[1] > true[0]


def test_finalists_for_whom_there_is_no_time_are_left_as_they_are() -> None:
    world = Ticking(Quadratic(np.array([[0.2, 0.2]])))
    # Two rounds of a second; nine candidates of four steps would take a second and a half more.
    for seconds, rounds in ((3.0, 2), (3.6, 3)):
        began = world.now
        budget = Budget(24, 2, seconds=seconds, finalists=8)
        plan = Planner(world, PAID, SQUARE, CEM(), budget, world).plan(context(), clock=world.clock)
        assert len(plan.trace.scores) == 2
        assert world.now - began == rounds


def test_halving_finds_as_good_a_plan_for_less() -> None:
    """Where what comes soon counts most: what is far off after a chunk is not imagined further."""
    bottom, soon = np.array([[0.3, -0.3]]), Reward(0.8)
    whole = Planner(Quadratic(bottom), soon, SQUARE, CEM(), Budget(64, 4)).plan(context())
    half = Planner(Quadratic(bottom), soon, SQUARE, CEM(), Budget(64, 4, survivors=0.25)).plan(context())
    assert half.trace.frames == 4 * (64 * 8 + 16 * 24)
    assert half.trace.frames < 0.6 * whole.trace.frames
    assert all(np.isfinite(scores).sum() == 16 for scores in half.trace.scores)
    assert half.rollout.rewards.shape == (1, 1, 24)
    assert half.score[0] > 1.2 * whole.score[0], "both are below 0"


def test_survivors_go_on_where_they_are_if_the_world_can() -> None:
    class Resuming(Obstacle):
        def __init__(self) -> None:
            self.resumed = 0

        def resume(self, context: Context, begun: Rollout, actions: Actions) -> Rollout:
            self.resumed += actions.values.shape[1]
            places = begun.poses[:, :, -1:, :2] + np.cumsum(0.25 * plain(actions.values), axis=2)
            rewards = -5.0 * (np.linalg.norm(places - [0.5, 0], axis=-1) < 0.3)
            rewards[..., -1] -= np.linalg.norm(places[..., -1, :] - [1, 0], axis=-1)
            poses = np.zeros((*rewards.shape, 7))
            poses[..., :2] = places
            return rollout_of(poses, rewards)

    world = Resuming()
    plan = Planner(world, PAID, SQUARE, CEM(), Budget(20, 2, survivors=0.3)).plan(context())
    assert world.resumed == 12
    assert plan.trace.frames == 2 * (20 * 8 + 6 * 16)
    again = Obstacle()(context(), plan.actions)
    assert np.allclose(again.poses, plan.rollout.poses)
    assert plan.actions.values.shape == (1, 1, 24, 2)


OUT = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
)


@pytest.mark.parametrize("error", OUT, ids=lambda error: type(error).__name__)
def test_out_of_memory_halves_the_split_and_goes_on(error: BaseException) -> None:
    bottom = np.array([[0.2, 0.2]])
    small = Small(Quadratic(bottom), 5, error)
    planner = Planner(small, PAID, SQUARE, CEM(), Budget(24, 2))
    plan = planner.plan(context())
    assert small.asked == [24, 12, 6, *[3] * 8, *[3] * 8], "what fits is found out once"
    roomy = Planner(Quadratic(bottom), PAID, SQUARE, CEM(), Budget(24, 2)).plan(context())
    assert np.array_equal(plan.actions.values, roomy.actions.values)
    planner.plan(context(), before=plan, done=1)
    assert small.asked[19:] == [3] * 16, "and the next plan knows it"


def test_what_does_not_fit_at_all_and_what_is_no_allocator_are_told() -> None:
    with pytest.raises(BadOption, match="does not fit into memory"):
        Planner(Small(Obstacle(), 0, MemoryError()), PAID, SQUARE, CEM(), Budget(8, 1)).plan(context())
    with pytest.raises(RuntimeError, match="shape"):
        Planner(Small(Obstacle(), 0, RuntimeError("shape")), PAID, SQUARE, CEM(), Budget(8, 1)).plan(context())


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 40), room=st.integers(1, 40), at_once=st.none() | st.integers(1, 50))
def test_every_candidate_is_imagined_once_and_in_order(count: int, room: int, at_once: int | None) -> None:
    asked: list[tuple[int, int]] = []

    def ask(first: int, end: int) -> Rollout:
        if end - first > room:
            raise MemoryError
        asked.append((first, end))
        return rollout_of(np.zeros((1, end - first, 2, 7)), np.arange(first, end)[None, :, None] * np.ones((1, 1, 2)))

    whole = joined(list(Split(at_once).parts(count, ask)))
    assert whole.rewards[0, :, 0].tolist() == list(range(count))
    assert asked[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(asked))


def test_a_world_in_parts_is_the_same_world() -> None:
    actions = Actions("vector", np.random.default_rng(0).uniform(-1, 1, (2, 7, 5, 2)).astype(np.float32))
    whole, parts = Obstacle()(context(2), actions), in_parts(Obstacle(), 3)(context(2), actions)
    assert np.array_equal(whole.poses, parts.poses)
    assert np.array_equal(whole.rewards, parts.rewards)


def test_scores_that_are_not_finite_are_dropped_and_counted() -> None:
    def some(rollout: Rollout, goal: Goal) -> np.ndarray:
        scores = plain(rollout.rewards).sum(-1)
        scores[:, ::2] = np.nan
        scores[:, 1] = np.inf
        return scores

    plan = Planner(Bimodal(), Custom(some), LINE, CEM(), Budget(20, 3)).plan(context(2))
    assert plan.trace.dropped == 2 * 3 * 11
    assert np.isfinite(plan.score).all()
    assert np.isfinite(plan.warm.state.mean).all()


def test_all_dropped_is_a_named_error() -> None:
    def none(rollout: Rollout, goal: Goal) -> np.ndarray:
        scores = plain(rollout.rewards).sum(-1)
        scores[1] = np.nan
        return scores

    with pytest.raises(NoPlan, match="episode 1"):
        Planner(Bimodal(), Custom(none), LINE, CEM(), Budget(8, 2)).plan(context(3))


def test_what_cannot_be_planned_is_refused_by_name() -> None:
    with pytest.raises(BadOption, match="horizon of 0"):
        Space.box((-1.0,), (1.0,), 0)
    with pytest.raises(BadOption, match="up to 16, as this world"):
        Planner(Obstacle(), PAID, SQUARE, limit=16)
    with pytest.raises(BadOption, match="up to 16"):
        Planner(Sentence((0,)), PAID, Space.phrases(3, 3), BeamSearch(), limit=16)
    for low, high in (((1.0,), (1.0,)), ((2.0,), (1.0,)), ((-np.inf,), (1.0,)), ((np.nan,), (1.0,)), ((), ())):
        with pytest.raises(BadOption, match="low < high"):
            Space.box(low, high, 4)
    with pytest.raises(BadOption, match="as many"):
        Space.box((0.0,), (1.0, 1.0), 4)
    with pytest.raises(BadOption, match="none twice"):
        Space.phrases((1, 1), 2)
    with pytest.raises(BadOption, match="one or more"):
        Space.discrete(0, 2)
    with pytest.raises(BadOption, match="1 candidate"):
        Budget(candidates=0)
    with pytest.raises(BadOption, match="seeds"):
        Planner(Obstacle(), PAID, SQUARE).plan(context(2), seeds=np.array([1]))
    with pytest.raises(BadOption, match="one a candidate"):
        Planner(Obstacle(), Custom(lambda rollout, goal: rollout.rewards), SQUARE).plan(context())
    with pytest.raises(UnknownName, match="medium"):
        budget_of("mediun")
    assert budget_of("small") is BUDGETS["small"]


def test_goals_must_fit_the_episodes() -> None:
    planner = Planner(Obstacle(), GoalImage(lambda image: image), SQUARE, CEM(), Budget(4, 1))
    with pytest.raises(BadState, match=r"goal image \[1, 4, 4, 3\].*\[1, 8, 8, 3\]"):
        planner.plan(context(), Goal(np.zeros((1, 4, 4, 3), np.uint8)))
    with pytest.raises(BadState, match="2 goal texts"):
        planner.plan(context(), Goal(text=("a", "b")))
    with pytest.raises(BadState, match="0 goal poses"):
        planner.plan(context(), Goal(pose=np.zeros((0, 7))))
    with pytest.raises(BadState, match="without image"):
        planner.plan(context())


def test_torch_rollouts_are_searched_like_numpy_ones() -> None:
    def of_torch(context: Context, actions: Actions) -> Rollout:
        found = Obstacle()(context, actions)
        held = (found.poses, found.rewards, found.success, found.terminated)
        return Rollout(*(torch.from_numpy(one) for one in held))  # type: ignore[arg-type]

    numpy, torched = (
        Planner(world, PAID, SQUARE, ICEM(), Budget(16, 3, finalists=3), world, None).plan(context(2))
        for world in (Obstacle(), of_torch)
    )
    assert np.array_equal(numpy.actions.values, torched.actions.values)
    assert isinstance(torched.rollout.poses, torch.Tensor)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 3), count=st.integers(1, 5), frames=st.integers(1, 4), torched=st.booleans())
def test_rollouts_taken_apart_and_joined_are_whole_again(rows: int, count: int, frames: int, torched: bool) -> None:
    rng = np.random.default_rng(rows)
    poses, rewards = rng.random((rows, count, frames, 7)), rng.random((rows, count, frames))
    actions = Actions("vector", rng.random((rows, count, frames, 2)))
    whole = replace(rollout_of(poses, rewards), latents=rng.random((rows, count, frames, 2, 3, 3)), actions=actions)
    if torched:
        whole = replace(whole, latents=torch.from_numpy(whole.latents), poses=torch.from_numpy(poses))
    places = np.tile(np.arange(count), (rows, 1))
    again = joined([chosen(whole, places[:, n : n + 1]) for n in range(count)])
    assert np.array_equal(plain(again.latents), plain(whole.latents))
    assert np.array_equal(plain(again.poses), poses)
    assert np.array_equal(again.actions.values, actions.values)  # type: ignore[union-attr]


def test_a_longer_sentence_takes_a_shorter_ones_place() -> None:
    """A beam's first words may have been worth more than all of them."""

    def fading(context: Context, actions: Actions) -> Rollout:
        length = actions.values.shape[2]
        rewards = np.zeros((1, actions.values.shape[1], length))
        rewards[..., -1] = -length
        return rollout_of(np.zeros((*rewards.shape, 7)), rewards)

    plan = Planner(fading, PAID, Space.discrete(3, 5), BeamSearch(), Budget(9, 1)).plan(context())
    assert plan.actions.values.shape == (1, 1, 5)


def test_categorical_chances_stay_chances() -> None:
    plan = Planner(Sentence((1, 1, 0)), PAID, Space.discrete(4, 3), CategoricalCEM(), Budget(16, 3)).plan(context(2))
    assert np.allclose(plan.warm.state.chance.sum(-1), 1)
    assert (plan.warm.state.chance > 0).all()
    later = CategoricalCEM().shifted(Space.discrete(4, 3), plan.warm.state, 1)
    assert np.allclose(later.chance.sum(-1), 1)
