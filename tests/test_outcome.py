"""What outcomes are read off: pictures and senses before and after, in each body's own units."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from world_fakes import tiny_world

from sfvgen_planner.world.ahead import Sighting
from sfvgen_planner.world.chances import surprise
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.outcome import UNUSUAL, Evidence, Near, OutcomeHead
from sfvgen_planner.world.sight import unknown
from sfvgen_planner.world.spots import Spots

SIDE = 8


def scene(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """A bright cell somewhere: pictures [N, 1, SIDE, SIDE] and its place [N, 2] between -1 and 1."""
    place = torch.randint(SIDE, (count, 2), generator=torch.Generator().manual_seed(seed))
    pictures = torch.zeros(count, 1, SIDE, SIDE)
    pictures[torch.arange(count), 0, place[:, 1], place[:, 0]] = 3
    return pictures, 2 * place / (SIDE - 1) - 1


def head(bodies: int = 2) -> OutcomeHead:
    torch.manual_seed(0)
    return OutcomeHead((1, SIDE, SIDE), senses=2, moved=3, features=4, frame=5, bodies=bodies)


def fixed(pictures: Tensor, frames: int) -> tuple[Sighting, Tensor, Tensor]:
    """Pictures seen by an eye that nobody knows, cameras of 1 + T frames, and that it does not travel."""
    rows = len(pictures)
    camera = unknown(torch.empty(rows, 1 + frames))
    return Sighting(pictures, camera[:, 0]), camera, torch.zeros(rows, dtype=torch.bool)


def evidence(rows: int = 3, frames: int = 2, seed: int = 0) -> Evidence:
    draw = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(rows, *shape, generator=draw)

    pictures = some(1 + frames, 1, SIDE, SIDE)
    return Evidence(
        pictures,
        some(1 + frames, 2),
        some(frames, 3),
        some(frames, 4),
        some(frames, 5),
        torch.arange(rows) % 2,
        *fixed(pictures[:, :1], frames),
    )


def lived(pictures: Tensor, place: Tensor, hand: Tensor) -> tuple[Evidence, Tensor]:
    """One step of hands [N, 2, 2] before still pictures, and by how much they came closer to the place, [N, 1]."""
    count, way = len(hand), (hand - place[:, None]).norm(dim=-1)
    nothing = torch.zeros(count, 1, 5)
    still = pictures[:, None].expand(-1, 2, -1, -1, -1)
    seen = Evidence(
        still, hand, nothing[..., :3], nothing[..., :4], nothing, torch.zeros(count).long(), *fixed(still, 1)
    )
    return seen, way[:, :1] - way[:, 1:]


@pytest.fixture(scope="module")
def fitted() -> OutcomeHead:
    """Learned from single steps before still pictures."""
    one, never = head(), torch.zeros(50, 1, dtype=torch.bool)
    optimiser = torch.optim.Adam(one.parameters(), lr=3e-3)
    for step in range(200):
        pictures, place = scene(50, step % 8)
        seen, rewards = lived(
            pictures, place, torch.rand(50, 2, 2, generator=torch.Generator().manual_seed(step % 8)) * 2 - 1
        )
        optimiser.zero_grad()
        one.loss(seen, rewards, never, never, torch.ones(50)).backward()
        optimiser.step()
    return one


def test_rewards_are_told_and_judged_in_the_bodys_own_unit() -> None:
    one, seen = head(), evidence()
    plain = one(seen).reward
    one.begin(torch.tensor([[2.0, -4.0], [0.5, 0.0], [3.0, 3.0]]), seen.embodiment)
    unit = torch.tensor([3.0, 0.25, 3.0])[:, None]
    torch.testing.assert_close(one(seen).reward, plain * unit)
    nothing = torch.zeros(3, 2, dtype=torch.bool)
    usual = one.logits(seen)[..., 0].detach()
    for off in (0.0, 0.5, 3.0):
        whole = one.loss(seen, (usual + off) * unit, nothing, nothing, torch.ones(3))
        huber = min(off, 1) ** 2 / 2 + max(off - 1, 0)
        # Nothing is near yet, so all of the reward is left to be told.
        alone = F.smooth_l1_loss(torch.zeros(3, 2), usual + off)
        unusual = surprise(one.logits(seen)[..., 3:], torch.full((3, 2), off)).mean()
        quiet = F.softplus(one.logits(seen)[..., 1:3]).sum(-1).mean()
        torch.testing.assert_close(whole, alone + huber + UNUSUAL * unusual + quiet, rtol=1e-4, atol=1e-4)


def test_a_row_that_counts_twice_counts_as_two() -> None:
    one, seen, never = head(), evidence(), torch.zeros(3, 2, dtype=torch.bool)
    rewards = torch.randn(3, 2)
    each = [
        one.loss(Evidence(**{k: v[[row]] if isinstance(v, Tensor) else v.rows([row]) for k, v in vars(seen).items()}),
                 rewards[[row]], never[[row]], never[[row]], torch.ones(1))
        for row in range(3)
    ]  # fmt: skip
    weight = torch.tensor([2.0, 0.0, 1.0])
    torch.testing.assert_close(
        one.loss(seen, rewards, never, never, weight), (2 * each[0] + each[2]) / 3, rtol=1e-5, atol=1e-6
    )


def test_a_unit_once_known_stays() -> None:
    one, both = head(), torch.tensor([0, 1])
    one.begin(torch.ones(1, 4), both[:1])
    one.begin(torch.full((2, 4), 7.0), both)
    assert one.scale.tolist() == [1.0, 7.0]


def test_each_frame_is_judged_by_itself_and_the_one_before() -> None:
    one, seen = head(), evidence(frames=4)
    other = seen.latents.clone()
    other[:, 2] += 1
    changed = (one.logits(replace(seen, latents=other)) != one.logits(seen)).any(-1)
    assert changed.tolist() == [[False, True, True, False]] * 3


def test_a_spot_is_where_it_is_looked_for() -> None:
    spots = Spots(1, SIDE, SIDE, dim=4)
    spots.look, spots.what = torch.nn.Identity(), torch.nn.Conv2d(1, 4, 1)  # type: ignore[assignment]
    spots.where = torch.nn.Conv2d(1, 16, 1)
    torch.nn.init.constant_(spots.where.weight, 50.0)
    told: list[Tensor] = []
    spots.tell.register_forward_pre_hook(lambda module, given: told.append(given[0]))
    picture = torch.zeros(1, 1, 1, SIDE, SIDE)
    picture[..., 2, 7] = 1
    spots(picture)
    place = torch.tensor([1.0, -1 + 2 * 2 / (SIDE - 1)])
    torch.testing.assert_close(told[0].reshape(1, 16, 6)[..., :2], place.expand(1, 16, 2))


def test_without_a_past_nothing_moved_into_the_first_frame() -> None:
    world = tiny_world()
    layout = world.encoder.layout
    poses = torch.zeros(2, 3, 9)
    poses[..., 3], poses[..., 7] = 1, torch.arange(3.0)
    facts = Facts.of_poses(poses, layout, "toy", "fixed")
    clean, features = torch.randn(2, 3, *world.shape), torch.zeros(2, 3, 32)
    heads, frame = (world.encoder, world.pose_head), torch.zeros(2, 3, 16)
    seen = Evidence.of(*heads, clean[:, :0], facts[:0], clean, facts, features, frame)
    assert torch.equal(seen.latents, torch.cat([clean[:, :1], clean], 1))
    assert seen.moved[:, 0, -2:].eq(0).all()
    assert seen.moved[:, 1:, -2].eq(1).all()


def test_coming_closer_to_what_is_seen_is_learned_from_few_scenes(fitted: OutcomeHead) -> None:
    """A head that read the mean of tokens foretold rewards by how busy an arm was, not by where it went."""

    pictures, place = scene(200, 99)
    hand = torch.rand(200, 2, 2, generator=torch.Generator().manual_seed(99)) * 2 - 1
    unseen, truth = lived(pictures, place, hand)
    error = (fitted(unseen).reward.detach() - truth).square().mean()
    assert float(error / truth.var()) < 0.25


def test_moves_of_one_state_are_put_in_order(fitted: OutcomeHead) -> None:
    """What a planner asks: from one place, before one picture, which of many moves is the best?"""
    order, (pictures, places) = [], scene(20, 99)
    for number in range(20):
        draw = torch.Generator().manual_seed(number)
        hand = (torch.rand(1, 1, 2, generator=draw) * 2 - 1).repeat(32, 2, 1)
        hand[:, 1] += torch.randn(32, 2, generator=draw) * 0.1
        seen, truth = lived(pictures[[number]].repeat(32, 1, 1, 1), places[[number]], hand)
        ranks = [value[:, 0].argsort().argsort().double() for value in (fitted(seen).reward.detach(), truth)]
        order.append(torch.corrcoef(torch.stack(ranks))[0, 1])
    assert float(torch.stack(order).mean()) > 0.9


def near(frames: int = 3) -> tuple[Near, Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    one = Near(senses=2, dim=6, bodies=2)
    torch.nn.init.normal_(one.body.weight)
    return one, torch.randn(4, 1 + frames, 6), torch.randn(4, 1 + frames, 2), torch.arange(4) % 2


def test_a_new_body_takes_no_place_for_worth_anything() -> None:
    """Else what a head knew would be drowned by places that nobody has learned yet."""
    assert Near(senses=2, dim=6, bodies=2)(torch.randn(4, 1, 6), torch.randn(4, 4, 2), torch.arange(4) % 2).eq(0).all()


def test_only_differences_of_places_count() -> None:
    one, look, senses, body = near()
    before, shift = one(look, senses, body), torch.randn(12)
    with torch.no_grad():
        one.here.bias += shift
        one.things[-1].bias += shift
    torch.testing.assert_close(one(look, senses, body), before, atol=1e-5, rtol=1e-4)


def test_who_stays_comes_no_closer_and_a_way_there_and_back_is_worth_nothing() -> None:
    one, look, senses, body = near(frames=2)
    with torch.no_grad():
        one.body.weight.unflatten(-1, (2, 4, 3))[:, 0] = 0  # what a distance itself is worth
    still = one(look[:, :1], senses[:, :1].expand(-1, 3, -1), body)
    torch.testing.assert_close(still, torch.zeros_like(still))
    back = one(look[:, :1], senses[:, [0, 1, 0]], body)
    torch.testing.assert_close(back[:, 0], -back[:, 1])


def test_places_are_read_off_the_last_picture_that_was_seen() -> None:
    one, look, senses, body = near()
    for seen in (1, 2, 4):
        last = [min(frame, seen - 1) for frame in range(3)]
        alone = [one(look[:, [k]], senses[:, frame : frame + 2], body) for frame, k in enumerate(last)]
        torch.testing.assert_close(one(look[:, :seen], senses, body), torch.cat(alone, 1))


def test_what_is_dreamt_moves_no_place() -> None:
    """Else each candidate has its own goal: a dream draws what is small anew."""
    whole, dreamt = head(), evidence(frames=4)
    torch.nn.init.normal_(whole.near.body.weight)
    torch.nn.init.zeros_(whole.tell[2].weight)
    other = torch.cat([dreamt.latents[:, :1], torch.randn(3, 4, 1, SIDE, SIDE)], 1)
    changed = replace(dreamt, latents=other)
    torch.testing.assert_close(whole.logits(changed), whole.logits(dreamt))
    assert not torch.equal(
        whole.logits(replace(changed, sighting=replace(changed.sighting, picture=other))), whole.logits(dreamt)
    )


def test_where_places_meet_there_is_a_slope() -> None:
    one, look, senses, body = near()
    with torch.no_grad():
        for layer in (one.here, one.things[-1]):
            layer.weight.zero_()
            layer.bias.zero_()
    one(look, senses, body).square().sum().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in one.parameters())


def test_a_rare_crash_is_expected_as_often_as_it_happens() -> None:
    """An error in which a bonus does not shout forgets a crash of one step in ten; a planner then drives into it."""
    one, rows = head(bodies=1), 40
    frame = torch.zeros(rows, 1, 5)
    frame[:20, :, 0] = 1  # here one in ten crashes, elsewhere nobody does
    nothing = torch.zeros(rows, 2, 5)
    seen = Evidence(
        torch.zeros(rows, 2, 1, SIDE, SIDE), nothing[..., :2], nothing[:, :1, :3], nothing[:, :1, :4], frame,
        torch.zeros(rows, dtype=torch.int64), *fixed(torch.zeros(rows, 1, 1, SIDE, SIDE), 1),
    )  # fmt: skip
    crash = torch.zeros(rows, 1, dtype=torch.bool)
    crash[:20:10] = True
    rewards = torch.where(crash, -20.0, 1.0)
    one.scale.fill_(1.0)
    optimiser = torch.optim.Adam(one.parameters(), lr=5e-3)
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, total_iters=500)
    for _ in range(500):
        optimiser.zero_grad()
        one.loss(seen, rewards, ~crash, crash, torch.ones(rows)).backward()
        optimiser.step()
        falling.step()
    told = one(seen).reward.detach()
    assert abs(float(told[:20].mean()) - float(rewards[:20].mean())) < 0.5
    assert abs(float(told[20:].mean()) - 1) < 0.1


def test_what_is_near_tells_alone_what_it_can() -> None:
    """Told together, a network that sees how a body moves told all of it, and praised circling."""
    one, seen, never = head(), evidence(), torch.zeros(3, 2, dtype=torch.bool)
    torch.nn.init.normal_(one.near.body.weight)
    rewards = torch.randn(3, 2, generator=torch.Generator().manual_seed(3))

    def slope(told: float) -> Tensor:
        one.zero_grad()
        with torch.no_grad():
            one.tell[2].bias[0] = told
        one.loss(seen, rewards, never, never, torch.ones(3)).backward()
        assert one.near.body.weight.grad is not None
        return one.near.body.weight.grad.unflatten(-1, (-1, 3))[..., 0].clone()

    torch.testing.assert_close(slope(0.0), slope(5.0))
