"""Coming back: scripted ways really do, arms see what they should, and figures say what they mean."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from world_fakes import BODY, PHRASES, tiny_world

import sfvgen_envs
from sfvgen_envs.table import COLOURS, FOVY
from sfvgen_experiments.bench import revisit
from sfvgen_experiments.revisit.arms import (
    ARMS,
    COPY,
    NONE,
    SWAPPED,
    Course,
    chosen,
    dream,
    imagined,
    remembered,
    under,
)
from sfvgen_experiments.revisit.figures import BANDS, ages, consistency, measure, over
from sfvgen_experiments.revisit.objects import centres, misplaced
from sfvgen_experiments.revisit.visits import recalled
from sfvgen_experiments.revisit.ways import HOME, MILES, Trip, pan, record, since
from sfvgen_planner.errors import BadOption, UnknownName
from sfvgen_planner.memory import PRESETS
from sfvgen_planner.world.sampler import SamplerConfig

assert sfvgen_envs.TASKS  # registers the ids

SAMPLER = SamplerConfig(1)


def toy_trip(episodes: int = 2, seen: int = 24, dreamt: int = 16) -> Trip:
    """Sixteen pixels of noise that come back: frame T - 1 - t is frame t."""
    rng, frames = np.random.default_rng(0), seen + dreamt
    half = rng.integers(0, 256, (episodes, frames // 2, 16, 16, 3), dtype=np.uint8)
    poses = np.zeros((episodes, frames, 9), np.float32)
    poses[..., 3] = 1
    way = np.minimum(np.arange(frames), frames - 1 - np.arange(frames))
    poses[..., 0] = 0.5 * way
    actions = rng.uniform(-1, 1, (episodes, frames, 2)).astype(np.float32)
    return Trip("toy", "fixed", half[:, way], poses, actions, seen)


def test_the_toy_body_is_the_tiny_worlds() -> None:
    assert BODY.name == "toy"
    assert BODY.phrases == PHRASES


@pytest.mark.parametrize("way", MILES)
def test_a_drive_goes_out_and_comes_back_to_where_it_began(way: str) -> None:
    trip = record(way, range(2), 64, 64, 32)
    assert trip.pixels.shape == (2, 128, 32, 32, 3)
    away = np.linalg.norm(trip.poses[..., :3], axis=-1)
    assert (np.abs(away - MILES[way](64, 64)) < 0.9).all(), "where the script wants it, but for the time a car takes"
    assert (away[:, 63] > 3).all()
    assert (away[:, -1] < 0.2).all()
    turned = 2 * np.arccos(np.clip(np.abs(trip.poses[:, -1, 3]), 0, 1))
    assert (turned < 0.1).all(), "backwards, not turned around"
    start, far, home = (trip.pixels[:, frame].astype(float) for frame in (0, 63, -1))
    assert (np.abs(home - start).mean((1, 2, 3)) < 0.5 * np.abs(far - start).mean((1, 2, 3))).all()
    assert not np.array_equal(trip.pixels[0], trip.pixels[1]), "other towns"


def test_actions_lead_into_their_frames() -> None:
    trip = record("out_and_back", range(1), 48, 48, 32)
    assert not trip.actions[:, 0].any()
    env: Any = gym.make("sfvgen/RouteReturn-v0", split="test", length="medium", size=32).unwrapped
    env.reset(seed=0)
    for frame in range(1, 8):
        observation, *_ = env.step(trip.actions[0, frame])
        assert np.array_equal(observation["pixels"], trip.pixels[0, frame])


def test_the_pan_comes_back_after_its_period() -> None:
    trip = pan(range(1), 56, 48, 32)
    assert np.array_equal(trip.pixels[0, 1], trip.pixels[0, 97])
    assert not np.array_equal(trip.pixels[0, 1], trip.pixels[0, 25])


def test_a_return_is_as_old_as_the_leaving() -> None:
    there = np.array([1, 1, 1, 0, 0, 1, 1, 0, 1], bool)
    assert since(there).tolist() == [-1, -1, -1, -1, -1, 3, 4, -1, 2]


@pytest.mark.slow
def test_cubes_are_carried_off_while_seen_and_come_back_after() -> None:
    trip = record("object", range(2), 0, 104, 64)
    assert trip.back is not None
    assert trip.seen % 8 == 0
    assert (trip.back[:, : trip.seen] == -1).all()
    assert (trip.back[:, -1] > 80).all()
    assert len(trip.colours) == 2
    assert HOME < 0.05


def test_a_cube_is_found_where_the_camera_sees_it() -> None:
    env: Any = gym.make("sfvgen/CubeReturn-v0", split="test", length="short", size=64).unwrapped
    for seed in range(6):
        observation, _ = env.reset(seed=seed)
        camera, place = env.model.camera("eye").id, np.array(env.data.body("cube0").xpos)
        seen = env.data.cam_xmat[camera].reshape(3, 3).T @ (place - env.data.cam_xpos[camera])
        scale = 32 / np.tan(np.deg2rad(FOVY["fixed"] / 2))
        expected = np.array([31.5 - scale * seen[1] / -seen[2], 31.5 + scale * seen[0] / -seen[2]])
        found = centres(observation["pixels"][None], COLOURS[env.scene.colours[0]])[0]
        assert np.linalg.norm(found - expected) < 2.5, (seed, env.scene.colours[0], found, expected)


def test_misplaced_objects_are_so_many_pixels_off_and_lost_ones_lost() -> None:
    frames = np.full((4, 32, 32, 3), 128, np.uint8)
    frames[:, 4:8, 4:8] = (220, 30, 30)
    fake = np.full((4, 32, 32, 3), 128, np.uint8)
    fake[0, 4:8, 4:8] = (110, 15, 15)  # in the shade
    fake[1, 4:8, 7:11] = (220, 30, 30)
    fake[2, 4:8, 4:8] = (30, 30, 220)
    frames[3], fake[3] = 128, frames[0]
    away = misplaced(frames, fake, COLOURS["red"])
    assert away[:2].tolist() == [0, 3]
    assert np.isinf(away[2])
    assert np.isnan(away[3])


def test_frames_are_chosen_as_each_arm_says() -> None:
    world = tiny_world()
    course = Course.of(world, toy_trip())
    known, new = course.facts.poses[:, :32], course.facts.poses[:, 32:40]
    picks = {
        name: chosen(world, name, known, new, 24, 1.0)[0].tolist()  # type: ignore[arg-type]
        for name in ("last", "longer", "anchor", "bank")
    }
    assert picks["last"] == list(range(24, 32))
    assert picks["longer"] == list(range(20, 32)), "twelve past frames and a chunk are all it can take"
    assert picks["anchor"] == [0, *range(24, 32)]
    asked = torch.linspace(0, 7, 4).round().long()
    expected = sorted(int((known[0, :24, 0] - new[0, frame, 0]).abs().argmin()) for frame in asked)
    assert picks["bank"] == [*expected, *range(24, 32)]


def test_dreams_of_the_last_frames_are_the_worlds_own() -> None:
    world = tiny_world()
    course = Course.of(world, toy_trip())
    mine = dream(world, course, "last", None, SAMPLER, foreseen=True)
    everywhere = torch.ones(2, dtype=torch.bool)
    known = course.facts[16:24].withhold(actions=everywhere, texts=everywhere)
    new = course.facts[24:].withhold(texts=everywhere)
    whole = world.dream(course.latents[:, 16:24], known, new, torch.arange(2), SAMPLER, None, 24)
    assert np.array_equal(mine, np.stack([world.codec.decode(one[None])[0].numpy() for one in whole.latents]))


def test_arms_are_what_they_are_called() -> None:
    world = tiny_world()
    course = Course.of(world, toy_trip())
    made = imagined(world, course, (COPY, NONE, "paper"), SAMPLER, False)
    assert list(made) == [COPY, NONE, "paper", "paper" + SWAPPED]
    assert np.array_equal(made[COPY], np.repeat(course.trip.pixels[:, 23:24], 16, 1))
    assert not np.array_equal(made["paper"], made["paper" + SWAPPED])


def test_a_second_visit_recalls_the_first_one_in_the_same_scene() -> None:
    world, how = tiny_world(), replace(PRESETS["paper"], rank=2)
    scenes, heard = toy_trip(), []
    earlier = replace(scenes, pixels=np.concatenate([scenes.pixels[:, :1], scenes.pixels[:, :0:-1]], 1))
    first, second = Course.of(world, earlier), Course.of(world, scenes)
    memory, right = recalled(world, first, second, how, heard.append)
    assert right == 1
    assert heard == [0, 1]
    learned = remembered(world, first, how, heard.append)
    for name, value in learned.trained.weights.items():
        assert torch.equal(memory.trained.weights[name], value.half().float())
    assert set(under(world, second, "visit", memory, SAMPLER, False)) == {"visit", "visit" + SWAPPED}


def test_figures_are_by_age_and_paired() -> None:
    course = Course.of(tiny_world(), toy_trip(seen=24, dreamt=16))
    old = ages(course)
    # Frame 24 + i is frame 15 - i, seen 9 + 2 i frames ago.
    assert old[0].tolist() == [9 + 2 * i for i in range(16)]
    real = course.trip.pixels[:, 24:]
    off = np.clip(real.astype(int) + 10, 0, 255).astype(np.uint8)
    found = measure(course, {NONE: off, "true": real}, None)
    bands = found["arms"]["true"]["ages"]
    assert bands["1 to 39"]["gain"].mean > 10
    assert bands["1 to 39"]["gain"].mean == pytest.approx(
        bands["1 to 39"]["psnr"].mean - found["arms"][NONE]["ages"]["1 to 39"]["psnr"].mean
    )
    assert bands["80 to 159"]["psnr"] is None
    assert list(bands) == list(BANDS)
    assert over(np.ones((2, 3)), np.zeros((2, 3), bool)) is None


def test_consistency_compares_with_the_same_place_as_seen_before() -> None:
    course = Course.of(tiny_world(), toy_trip())

    def pixels(frames: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(frames).flatten(1).double() - 127.5

    seen, real, old = course.trip.pixels[:, :24], course.trip.pixels[:, 24:], ages(course)
    found = consistency(seen, real, old, pixels)  # type: ignore[arg-type]
    assert found == pytest.approx(1)
    assert np.abs(consistency(seen, real[:, ::-1], old, pixels)).max() < 0.5  # type: ignore[arg-type]
    old[0, 3] = -1
    assert np.isnan(consistency(seen, real, old, pixels)[0, 3])  # type: ignore[arg-type]


def test_bad_input_is_named() -> None:
    with pytest.raises(UnknownName, match="arm 'ban'"):
        revisit.main(arms=("ban",))
    with pytest.raises(BadOption, match="whole chunks"):
        revisit.main(seen=100)
    with pytest.raises(UnknownName, match="way 'out'"):
        record("out", range(2), 48, 48, 32)
    assert set(revisit.main.__defaults__[2]) == set(ARMS)  # type: ignore[index]


def test_the_command_writes_every_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_world().save_pretrained(tmp_path / "world")
    monkeypatch.setattr(revisit, "record", lambda *asked: toy_trip())
    out = tmp_path / "revisit.json"
    told = revisit.main(str(tmp_path / "world"), ("pan",), (COPY, NONE, "bank"), 2, judge="", threads=1, out=str(out))
    assert told == json.loads(out.read_text())
    assert set(told["rows"]["pan"]["arms"]) == {COPY, NONE, "bank"}
