"""Things: where they stand that words name, read off a picture by geometry and learned from recordings that tell it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from run_fakes import goes_on
from safetensors.torch import load_file, save_file
from torch import Tensor
from world_fakes import BODY, tiny_world, toy_episode, toy_set

from sfvgen_experiments.bench import things as bench
from sfvgen_experiments.collect import Collect, record
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadEpisode, BadOption
from sfvgen_planner.learning.run import RunConfig
from sfvgen_planner.learning.things import Surveyed, train_things
from sfvgen_planner.types import Context, Things
from sfvgen_planner.world.finding import find, look_for
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.pose import turned_by
from sfvgen_planner.world.things import Found, ThingHead, shown_at, spread, standing

EYE = np.array([0, 0, 1, 1, 0, 0, 0], np.float32)
"""A length above the table, looking down."""
TANGENT = float(np.tan(np.deg2rad(20)))


def camera(turn: tuple[float, float, float] = (0.0, 0.0, 0.0), rows: int = 1) -> Tensor:
    """[R, 8]"""
    return torch.cat([torch.zeros(3), turned_by(torch.tensor(turn)), torch.tensor([TANGENT])]).expand(rows, -1)


def told(number: int) -> Things:
    """Where the square of a toy episode is: pixels are a table one length below the eye."""
    places = np.asarray(toy_episode(number, 30).poses[:, 7:]).round()
    at = (places + 2) / 8 - 1
    height = np.zeros(len(at))
    there = np.stack([at[:, 0] * TANGENT, -at[:, 1] * TANGENT, height], -1)[:, None].astype(np.float32)
    return Things(("the square",), there, np.full((len(at), 1), 16, np.int32), EYE)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    empty = toy_set(tmp_path_factory.mktemp("toys") / "toy", episodes=0)
    for number in range(3):
        empty.append(replace(toy_episode(number, 30), things=told(number)))
    return empty


@pytest.fixture(scope="module")
def surveyed(toys: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Surveyed:
    return Surveyed.of(toys, tiny_world().codec, tmp_path_factory.mktemp("latents"))


@pytest.mark.parametrize(("view", "steps"), [("fixed", 0), ("sweep", 20), ("sweep", 70)])
def test_where_geometry_says_it_is_shown_the_simulator_shows_it(view: str, steps: int) -> None:
    env: Any = gym.make("sfvgen_envs:sfvgen/CubeReturn-v0", length="long", camera=view).unwrapped
    env.reset(seed=3)
    for _ in range(steps):
        env.tick(np.zeros(4))
    things, pose = env.things(), env.pose()
    fovy = float(env.model.camera("eye").fovy[0])
    taken = torch.from_numpy(np.concatenate([pose[:7], [np.tan(np.deg2rad(fovy) / 2)]])).float()[None]
    eye = torch.from_numpy(things.eye)[None]
    at = shown_at(torch.from_numpy(things.places), taken, eye, 1.0)
    seen = 0
    geoms = env._eye.segment(env.data)
    for k, name in enumerate(things.names):
        if "cube" not in name or things.shown[0, k] < 10:
            continue
        mine = (geoms >= 0) & (env.model.geom_bodyid[geoms] == env.model.body(env.named()[name]).id)
        rows, columns = np.nonzero(mine)
        middle = np.array([columns.mean() + 0.5, rows.mean() + 0.5]) / 32 - 1
        assert np.abs(at[0, k].numpy() - middle).max() < 1.5 / 32
        seen += 1
    assert seen
    back = standing(at, torch.from_numpy(things.places[..., 2:]), taken, eye, 1.0)
    torch.testing.assert_close(back, torch.from_numpy(things.places), atol=1e-5, rtol=1e-4)


def test_what_the_picture_does_not_show_is_not_shown() -> None:
    env: Any = gym.make("sfvgen_envs:sfvgen/CubeReturn-v0", length="short", camera="sweep").unwrapped
    env.reset(seed=3)
    shown = []
    for _ in range(96):
        shown.append(env.things().shown[0, env.things().names.index("the box")])
        env.tick(np.zeros(4))
    assert min(shown) == 0
    assert max(shown) > 20


def scenes(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Latents [R, 4, 8, 8] with a blob of the first colour and one of the second, and where these are [R, 2, 2]."""
    draw = torch.Generator().manual_seed(seed)
    at = torch.rand(rows, 2, 2, generator=draw) * 1.4 - 0.7
    axis = (torch.arange(8) + 0.5) / 4 - 1
    blobs = torch.exp(-((axis - at[..., :1]) ** 2)[:, :, None] * 30 - ((axis - at[..., 1:]) ** 2)[..., None] * 30)
    latents = torch.cat([blobs, torch.zeros(rows, 2, 8, 8)], 1)
    return latents + 0.05 * torch.randn(latents.shape, generator=draw), at


