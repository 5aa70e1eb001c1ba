"""`sfvgen bench ranking`: a perfect world ranks perfectly, one that tells the opposite wins nothing."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sfvgen_envs.oracle import oracle_imagine
from sfvgen_envs.suites import Suite
from sfvgen_experiments.bench import ranking as bench
from sfvgen_experiments.bench.ranking import correlation, ranking, scored
from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import Actions, Context, Rollout

RNG = np.random.default_rng(0)


def test_rank_correlation_is_spearmans() -> None:
    """By its formula where no values are equal, and shared places where some are."""
    one, other = RNG.normal(size=12), RNG.normal(size=12)
    gaps = np.argsort(np.argsort(one)) - np.argsort(np.argsort(other))
    assert correlation(one, other) == pytest.approx(1 - 6 * float(np.square(gaps).sum()) / (12 * (144 - 1)))
    assert correlation(one, np.exp(3 * one)) == pytest.approx(1)
    assert correlation(one, -one) == pytest.approx(-1)
    assert correlation(one, np.zeros(12)) == 0
    # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4, by hand: 4.5 / sqrt(4.5 * 5).
    assert correlation(np.array([0.0, 1, 1, 2]), np.array([0.0, 1, 2, 3])) == pytest.approx(4.5 / np.sqrt(22.5))


def test_who_chooses_the_best_wins_all_and_flat_states_are_left_out() -> None:
    true = [RNG.normal(size=8) for _ in range(5)]
    perfect = ranking([*((one, one) for one in true), (np.zeros(8), RNG.normal(size=8))])
    assert (perfect.order.mean, perfect.won.mean, perfect.flat) == (pytest.approx(1), pytest.approx(1), 1)
    worst = ranking([(one, -one) for one in true])
    assert worst.order.mean == pytest.approx(-1)
    assert worst.won.mean == pytest.approx(np.mean([(x.min() - x.mean()) / (x.max() - x.mean()) for x in true]))
    with pytest.raises(BadOption, match="all flat"):
        ranking([(np.zeros(8), np.ones(8))])


@pytest.mark.parametrize("index", [0, 1, 2])
def test_both_worlds_are_asked_from_the_same_state(index: int) -> None:
    """The oracle, told the context of another environment brought to the same place, says the same."""
    spec = Suite.load("v0").episodes("reach", "short")[index]
    seen: list[Context] = []

    def again(context: Context, actions: Actions) -> Rollout:
        seen.append(context)
        env = spec.make(size=16)
        env.reset(seed=spec.seed, options=spec.options)
        task: Any = env.unwrapped
        # Straight to where the context says the fingertips are.
        found = oracle_imagine([env], pixels=False)(context, actions)
        assert task.steps == 0
        return found if index == 0 else replace(found, rewards=-found.rewards)

    true, told = scored(again, spec, 4, 6, 4, 16, 0)
    assert true.shape == told.shape == (6,)
    assert seen[0].pixels.shape == (1, 4, 16, 16, 3)
    assert np.array_equal(true, told) == (index == 0)
    still = np.ptp(seen[0].poses[0, :, 7:10], axis=0).max()
    assert (still == 0) == (index == 0), "episodes 1 and 2 have moved for 8 and 16 steps"


def test_the_command_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def noise(context: Context, actions: Actions) -> Rollout:
        rewards = np.random.default_rng(0).normal(size=actions.values.shape[:3])
        return Rollout(np.zeros((*rewards.shape, 14)), rewards, rewards > 9, rewards > 9)

    layout = {"reach": SimpleNamespace(cameras={"fixed": 38.0})}
    fake: Any = SimpleNamespace(
        encoder=SimpleNamespace(layout=layout),
        config=SimpleNamespace(past=2),
        imagine_with=lambda memory, **_: noise,
    )
    monkeypatch.setattr(bench, "loaded", lambda folder: fake)
    out = tmp_path / "ranking.json"
    result = bench.main(tasks=("reach",), states=4, candidates=5, horizon=4, size=16, threads=1, out=str(out))
    assert json.loads(out.read_text()) == result
    assert -1 <= result["tasks"]["reach"]["order"]["mean"] <= 1
    assert "share won" in capsys.readouterr().out
    with pytest.raises(BadOption, match="3 or more"):
        bench.main(states=1)
