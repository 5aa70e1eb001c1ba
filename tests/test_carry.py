"""What is carried from the last clean frame, and what is drawn."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.carry import Carry, Last
from sfvgen_planner.world.codec import CodecConfig, KLCodec
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.sight import places, unknown

DRAW = torch.Generator()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=DRAW.manual_seed(seed), dtype=torch.float64)


def carry(fine: int = 2, channels: int = 12) -> Carry:
    """Random everywhere; as many channels as folded pixels, so that folding loses nothing."""
    torch.manual_seed(0)
    made = Carry(channels, fine, 2, 16, 8).double()
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    if fine > 1:
        made.see_through(torch.linalg.qr(random(3 * fine**2, channels))[0])
    return made


def last(rows: int = 2, channels: int = 12, size: int = 4, given: float = 1.0) -> Last:
    camera = unknown(torch.zeros(rows, dtype=torch.float64))
    camera[:, 7] = 0.4
    return Last(random(rows, channels, size, size), camera, torch.full((rows,), given).double(), random(rows, 5))


def answer(one: Carry, seen: Last, frames: int = 3, seed: int = 1) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    rows, size = len(seen.latents), seen.latents.shape[-1]
    here = seen.camera[:, None].expand(-1, frames, -1)
    tokens, known = random(rows, frames, (size // 2) ** 2, 16, seed=seed), random(rows, frames, 16, seed=seed + 1)
    noisy = random(rows, frames, *seen.latents.shape[1:], seed=seed + 2)
    told: tuple[Tensor, tuple[Tensor, Tensor]] = one(
        tokens, known, noisy, found := one.sources(seen, here), one.still(found)
    )
    return told


@given(seed=st.integers(0, 50), keep=st.sampled_from([-60.0, 60.0]), fine=st.sampled_from([1, 2]))
def test_what_is_kept_was_carried_and_what_is_not_was_drawn(seed: int, keep: float, fine: int) -> None:
    one, seen = carry(fine), last()
    one.out.weight.data[12:], one.out.bias.data[12:] = 0, keep  # type: ignore[union-attr,index]
    mixed, (carried, drawn) = answer(one, seen, seed=seed)
    torch.testing.assert_close(mixed, carried if keep > 0 else drawn, rtol=1e-9, atol=1e-9)


def test_without_a_last_frame_everything_is_drawn() -> None:
    mixed, (_, drawn) = answer(carry(), last(given=0.0))
    assert torch.equal(mixed, drawn)


@pytest.mark.parametrize("fine", [1, 2])
def test_where_nothing_moves_the_last_frame_is_carried_as_it_is(fine: int) -> None:
    one, seen = carry(fine), last()
    one.maps.weight.data.zero_()
    one.maps.bias.data.zero_()  # type: ignore[union-attr]
    carried = answer(one, seen)[1][0]
    torch.testing.assert_close(carried, seen.latents[:, None].expand_as(carried), rtol=1e-9, atol=1e-9)


def test_a_body_is_carried_by_whole_pixels_as_slicing_would() -> None:
    """Four units of a quarter of half a picture: from half a picture to the right, all of it taken to be a body."""
    one, seen = carry(), last()
    one.maps.weight.data.zero_()
    maps = torch.zeros(4, 2, 2).double()  # near, across, down, moves; each for 2 x 2 pixels of a cell
    maps[1], maps[3] = 4.0, 60.0
    one.maps.bias.data = maps.flatten()
    carried = one._unfolded(answer(one, seen)[1][0].flatten(0, 1))
    picture = one._unfolded(seen.latents).repeat_interleave(3, 0)
    torch.testing.assert_close(carried[..., :4], picture[..., 4:], rtol=1e-9, atol=1e-9)
    beyond = picture[..., -1:].expand(-1, -1, -1, 4)
    torch.testing.assert_close(carried[..., 4:], beyond, rtol=1e-9, atol=1e-9, msg="beyond the edge there is its edge")


def test_a_turned_camera_sees_the_last_frame_shifted() -> None:
    """A pan by the angle between the middles of two pixels, at the middle of the picture."""
    one, seen = carry(), last(size=8)
    pixel = float(places(torch.zeros(16, 16).double())[8, 8, 0] * 2 * 0.4)
    angle = torch.tensor(2 * pixel).atan()  # two pixels to the right
    here = seen.camera[:, None].clone()
    here[..., 3], here[..., 5] = (angle / 2).cos(), -(angle / 2).sin()
    still = one.still(one.sources(seen, here))
    found = one._unfolded(still.latents[:, 0])[..., 7:9, 6:8]
    expected = one._unfolded(seen.latents)[..., 7:9, 8:10]
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.15)
    assert bool((still.inside[:, 0, 0, :, -1] < 1).all())
    assert bool((still.inside[:, 0, 0, :, :6] == 1).all())


def test_what_is_worn_stays_in_its_place_and_is_softer() -> None:
    one, latents = carry(), random(3, 2, 12, 6, 6)
    way = torch.tensor([[0.0, 0.0], [0.4, -0.3], [1.0, 0.0]]).double()
    worn = one.worn(latents, way)
    assert torch.equal(worn[0], latents[0])
    before, after = (one._unfolded(part.flatten(0, 1)) for part in (latents[1:], worn[1:]))
    rough = [picture[:2].diff(dim=-1).square().mean() for picture in (before, after)]
    assert rough[1] < 0.8 * rough[0]
    assert (before[:2] * after[:2]).mean() > 0.8 * (after[:2].square().mean() * before[:2].square().mean()).sqrt()
    torch.testing.assert_close(after[2:, ..., 1:-1], before[2:, ..., 1:-1], msg="by whole pixels nothing is lost")


def test_the_last_clean_frame_of_each_row_is_found() -> None:
    latents = random(3, 5, 2, 4, 4)
    level = torch.tensor([[0, 0, 0.5, 0.5, 0.5], [0, 0.1, 0, 0.5, 0.5], [0.3, 0, 0, 0, 0]]).double()
    conditions = Conditions(random(3, 5, 6), random(3, 5, 3, 2, 2), None, random(3, 5, 8))
    found = Last.of(latents, level, conditions)
    assert torch.equal(found.latents[:2], torch.stack([latents[0, 1], latents[1, 0]]))
    assert torch.equal(found.told[:2], torch.stack([conditions.frame[0, 1], conditions.frame[1, 0]]))
    assert torch.equal(found.given, torch.tensor([1.0, 1, 0]).double())
    assert not found.latents[2].any()
    assert not found.told[2].any()
    assert torch.equal(replace(found).repeat(6).latents[::2], found.latents)


def test_a_codec_says_how_its_latents_unfold() -> None:
    codec = KLCodec.fresh(CodecConfig(channels=5, fold=4, widths=(8,), groups=4))
    codec.begin(torch.randint(0, 256, (64, 16, 16, 3), dtype=torch.uint8))
    codec.measure(torch.randint(0, 256, (64, 16, 16, 3), dtype=torch.uint8))
    latents = torch.randn(1, 5, 4, 4)
    changed = latents + 0.5 * torch.randn_like(latents)
    seen = codec.pictured(changed * codec.std + codec.mean) - codec.pictured(latents * codec.std + codec.mean)
    by_hand = torch.einsum("fc,bchw->bfhw", codec.unfolding(4), changed - latents)
    torch.testing.assert_close(seen, by_hand, rtol=1e-3, atol=1e-4)
    with pytest.raises(BadOption, match="fold"):
        codec.unfolding(2)
