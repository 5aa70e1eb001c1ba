"""The judge: shapes, independence of neighbours, identity on disk, and that it learns."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_fakes import described, random_episode
from hypothesis import given, settings
from hypothesis import strategies as st

from sfvgen_planner.data import Dataset, VectorActions
from sfvgen_planner.errors import BadCheckpoint, BadOption, BadVideo, UnknownName
from sfvgen_planner.learning.judge import (
    JudgeTraining,
    changed,
    draw,
    fresh_judge,
    judge_losses,
    place_loss,
    train_judge,
)
from sfvgen_planner.learning.judge_batches import Places, Scenes, joined, layout_of, spread_of, stilled
from sfvgen_planner.learning.judge_scores import score_judge
from sfvgen_planner.learning.run import RunConfig
from sfvgen_planner.metrics.figures import fvd_name, src_name
from sfvgen_planner.metrics.judge import Judge, JudgeConfig
from sfvgen_planner.metrics.judge_file import FACTS, WEIGHTS, load_judge, save_judge
from sfvgen_planner.metrics.judge_layout import Layout, TaskLayout
from sfvgen_planner.metrics.judge_reading import (
    ClipFeatures,
    PlaceFeatures,
    follows_actions,
    follows_phrases,
    look,
    read_actions,
    read_phrases,
)
from sfvgen_planner.metrics.motion import FLOWS, flow
from sfvgen_planner.types import Episode

LAYOUT = Layout(
    (
        TaskLayout("arm", (-1.0, 0.0), (1.0, 4.0), ("left", "right")),
        TaskLayout("car", (-2.0,), (2.0,), ("right", "stop", "go")),
        TaskLayout("dot", (), (), ()),
    )
)
SMALL = JudgeConfig(size=32, slow=(8, 8, 8, 8), fast=(8, 8, 8, 8))


def made(config: JudgeConfig = SMALL, seed: int = 0) -> Judge:
    torch.manual_seed(seed)
    return Judge(config, LAYOUT).eval()


def clips(rows: int, frames: int = 8, size: int = 32, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (rows, frames, size, size, 3), dtype=np.uint8)


# --- the network -----------------------------------------------------------------------------------------------------


def test_the_shipped_judge_is_small_and_answers_for_all_tasks() -> None:
    judge = Judge(JudgeConfig(), LAYOUT).eval()
    assert sum(p.numel() for p in judge.parameters()) < 700_000
    verdict = look(judge, clips(3, 16, 64))
    assert verdict.features.shape == verdict.place.shape == (3, 64)
    assert verdict.actions.shape == (3, 16, 3)
    assert verdict.phrases.shape == (3, 16, 4)
    torch.testing.assert_close(verdict.place.norm(dim=1), torch.ones(3))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.sampled_from([8, 12, 16]), st.integers(0, 100))
def test_a_clip_does_not_feel_its_neighbours(rows: int, frames: int, seed: int) -> None:
    judge, batch = made(), clips(rows, frames, seed=seed)
    together, alone = look(judge, batch), look(judge, batch[-1:])
    for name in ("features", "place", "actions", "phrases"):
        torch.testing.assert_close(getattr(together, name)[-1:], getattr(alone, name), rtol=1e-4, atol=1e-5)


def test_looking_twice_is_seeing_the_same_and_bytes_are_floats() -> None:
    judge, batch = made(), clips(2)
    first, again, floats = look(judge, batch), look(judge, batch), look(judge, batch / np.float32(255))
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.features, floats.features)


def test_both_pathways_count() -> None:
    judge, batch = made(), clips(1)
    between = batch.copy()
    between[:, 1] = 255 - between[:, 1]  # a frame that the slow pathway does not see
    assert not torch.equal(look(judge, batch).features, look(judge, between).features)
    with torch.no_grad():
        for lateral in judge.laterals:
            lateral.weight.zero_()
    slow = 4 * (judge.config.slow[3] + 2 * judge.config.fast[3])
    for head in (judge.frame_head, judge.place_head):
        head[0].weight.data[:, slow:] = 0
    assert torch.equal(look(judge, batch).features, look(judge, between).features)


@pytest.mark.parametrize(
    "shape", [(1, 8, 64, 64, 3), (1, 8, 32, 33, 3), (1, 4, 32, 32, 3), (1, 10, 32, 32, 3), (8, 32, 32, 3)]
)
def test_clips_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadVideo):
        look(made(), np.zeros(shape, np.uint8))


@pytest.mark.parametrize("change", [{"size": 40}, {"size": 0}, {"stride": 0}, {"slow": (8, 8, 8, 9)}])
def test_shapes_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadOption):
        replace(SMALL, **change)


@pytest.mark.parametrize(("across", "down"), [(1, 0), (0, -1), (2, 1), (-3, 2)])
def test_flow_is_by_how_much_a_picture_shifts(across: int, down: int) -> None:
    noise = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    wall = torch.nn.functional.interpolate(noise[..., ::6, ::6], (96, 96), mode="bicubic").clamp(0, 1)
    frames = [wall[..., 16 - t * down : 80 - t * down, 16 - t * across : 80 - t * across] for t in range(3)]
    moved = flow(torch.stack(frames, 2))
    assert moved.shape == (1, FLOWS, 3, 32, 32)
    assert not moved[:, :, 0].any()
    inner = moved[0, :, 1:, 8:24, 8:24].flatten(1).median(1).values
    torch.testing.assert_close(inner, torch.tensor([across / 2, down / 2, across / 4, down / 4]), atol=0.12, rtol=0.1)


def test_nothing_moves_where_nothing_is_seen() -> None:
    assert not flow(torch.full((2, 3, 4, 16, 16), 0.5)).any()
    assert flow(torch.rand(2, 3, 4, 16, 16)).isfinite().all()


# --- tasks side by side ----------------------------------------------------------------------------------------------


def test_the_layout_puts_tasks_side_by_side() -> None:
    assert LAYOUT.actions == 3
    assert LAYOUT.phrases == ("left", "right", "stop", "go")
    assert (LAYOUT.part("arm"), LAYOUT.part("car"), LAYOUT.part("dot")) == (slice(0, 2), slice(2, 3), slice(3, 3))
    assert LAYOUT.phrase_ids("car") == [1, 2, 3]
    torch.testing.assert_close(LAYOUT.scaled("arm", [[0.0, 4.0]]), torch.tensor([[0.0, 1.0]]))
    with pytest.raises(UnknownName, match="arm"):
        LAYOUT.task("army")
    with pytest.raises(BadOption, match=r"\[..., 2\]"):
        LAYOUT.scaled("arm", np.zeros((3, 3)))
    with pytest.raises(BadOption):
        TaskLayout("x", (0.0,), (float("inf"),), ())
    with pytest.raises(BadOption):
        Layout((LAYOUT.tasks[0], replace(LAYOUT.tasks[0], phrases=())))


def test_reading_is_the_verdict_of_the_tasks_own_part() -> None:
    judge, batch = made(), clips(5)
    verdict = look(judge, batch)
    assert torch.equal(read_actions(judge, batch, "arm"), verdict.actions[:, 1:, :2])
    assert torch.equal(read_actions(judge, batch, "car", last=3), verdict.actions[:, -3:, 2:3])
    torch.testing.assert_close(read_phrases(judge, batch, "car", last=4), verdict.phrases[:, 4:, 1:].mean(1))
    with pytest.raises(BadOption, match="not numbers"):
        read_actions(judge, batch, "dot")
    with pytest.raises(BadOption, match="without phrases"):
        read_phrases(judge, batch, "dot")
    with pytest.raises(BadOption, match="longer clips"):
        read_actions(judge, batch, "arm", last=8)


def test_real_video_obeys_as_well_as_itself() -> None:
    judge, real = made(), clips(6)
    told = 2 * read_actions(judge, real, "car", last=4)  # what would be read, in the car's units
    found = follows_actions(judge, "car", clips(6, seed=1), real, told)
    assert found.real == pytest.approx(1, abs=1e-5)
    assert found.made < 1
    ids = read_phrases(judge, real, "arm").argmax(1).numpy()
    assert follows_phrases(judge, "arm", real, real, ids).ratio == 1


def test_what_the_judge_measures_bears_its_name() -> None:
    judge, batch = made(), clips(3)
    assert fvd_name(ClipFeatures(judge)) == "FVD(judge)"
    assert src_name(PlaceFeatures(judge)) == "SRC(judge)"
    assert torch.equal(ClipFeatures(judge)(batch), look(judge, batch).features)
    still = look(judge, np.repeat(batch[:, :1], 8, axis=1)).place
    torch.testing.assert_close(PlaceFeatures(judge)(batch[:, 0]), still)


# --- on disk ---------------------------------------------------------------------------------------------------------


def test_saved_and_loaded_it_is_the_same_judge(tmp_path: Path) -> None:
    judge, batch = made(), clips(2)
    identity = save_judge(judge, tmp_path / "a", {"seed": 0})
    loaded = load_judge(tmp_path / "a", "cpu")
    assert loaded.judge.identity == judge.identity == identity
    assert loaded.card == {"seed": 0}
    assert (loaded.judge.config, loaded.judge.layout) == (judge.config, judge.layout)
    for name in ("features", "place", "actions", "phrases"):
        assert torch.equal(getattr(look(judge, batch), name), getattr(look(loaded.judge, batch), name))
    assert not any(p.requires_grad for p in loaded.judge.parameters())
    assert save_judge(loaded.judge, tmp_path / "b", {"seed": 0}) == identity
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


def test_another_judge_has_another_identity(tmp_path: Path) -> None:
    one, other = (save_judge(made(seed=seed), tmp_path / str(seed), {}) for seed in (0, 1))
    assert one != other
    renamed = made()
    renamed.layout = replace(LAYOUT, tasks=(*LAYOUT.tasks[:2], TaskLayout("point", (), (), ())))
    assert save_judge(renamed, tmp_path / "2", {}) != one


def test_whatever_was_changed_on_disk_is_refused(tmp_path: Path) -> None:
    save_judge(made(), tmp_path, {})
    weights, facts = (tmp_path / WEIGHTS).read_bytes(), json.loads((tmp_path / FACTS).read_text())

    def refused(match: str, new_weights: bytes = weights, **new_facts: Any) -> None:
        (tmp_path / WEIGHTS).write_bytes(new_weights)
        (tmp_path / FACTS).write_text(json.dumps({**facts, **new_facts}))
        with pytest.raises(BadCheckpoint, match=match):
            load_judge(tmp_path, "cpu")

    refused("sha256", weights[:-4])
    refused("sha256", weights[:-1] + bytes([weights[-1] ^ 1]))
    refused("sha256", layout={"tasks": []})
    refused("version 2", version=2)
    (tmp_path / FACTS).write_text("{")
    with pytest.raises(BadCheckpoint, match="no judge"):
        load_judge(tmp_path, "cpu")
    with pytest.raises(BadCheckpoint, match="no judge"):
        load_judge(tmp_path / "nowhere", "cpu")


# --- what it learns from ---------------------------------------------------------------------------------------------

TOLD = ("go left", "go right")


def toy_episode(seed: int, split: str, *, camera: bool) -> Episode:
    """A bright bar before a wall of random stripes: it goes left or right for 8 steps at a time, and that is told.

    With `camera`, the wall moves instead, and the pose says how far.
    """
    rng = np.random.default_rng(seed)
    steps, size = 32, 32
    way = np.repeat(rng.choice([-1, 1], steps // 8), 8)
    place = np.concatenate([[0], np.cumsum(way)])
    wall = rng.integers(0, 160, (1, 128, 3)).repeat(size, 0)
    pixels = np.stack([wall[:, 40 + (p if camera else 0) :][:, :size] for p in place]).astype(np.uint8)
    if not camera:
        for t, p in enumerate(place):
            pixels[t, :, (np.arange(4) + 14 + p) % size] = 255
    poses = np.zeros((steps + 1, 7), np.float32)
    poses[:, 3], poses[:, 0] = 1, place * camera
    blank = random_episode(seed, steps, h=size, w=size)
    return replace(
        blank,
        pixels=pixels,
        poses=poses,
        actions=np.stack([way, 0 * way], 1).astype(np.float32),
        phrases=tuple(TOLD[int(w > 0)] for w in way),
        card={"split": split, "seed": seed},
    )


def toy(root: Path, *, camera: bool, episodes: int = 36) -> Dataset:
    about = described(picture=(32, 32), phrases=TOLD, task="Bar", actions=VectorActions((-1.0, -1.0), (1.0, 1.0)))
    with Dataset.create(root, about) as dataset:
        for seed in range(episodes):
            dataset.append(toy_episode(seed, "test" if seed % 3 == 0 else "train", camera=camera))
    return dataset


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy(tmp_path_factory.mktemp("bars") / "set", camera=False)


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy(tmp_path_factory.mktemp("walls") / "set", camera=True)


TRAINING = JudgeTraining(frames=(8,), clips=8, episodes=2, pairs=2, network=SMALL)


def scenes_of(dataset: Dataset) -> Scenes:
    return Scenes(dataset, layout_of([dataset]), Places(), lambda card: True)


def test_pairs_show_one_place_and_labels_are_what_led_into_frames(bars: Dataset, walls: Dataset) -> None:
    still, moving = scenes_of(bars), scenes_of(walls)
    assert (still.moves, moving.moves) == (False, True)
    for scenes in (still, moving):
        batch = scenes.draw(np.random.default_rng(0), 8, 6)
        assert batch.clips.shape == (12, 8, 32, 32, 3)
        assert not batch.elsewhere.diagonal().any()
        assert not batch.elsewhere[torch.arange(12), torch.arange(12) ^ 1].any()
        assert batch.elsewhere.any()
        assert (batch.phrases[:, 0] == -1).all()
        assert batch.actions[:, 0].isnan().all()
        assert torch.equal(batch.phrases[:, 1:], (batch.actions[:, 1:, 0] > 0).long())
    # Where the camera moves, near means: the pictures overlap almost wholly.
    middle = batch.clips[:, 4].float()
    apart = (middle[0::2] - middle[1::2]).abs().mean(dim=(1, 2, 3))
    assert (
        apart < (middle[:, None] - middle[None]).abs().mean(dim=(2, 3, 4))[batch.elsewhere].min() + 1e-6
    ).float().mean() > 0.5


def test_batches_know_nothing_elsewhere_in_other_episodes_and_stills_tell_no_action(walls: Dataset) -> None:
    rng = np.random.default_rng(1)
    both = joined([scenes_of(walls).draw(rng, 8, 3) for _ in range(2)])
    assert not both.elsewhere[:6, 6:].any()
    quiet = stilled(both, np.random.default_rng(0))
    frozen = (quiet.clips == quiet.clips[:, :1]).flatten(1).all(1) & (quiet.phrases == -1).all(1)
    assert 0 < int(frozen.sum()) < 6
    assert not frozen[0::2].any()
    assert quiet.actions[frozen].isnan().all()
    assert torch.equal(quiet.clips[~frozen], both.clips[~frozen])
    lit = changed(both.clips, rng)
    torch.testing.assert_close(lit[0::2], both.clips[0::2].float() / 255)
    assert float(lit.min()) >= 0
    assert float(lit.max()) <= 1


def test_single_clips_know_no_elsewhere_and_actions_have_their_spread(bars: Dataset) -> None:
    scenes = scenes_of(bars)
    one = scenes.one(np.random.default_rng(0), 8)
    assert one.clips.shape == (1, 8, 32, 32, 3)
    assert not one.elsewhere.any()
    mixed = draw([scenes], TRAINING, np.random.default_rng(0))
    assert len(mixed.clips) == TRAINING.clips + 2 * TRAINING.episodes * TRAINING.pairs
    assert not mixed.elsewhere[-TRAINING.clips :].any()
    # The first number is -1 or 1, the second always 0: it is not learned to the last digit.
    torch.testing.assert_close(spread_of([scenes], layout_of([bars])), torch.tensor([1.0, 0.01]), atol=0.1, rtol=0)


def test_an_action_counts_in_units_of_its_own_variance(bars: Dataset) -> None:
    batch = scenes_of(bars).one(np.random.default_rng(0), 8)
    verdict = replace(look(fresh_judge([bars], TRAINING, 0), batch.clips), actions=batch.actions.nan_to_num() + 0.5)
    action, _, _ = judge_losses(verdict, batch, torch.tensor([1.0, 0.25]), 0.1)
    assert action.item() == pytest.approx((0.25 / 1 + 0.25 / 0.25) / 2)


def test_place_loss_known_answers() -> None:
    place = torch.nn.functional.one_hot(torch.tensor([0, 0, 1, 1])).float()
    elsewhere = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]).bool()
    # Partner at cosine 1, two others at 0: -log(e / (e + 2)).
    expected = float(np.log(np.e + 2) - 1)
    assert place_loss(place, elsewhere, 1.0).item() == pytest.approx(expected, abs=1e-6)
    assert place_loss(place, elsewhere, 0.01).item() == pytest.approx(0, abs=1e-6)
    assert place_loss(place, torch.zeros(4, 4).bool(), 1.0).item() == 0


# --- learning --------------------------------------------------------------------------------------------------------


def test_it_learns_what_moves_where_and_knows_places_again(tmp_path: Path, bars: Dataset) -> None:
    judge = train_judge([bars], tmp_path, TRAINING, RunConfig(steps=100, rate=1e-2, warmup=10, average=0.9))
    (score,) = score_judge(judge, [bars], frames=8, episodes=8)
    assert score.phrase_accuracy is not None
    assert score.phrase_chance is not None
    assert score.phrase_accuracy > 0.9, score
    assert score.action_r2 is not None
    assert score.action_r2 > 0.6, score
    assert score.place_recall is not None
    assert score.place_chance is not None
    assert score.place_recall > 3 * score.place_chance, score
    assert load_judge(tmp_path, "cpu").judge.identity == judge.identity
    with pytest.raises(BadOption, match="cannot be compared"):
        train_judge([bars], tmp_path, TRAINING, RunConfig(steps=1))


def test_one_seed_one_judge_and_the_global_generator_is_left_alone(tmp_path: Path, bars: Dataset) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fresh_judge([bars], TRAINING, 0)
    assert torch.equal(before, torch.get_rng_state())
    judges = [
        train_judge([bars], tmp_path / str(i), TRAINING, RunConfig(steps=3, seed=seed))
        for i, seed in enumerate((0, 0, 1))
    ]
    assert judges[0].identity == judges[1].identity != judges[2].identity


def test_it_never_learns_from_the_test_split(tmp_path: Path, bars: Dataset) -> None:
    with Dataset.create(tmp_path / "set", bars.description) as tests:
        tests.append(toy_episode(0, "test", camera=False))
    with pytest.raises(BadOption, match="none with a train episode"):
        train_judge([tests], tmp_path / "out", TRAINING, RunConfig(steps=1))
    with Dataset.create(tmp_path / "more", bars.description) as trains:
        trains.append(toy_episode(0, "train", camera=False))
    with pytest.raises(BadOption, match="split=test"):
        score_judge(fresh_judge([trains], TRAINING, 0), [trains])
    with pytest.raises(BadOption, match="64x64"):
        train_judge([bars], tmp_path / "out", replace(TRAINING, network=JudgeConfig()), RunConfig(steps=1))
