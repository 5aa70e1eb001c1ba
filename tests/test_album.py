"""Frames that are kept: which ones, found again by where a camera looks, and carried from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bank_fakes import card
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_fakes import SMALL, rows_of, seen, world_of
from torch import Tensor

from sfvgen_planner.errors import BadMemory
from sfvgen_planner.memory import Bank, Memory, MemoryConfig, load, merge, merged, remember, save, start
from sfvgen_planner.memory.keeping import SAME, with_frame
from sfvgen_planner.memory.rows import put, take
from sfvgen_planner.world.album import BETTER, Album, Shown
from sfvgen_planner.world.carry import Carry, Last
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.lowrank import LowRank
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig
from sfvgen_planner.world.sight import strain, unknown

FRAMES = replace(SMALL, variant="off", kept=4)
BOTH = replace(SMALL, kept=4)
TANGENT = 0.4


def camera(turn: float = 0.0, ahead: float = 0.0) -> Tensor:
    """[8] turned to the left by so many radians, so many lengths ahead."""
    one = unknown(torch.zeros((), dtype=torch.float64))
    one[2], one[3], one[5], one[7] = -ahead, np.cos(turn / 2), np.sin(turn / 2), TANGENT
    return one


def album(*cameras: Tensor, size: int = 4, seed: int = 0) -> Album:
    """One row, of a random picture for each camera."""
    draw = torch.Generator().manual_seed(seed)
    pictures = torch.randn(len(cameras), 12, 4, 4, generator=draw, dtype=torch.float64)
    return Album.of(pictures, torch.stack(cameras), size)


def filled(world: WorldModel, rows: int = 2, config: MemoryConfig = BOTH, seed: int = 0) -> Memory:
    """Memories whose episodes looked about."""
    memory = start(world, config, rows, seeds=torch.arange(rows))
    for number in range(2):
        memory = remember(world, memory, seen(world, rows, frames=10, seed=seed + number))
    return memory


def dreamt(world: WorldModel, memory: Memory | None, rows: int = 2, still: bool = False) -> Tensor:
    """Eight frames after two, from other places; with `still` from one and the same."""
    window = rows_of(seen(world, 2, frames=10, seed=7), slice(0, rows))
    facts = window.facts
    if still:
        facts = replace(facts, poses=facts.poses[:, :1].expand_as(facts.poses).contiguous())
    new, factors = facts[2:], None if memory is None else memory.factors
    sampler = SamplerConfig(steps=1)
    return world.dream(window.latents[:, :2], facts[:2], new, torch.arange(rows), sampler, factors, 2, False).latents


# what shows what


@given(turn=st.floats(-0.3, 0.3))
def test_a_pan_strains_by_the_share_that_left_the_picture(turn: float) -> None:
    """Of 8 x 8 cells, each inside by as much as its middle says; worked out by angles."""
    found = float(strain(camera()[None, None], camera(turn)[None, None]))
    middle = (2 * np.arange(8) + 1) / 8 - 1
    x, y = np.meshgrid(middle * TANGENT, middle * TANGENT)
    # A camera turned to the left by an angle finds what was straight ahead to its right.
    angle = np.arctan(x) + turn
    across = np.tan(angle) / TANGENT
    up = y * np.cos(np.arctan(x)) / np.cos(angle) / TANGENT
    share = np.clip((np.maximum(abs(across), abs(up)) - 1) * 4 + 0.5, 0, 1)
    assert found == pytest.approx(share.mean(), abs=1e-9)


@given(ahead=st.floats(0.01, 0.4))
def test_a_way_straight_back_strains_by_parallax_alone(ahead: float) -> None:
    """What was seen from behind is all there, and what is a length away was smaller."""
    found = float(strain(camera(ahead=ahead)[None, None], camera()[None, None]))
    middle = (2 * np.arange(8) + 1) / 8 - 1
    x, y = np.meshgrid(middle, middle)
    assert found == pytest.approx((np.hypot(x, y) * (1 - 1 / (1 + ahead))).mean(), abs=1e-9)


def test_who_knows_nothing_strains_nothing_and_is_never_found() -> None:
    nobody = unknown(torch.zeros(1, dtype=torch.float64))
    assert float(strain(camera(0.2)[None, None], nobody[None])) == 0
    last = Shown(torch.zeros(1, 12, 4, 4).double(), camera(0.3)[None], torch.ones(1).double())
    assert float(album(nobody[0]).nearest(camera()[None, None], last).given) == 0
    assert float(album(camera()).nearest(camera()[None, None], last).given) == 1


def test_each_frame_of_each_candidate_finds_its_own() -> None:
    kept = Album.stack([album(camera(0.0), camera(0.2)), album(camera(0.4), camera(0.6), seed=1)])
    now = torch.stack([torch.stack([camera(turn), camera(turn + 0.2)]) for turn in (0.0, 0.0, 0.4, 0.2)])
    last = Shown(torch.zeros(4, 12, 4, 4).double(), camera(-1.0).expand(4, -1), torch.ones(4).double())
    found = kept.nearest(now, last)
    expected = [(0, 0), (0, 1), (0, 0), (0, 1), (1, 0), (1, 1), (1, 0), (1, 0)]
    assert torch.equal(found.latents, torch.stack([kept.latents[row, which] for row, which in expected]))
    alone = kept.each(lambda value: value[1:]).nearest(now[2:], Shown(*(p[2:] for p in vars(last).values())))
    assert torch.equal(alone.latents, found.latents[4:])


def test_of_two_that_show_it_alike_the_newer_one_is_found() -> None:
    kept = album(camera(), camera())
    last = Shown(torch.zeros(1, 12, 4, 4).double(), camera(0.4)[None], torch.ones(1).double())
    assert torch.equal(kept.nearest(camera()[None, None], last).latents[0], kept.latents[0, 1])


@settings(max_examples=20)
@given(turn=st.floats(0.02, 0.3))
def test_a_kept_frame_is_shown_only_where_it_is_much_better_than_the_last(turn: float) -> None:
    kept, now = album(camera(turn)), camera()[None, None]
    for behind in (0.01, turn, 0.4):
        last = Shown(torch.zeros(1, 12, 4, 4).double(), camera(-behind)[None], torch.ones(1).double())
        better = strain(now, kept.cameras)[0, 0] < BETTER * strain(now, last.camera[None])[0, 0]
        assert bool(kept.nearest(now, last).given) == bool(better)


# what is carried


def carrying() -> Carry:
    """As many channels as folded pixels, so that folding loses nothing."""
    torch.manual_seed(0)
    made = Carry(12, 2, 2, 16, 8).double()
    made.see_through(torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64))[0])
    return made


def last_frame(by: Tensor) -> Last:
    pictures = torch.randn(1, 12, 4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return Last(pictures, by[None], torch.ones(1).double(), torch.zeros(1, 3).double())


def test_what_was_not_in_the_last_picture_is_carried_from_the_kept_one() -> None:
    one, now = carrying(), camera()[None, None]
    kept = album(camera()).nearest(now, last := last_frame(camera(1.5)))
    still = one.still(one.sources(last, now, kept))
    torch.testing.assert_close(still.latents[0, 0], kept.latents[0])
    assert bool((still.inside == 1).all())
    assert not one.still(one.sources(last, now)).inside.any()


def test_where_both_show_otherwise_the_last_one_is_right() -> None:
    """Half of the view was seen just now, and something moved there."""
    one, now = carrying(), camera()[None, None]
    last = last_frame(camera(0.38))
    kept = album(camera()).nearest(now, last)
    other = replace(kept, latents=kept.latents + 20)
    before, after = one.still(one.sources(last, now)), one.still(one.sources(last, now, other))
    whole = (before.inside == 1).expand_as(before.latents)
    assert whole.any()
    torch.testing.assert_close(after.latents[whole], before.latents[whole])
    assert bool((after.inside >= before.inside).all())


def test_where_both_show_the_same_the_kept_one_counts() -> None:
    one, now = carrying(), camera()[None, None]
    last = last_frame(camera(0.3))
    alike = Shown(one.still(one.sources(last, now)).latents[:, 0] + 0.01, camera()[None], torch.ones(1).double())
    still = one.still(one.sources(last, now, alike))
    torch.testing.assert_close(still.latents[0, 0], alike.latents[0], rtol=0, atol=1e-4)


# which are kept


@settings(max_examples=20)
@given(step=st.floats(0.001, 0.07), size=st.integers(2, 6))
def test_a_slow_pan_leaves_frames_far_apart(step: float, size: int) -> None:
    """If every frame took the place of the one before it, only the last would be left."""
    kept, turns = album(camera(), size=size), np.arange(1, 40) * step
    for turn in turns:
        kept = with_frame(kept, torch.full((1, 12, 4, 4), turn).double(), camera(turn)[None])
    latents, cameras = kept.frames(0)
    angles = 2 * torch.atan2(cameras[:, 5], cameras[:, 3])
    assert bool((angles.diff() > 0).all()), "oldest first"
    torch.testing.assert_close(latents[1:, 0, 0, 0], angles[1:])
    apart = strain(cameras[1:, None], cameras[:-1, None])
    assert bool((apart >= SAME).all())
    if len(cameras) < size:  # then nothing was given up, and all that was seen is shown by something
        shown = strain(torch.stack([camera(turn) for turn in turns])[:, None], cameras.expand(len(turns), -1, -1))
        assert bool((shown.amin(1) < SAME + float(strain(camera(step)[None, None], camera()[None, None]))).all())


def test_who_comes_back_keeps_how_it_is_now() -> None:
    kept = album(camera(0.0), camera(0.3), camera(0.6))
    kept = with_frame(kept, torch.ones(1, 12, 4, 4).double(), camera(0.3)[None])
    latents, cameras = kept.frames(0)
    assert torch.equal(cameras, torch.stack([camera(0.0), camera(0.6), camera(0.3)]))
    assert bool((latents[-1] == 1).all())
    again = with_frame(kept, torch.zeros(1, 12, 4, 4).double(), camera(0.3)[None])
    assert torch.equal(again.latents, kept.latents), "a camera that stands still shows nothing new"


@pytest.mark.parametrize("size", [2, 4])
def test_how_all_was_at_first_is_kept_beside_how_it_is_now(size: int) -> None:
    kept = album(camera(0.0), size=size)
    first = kept.latents[0, 0].clone()
    for number, turn in enumerate((0.3, 0.6, 0.0, 0.9, 0.0, 0.3)):
        kept = with_frame(kept, torch.full((1, 12, 4, 4), float(number)).double(), camera(turn)[None])
        latents, cameras = kept.frames(0)
        assert torch.equal(latents[0], first)
        assert bool((latents[-1] == number).all())
        assert torch.equal(cameras[-1], camera(turn))


def test_only_rows_with_weight_keep_anything() -> None:
    world = world_of(process="clean")
    window = replace(seen(world, 2, frames=10), weight=torch.tensor([1.0, 0.0]).double())
    memory = remember(world, start(world, FRAMES, 2), window)
    assert memory.album is not None
    assert memory.album.given.sum(1).tolist() == [2, 0]
    assert torch.equal(memory.album.latents[0, :2], window.latents[0, [5, 9]]), "every fourth of the new frames"
    alone = remember(world, start(world, FRAMES, 1), rows_of(window, slice(0, 1)))
    assert torch.equal(alone.album.latents, memory.album.latents[:1])  # type: ignore[union-attr]


# what a dream makes of it


def test_before_a_camera_that_stands_still_an_album_changes_no_bit() -> None:
    world = world_of(process="clean")
    memory = filled(world, config=FRAMES)
    assert torch.equal(dreamt(world, memory, still=True), dreamt(world, None, still=True))
    assert not torch.equal(dreamt(world, memory), dreamt(world, None))


@pytest.mark.parametrize("operator", ["lowrank", "hyperzzw"])
def test_factors_beside_an_album_are_silent_where_nobody_has_been(operator: str) -> None:
    """Row 0 goes on standing still, row 1 comes back to what it saw."""
    world = world_of(process="clean")
    config = replace(BOTH, modules=("brush",), operator=operator, bound=float("inf"))  # type: ignore[arg-type]
    memory = filled(world, config=config)
    loud = replace(memory, album=None)
    window = seen(world, 2, frames=10, seed=1)
    poses = torch.stack([window.facts.poses[0, :1].expand(10, -1), window.facts.poses[1]])
    told = (window.latents[:, :2], replace(window.facts, poses=poses)[:2], replace(window.facts, poses=poses)[2:])
    rest = (torch.arange(2), SamplerConfig(1))
    none, both, factors, frames = (
        world.dream(*told, *rest, one, 2, False).latents
        for one in (None, memory.factors, loud.factors, LowRank({}, {}, "frames", memory.album))
    )
    assert torch.equal(both[0], none[0])
    assert not torch.allclose(factors[0], none[0]), "without an album they are heard everywhere"
    assert not torch.allclose(both[1], frames[1]), "beside one they are heard where it shows something"


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("keeping", [True, False])
def test_what_no_noise_changes_is_looked_up_once_and_nothing_is_otherwise(
    monkeypatch: pytest.MonkeyPatch, keeping: bool, guidance: float
) -> None:
    """A dream of fifty steps looked up the same kept frames fifty times, and took a third longer for it."""
    world, window = world_of(process="clean"), seen(world_of(process="clean"), 2, frames=10, seed=7)
    factors = filled(world).factors if keeping else None
    told = (
        window.latents[:, :2],
        window.facts[:2],
        window.facts[2:],
        torch.arange(2),
        SamplerConfig(3, guidance=guidance),
    )
    looked: list[int] = []
    sources = Carry.sources
    monkeypatch.setattr(Carry, "sources", lambda *given: looked.append(1) or sources(*given))
    at_once = world.dream(*told, factors, 2, False).latents
    assert len(looked) == 1
    monkeypatch.setattr(type(world.denoiser), "ready", lambda self, cache, conditions, memory: conditions)
    assert torch.equal(at_once, world.dream(*told, factors, 2, False).latents)
    assert len(looked) == 1 + 3 * (1 if guidance == 1 else 2)


def test_rows_dream_from_their_own_album_in_any_company() -> None:
    world = world_of(process="clean")
    memory = filled(world)
    both, swapped = dreamt(world, memory), dreamt(world, take(memory, torch.tensor([1, 0])))
    assert not torch.allclose(both, swapped)
    torch.testing.assert_close(dreamt(world, memory[:1], 1), both[:1])


def test_a_memory_in_the_weights_dreams_on_with_its_frames_beside_it() -> None:
    world = world_of(process="clean")
    memory = filled(world, rows=1)
    inside = merged(world, memory)
    window = seen(world, 1, frames=10, seed=7)
    told = (window.latents[:, :2], window.facts[:2], window.facts[2:], torch.arange(1), SamplerConfig(1))
    beside = world.dream(*told, memory.factors, 2, False).latents
    torch.testing.assert_close(inside.dream(*told, memory.beside, 2, False).latents, beside)
    assert not torch.allclose(inside.dream(*told, None, 2, False).latents, beside)
    assert merged(world, filled(world, rows=1, config=FRAMES)) is world, "there is nothing to be merged"


# rows, files, banks


def test_rows_are_taken_put_stacked_and_reset_with_their_frames() -> None:
    world = world_of(process="clean")
    memory = filled(world, rows=3)
    swapped = put(memory, torch.tensor([0]), memory[2:3])
    assert torch.equal(swapped[0:1].album.latents, memory[2:3].album.latents)  # type: ignore[union-attr]
    back = Memory.stack([memory[:1], memory[1:]])
    assert back.version == memory.version
    gone = memory.reset(torch.tensor([True, False, False]))
    assert gone.album is not None
    assert gone.album.given.sum(1).tolist() == [0, 4, 4]
    assert gone.version != memory.version


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("config", [BOTH, FRAMES], ids=["both", "frames"])
def test_files_hold_the_frames(tmp_path: Path, config: MemoryConfig, half: bool) -> None:
    """Frames alone could not be read back once: no factors had been written beside them."""
    world = world_of(process="clean")
    memory = filled(world, rows=1, config=config)
    save(memory, tmp_path, half=half)
    back = load(world, tmp_path, config)
    assert back.album is not None
    assert memory.album is not None
    plain = load(world, tmp_path)
    assert plain.album is not None, "who says nothing gets what is there"
    assert torch.equal(plain.album.frames(0)[0], back.album.frames(0)[0])
    tolerance = 1e-2 if half else 0.0
    torch.testing.assert_close(back.album.latents, memory.album.latents, rtol=tolerance, atol=tolerance)
    assert torch.equal(back.album.cameras, memory.album.cameras)
    (tmp_path / "album.safetensors").unlink()
    with pytest.raises(BadMemory, match="frames"):
        load(world, tmp_path, config)


@pytest.mark.parametrize("config", [BOTH, FRAMES], ids=["both", "frames"])
def test_a_bank_keeps_recalls_and_guards_them(tmp_path: Path, config: MemoryConfig) -> None:
    world = world_of(process="clean").float()
    memory = filled(world.double(), rows=2, config=config)
    with Bank.begun(tmp_path, world) as bank:
        names = [bank.add(memory[i : i + 1], card(float(i))) for i in range(2)]
        assert bank.load(names[0]).album.given.sum() == 4  # type: ignore[union-attr]
        path = tmp_path / "memories" / names[0] / "album.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        assert list(bank.verify()) == [names[0]]


def test_a_merged_memory_has_frames_of_all_its_parts() -> None:
    world = world_of(process="clean")
    wide = replace(BOTH, kept=8)
    parts = [filled(world, 1, wide), filled(world, 1, wide, seed=20)]
    both = merge(parts, [0.3, 0.7])
    assert both.album is not None
    assert int(both.album.given.sum()) == 8
    held = torch.cat([part.album.frames(0)[0] for part in parts])  # type: ignore[union-attr]
    assert torch.equal(both.album.latents[0], held), "the heaviest part's last"


def test_a_world_that_carries_nothing_refuses_them() -> None:
    for world in (world_of("unet3d"), world_of("causal")):
        with pytest.raises(BadMemory, match="carries nothing"):
            start(world, FRAMES, 1)


def test_unknown_poses_are_no_place_to_come_back_to() -> None:
    world = world_of(process="clean")
    window = seen(world, 1, frames=10)
    blind = replace(window, facts=window.facts.withhold(poses=torch.ones(1, dtype=torch.bool)))
    memory = remember(world, start(world, FRAMES, 1), blind)
    assert torch.equal(dreamt(world, memory, 1), dreamt(world, None, 1))
    assert isinstance(blind.facts, Facts)
