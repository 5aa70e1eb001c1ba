"""Solvers: they find what is known to be best, keep to the bounds, and rows know nothing of each other."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_fakes import Bimodal, Obstacle, Quadratic, Sentence, context

from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning import (
    CEM,
    ICEM,
    MPPI,
    BeamSearch,
    Budget,
    CategoricalCEM,
    Planner,
    PredictiveSampling,
    RandomShooting,
    Space,
)
from sfvgen_planner.planning.noise import Noise, coloured
from sfvgen_planner.planning.objectives import Reward
from sfvgen_planner.planning.solver import Solver, best, by_row

LEARNING = {"cem": CEM(), "icem": ICEM(), "mppi": MPPI(), "predictive": PredictiveSampling()}
VECTORS = {**LEARNING, "shooting": RandomShooting()}
IDS = {"categorical": CategoricalCEM(), "beam": BeamSearch()}
SQUARE = Space.box((-1.0, -2.0), (1.0, 2.0), 4)
PAID = Reward(discount=1.0)
every_vector = pytest.mark.parametrize("solver", VECTORS.values(), ids=VECTORS)
learning = pytest.mark.parametrize("solver", LEARNING.values(), ids=LEARNING)


@learning
def test_the_lowest_point_of_a_bowl_is_found(solver: Solver) -> None:
    bottom = np.array([[0.4, -1.2], [-0.6, 0.9]])
    plan = Planner(Quadratic(bottom), PAID, SQUARE, solver, Budget(128, 12)).plan(context(2))
    # Within a twentieth of the range, over four steps of two numbers.
    assert (np.abs(plan.actions.values[:, 0] - bottom[:, None]) < [0.1, 0.2]).mean() > 0.8
    assert (plan.score > -0.15).all()


def test_shooting_comes_as_near_as_the_best_of_its_draws() -> None:
    space, bottom = Space.box((-1.0,), (1.0,), 1), np.array([[0.4]])
    plan = Planner(Quadratic(bottom), PAID, space, RandomShooting(), Budget(200, 5)).plan(context())
    assert abs(float(plan.actions.values[0, 0, 0, 0]) - 0.4) < 0.01


@learning
def test_the_way_around_an_obstacle_is_found(solver: Solver) -> None:
    space = Space.box((-1.0, -1.0), (1.0, 1.0), 8)
    plan = Planner(Obstacle(), PAID, space, solver, Budget(256, 16)).plan(context())
    places = plan.rollout.poses[0, 0, :, :2]
    assert (np.linalg.norm(places - [0.5, 0], axis=-1) >= 0.3).all(), places
    assert np.linalg.norm(places[-1] - [1, 0]) < 0.15


@every_vector
def test_of_two_good_ends_one_is_taken_and_never_their_mean(solver: Solver) -> None:
    space = Space.box((-1.0,), (1.0,), 2)
    plan = Planner(Bimodal(), PAID, space, solver, Budget(128, 8)).plan(context())
    assert plan.score[0] > 1.8, "the better of the two"


@pytest.mark.parametrize("kind", ["discrete", "phrase"])
@pytest.mark.parametrize("solver", IDS.values(), ids=IDS)
def test_the_right_words_are_found(solver: Solver, kind: str) -> None:
    wanted = (3, 1, 4, 1)
    space = Space.phrases(6, 4) if kind == "phrase" else Space.discrete(6, 4)
    plan = Planner(Sentence(wanted), PAID, space, solver, Budget(48, 10)).plan(context())
    assert plan.actions.kind == kind
    assert tuple(plan.actions.values[0, 0]) == wanted
    assert plan.score[0] == pytest.approx(4)


def test_only_allowed_phrases_are_said() -> None:
    for solver in IDS.values():
        plan = Planner(Sentence((5, 2, 5)), PAID, Space.phrases((2, 5), 3), solver, Budget(16, 6)).plan(context())
        assert tuple(plan.actions.values[0, 0]) == (5, 2, 5)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(VECTORS)),
    low=st.floats(-5, 4),
    width=st.floats(0.01, 5),
    horizon=st.integers(1, 9),
    count=st.integers(2, 20),
    rows=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
def test_bounds_and_shapes_are_kept(
    name: str, low: float, width: float, horizon: int, count: int, rows: int, seed: int
) -> None:
    """Also with scores that pull outwards, after a shift, and with candidates that were dropped."""
    solver, space = VECTORS[name], Space.box((low, -1.0), (low + width, 1.0), horizon)
    rng, state = np.random.default_rng(seed), solver.begin(space, rows)
    for turn in range(3):
        values = solver.propose(space, state, count, Noise(np.arange(rows) + seed, 0, turn))
        assert values.shape[0] == rows
        assert 1 <= values.shape[1] <= count
        assert values.shape[2:] == (horizon, 2)
        actions = space.actions(values).values
        assert (values >= space.low).all()
        assert (values <= space.high).all()
        assert (actions.astype(np.float64) >= np.float32(space.low)).all()
        assert (actions.astype(np.float64) <= np.float32(space.high)).all()
        scores = np.where(rng.random(values.shape[:2]) < 0.3, -np.inf, values.sum((2, 3)))
        state = solver.improve(space, state, values, scores)
        answer = solver.answer(space, state)
        assert answer is None or ((answer >= space.low) & (answer <= space.high)).all()
        state = solver.shifted(space, state, int(rng.integers(0, horizon + 2)))


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(sorted({**VECTORS, **IDS})), seed=st.integers(0, 1000), rows=st.integers(2, 4))
def test_a_row_is_planned_as_if_alone(name: str, seed: int, rows: int) -> None:
    solver = {**VECTORS, **IDS}[name]
    seeds, bottoms = np.arange(rows) + seed, np.random.default_rng(seed).uniform(-1, 1, (rows, 2))
    space = SQUARE if name in VECTORS else Space.discrete(3, 4)

    def planner(row: slice) -> Planner:
        world = Quadratic(bottoms[row]) if name in VECTORS else Sentence((2, 0, 1, 1))
        return Planner(world, PAID, space, solver, Budget(12, 3))  # type: ignore[arg-type]

    together = planner(slice(None)).plan(context(rows), seeds=seeds)
    together = planner(slice(None)).plan(context(rows), seeds=seeds, before=together, done=2)
    for row in range(rows):
        one = slice(row, row + 1)
        alone = planner(one).plan(context(1), seeds=seeds[one])
        alone = planner(one).plan(context(1), seeds=seeds[one], before=alone, done=2)
        assert np.array_equal(alone.actions.values[0], together.actions.values[row])
        assert alone.score[0] == together.score[row]


def test_the_same_seed_plans_the_same_and_another_does_not() -> None:
    planner = Planner(Quadratic(np.array([[0.3, 0.3]])), PAID, SQUARE, ICEM(), Budget(16, 2))
    first, again, other = (planner.plan(context(), seeds=np.array([seed])) for seed in (5, 5, 6))
    assert np.array_equal(first.actions.values, again.actions.values)
    assert not np.array_equal(first.actions.values, other.actions.values)


@learning
def test_more_rounds_are_better_than_one(solver: Solver) -> None:
    world = Quadratic(np.array([[0.7, -1.4]]))

    def score(rounds: int) -> float:
        planner = Planner(world, PAID, SQUARE, solver, Budget(32, rounds))
        return float(np.mean([planner.plan(context(), seeds=np.array([seed])).score for seed in range(5)]))

    assert score(6) > score(1) + 0.1


@pytest.mark.parametrize("solver", [CEM(momentum=0), ICEM(momentum=0), MPPI()], ids=["cem", "icem", "mppi"])
def test_where_nothing_pays_nothing_is_learned_and_one_find_is_enough(solver: Solver) -> None:
    """Rare rewards: of equally worthless candidates the first few are no elite."""
    state, draw = solver.begin(SQUARE, 1), Noise(np.array([0]), 0, 1)
    values = solver.propose(SQUARE, state, 32, draw)
    flat = np.zeros(values.shape[:2])
    still = solver.improve(SQUARE, state, values, flat)
    assert np.array_equal(still.mean, state.mean)
    assert np.array_equal(still.spread, state.spread)
    flat[0, 9] = 1.0
    found = solver.improve(SQUARE, state, values, flat)
    assert np.allclose(found.mean[0], values[0, 9])
    assert (found.spread > 0.5 * state.spread).all(), "one find is not the end of the search"


def test_icem_needs_half_the_candidates_of_shooting() -> None:
    """For an equal score on the bowl, sixteen numbers wide: the reason it is the default."""
    space, bottom = Space.box((-1.0, -1.0), (1.0, 1.0), 8), np.array([[0.5, -0.5]])

    def score(solver: Solver, candidates: int) -> float:
        plans = [
            Planner(Quadratic(bottom), PAID, space, solver, Budget(candidates, 4)).plan(context(), seeds=np.array([s]))
            for s in range(8)
        ]
        return float(np.mean([plan.score for plan in plans]))

    assert score(ICEM(), 32) > score(RandomShooting(), 64)


def test_warm_starts_go_on_from_the_plan_before() -> None:
    bottom = np.array([[0.6, -1.0]])
    for solver in LEARNING.values():
        planner = Planner(Quadratic(bottom), PAID, SQUARE, solver, Budget(24, 3))
        cold = planner.plan(context())
        warm = planner.plan(context(), before=cold, done=1)
        again = [planner.plan(context(), before=cold, done=1, fresh=np.array([True])) for _ in range(2)]
        assert warm.score[0] > cold.score[0] - 0.05
        assert np.array_equal(again[0].actions.values, again[1].actions.values)
        assert not np.array_equal(again[0].actions.values, warm.actions.values)


def test_icem_carries_its_elites_over() -> None:
    planner = Planner(Quadratic(np.array([[0.6, -1.0]])), PAID, SQUARE, ICEM(), Budget(24, 3))
    plan = planner.plan(context())
    kept = ICEM().shifted(SQUARE, plan.warm.state, 1).kept
    assert np.array_equal(kept[:, :, :-1], plan.warm.state.kept[:, :, 1:])
    values = ICEM().propose(SQUARE, ICEM().shifted(SQUARE, plan.warm.state, 1), 24, Noise(np.array([0])))
    assert np.array_equal(values[:, 1 : 1 + kept.shape[1]], kept)


def test_a_fresh_row_beside_old_ones_begins_at_the_middle() -> None:
    solver = ICEM()
    old = replace(solver.begin(SQUARE, 2), mean=np.ones((2, 4, 2)), kept=np.ones((2, 3, 4, 2)))
    mixed = by_row(np.array([True, False]), solver.begin(SQUARE, 2), old)
    assert (mixed.mean[0] == 0).all()
    assert (mixed.kept[0] == 0).all()
    assert np.array_equal(mixed.kept[1], old.kept[1])


@settings(max_examples=20, deadline=None)
@given(exponent=st.floats(0, 3), horizon=st.integers(1, 24))
def test_coloured_noise_has_variance_one_and_its_colour(exponent: float, horizon: int) -> None:
    drawn = coloured(Noise(np.arange(4)).normal(400, 2 * horizon, 2), exponent)
    assert drawn.shape == (4, 400, horizon, 2)
    assert drawn.var() == pytest.approx(1, abs=0.15)


def test_redder_noise_is_smoother() -> None:
    white = Noise(np.arange(4)).normal(200, 32, 2)
    steps = [float(np.square(np.diff(coloured(white, exponent), axis=2)).mean()) for exponent in (0, 1, 2)]
    assert steps[0] == pytest.approx(2, abs=0.1)
    assert steps[0] > 1.5 * steps[1] > 2 * steps[2]


def test_the_best_are_the_best() -> None:
    scores = np.array([[1.0, 3.0, -np.inf, 3.0]])
    assert best(scores, 3).tolist() == [[1, 3, 0]]


def test_wide_trees_want_candidates_and_wrong_spaces_are_refused() -> None:
    with pytest.raises(BadOption, match="6 or more"):
        Planner(Sentence((0,)), PAID, Space.discrete(6, 2), BeamSearch(), Budget(5)).plan(context())
    with pytest.raises(BadOption, match="categorical"):
        Planner(Sentence((0,)), PAID, Space.discrete(6, 2), ICEM()).plan(context())
    with pytest.raises(BadOption, match="icem"):
        Planner(Obstacle(), PAID, SQUARE, BeamSearch()).plan(context())


def test_odd_configs_are_refused() -> None:
    for make in (
        lambda: CEM(elites=0),
        lambda: ICEM(colour=9),
        lambda: ICEM(spread=0),
        lambda: MPPI(temperature=0),
        lambda: PredictiveSampling(knots=0),
        lambda: CategoricalCEM(momentum=1),
        lambda: Budget(candidates=0),
        lambda: Budget(seconds=0),
        lambda: Budget(survivors=0),
    ):
        with pytest.raises(BadOption):
            make()
