"""The checks compare what they say they do: own and foreign memories, and one memory of many episodes."""

import json
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from world_fakes import tiny_world

from sfvgen_envs.table import TableScene
from sfvgen_experiments.bench import checks
from sfvgen_experiments.bench.checks import Checks, main, pieces, untrained
from sfvgen_experiments.checks import capacity as capacity_of
from sfvgen_experiments.checks.kept import Kept
from sfvgen_experiments.checks.picture import plot
from sfvgen_experiments.checks.recall import recall
from sfvgen_experiments.checks.scenes import KINDS, TRAINED, record, some
from sfvgen_experiments.revisit.arms import Course, remembered, rolled
from sfvgen_experiments.revisit.ways import Trip
from sfvgen_planner.errors import BadOption, UnknownName
from sfvgen_planner.memory import PRESETS, MemoryConfig, start
from sfvgen_planner.metrics.statistics import Interval, mean_interval

QUICK = MemoryConfig(variant="jump", modules=("brush",), rank=2, updates=1, draws=1)


def toy_trip(scenes: range, seen: int = 56, dreamt: int = 8) -> Trip:
    """Noise that comes back after 56 frames, each scene its own."""
    frames = [np.random.default_rng(seed).integers(0, 256, (56, 16, 16, 3), dtype=np.uint8) for seed in scenes]
    pixels = np.stack([np.concatenate([one, one[:dreamt]]) for one in frames])
    poses = np.zeros((len(pixels), seen + dreamt, 9), np.float32)
    poses[..., 3], poses[..., 0] = 1, np.r_[np.arange(seen), np.arange(dreamt)] * 0.5
    return Trip("toy", "fixed", pixels, poses, np.zeros((len(pixels), seen + dreamt, 2), np.float32), seen)


def test_kinds_differ_from_training_in_what_they_say() -> None:
    """Outside the ranges that tasks draw from, and the same for the same seed."""
    drawn = {name: kind.vary(np.random.default_rng(3)) for name, kind in KINDS.items()}
    assert drawn[TRAINED] == {}
    assert (KINDS[TRAINED].length, KINDS["one cube"].length, KINDS["three cubes"].length) == ("medium", "short", "long")
    assert max(drawn["colours"]["wood"]) < 0.45
    assert min(drawn["colours"]["floor"]) > 0.5
    assert 60 < drawn["light"]["light"] < 300
    assert drawn["pattern"]["cell"] > 0.12
    assert all(x > 0.54 for x, _ in drawn["layout"]["places"])
    known = set(TableScene.__dataclass_fields__) | {"places"}
    assert all(set(vary) <= known for vary in drawn.values())
    assert drawn["light"] == KINDS["light"].vary(np.random.default_rng(3))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_recorded_and_looks_other(kind: str) -> None:
    trip, plain = (record(name, range(2), 8, 8, 32) for name in (kind, TRAINED))
    assert trip.pixels.shape == plain.pixels.shape == (2, 16, 32, 32, 3)
    np.testing.assert_array_equal(trip.poses[..., :7], plain.poses[..., :7])
    assert (kind == TRAINED) == np.array_equal(trip.pixels, plain.pixels)


def test_recall_is_of_views_seen_long_ago_and_paired() -> None:
    world, trip = tiny_world(process="clean"), toy_trip(range(3))
    course = Course.of(world, trip)
    memory = start(world, QUICK, 3)
    told = recall(world, course, memory, memory)
    assert told["gain"] == Interval(0.0, 0.0, 0.0, 3), "a memory that holds nothing gains nothing"
    written = remembered(world, course, QUICK, lambda chunk: None)
    own = recall(world, course, written, rolled(written))
    assert own["own"].mean - own["off"].mean == pytest.approx(own["gain"].mean)
    assert own["off"].mean - own["copy"].mean == pytest.approx(own["slow"].mean)
    assert own["gain"].mean != own["style"].mean
    assert recall(world, course, written, rolled(written), [1])["own"].n == 1
    soon = replace(trip, poses=trip.poses.copy())
    soon.poses[:, 56:] = soon.poses[:, 48:56]
    assert recall(world, Course.of(world, soon), memory, memory)["own"] is None, "what was seen just now is no recall"


