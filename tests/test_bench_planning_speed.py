"""`sfvgen bench planning_speed`: both ways find the same plan, and what is printed was measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from world_fakes import tiny_world

from sfvgen_experiments.bench import planning_speed as bench
from sfvgen_experiments.bench.planning_speed import Question, Speed, judged, measured
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.statistics import Interval
from sfvgen_planner.types import Context


def context(frames: int = 8) -> Context:
    rng = np.random.default_rng(0)
    poses = np.zeros((1, frames, 9), np.float32)
    poses[..., 3] = 1
    return Context(rng.integers(0, 255, (1, frames, 16, 16, 3)).astype(np.uint8), poses)


def test_the_naive_way_finds_the_same_plan_by_other_calls() -> None:
    asked = Question(tiny_world(process="clean"), "toy", context(), 8, 2, 2)
    calls: dict[str, list[int]] = {"prefill": [], "denoise": []}
    denoiser = asked.world.denoiser
    for name in calls:
        whole = getattr(denoiser, name)

        def counted(*given: object, name: str = name, whole: object = whole) -> object:
            rows = given[0].shape[0] if name == "prefill" else given[1].shape[0]  # type: ignore[attr-defined]
            calls[name].append(rows)
            return whole(*given)  # type: ignore[operator]

        setattr(denoiser, name, counted)
    ours = asked.ours(5)()
    assert calls == {"prefill": [1, 1], "denoise": [5] * 4}
    calls["prefill"], calls["denoise"] = [], []
    theirs = asked.naive(5)()
    assert calls == {"prefill": [1] * 20, "denoise": [1] * 20}
    assert np.array_equal(ours.actions.values, theirs.actions.values)
    for one, other in zip(ours.trace.scores, theirs.trace.scores, strict=True):
        assert np.allclose(one, other, atol=1e-5)


def test_who_asks_only_where_the_body_will_be_draws_nothing_and_finds_the_same_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Question(tiny_world(process="clean"), "toy", context(), 16, 2, 1, objective="pose")
    theirs = asked.naive(5)()
    monkeypatch.setattr(asked.world.denoiser, "denoise", lambda *given: pytest.fail("something was drawn"))
    ours = asked.ours(5)()
    assert np.array_equal(ours.actions.values, theirs.actions.values)
    for one, other in zip(ours.trace.scores, theirs.trace.scores, strict=True):
        assert np.allclose(one, other, atol=1e-5)


def test_every_number_of_a_line_is_measured() -> None:
    asked = Question(tiny_world(), "toy", context(), 8, 1, 1)
    one = measured(asked, 24, 2, naive=True)
    assert one.candidates == 24
    assert one.frames_per_second == pytest.approx(24 * 8 / one.seconds)
    assert one.times is not None
    assert one.times.mean > 2, "one batch is quicker than twenty-four calls"
    assert one.score_gap is not None
    assert one.score_gap < 1e-4
    assert 0 < one.solver < 1
    assert measured(asked, 4, 1, naive=False).times is None


def test_less_at_once_is_the_same_plan() -> None:
    whole, parts = (Question(tiny_world(), "toy", context(), 8, 2, 1, room).ours(9)() for room in (None, 2))
    assert np.allclose(whole.score, parts.score, atol=1e-5)
    assert np.allclose(whole.actions.values, parts.actions.values)


def test_bars() -> None:
    good = Speed(64, 1.0, 512.0, Interval(6.0, 5.5, 6.5, 3), 1e-6, 0.001, 10.0)
    assert judged([good], "cpu", 8, 1) == [
        "5 times the naive way at 64 candidates, scores equal to 0.001: met",
        "the solver's share below 2%: met",
    ]
    poor = Speed(64, 1.0, 512.0, Interval(6.0, 5.5, 6.5, 3), 1e-2, 0.05, 10.0)
    assert [line.endswith("NOT MET") for line in judged([poor], "cpu", 8, 1)] == [True, True]
    quick = Speed(256, 0.2, 1.0, None, None, 0.001, None)
    assert "in 0.25 s: met" in judged([quick], "cuda", 16, 3)[0]
    assert len(judged([quick], "cuda", 8, 3)) == 1


def test_the_command_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_world().save_pretrained(tmp_path / "world")
    monkeypatch.setattr(bench, "seen", lambda task, frames: context(frames))
    out = tmp_path / "speed.json"
    result = bench.main(
        str(tmp_path / "world"), "toy", (2, 6), iterations=1, steps=1, naive=2, repeats=1, threads=1, out=str(out)
    )
    assert [row["candidates"] for row in result["rows"]] == [2, 6]
    assert result["rows"][1]["times"] is None
    assert result["share_of_peak"] > 0
    assert json.loads(out.read_text())["rows"] == json.loads(json.dumps(result["rows"]))
    assert "peak of matrix products" in capsys.readouterr().out
    with pytest.raises(BadOption, match="1 or more"):
        bench.main(candidates=())


def test_a_context_is_what_an_episode_shows() -> None:
    shown = bench.seen("reach", 3)
    assert shown.pixels.shape == (1, 3, 64, 64, 3)
    assert shown.poses.shape == (1, 3, 14)
    assert torch.as_tensor(shown.pixels).float().std() > 10
