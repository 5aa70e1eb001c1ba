"""Intervals: known answers, independent computations, and coverage by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.statistics import (
    Interval,
    bootstrap_interval,
    mean_interval,
    paired_difference,
    paired_success_difference,
    success_interval,
)
from sfvgen_planner.metrics.student import student_cdf, student_quantile


@pytest.mark.parametrize(
    ("df", "t"),
    [(1, 12.706204736), (2, 4.302652730), (5, 2.570581836), (10, 2.228138852), (30, 2.042272456), (199, 1.971956544)],
)
def test_quantiles_are_those_of_the_printed_tables(df: int, t: float) -> None:
    assert student_quantile(0.975, df) == pytest.approx(t, abs=2e-9)


@given(st.floats(-50, 50))
def test_the_distribution_has_its_closed_forms(t: float) -> None:
    assert student_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-12)
    assert student_cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-12)


@given(st.floats(1, 1e5), st.floats(0.001, 0.999))
def test_quantile_inverts_the_distribution(df: float, probability: float) -> None:
    assert student_cdf(student_quantile(probability, df), df) == pytest.approx(probability, abs=1e-9)


def test_many_degrees_are_the_normal() -> None:
    assert student_quantile(0.975, 1e6) == pytest.approx(1.959963985, abs=5e-6)


def test_mean_known_answer() -> None:
    found = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445105 * math.sqrt(2.5 / 5)
    assert (found.mean, found.n) == (3.0, 5)
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), abs=1e-8)


def test_success_known_answer() -> None:
    # Newcombe 1998, table I: 81 of 263 and 15 of 148.
    assert success_interval([1] * 81 + [0] * 182).low == pytest.approx(0.2553, abs=5e-5)
    assert success_interval([1] * 81 + [0] * 182).high == pytest.approx(0.3662, abs=5e-5)
    assert success_interval([1] * 15 + [0] * 133).high == pytest.approx(0.1605, abs=5e-5)


@given(st.integers(0, 60), st.integers(0, 60))
def test_wilson_bounds_are_the_rates_the_data_just_allow(hits: int, misses: int) -> None:
    if not hits + misses:
        return
    found = success_interval([True] * hits + [False] * misses)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.high > found.low
    for bound in (found.low, found.high):
        z_squared = 1.959963984540054**2
        expected = z_squared * bound * (1 - bound) / found.n
        assert (found.mean - bound) ** 2 == pytest.approx(expected, abs=1e-9)


def test_one_value_tells_nothing() -> None:
    assert mean_interval([2.0]).low == -math.inf
    assert mean_interval([2.0]).high == math.inf
    assert success_interval([True]).low > 0.2


def test_json_knows_no_infinity() -> None:
    assert mean_interval([2.0]).to_json() == {"mean": 2.0, "low": None, "high": None, "n": 1}
    assert Interval(1.0, 0.5, 1.5, 3).to_json() == {"mean": 1.0, "low": 0.5, "high": 1.5, "n": 3}


def test_drawn_anew_a_mean_is_as_sure_as_its_t_interval_says() -> None:
    values = np.random.default_rng(0).normal(size=400)
    drawn, known = bootstrap_interval(lambda rows: values[rows].mean(), 400, repeats=2000), mean_interval(values)
    assert drawn.mean == known.mean
    assert drawn.high - drawn.low == pytest.approx(known.high - known.low, rel=0.1)
    assert drawn == bootstrap_interval(lambda rows: values[rows].mean(), 400, repeats=2000)
    assert bootstrap_interval(lambda rows: 7.0, 5) == Interval(7.0, 7.0, 7.0, 5)
    assert bootstrap_interval(lambda rows: 7.0, 1) == Interval(7.0, -math.inf, math.inf, 1)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_one_seed_is_no_seeds(values: list[float]) -> None:
    assert mean_interval(values) == mean_interval(np.array(values)[:, None])


def test_copies_of_a_seed_add_nothing() -> None:
    values = np.arange(40.0)
    once, thrice = mean_interval(values), mean_interval(np.repeat(values[:, None], 3, axis=1))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), rel=1e-6)


def test_pairing_removes_what_episodes_share() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 10, 100)
    ours, theirs = hard + 1 + rng.normal(0, 0.1, 100), hard + rng.normal(0, 0.1, 100)
    found = paired_difference(ours, theirs)
    assert 0.9 < found.low < found.high < 1.1
    assert paired_difference(theirs, ours).mean == -found.mean


def test_agreement_is_not_certainty() -> None:
    found = paired_success_difference([True] * 5, [True] * 5)
    assert found.mean == 0
    assert found.low < -0.3
    assert found.high == -found.low


def test_bonett_and_price_known_answer() -> None:
    # 30 episodes, 8 only ours, 2 only theirs: p12 = 9/32, p21 = 3/32, with t in place of z.
    ours, theirs = [1] * 8 + [0] * 2 + [1] * 20, [0] * 8 + [1] * 2 + [1] * 20
    found = paired_success_difference(ours, theirs)
    centre, spread = 6 / 32, math.sqrt((12 / 32 - (6 / 32) ** 2) / 31)
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx(
        (centre - 2.039513446 * spread, centre + 2.039513446 * spread), abs=1e-8
    )


@pytest.mark.parametrize("bad", [[], [[[1.0]]], [1.0, float("nan")]])
def test_nonsense_is_refused(bad: list[float]) -> None:
    with pytest.raises(BadOption):
        mean_interval(bad)


def test_half_a_success_is_refused() -> None:
    with pytest.raises(BadOption, match="mean_interval"):
        success_interval([0.5])


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(BadOption, match="same episodes"):
        paired_difference([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("episodes", "seeds"), [(10, 1), (50, 5), (30, 3)])
def test_coverage_of_means(episodes: int, seeds: int) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        table = rng.normal(size=(episodes, 1)) + 0.5 * rng.normal(size=(1, seeds)) * (seeds > 1)
        found = mean_interval(table + rng.normal(size=(episodes, seeds)))
        held += found.low <= 0 <= found.high
    assert 0.93 < held / 1000 < 0.985


@pytest.mark.parametrize(("episodes", "seeds"), [(20, 1), (200, 1), (50, 5)])
@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_coverage_of_success(episodes: int, seeds: int, threshold: float) -> None:
    rng = np.random.default_rng(2)
    noise = math.sqrt(1 + 1 + (0.25 if seeds > 1 else 0))
    truth = 0.5 * math.erfc(threshold / noise / math.sqrt(2))
    held = 0
    for _ in range(1000):
        table = rng.normal(size=(episodes, 1)) + 0.5 * rng.normal(size=(1, seeds)) * (seeds > 1)
        found = success_interval(table + rng.normal(size=(episodes, seeds)) > threshold)
        held += found.low <= truth <= found.high
    assert 0.925 < held / 1000 < 0.99


def test_coverage_of_paired_success() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(1000):
        easy = rng.random(30)
        found = paired_success_difference(easy > 0.3, (easy > 0.3) & (rng.random(30) > 0.1))
        held += found.low <= 0.07 <= found.high
    assert 0.93 < held / 1000 <= 1.0
