"""`sfvgen bench drift` and `bench leak`: figures that are known beforehand come out, and held out means held out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from world_fakes import tiny_world, toy_episode, toy_set

from sfvgen_experiments.bench.drift import drifts, foreseen, windows_of
from sfvgen_experiments.bench.drift import main as bench_drift
from sfvgen_experiments.bench.leak import earlier_and_later
from sfvgen_experiments.bench.leak import main as bench_leak
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.statistics import mean_interval
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.sampler import SamplerConfig


def driving(folder: Path, lengths: tuple[int, ...], split: str = "test") -> Dataset:
    """Cameras that go straight ahead (along -z) by .1, .2, ... m a frame and turn by as many degrees about y."""
    template = toy_set(folder / "template" / "square-v0", 1)
    with Dataset.create(folder / "set" / "square-v0", template.description) as dataset:
        for number, steps in enumerate(lengths):
            episode = toy_episode(number, steps)
            poses = np.array(episode.poses)
            heading = np.radians(number + 1.0) * np.arange(steps + 1)
            way = 0.1 * (number + 1) * np.stack([-np.sin(heading), 0 * heading, -np.cos(heading)], 1)
            poses[1:, :3] = np.cumsum(way, 0)[:-1]
            poses[:, 3], poses[:, 5] = np.cos(heading / 2), np.sin(heading / 2)
            poses[:, 7:] = 0
            dataset.append(replace(episode, poses=poses.astype(np.float32), card={**episode.card, "split": split}))
    return Dataset(folder / "set" / "square-v0")


def test_what_stands_still_is_off_by_the_way_and_what_goes_on_by_nothing(tmp_path: Path) -> None:
    found = drifts(tiny_world(), driving(tmp_path, (40, 40)), 8, 4)
    assert found is not None
    assert set(found) == {"told actions", "told words", "stands still", "goes on"}
    for measure in ("metres", "degrees", "senses"):
        assert found["goes on"][measure].mean == pytest.approx(0, abs=2e-2), measure
        assert found["told actions"][measure].n == 2, "an episode is one value, however many windows are taken of it"
    assert found["stands still"]["degrees"].mean == pytest.approx((8 * 1 + 8 * 2) / 2, abs=1e-2)
    ways = [abs(sum(0.1 * n * np.exp(1j * np.radians(n) * k) for k in range(8))) for n in (1, 2)]
    assert found["stands still"]["metres"].mean == pytest.approx(np.mean(ways), abs=1e-3)
    low, high = mean_interval(ways).low, mean_interval(ways).high
    assert found["stands still"]["metres"].low == pytest.approx(low, abs=0.01)
    assert found["stands still"]["metres"].high == pytest.approx(high, abs=0.01)


def test_windows_are_those_of_the_episodes(tmp_path: Path) -> None:
    dataset = driving(tmp_path, (30, 5, 40))
    found = windows_of(dataset, 12, 3)
    assert found is not None
    window, whose = found
    assert whose.tolist() == [0, 0, 0, 2, 2, 2]
    for row, (number, start) in enumerate(zip(whose, window.start, strict=True)):
        episode = dataset[int(number)]
        assert np.array_equal(window.poses[row], episode.poses[start : start + 12])
        assert np.array_equal(window.actions[row, 1:], episode.actions[start : start + 11])
        assert window.phrases[row][1:] == episode.phrases[start : start + 11]
    assert windows_of(dataset, 60, 3) is None


def test_foreseen_poses_are_those_of_a_dream(tmp_path: Path) -> None:
    world = tiny_world()
    window, _ = windows_of(driving(tmp_path, (60, 60)), 8 + 24, 1)  # type: ignore[misc]
    facts = Facts.of_window(window, world.encoder.layout, "toy", "fixed")
    known, new = facts[:8], facts[8:]
    past = torch.zeros(2, 8, *world.shape)
    dreamt = world.dream(past, known, new, torch.tensor([0, 1]), SamplerConfig(1))
    assert torch.equal(foreseen(world, known, new), dreamt.facts.poses)


def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(driving(tmp_path, (40, 80, 90)).root)
    tiny_world().save_pretrained(tmp_path / "world")
    bench_drift(str(tmp_path / "world"), (folder,), threads=1, out=str(tmp_path / "drift.json"))
    rows = json.loads((tmp_path / "drift.json").read_text())["rows"]["square-v0"]
    assert rows["8"]["stands still"]["metres"]["n"] == 3
    assert rows["64"]["stands still"]["metres"]["n"] == 2
    assert f"{rows['8']['told actions']['degrees']['mean']:.3f}" in capsys.readouterr().out


def test_sets_without_long_episodes_have_no_figure_after_64_frames(tmp_path: Path) -> None:
    assert drifts(tiny_world(), driving(tmp_path, (40, 40)), 64, 4) is None


@pytest.mark.parametrize("bench", [bench_drift, bench_leak])
def test_training_data_are_refused(tmp_path: Path, bench: object) -> None:
    folder = str(driving(tmp_path, (40,), split="train").root)
    tiny_world().save_pretrained(tmp_path / "world")
    with pytest.raises(BadOption, match="Held out means held out"):
        bench(str(tmp_path / "world"), (folder,))  # type: ignore[operator]
    with pytest.raises(BadOption, match="no data"):
        bench(str(tmp_path / "world"), ())  # type: ignore[operator]


def test_a_causal_world_leaks_exactly_nothing_and_a_video_unet_something(tmp_path: Path) -> None:
    folder = str(driving(tmp_path, (40, 40)).root)
    found = {}
    for kind in ("causal", "unet3d"):
        tiny_world(kind).save_pretrained(tmp_path / kind)
        out = str(tmp_path / f"{kind}.json")
        bench_leak(str(tmp_path / kind), (folder,), windows=12, threads=1, out=out)
        found[kind] = json.loads(Path(out).read_text())["rows"]["square-v0"]
    assert found["causal"]["earlier"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 12}
    assert found["causal"]["most"] == 0
    assert 0 < found["unet3d"]["earlier"]["mean"] <= found["unet3d"]["most"]
    assert all(row["later"]["mean"] > 0 for row in found.values())


def test_earlier_and_later_are_the_two_sides_of_the_diagonal() -> None:
    changes = torch.tensor([[[1.0, 3.0], [5.0, 2.0]], [[1.0, 3.0], [7.0, 2.0]]])
    earlier, later = earlier_and_later(changes)
    assert (earlier.mean, earlier.n) == (6.0, 2)
    assert later.mean == 2.0