def test_memories_are_written_with_episode_after_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory m knows m, m + 1, ...; the first is compared under m + 1, the last under m - 1."""
    world, trip = tiny_world(process="clean"), toy_trip(range(4))
    asked: list[tuple[list[int], list[int], list[int], list[int]]] = []

    def who(course: Course) -> list[int]:
        return [
            int(np.abs(trip.pixels[:, 0].astype(int) - one[0]).sum((1, 2, 3)).argmin()) for one in course.trip.pixels
        ]

    def note(world: object, course: Course, own: object, others: object, rows: range) -> dict[str, Interval | None]:
        asked.append((who(course), own.seeds.tolist(), others.seeds.tolist(), list(rows)))  # type: ignore[attr-defined]
        return {}

    monkeypatch.setattr(capacity_of, "recall", note)
    written: list[int] = []
    found = list(capacity_of.capacity(world, trip, QUICK, (1, 2), 3, 2, written.append))
    assert [name for name, _ in found] == ["first of 1", "last of 1", "first of 2", "last of 2"]
    assert asked[0] == ([0, 1, 2], [0, 1, 2], [1, 2, 0], [0, 1])
    assert asked[2] == ([0, 1, 2], [0, 1, 2], [1, 2, 0], [0, 1])
    assert asked[3] == ([1, 2, 3], [0, 1, 2], [2, 0, 1], [1, 2])
    assert len(written) == 2 * 3
    assert capacity_of.episodes_of((1, 2), 3) == 4
    assert some(trip, 1, 2).pixels.shape[0] == 2


def test_an_untrained_world_shares_all_but_the_denoiser() -> None:
    world = tiny_world(process="clean")
    fresh = untrained(world)
    assert fresh.codec is world.codec
    assert fresh.encoder is world.encoder
    assert torch.equal(fresh.denoiser.embed.weight, untrained(world).denoiser.embed.weight)
    assert not torch.equal(fresh.denoiser.embed.weight, world.denoiser.embed.weight)


def test_a_memory_can_be_written_into_an_untrained_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last layers are 0: a bound by their size would leave nothing of what is written there."""
    monkeypatch.setattr(checks, "record", lambda kind, scenes, seen, dreamt, size: toy_trip(scenes))
    monkeypatch.setitem(PRESETS, "default", QUICK)
    asked = Checks(body="toy", episodes=2, seen=56, dreamt=8, every=3)
    told = dict(checks.measured(tiny_world(process="clean"), asked, "untrained", 16, lambda chunk: None))
    gain = told["untrained"]["gain"]
    assert gain is not None
    assert gain.mean != 0


def test_the_command_measures_each_piece_once_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_world(process="clean").save_pretrained(tmp_path / "world")
    monkeypatch.setattr(checks, "record", lambda kind, scenes, seen, dreamt, size: toy_trip(scenes))
    monkeypatch.setitem(PRESETS, "default", QUICK)
    sizes = {"episodes": 2, "counts": (1, 2), "memories": 3, "seen": 56, "dreamt": 8, "every": 3, "threads": 1}
    places = {"world": str(tmp_path / "world"), "out": str(tmp_path / "out")}
    asked = Checks(body="toy", kinds=(TRAINED, "light"), **places, **sizes)  # type: ignore[arg-type]
    told = main(asked)
    assert told == json.loads((tmp_path / "out" / "checks.json").read_text())
    capacity = [f"{which} of {count}" for count in (1, 2) for which in ("first", "last")]
    assert list(told["figures"]) == [TRAINED, "untrained", "light", *capacity]
    said = capsys.readouterr().out
    assert "loop: not given" in said
    assert said.splitlines()[0].startswith("4 pieces, 24 windows to remember")
    for name in ("isolation", "capacity", "generalisation"):
        assert Image.open(tmp_path / "out" / f"{name}.png").size == (720, 400)
    monkeypatch.setattr(checks, "measured", None)  # nothing is measured again
    assert main(asked) == told
    assert "all of it is there already" in capsys.readouterr().out
    assert not Kept(tmp_path / "out", {"other": 1}).has(TRAINED), "asked otherwise"


def test_what_two_checks_ask_is_one_piece() -> None:
    assert pieces(Checks(kinds=(TRAINED, "light"), loop="x")) == [TRAINED, "untrained", "loop", "light", "last of 20"]
    assert pieces(Checks(checks=("isolation",))) == [TRAINED, "untrained"]


def test_a_picture_shows_every_interval(tmp_path: Path) -> None:
    few, endless = mean_interval([1.0, 2.0, 3.0]), Interval(5.0, -inf, inf, 1)
    plot(tmp_path / "one.png", "a title", ["a", "b"], {"red": [few, endless], "none": [None, few]}, joined=True)
    plot(tmp_path / "two.png", "a title", ["a", "b"], {"red": [few, endless], "none": [None, None]}, joined=True)
    one, two = (np.asarray(Image.open(tmp_path / name)) for name in ("one.png", "two.png"))
    assert one.shape == two.shape == (400, 720, 3)
    assert (one != two).any()
    plot(tmp_path / "three.png", "nothing", ["a"], {"red": [None]})
    assert not (tmp_path / "three.png").exists()


def test_bad_input_is_named() -> None:
    for wrong in ({"checks": ("isolatio",)}, {"kinds": ("dark",)}, {"preset": "defaul"}):
        with pytest.raises(UnknownName):
            Checks(**wrong)  # type: ignore[arg-type]
    for bad in ({"seen": 50}, {"episodes": 1}, {"memories": 2}, {"counts": (2, 1)}, {"counts": ()}):
        with pytest.raises(BadOption):
            Checks(**bad)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="scenes"):
        record("dark", range(1), 8, 8, 16)
