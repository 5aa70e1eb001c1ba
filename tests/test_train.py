"""`sfvgen train`: what it refuses, what it shows on the way, and whole small runs from episodes to dreams."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from data_fakes import FakeEnv, described, random_episode
from safetensors.torch import load_file
from world_fakes import BODY, tiny_world

from sfvgen_experiments.bench.slow import main as bench_slow
from sfvgen_experiments.collect import Collect, record
from sfvgen_experiments.imagine import ImagineVideos
from sfvgen_experiments.imagine import main as imagine
from sfvgen_experiments.samples import Samples
from sfvgen_experiments.train import Train, TrainCodec, cameras_of, main, main_codec
from sfvgen_planner.data import Dataset, import_env, import_videos, write_video
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.bodies import body_of, layout_of
from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.learning.slow import SlowLoss
from sfvgen_planner.learning.slow_batches import SlowConfig, draw_batch
from sfvgen_planner.types import Actions, Context
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.layout import Motion
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import PAPER_SAMPLER

SMALL: dict[str, Any] = {"batch": 2, "dim": 32, "depth": 1, "widths": (32, 32), "threads": 1, "samples": 0}


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("codec")
    tiny_world().codec.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment of four ids, imported: poses unknown."""
    folder = tmp_path_factory.mktemp("game")
    import_env(FakeEnv(length=40, discrete=True), folder, 2, name="imported/game-v0", size=(16, 16))
    return str(folder)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Videos, imported: words are known, actions and poses are not."""
    folder = tmp_path_factory.mktemp("clips")
    for name in "ab":
        write_video(folder / f"{name}.mp4", np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), np.uint8), 8)
    lines = (
        '{"file": "a.mp4", "start": 0, "end": 20, "text": "stir the soup"}',
        '{"file": "b.mp4", "start": 5, "end": 9, "text": "fly"}',
    )
    (folder / "a.jsonl").write_text("\n".join(lines))
    import_videos(folder, folder / "a.jsonl", folder / "set", name="imported/clips-v0", size=(16, 16))
    return str(folder / "set")


def test_sets_of_no_known_task_are_refused_unless_their_poses_are_unknown(tmp_path: Path, game: str) -> None:
    with Dataset.create(tmp_path / "mine" / "set-v0", described(name="mine/set-v0")) as dataset:
        dataset.append(random_episode(0))
    with pytest.raises(BadOption, match='"poses": "unknown"'):
        cameras_of(dataset)
    assert cameras_of(Dataset(game)) == {}


def test_no_data_and_test_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="sfvgen collect"):
        main_codec(TrainCodec())
    with Dataset.create(tmp_path / "set", described()) as dataset:
        dataset.append(replace(random_episode(0), card={"task": "Fake", "split": "test"}))
    with pytest.raises(BadOption, match="measuring only"):
        main(Train(data=(str(tmp_path / "set"),)))


def test_pictures_of_another_size_are_refused(tmp_path: Path, codec: str, game: str) -> None:
    import_env(FakeEnv(discrete=True), tmp_path / "big", 1, name="big-v0", size=(32, 32))
    with pytest.raises(BadOption, match=r"\(16, 16\), as this world sees"):
        main(Train(data=(game, str(tmp_path / "big")), codec=codec, out=str(tmp_path / "out"), **SMALL))


def test_sentences_too_long_are_refused_before_anything_is_trained(tmp_path: Path, codec: str) -> None:
    description = described(name="long-v0", task="long", picture=(16, 16), phrases=("go " * 40,))
    with Dataset.create(tmp_path / "long", description) as dataset:
        dataset.append(replace(random_episode(0, h=16, w=16), card={"task": "long", "poses": "unknown"}))
    with pytest.raises(BadOption, match="of 42 tokens"):
        main(Train(data=(str(tmp_path / "long"),), codec=codec, out=str(tmp_path / "out"), **SMALL))


def test_what_a_world_knows_of_a_body_goes_on_to_mean_the_same() -> None:
    known = replace(BODY, motion=Motion(1.0, 2.0, (0.0, 0.0), (1.0, 1.0), (1.0, 1.0)))
    again = replace(known, cameras={"sweep": 50.0}, phrases=("fly", "go left"), motion=replace(known.motion, radians=9))
    (grown,) = layout_of([again, again], [known]).embodiments
    assert grown == replace(known, cameras={"fixed": 40.0, "sweep": 50.0}, phrases=("go left", "go right", "fly"))
    (new,) = layout_of([known, again]).embodiments
    assert new.motion.radians == 9
    blind = replace(known, cameras={}, motion=Motion())
    for bodies in ([blind, known], [known, blind]):
        assert layout_of(bodies)["toy"].motion == known.motion
    assert layout_of([known], [blind])["toy"].motion == known.motion
    with pytest.raises(BadOption, match="other size and low and high"):
        layout_of([known, replace(BODY, size=1, low=(0.0,), high=(1.0,))])


def test_imported_sets_say_that_they_know_no_poses_and_the_pose_head_learns_nothing(
    game: str, clips: str, tmp_path: Path
) -> None:
    datasets = [Dataset(game), Dataset(clips)]
    bodies = [body_of(one, {}) for one in datasets]
    assert [(body.kind, body.size, dict(body.cameras)) for body in bodies] == [("discrete", 4, {}), ("vector", 0, {})]
    assert bodies[1].phrases == ("stir the soup", "fly")
    world = tiny_world()
    world = world.grown(layout_of(bodies, world.encoder.layout.embodiments))
    sets = [LatentSet(one, world.codec, tmp_path) for one in datasets]
    for step in range(4):
        batch = draw_batch(sets, world.encoder.layout, SlowConfig(batch=16, whole=0.0), (0, step, 0))
        assert (batch.truth.ids >= 0).any()
        assert any("stir the soup" in row for row in batch.truth.texts)
        assert not batch.truth.poses_known.any()
        assert not world.conditions(batch.truth).address.any()
        world.zero_grad()
        loss, figures = SlowLoss(world, 0.1)(batch)
        loss.backward()
        assert figures["pose"] == 0
        assert all(p.grad is None or not p.grad.any() for p in world.pose_head.parameters())
        assert any(p.grad is not None and p.grad.any() for p in world.denoiser.parameters())


def imagined(folder: str, body: str, actions: Actions) -> torch.Tensor:
    """What a saved world dreams of a body whose poses nobody knows."""
    rng = np.random.default_rng(0)
    poses = np.zeros((1, 8, 7), np.float32)
    poses[..., 3] = 1
    seen = Context(rng.integers(0, 256, (1, 8, 16, 16, 3), np.uint8), poses)
    rollout = WorldModel.from_pretrained(folder).imagine_with(None, body=body, camera=None)(seen, actions)
    assert (rollout.poses == torch.tensor([0, 0, 0, 1.0, 0, 0, 0])).all(), "where nobody knows, it stands still"
    assert rollout.latents.isfinite().all()
    return rollout.latents


def test_imported_data_train_a_world_from_nothing_and_grow_one_by_new_actions(
    tmp_path: Path, codec: str, game: str, clips: str
) -> None:
    """One command each: first a game of ids, then videos of which only words are known, then both dream."""
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    main(Train(data=(game,), codec=codec, out=first, steps=3, **SMALL))
    main(Train(data=(clips,), init=f"{first}/world", out=second, steps=4, **SMALL))
    imagine(ImagineVideos(f"{second}/world", clips, 1, frames=8, steps=1, threads=1, out=str(tmp_path / "videos")))
    assert imageio.imread(tmp_path / "videos" / "set-0.mp4", plugin="FFMPEG").shape[0] == 8
    body = str(Dataset(game).cards[0]["task"])
    for folder in (first, second):
        left, right = (imagined(f"{folder}/world", body, Actions("discrete", np.full((1, 1, 8), i))) for i in (0, 3))
        assert not torch.equal(left, right)
    soup, fly = (imagined(f"{second}/world", "video", Actions("phrase", np.array([[[i]]]))) for i in (0, 1))
    assert not torch.equal(soup, fly)


def test_videos_alone_train_a_world_without_a_single_action(tmp_path: Path, codec: str, clips: str) -> None:
    main(Train(data=(clips,), codec=codec, out=str(tmp_path), steps=2, **SMALL))
    assert imagined(str(tmp_path / "world"), "video", Actions("phrase", np.array([[[0]]]))).shape[2] == 8


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "run.safetensors")


def test_samples_are_dreamt_at_checkpoints_and_change_nothing(tmp_path: Path, codec: str, game: str) -> None:
    options: dict[str, Any] = {"data": (game,), "codec": codec, "steps": 3, "checkpoint_seconds": 0.0}
    main(Train(**options, **SMALL, out=str(tmp_path / "without")))
    main(Train(**options, **{**SMALL, "samples": 3}, out=str(tmp_path / "with")))
    assert not (tmp_path / "without" / "samples").exists()
    videos = sorted((tmp_path / "with" / "samples").iterdir())
    assert [path.name for path in videos] == [f"step_{step:06d}.mp4" for step in (1, 2, 3)]
    # Three windows below one another; of each truth, dream and difference, three times as large.
    assert imageio.imread(videos[0], plugin="FFMPEG").shape == (24, 3 * 16 * 3, 3 * 16 * 3, 3)
    one, other = weights(tmp_path / "without"), weights(tmp_path / "with")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_killed_in_the_middle_of_a_video_a_run_goes_on_to_the_same_weights(
    tmp_path: Path, codec: str, game: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"data": (game,), "codec": codec, "steps": 3, "checkpoint_seconds": 0.0}
    main(Train(**options, **SMALL, out=str(tmp_path / "whole")))
    write = Samples.write

    def killed(self: Samples, world: WorldModel, path: Path) -> None:
        write(self, world, path)
        if path.stem == "step_000002":
            raise KeyboardInterrupt

    monkeypatch.setattr(Samples, "write", killed)
    parts = Train(**options, **{**SMALL, "samples": 1}, out=str(tmp_path / "parts"))
    with pytest.raises(KeyboardInterrupt):
        main(parts)
    main(parts)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    main(parts)
    assert len(list((tmp_path / "parts" / "samples").iterdir())) == 3, "nothing trained, nothing shown"


def test_samples_draw_nothing_at_random_and_are_the_same_every_time(tmp_path: Path, game: str, clips: str) -> None:
    world, datasets = tiny_world(), [Dataset(game), Dataset(clips)]
    world = world.grown(layout_of([body_of(one, {}) for one in datasets], world.encoder.layout.embodiments)).eval()
    before = torch.get_rng_state()
    samples = Samples.of(world, datasets, 3)
    for name in ("a", "b"):
        samples.write(world, tmp_path / f"{name}.mp4")
    assert torch.equal(torch.get_rng_state(), before)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    layout = world.encoder.layout
    assert samples.told.embodiment.tolist() == [layout.index("FakeEnv")] * 2 + [layout.index("video")]
    assert samples.pixels.shape[1] == 30, "the past and what the shorter set has room for"


@pytest.mark.slow
def test_the_papers_recipe_runs_and_dreams_with_its_sampler(tmp_path: Path, codec: str, game: str) -> None:
    """Masked epsilon diffusion on linear betas in a video UNet, sampled with DDIM-50."""
    out = str(tmp_path / "paper")
    main(Train(data=(game,), codec=codec, kind="unet3d", process="paper", out=out, steps=3, **SMALL))
    world = WorldModel.from_pretrained(f"{out}/world")
    assert (world.config.process.curve, world.config.process.predict) == ("linear", "epsilon")
    calls: list[float] = []
    world.denoiser.register_forward_pre_hook(lambda _, told: calls.append(float(told[1].max())))
    told = Facts.nothing(1, 8, world.encoder.layout, "FakeEnv", None, "cpu")
    past = world.codec.encode(torch.zeros(1, 8, 16, 16, 3, dtype=torch.uint8))
    dreamt = world.dream(past, told, told, torch.tensor([0]), PAPER_SAMPLER)
    assert dreamt.latents.isfinite().all()
    assert calls == pytest.approx([(20 * step + 1) / 1000 for step in reversed(range(50))])
    imagine(ImagineVideos(f"{out}/world", game, 1, 8, 50, "leading", threads=1, out=str(tmp_path / "videos")))
    assert len(list((tmp_path / "videos").iterdir())) == 1


@pytest.mark.slow
def test_from_episodes_to_dreams(tmp_path: Path) -> None:
    """The commands of docs/world.md, small: record, train codec and world, measure on the test split alone."""
    folders = {}
    for split in ("train", "test"):
        folders[split] = str(tmp_path / split / "reach")
        record(Collect(task="reach", episodes=2, behaviour="random", split=split, length="medium", out=folders[split]))  # type: ignore[arg-type]
    codec, world = str(tmp_path / "codec"), str(tmp_path / "world")
    main_codec(TrainCodec(data=(folders["train"],), out=codec, steps=2, batch=4, threads=1))
    main(Train(data=(folders["train"],), codec=codec, out=world, steps=2, batch=2, dim=32, depth=1, threads=1))
    assert (Path(world) / "samples" / "step_000002.mp4").exists()
    options = {"worlds": (f"{world}/world",), "windows": 2, "long": 2, "steps": 1, "threads": 1}
    options["out"] = str(tmp_path / "slow.json")
    arms = bench_slow(data=(folders["test"],), **options)["rows"]["reach"]["arms"]  # type: ignore[arg-type]
    assert arms["copy last"]["psnr"]["n"] == 2
    assert 0 < arms["causal"]["psnr"]["mean"] < 60
    assert (tmp_path / "slow.json").exists()
    with pytest.raises(BadOption, match="Held out means held out"):
        bench_slow(data=(folders["train"],), **options)  # type: ignore[arg-type]
    main(
        Train(data=(folders["train"],), init=f"{world}/world", out=str(tmp_path / "tuned"), steps=1, batch=2, threads=1)
    )
