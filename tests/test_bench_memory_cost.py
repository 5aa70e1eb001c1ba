"""`sfvgen bench memory_cost`: ratios are of one turn, and what is timed is what it says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from world_fakes import tiny_world

from sfvgen_experiments.bench import memory_cost
from sfvgen_experiments.bench.memory_cost import EARLIER, PLAIN, TWICE, WANTED, Asked, bars, main, measured
from sfvgen_experiments.bench.memory_cost import PAPER as PAPERS
from sfvgen_planner.errors import BadOption, UnknownName
from sfvgen_planner.memory import DEFAULT, PAPER, start
from sfvgen_planner.memory.config import ALBUM
from sfvgen_planner.memory.value import digest
from sfvgen_planner.metrics.statistics import Interval


def test_the_chunk_that_is_timed_is_remembered() -> None:
    world = tiny_world(process="clean")
    asked = Asked.of(world)
    assert len(asked.windows) == EARLIER + 1
    one, other = asked.windows[-2:]
    torch.testing.assert_close(one.latents[:, 8:], other.latents[:, :8])
    for how in (DEFAULT, PAPER):
        remembering, beside = asked.write(replace(how, updates=1, draws=1))()
        assert beside is None
        assert digest(dict(remembering.denoiser.named_parameters())) != digest(dict(world.denoiser.named_parameters()))
    same, beside = asked.write(ALBUM)()
    assert digest(dict(same.denoiser.named_parameters())) == digest(dict(world.denoiser.named_parameters()))
    assert beside is not None
    assert beside.album is not None
    assert beside.album.given.sum() == 2, "every fourth of the last window's new frames"
    dreams = asked.dreams((1,))
    assert list(dreams) == [PLAIN + PAPERS, TWICE + PAPERS, PLAIN, TWICE, "1 step"]
    dreamt = [dreams[name](world, None) for name in dreams]
    once, whole = dreamt[2].latents, dreamt[0]  # type: ignore[attr-defined]
    assert once.shape == (1, 8, *world.shape)
    torch.testing.assert_close(once, whole, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(dreamt[3].latents, dreamt[1], rtol=1e-3, atol=1e-3)  # type: ignore[attr-defined]


def test_extra_is_of_one_turn_and_shared_among_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds are given: writing takes 3, a dream 10 without a memory and 11 with one; in every other turn double."""
    slow = np.array([[1.0], [2.0], [1.0], [2.0]])
    monkeypatch.setattr(memory_cost, "in_turns", lambda repeats, *ways: slow * np.array([[3.0, 10.0, 11.0]]))
    how = replace(PAPER, modules=("mlp",), rank=2)
    asked = Asked.of(tiny_world())
    found = measured(asked, how, {PLAIN: lambda world, beside: world}, (1, 3), 4)
    extra = found["chunks"][PLAIN]["extra"]
    assert extra[1].mean == pytest.approx(0.4)
    assert extra[3].mean == pytest.approx(0.2)
    assert extra[1].low == pytest.approx(extra[1].high), "a slow turn is slow for both"
    assert found["write_seconds"] == 4.5
    assert found["bytes"] == 2 * start(asked.world, how, 1).numbers


def test_bars_are_met_or_not() -> None:
    def row(plain: float, twice: float) -> dict[str, object]:
        extra = {
            name: {1: Interval(plain if name.removesuffix(PAPERS) == PLAIN else twice, 0, 1, 5)} for name in WANTED
        }
        return {"preset": "paper", "chunks": {name: {"extra": one} for name, one in extra.items()}}

    assert all(line.endswith(": met") for line in bars(row(0.04, 0.03)))
    assert all(line.endswith(": NOT MET") for line in bars(row(0.06, 0.04)))


def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_world(process="clean").save_pretrained(tmp_path / "world")
    out = tmp_path / "cost.json"
    told = main(
        str(tmp_path / "world"), ("default",), 1, 1, steps=(1,), every=(1, 4), repeats=2, threads=1, out=str(out)
    )
    assert told == json.loads(out.read_text())
    (row,) = told["rows"]
    assert (row["preset"], row["updates"], row["draws"]) == ("default", 1, 1)
    assert row["chunks"]["1 step"]["extra"]["1"]["mean"] > row["chunks"][PLAIN]["extra"]["1"]["mean"]
    assert capsys.readouterr().out.count("wanted") == 4


def test_bad_input_is_named() -> None:
    with pytest.raises(BadOption):
        main(repeats=0)
    with pytest.raises(UnknownName, match="papr"):
        main(presets=("papr",))
