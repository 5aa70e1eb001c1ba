"""`sfvgen bench slow`: which windows, which figures, which bars."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from world_fakes import BODY, tiny_world, toy_episode, toy_set

from sfvgen_experiments import dreams
from sfvgen_experiments.bench import slow
from sfvgen_experiments.bench.report import BARS, OfSet, Together
from sfvgen_experiments.dream_figures import CEILING, Reader
from sfvgen_experiments.dreams import Dream, HeldOut, copied, dream, hold_out, longest
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.judge import Judge, Verdict
from sfvgen_planner.metrics.judge_layout import Layout, TaskLayout
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

ONE_STEP = SamplerConfig(steps=1)


class Eye(Judge):
    """Reads the toy's actions off where its square is, as far as pixels tell."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.layout, self.identity = Layout((TaskLayout("toy", BODY.low, BODY.high, ()),)), "eye"

    def forward(self, clips: Tensor) -> Verdict:
        red = clips[..., 0].float().relu() - 40
        rows, columns = (torch.arange(16.0) for _ in range(2))
        mass = red.sum((2, 3)).clamp(min=1)
        where = torch.stack([(red.sum(2) * columns).sum(-1), (red.sum(3) * rows).sum(-1)], -1) / mass[..., None]
        steps = torch.nn.functional.pad(where.diff(dim=1), (0, 0, 1, 0))
        return Verdict(steps.flatten(1), steps.flatten(1), steps, steps)


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Toy episodes of the test split; every other one shown by an expert."""
    folder = tmp_path_factory.mktemp("toy") / "toys"
    made = toy_set(folder, episodes=0)
    with Dataset(folder) as dataset:
        for number in range(6):
            episode = toy_episode(number, 30)
            card = {**episode.card, "split": "test", "behaviour": ("mixed", "expert")[number % 2]}
            dataset.append(replace(episode, card=card))
    return Dataset(made.root)


# --- windows ---------------------------------------------------------------------------------------------------------


def test_windows_are_the_same_every_time_and_less_past_is_the_end_of_it(tests: Dataset) -> None:
    held, again = (hold_out(tests, 8, 8, 10) for _ in range(2))
    assert held.seen.shape == held.real.shape == (10, 8, 16, 16, 3)
    np.testing.assert_array_equal(held.window.pixels, again.window.pixels)
    part = held.part(slice(2, 5), 3)
    np.testing.assert_array_equal(part.real, held.real[2:5])
    np.testing.assert_array_equal(part.actions, held.actions[2:5])
    np.testing.assert_array_equal(part.seen, held.seen[2:5, -3:])
    np.testing.assert_array_equal(part.window.start, held.window.start[2:5] + 5)
    assert [len(texts) for texts in part.window.phrases] == [11] * 3
    np.testing.assert_array_equal(copied(held)[:, 7], held.seen[:, -1])


def test_others_are_told_what_differs_most(tests: Dataset) -> None:
    held = hold_out(tests, 8, 8, 10)
    other = held.told_others()
    np.testing.assert_array_equal(other.window.pixels, held.window.pixels)
    apart = np.square(held.actions[:, None] - held.actions[None]).sum((2, 3))
    np.testing.assert_allclose(np.square(other.actions - held.actions).sum((1, 2)), apart.max(1), rtol=1e-5)


def test_long_dreams_are_whole_chunks_and_as_long_as_there_are_windows(tests: Dataset) -> None:
    assert longest(tests, 8, 64, 2) == 16  # 31 frames: 8 past and 16 new, 8 windows an episode
    assert longest(tests, 8, 64, 6 * 8) == 16
    assert longest(tests, 8, 64, 6 * 8 + 1) == FRAMES_PER_CHUNK
    assert longest(tests, 8, 64, 3 * 8 + 1, "mixed") == FRAMES_PER_CHUNK
    assert hold_out(tests, 8, 16, 48).rows == 48
    assert hold_out(tests, 8, 16, 48, "mixed").rows == 24
    with pytest.raises(BadOption, match="0 of them chosen"):
        hold_out(tests, 8, 8, 5, "mixt")


@pytest.mark.parametrize("kind", ["causal", "unet3d"])
def test_a_dream_is_a_function_of_world_and_window(kind: str, tests: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    world, held = tiny_world(kind), hold_out(tests, 8, 8, 6)
    whole = dream(world, held, ONE_STEP)
    assert whole.finite
    assert whole.frames.shape == held.real.shape
    monkeypatch.setattr(dreams, "BATCH", 4)
    parts = dream(world, held, ONE_STEP).frames
    assert np.abs(whole.frames.astype(int) - parts).max() <= 1
    assert (dream(world, held.told_others(), ONE_STEP).frames != whole.frames).any()
    spoken = replace(held, window=replace(held.window, phrases=(("go left",) * 16,) * 6))
    np.testing.assert_array_equal(dream(world, spoken, ONE_STEP).frames, parts)


# --- figures and bars ------------------------------------------------------------------------------------------------


def measured(
    tests: Dataset, monkeypatch: pytest.MonkeyPatch, told: Any, other: Any, judge: Judge | None
) -> tuple[OfSet, Together]:
    """With a world that makes `told(held)` of true actions and `other(held)` of others."""
    own = hold_out(tests, 8, 8, 20).actions

    def made(world: WorldModel, held: HeldOut, sampler: SamplerConfig) -> Dream:
        misled = held.rows == len(own) and not np.array_equal(held.actions, own)
        return Dream(*(other if misled else told)(held))

    monkeypatch.setattr(slow, "dream", made)
    found = slow.measure({"causal": tiny_world()}, tests, slow.Plan(20, 4, "", ONE_STEP, ONE_STEP, judge))
    return found, Together.of([found], judge)


def test_long_dreams_have_a_sampler_of_their_own(tests: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def watched(world: WorldModel, held: HeldOut, sampler: SamplerConfig) -> Dream:
        asked.append((held.actions.shape[1], sampler.steps))
        return dream(world, held, sampler)

    monkeypatch.setattr(slow, "dream", watched)
    slow.measure({"causal": tiny_world()}, tests, slow.Plan(4, 2, "", ONE_STEP, SamplerConfig(steps=3), None))
    assert asked == [(8, 1), (8, 1), (16, 3)]


def test_the_truth_meets_every_bar(tests: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    found, together = measured(
        tests, monkeypatch, lambda held: (held.real, True), lambda held: (copied(held), True), Eye()
    )
    world, truth, copy = found.worlds["causal"], found.arms["causal"], found.arms["copy last"]
    assert set(world.met) == {*BARS, "finite"}
    assert all(world.met.values())
    assert found.legible > 0.5
    assert truth.psnr.mean == CEILING
    assert truth.ssim.mean == pytest.approx(1, abs=1e-4)
    assert truth.sharpness.mean == 1
    assert truth.adherence is not None
    assert truth.adherence.mean == 1
    assert copy.adherence is not None
    assert copy.adherence.mean == 0
    held = hold_out(tests, 8, 8, 20)
    apart = np.square(held.real.astype(float) - copied(held)).mean((1, 2, 3, 4))
    least = 255**2 / 10 ** (CEILING / 10)
    pooled = 10 * np.log10(np.maximum(apart, least).mean() / least)
    assert world.pooled_over_copy.mean == pytest.approx(pooled)
    assert world.over_copy.mean == world.over_other.mean == pytest.approx(CEILING - copy.psnr.mean)
    assert together.arms["causal"][1].mean == pytest.approx(0, abs=1e-6)
    assert together.arms["copy last"][1].low > 0
    assert "NOT MET" not in found.told("toys")
    assert "20 clips; 1000 advised" in together.told()


def test_copying_meets_none_but_sharpness_and_nan_is_found(tests: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = measured(
        tests, monkeypatch, lambda held: (copied(held), False), lambda held: (copied(held), True), Eye()
    )
    assert found.worlds["causal"].met == {
        "over_copy": False,
        "over_other": False,
        "adherence": False,
        "long_sharpness": True,
        "finite": False,
    }
    assert found.told("toys").count("NOT MET") == 4


def test_one_blurred_chunk_of_a_long_dream_is_seen(tests: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def fading(held: HeldOut) -> tuple[Any, bool]:
        frames = held.real.copy()
        frames[:, 8:] = frames[:, 8:].mean((2, 3), keepdims=True)
        return frames, True

    found, together = measured(tests, monkeypatch, fading, fading, None)
    world = found.worlds["causal"]
    assert [chunk.mean for chunk in world.chunks] == [1, 0]
    assert world.met["long_sharpness"] is False
    assert world.met["adherence"] is None
    assert "not measured" in found.told("toys")
    assert together.told().strip() == "no judge: no FVD(judge), no adherence"


def test_who_cannot_read_real_clips_says_nothing_of_dreams(tests: Dataset) -> None:
    blind = Eye()
    blind.forward = lambda clips: replace(Eye()(clips), actions=torch.zeros(*clips.shape[:2], 2))  # type: ignore[method-assign]
    held = hold_out(tests, 8, 8, 10)
    assert Reader(blind, held, tests.description).adherence(held.real) is None
    elsewhere = replace(tests.description, task="somewhere else")
    assert Reader(Eye(), held, elsewhere).adherence(held.real) is None


# --- the command -----------------------------------------------------------------------------------------------------


def test_worlds_side_by_side(tests: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = tuple(str(tmp_path / kind) for kind in ("causal", "unet3d"))
    for folder in folders:
        tiny_world(Path(folder).name).save_pretrained(folder)
    data, out = (str(tests.root),), str(tmp_path / "bench" / "slow.json")
    options = {"judge": "", "windows": 4, "long": 2, "steps": 1, "threads": 1, "out": out}
    result = slow.main(folders, data, **options)  # type: ignore[arg-type]
    assert result == json.loads(Path(out).read_text())
    assert result["worlds"]["unet3d"] == {"folder": folders[1]}
    row = result["rows"]["toys"]
    assert set(row["arms"]) == {"copy last", "causal", "causal, codec alone", "unet3d", "unet3d, codec alone"}
    assert row["worlds"]["causal"]["met"]["finite"] is True
    assert len(row["worlds"]["causal"]["chunks"]) == 2
    said = capsys.readouterr().out
    assert said.count("met") + said.count("MET") >= 8
    with pytest.raises(BadOption, match="each once"):
        slow.main((folders[0],) * 2, data, **options)  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="2 windows"):
        slow.main(folders, data, windows=1)


def test_what_was_trained_on_is_refused(tmp_path: Path) -> None:
    tiny_world().save_pretrained(tmp_path / "world")
    trains = toy_set(tmp_path / "set", episodes=1)
    with pytest.raises(BadOption, match="Held out means held out"):
        slow.main((str(tmp_path / "world"),), (str(trains.root),))
