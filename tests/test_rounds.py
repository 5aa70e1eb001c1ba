"""Rounds of consolidation: every night goes on with the world of the one before, and all are asked the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from world_fakes import tiny_world, toy_set

from sfvgen_experiments import consolidating
from sfvgen_experiments.bench import rounds
from sfvgen_experiments.bench.rounds import Rounds, main
from sfvgen_experiments.collect import Collect
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.consolidate import slow_losses
from sfvgen_planner.world.model import WorldModel


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, int]]:
    """Toy episodes; a consolidation that spoils the world a little. What each night was given: its world, episodes."""
    seen: list[tuple[str | None, int]] = []

    def record(asked: Collect) -> Dataset:
        folder = asked.folder
        return Dataset(folder) if folder.exists() else toy_set(folder, episodes=asked.episodes, steps=30)

    def consolidate(asked: consolidating.Consolidate) -> None:
        world = WorldModel.from_pretrained(asked.world)
        seen.append((asked.world, len(Dataset(Path(asked.out) / "data"))))
        with torch.no_grad():
            for weight in world.denoiser.parameters():
                weight += 0.01 * torch.ones_like(weight)
        world.save_pretrained(Path(asked.out) / "world")
        (Path(asked.out) / "verdict.json").write_text(json.dumps({"reason": "the new weights stay: better"}))

    monkeypatch.setattr(rounds, "record", record)
    monkeypatch.setattr(rounds, "add", lambda asked: None)
    monkeypatch.setattr(consolidating, "main", consolidate)
    tiny_world().save_pretrained(tmp_path / "world")
    return seen


def asked(tmp_path: Path, **other: Any) -> Rounds:
    return Rounds(world=str(tmp_path / "world"), each=2, held=2, threads=1, out=str(tmp_path / "out"), **other)


def means(told: Mapping[str, Any]) -> list[float]:
    return [row["loss"]["route_return"]["mean"] for row in told["rows"]]


def test_each_night_goes_on_where_the_last_one_ended(tmp_path: Path, nights: list[tuple[str | None, int]]) -> None:
    told = main(asked(tmp_path, rounds=2))
    first, second = (str(tmp_path / "out" / f"round-{number}" / "world") for number in (1, 2))
    assert nights == [(str(tmp_path / "world"), 4), (first, 4)]
    held = rounds.questions(WorldModel.from_pretrained(first), asked(tmp_path), tmp_path / "out")["route_return"]
    losses = [slow_losses(WorldModel.from_pretrained(one), held).sum() for one in (tmp_path / "world", first, second)]
    expected = [after / losses[0] - 1 for after in losses]
    assert means(told) == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert told == json.loads((tmp_path / "out" / "rounds.json").read_text())
    assert (tmp_path / "out" / "rounds.png").is_file()


def test_a_night_that_was_is_not_had_again(tmp_path: Path, nights: list[tuple[str | None, int]]) -> None:
    before = main(asked(tmp_path, rounds=1))
    after = main(asked(tmp_path, rounds=2))
    assert len(nights) == 2
    assert means(after)[:2] == means(before)


def test_nothing_to_do_is_named() -> None:
    with pytest.raises(BadOption, match="0 rounds"):
        Rounds(rounds=0)
