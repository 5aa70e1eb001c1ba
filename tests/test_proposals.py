"""A search may begin with somebody's proposals: looked at first, improved like others, never obeyed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from planning_fakes import Quadratic, context, rollout_of

from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning import (
    CEM,
    ICEM,
    MPPI,
    Budget,
    CategoricalCEM,
    Goal,
    Planner,
    PredictiveSampling,
    Proposals,
    RandomShooting,
    Space,
)
from sfvgen_planner.planning.noise import Noise
from sfvgen_planner.planning.objectives import Reward
from sfvgen_planner.planning.rollouts import plain
from sfvgen_planner.types import Actions, Context, Rollout

SPACE = Space.box((-1.0, -1.0), (1.0, 1.0), 12)
PAID = Reward(discount=1.0)
NEEDLE = 0.77


class Hay:
    """Worth 1 for each step within a hair's breadth of NEEDLE, else nothing: noise never finds it."""

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def __call__(self, context: Context, actions: Actions) -> Rollout:
        values = plain(actions.values)
        self.asked.append(values)
        rewards = (np.abs(values - NEEDLE).max(-1) < 0.01).astype(float)
        return rollout_of(np.zeros((*rewards.shape, 7)), rewards)


def always(value: float, ahead: int = 8) -> Callable[..., np.ndarray]:
    """The same again and again, for so many steps."""

    def propose(context: Context, goal: Goal, count: int, noise: Noise) -> np.ndarray:
        return np.full((len(context.poses), count, ahead, 2), value)

    return propose


def drawn(context: Context, goal: Goal, count: int, noise: Noise) -> np.ndarray:
    """By the noise of each row."""
    return noise.normal(count, 8, 2)


def plan(world: Any, solver: Any, proposals: Proposals | None, rows: int = 1, **how: Any) -> Any:
    return Planner(world, PAID, SPACE, solver, Budget(16, 3), proposals=proposals).plan(context(rows), **how)


@pytest.mark.parametrize("solver", [RandomShooting(), PredictiveSampling(), CEM(), ICEM(), MPPI()])
def test_what_search_does_not_find_is_found_where_it_begins(solver: Any) -> None:
    assert plan(Hay(), solver, None).score[0] == 0
    assert plan(Hay(), solver, Proposals(always(NEEDLE))).score[0] >= 8


def test_they_are_the_first_share_of_each_plans_first_round_and_of_no_other() -> None:
    world = Hay()
    plan(world, RandomShooting(), Proposals(always(0.5), share=0.25))
    first, *others = world.asked
    assert (first[0, :4, :8] == np.float32(0.5)).all()
    assert first.shape[1] == 16
    assert not any((values[0, :, :8] == np.float32(0.5)).all((1, 2)).any() for values in [first[:, 4:], *others])


def test_a_bad_proposal_is_not_done() -> None:
    world = Quadratic(np.array([[0.2, 0.2]]))
    assert abs(plan(world, CEM(), Proposals(always(-1.0))).score[0]) < 12 * 2 * 0.5


def test_where_the_world_knows_no_difference_the_likeliest_is_done() -> None:
    found = plan(Hay(), ICEM(), Proposals(drawn, 0.5))
    likeliest = drawn(context(), Goal(), 8, Noise(np.zeros(1, np.int64), 0, 1 << 20))[:, :1]
    assert np.allclose(found.actions.values[:, :, :8], likeliest.clip(-1, 1))


def test_beyond_their_horizon_they_go_on_as_the_solver_would() -> None:
    world, alone = Hay(), Hay()
    plan(world, CEM(), Proposals(always(0.5)))
    plan(alone, CEM(), None)
    assert np.array_equal(world.asked[0][:, :4, 8:], alone.asked[0][:, -4:, 8:])
    assert np.array_equal(world.asked[0][:, 4:], alone.asked[0][:, :-4])


def test_longer_ones_are_cut() -> None:
    assert plan(Hay(), CEM(), Proposals(always(NEEDLE, ahead=40))).score[0] == 12


@pytest.mark.parametrize("solver", [CEM(), ICEM(), MPPI()])
def test_a_row_begins_as_if_alone_and_each_plan_anew(solver: Any) -> None:
    world, seeds = Quadratic(np.full((3, 2), 0.3)), np.array([5, 6, 7])
    together = plan(world, solver, Proposals(drawn), 3, seeds=seeds)
    for row in range(3):
        alone = plan(world, solver, Proposals(drawn), 1, seeds=seeds[row : row + 1])
        assert np.array_equal(together.actions.values[row], alone.actions.values[0])
    first, second = Hay(), Hay()
    before = plan(first, solver, Proposals(drawn))
    plan(second, solver, Proposals(drawn), before=before, done=2)
    assert not np.array_equal(first.asked[0][:, :4, :8], second.asked[0][:, :4, :8])


def test_what_cannot_be_proposed_is_named() -> None:
    with pytest.raises(BadOption, match=r"share of 0\.0"):
        Proposals(drawn, 0.0)
    with pytest.raises(BadOption, match="share of 2"):
        Proposals(drawn, 2)
    words = Planner(Hay(), PAID, Space.phrases(3, 2), CategoricalCEM(), proposals=Proposals(drawn))
    with pytest.raises(BadOption, match="vectors"):
        words.plan(context())