WORDS = torch.eye(3)[None]
"""The first colour, the second, and one that is never there."""


@pytest.fixture(scope="module")
def head() -> ThingHead:
    """Taught on pictures of a camera that never turned."""
    torch.manual_seed(0)
    head = ThingHead((4, 8, 8), 2, 3, 1, dim=32)
    head.eye[:] = torch.from_numpy(EYE)
    optimiser = torch.optim.Adam(head.parameters(), 0.005)
    shown = torch.tensor([True, True, False]).expand(64, -1)
    for step in range(250):
        latents, at = scenes(64, step)
        spots = torch.cat([at, torch.zeros(64, 1, 2)], 1)
        place = standing(spots, torch.zeros(64, 3, 1), camera(rows=64), head.eye.expand(64, -1), 1.0)
        loss = head.loss(asked(head, latents), spots, place, shown, shown)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return head.requires_grad_(False)


def asked(head: ThingHead, latents: Tensor, turn: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Found:
    rows = len(latents)
    found: Found = head(
        latents, camera(turn, rows), torch.zeros(rows, 2), torch.zeros(rows).long(), WORDS.expand(rows, -1, -1)
    )
    return found


def test_words_decide_which_of_two_is_found(head: ThingHead) -> None:
    latents, at = scenes(100, 1000)
    found = asked(head, latents)
    true = torch.stack([at[..., 0] * TANGENT, -at[..., 1] * TANGENT, torch.zeros(100, 2)], -1)
    off = (found.place[:, :2] - true).norm(dim=-1)
    assert off.median() < 0.03  # a latent is .09 wide
    swapped = (found.place[:, :2] - true.flip(1)).norm(dim=-1)
    assert (off < swapped).float().mean() > 0.95


def test_what_is_not_there_is_not_seen(head: ThingHead) -> None:
    seen = asked(head, scenes(100, 1001)[0]).seen
    assert (seen[:, :2] > 0).float().mean() > 0.95
    assert (seen[:, 2] < 0).float().mean() > 0.95


def test_doubts_tell_how_far_off_it_is(head: ThingHead) -> None:
    latents, at = scenes(300, 1002)
    found = asked(head, latents)
    true = torch.stack([at[..., 0] * TANGENT, -at[..., 1] * TANGENT], -1)
    doubted = (found.place[:, :2, :2] - true) / found.doubt[:, :2, :2]
    assert 0.4 < doubted.square().mean().sqrt() < 2.5


def test_a_camera_that_turned_is_allowed_for(head: ThingHead) -> None:
    """It was never turned while the head learned: this is geometry. MuJoCo's: y is up in the picture."""
    latents, _ = scenes(20, 1003)
    still, turned = asked(head, latents), asked(head, latents, (0.0, 0.1, 0.0))
    where = still.place[:, 0] - torch.tensor([0.0, 0, 1])
    sine, cosine = np.sin(0.1), np.cos(0.1)
    x, y, z = where.unbind(-1)
    ray = torch.stack([cosine * x + sine * z, y, -sine * x + cosine * z], -1)
    expected = ray * (where[:, 2] / ray[:, 2])[:, None]
    torch.testing.assert_close(turned.place[:, 0, :2], expected[:, :2], atol=1e-4, rtol=1e-3)
    assert (turned.place[:, 0, 0] - still.place[:, 0, 0]).abs().min() > 0.09


def test_what_may_be_elsewhere_is_looked_for_along_its_ray(head: ThingHead) -> None:
    found = asked(head, scenes(5, 1005)[0])
    eye = head.eye.expand(5, -1)
    places = spread(found, eye, 5, far=2.0)
    torch.testing.assert_close(places[:, :, 2], found.place)
    where = shown_at(places.flatten(1, 2), camera(rows=5), eye, 1.0).reshape(5, 3, 5, 2)
    torch.testing.assert_close(where, where[:, :, 2:3].expand_as(where), atol=1e-4, rtol=0)
    ends = (places[:, :, -1] - places[:, :, 0]).norm(dim=-1)
    torch.testing.assert_close(ends, 4 * found.doubt.square().sum(-1).sqrt())
    nearness = (places - eye[:, None, None, :3]).norm(dim=-1)
    assert (nearness.diff(dim=-1) > 0).all()


def test_pictures_know_no_neighbour_and_names_none(head: ThingHead) -> None:
    latents, _ = scenes(6, 1004)
    whole = asked(head, latents)
    torch.testing.assert_close(asked(head, latents[3:4]).place[0], whole.place[3])
    alone = head(latents, camera(rows=6), torch.zeros(6, 2), torch.zeros(6).long(), WORDS[:, 1:2].expand(6, -1, -1))
    torch.testing.assert_close(alone.place[:, 0], whole.place[:, 1])


def test_recordings_tell_where_things_stood(tmp_path: Path) -> None:
    config = Collect(task="push_cube", episodes=2, length="short", behaviour="expert", out=str(tmp_path / "push"))
    for episode in record(config):
        things = episode.things
        assert things is not None
        assert things.names == (f"the {episode.card['scene']['colour']} cube", "the disc")
        assert things.places.shape == (len(episode) + 1, 2, 3)
        assert np.allclose(things.places[0, :, :2], [episode.card["scene"][name] for name in ("cube", "target")])
        moved = np.linalg.norm(things.places[-1, :, :2] - things.places[0, :, :2], axis=-1)
        assert moved[0] > 0.05
        assert moved[1] == 0
        assert things.shown[0].min() > 5


def test_looks_at_many_scenes_may_be_short(tmp_path: Path) -> None:
    told = Collect(task="reach", episodes=3, steps=4, out=str(tmp_path / "reach"), behaviour="random")
    assert {len(episode) for episode in record(told)} == {4}
    with pytest.raises(BadOption, match="steps"):
        record(replace(told, steps=5))
    with pytest.raises(BadOption, match="steps=0"):
        replace(told, steps=0)


def test_drivers_name_nothing_and_older_recordings_say_nothing(tmp_path: Path) -> None:
    config = Collect(task="lane_keep", episodes=1, length="short", steps=3, out=str(tmp_path / "lane"))
    dataset = record(config)
    assert dataset[0].things is None
    with pytest.raises(BadOption, match="where things stand"):
        train_things(tiny_world(), [Surveyed(Any, ())], tmp_path, RunConfig(1), 4)  # type: ignore[arg-type]


def test_they_come_back_from_the_disk_and_wrong_ones_are_refused(toys: Dataset, tmp_path: Path) -> None:
    back = toys[1].things
    assert back is not None
    assert back.names == ("the square",)
    for name in ("places", "shown", "eye"):
        assert np.array_equal(getattr(back, name), getattr(told(1), name))
        assert getattr(back, name).dtype == getattr(told(1), name).dtype
    other = toy_set(tmp_path / "other", episodes=0)
    for wrong in (
        replace(told(1), places=told(1).places[:-1]),
        replace(told(1), shown=told(1).shown[:, :0]),
        replace(told(1), eye=EYE[:3]),
        replace(told(1), places=told(1).places * np.nan),
    ):
        with pytest.raises(BadEpisode, match="the square"):
            other.append(replace(toy_episode(1, 30), things=wrong))


def test_only_the_reading_of_things_learns_and_it_learns(surveyed: Surveyed, toys: Dataset, tmp_path: Path) -> None:
    world = tiny_world()
    before = {name: value.clone() for name, value in world.state_dict().items()}
    after = train_things(world, [surveyed], tmp_path, RunConfig(200, 5e-3, warmup=2, average=0.9), 16)
    changed = {name for name, value in after.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("things.") for name in changed)
    episode = toys[0]
    context = Context(episode.pixels[None], episode.poses[None])
    again = WorldModel.from_pretrained(tmp_path / "world")
    found = [find(one, "toy", context, ("the square",)) for one in (after, again)]
    torch.testing.assert_close(found[0].place, found[1].place)
    latents, poses = after.codec.encode(torch.from_numpy(episode.pixels)), torch.from_numpy(episode.poses)
    off = look_for(after, "toy", latents, poses, ("the square",)).place - torch.from_numpy(told(0).places)
    middle = told(0).places.mean(0) - told(0).places
    assert off.norm(dim=-1).mean() < 0.5 * np.linalg.norm(middle, axis=-1).mean()


def test_a_killed_run_goes_on_to_the_same_reading(surveyed: Surveyed, tmp_path: Path) -> None:
    goes_on(lambda folder, run, listen: train_things(tiny_world(), [surveyed], folder, run, 4, listen=listen), tmp_path)


def test_cameras_that_first_stood_elsewhere_are_refused(surveyed: Surveyed, tmp_path: Path) -> None:
    moved = replace(surveyed.things[1], eye=EYE + np.float32(0.1))
    both = Surveyed(surveyed.latents, [surveyed.things[0], moved, surveyed.things[2]])
    with pytest.raises(BadOption, match=r"first stand 0\.100 apart"):
        train_things(tiny_world(), [both], tmp_path, RunConfig(1), 4)


def test_a_world_from_before_is_read_and_says_that_it_finds_nothing(toys: Dataset, tmp_path: Path) -> None:
    tiny_world().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    whole = load_file(file)
    save_file({name: value for name, value in whole.items() if not name.startswith("things.")}, file)
    world, episode = WorldModel.from_pretrained(tmp_path), toys[0]
    assert not world.things.known.any()
    with pytest.raises(BadOption, match=r"things around 'toy'.*learn=things"):
        find(world, "toy", Context(episode.pixels[None], episode.poses[None]), ("the square",))
    save_file({name: value for name, value in whole.items() if name != "things.read.weight"}, file)
    with pytest.raises(BadOption, match=r"things\.read\.weight"):
        WorldModel.from_pretrained(tmp_path)


def test_a_grown_world_still_finds_things_and_none_around_who_is_new() -> None:
    world = tiny_world()
    world.things.known[:], world.things.eye[:] = True, torch.from_numpy(EYE)
    grown = world.grown(world.encoder.layout.adding(replace(BODY, name="other"))).eval()
    assert grown.things.known.tolist() == [True, False]
    episode = toy_episode(0, 3)
    context = Context(episode.pixels[None], episode.poses[None])
    both = [find(one, "toy", context, ("go left",)).place for one in (world, grown)]
    torch.testing.assert_close(*both)
    longer = world.grown(world.encoder.layout.adding(replace(BODY, name="other", pose_size=12)))
    assert longer.things.known.tolist() == [False, False]


def test_the_bench_tells_who_knows_all_from_who_knows_nothing(toys: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    true = torch.from_numpy(np.stack([told(number).places for number in range(3)]))
    episodes = iter(range(3))

    def exact(world: Any, body: str, latents: Tensor, poses: Tensor, names: list[str], view: str) -> Found:
        place = true[next(episodes), ::4]
        off = torch.tensor([0.03, 0.0, 0.04])
        return Found(place + off, torch.full_like(place, 0.05), torch.ones(place.shape[:2]), torch.zeros(1))

    monkeypatch.setattr(bench, "look_for", exact)
    found = bench.measured(tiny_world(), toys, 4)["square, lying"]
    assert found.off is not None
    assert found.close is not None
    assert found.doubted is not None
    assert found.middle is not None
    assert found.off.mean == pytest.approx(5, abs=1e-4)
    assert found.close.mean == 0
    assert found.doubted.mean == pytest.approx((0.05**2 / 3) ** 0.5 / 0.05, abs=1e-4)
    middle = true.flatten(0, 1).mean(0)
    wanted = [100 * np.median((one[::4] - middle).norm(dim=-1).numpy()) for one in true]
    assert found.middle.mean == pytest.approx(np.mean(wanted), abs=1e-3)
    assert found.seen.mean == 1
    with pytest.raises(BadOption, match=r"0 data sets"):
        bench.main()


def test_the_bench_tells_states_apart() -> None:
    names = ("the red cube", "the box")
    places = np.array([[[0.4, -0.1, 0.025]], [[0.4, -0.1, 0.12]], [[0.42, 0.30, 0.03]], [[0.4, -0.1, 0.025]]])
    box = np.broadcast_to([0.4, 0.29, 0.0], (4, 1, 3))
    shown = np.array([[20, 90], [20, 90], [20, 90], [1, 90]])
    things = Things(names, np.concatenate([places, box], 1), shown, EYE)
    assert bench.states_of(things, 0).tolist() == ["lying", "lifted", "in the box", "hidden"]
    assert set(bench.states_of(things, 1)) == {"standing"}
