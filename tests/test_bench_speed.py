"""`sfvgen bench speed`: the paper's way is the same dream, only slower."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from world_fakes import tiny_world, toy_episode, toy_set

from sfvgen_experiments.bench import speed
from sfvgen_experiments.bench.speed import as_in_the_paper
from sfvgen_experiments.bench.timing import in_turns
from sfvgen_experiments.dreams import hold_out
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.sampler import PAPER_SAMPLER


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("toy") / "toys"
    toy_set(folder, episodes=0)
    with Dataset(folder) as dataset:
        for number in range(3):
            episode = toy_episode(number, 20)
            dataset.append(replace(episode, card={**episode.card, "split": "test"}))
    return dataset


@pytest.mark.parametrize(("kind", "guidance"), [("causal", 2.0), ("unet3d", 1.0)])
def test_looking_at_the_past_again_in_every_step_changes_nothing(kind: str, guidance: float, tests: Dataset) -> None:
    world, held = tiny_world(kind), hold_out(tests, 8, 8, 3)
    known, new = held.facts(world)
    past, seeds = world.codec.encode(torch.from_numpy(held.seen)), torch.arange(3)
    ours = world.dream(past, known, new, seeds, replace(PAPER_SAMPLER, guidance=guidance)).latents
    theirs = as_in_the_paper(world, guidance)(past, known, new, seeds)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)


def test_ways_are_timed_in_turns() -> None:
    order: list[str] = []
    taken = in_turns(3, lambda: order.append("a"), lambda: order.append("b"))
    assert order == ["a", "b"] * 3
    assert taken.shape == (3, 2)
    assert (taken >= 0).all()


def test_every_arm_has_its_speed_and_its_figures(
    tests: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_world().save_pretrained(tmp_path / "world")
    data, out = (str(tests.root),), str(tmp_path / "speed.json")
    world = str(tmp_path / "world")
    result = speed.main(world, data, "", candidates=5, steps=(1, 2), repeats=2, windows=3, threads=1, out=out)
    assert result == json.loads(Path(out).read_text())
    arms = {"1 step", "2 steps", "as in the paper"}
    assert set(result["rollouts_per_second"]) == set(result["rows"]["toys"]["arms"]) == arms
    assert result["times_the_paper"]["as in the paper"]["mean"] == 1
    assert result["times_the_paper"]["1 step"]["mean"] > 2
    assert "at least 40 wanted" in capsys.readouterr().out
    with pytest.raises(BadOption, match="1 or more of each"):
        speed.main(world, data, steps=(0,))
