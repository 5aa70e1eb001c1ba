"""What a codec leaves out stays where nothing changes."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from world_fakes import tiny_world

from sfvgen_planner.types import Actions, Context
from sfvgen_planner.world.codec import IdentityCodec
from sfvgen_planner.world.detail import CHANGED, Detail

CODEC = tiny_world().codec


def pictures(seed: int, *shape: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (*shape, 16, 16, 3), generator=draw, dtype=torch.uint8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 3))
def test_where_a_dream_changes_nothing_the_picture_is_what_was_seen(seed: int, rows: int, frames: int) -> None:
    seen = pictures(seed, rows)
    drawn = CODEC.decode(CODEC.encode(seen))[:, None].expand(-1, frames, -1, -1, -1)
    assert not torch.equal(drawn[:, 0], seen)
    assert torch.equal(Detail.of(CODEC, seen).upon(drawn), seen[:, None].expand(-1, frames, -1, -1, -1))


def test_where_it_changes_much_nothing_is_added_and_in_between_a_share() -> None:
    coded = torch.full((1, 16, 16, 3), 100, dtype=torch.uint8)
    detail = Detail(coded + 8, coded)
    for change, added in ((0, 8), (CHANGED / 4, 6), (CHANGED / 2, 4), (CHANGED, 0), (2 * CHANGED, 0), (-CHANGED, 0)):
        drawn = (coded + change).to(torch.uint8)[:, None]
        assert torch.equal(detail.upon(drawn), drawn + int(added))
    one_channel = coded.clone()
    one_channel[..., 1] += int(CHANGED)
    assert torch.equal(detail.upon(one_channel[:, None]), one_channel[:, None])


def test_a_codec_that_loses_nothing_has_no_detail() -> None:
    seen, drawn = pictures(0, 2), pictures(1, 2, 3)
    assert torch.equal(Detail.of(IdentityCodec(), seen).upon(drawn), drawn)


def test_what_planners_see_of_the_first_frames_is_as_sharp_as_what_was_seen() -> None:
    """All candidates of a row share its detail."""
    world, generator = tiny_world(), np.random.default_rng(0)
    seen = generator.integers(0, 256, (2, 2, 16, 16, 3), np.uint8)
    poses = np.zeros((2, 2, world.encoder.layout["toy"].pose_size), np.float32)
    poses[..., 3] = 1
    actions = Actions("vector", np.zeros((2, 3, 4, 2), np.float32))
    rollout = world.imagine_with(None, body="toy")(Context(seen, poses), actions)
    last = torch.from_numpy(seen[:, -1])
    for row in range(2):
        for candidate in range(3):
            drawn = world.codec.decode(rollout.latents[row, candidate])
            expected = Detail.of(world.codec, last[row : row + 1]).upon(drawn[None])[0]
            # Decoded in another batch, a channel may round the other way.
            assert (rollout.pixels[row, candidate].int() - expected).abs().max() <= 1
            assert (rollout.pixels[row, candidate].int() - drawn).abs().max() > 1
