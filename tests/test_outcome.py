"""What outcomes are read off: pictures and senses before and after, in each body's own units."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from world_fakes import tiny_world

from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.outcome import Evidence, OutcomeHead, Spots

SIDE = 8


def head(bodies: int = 2) -> OutcomeHead:
    torch.manual_seed(0)
    return OutcomeHead((1, SIDE, SIDE), senses=2, moved=3, features=4, frame=5, bodies=bodies)


def evidence(rows: int = 3, frames: int = 2, seed: int = 0) -> Evidence:
    draw = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(rows, *shape, generator=draw)

    return Evidence(
        some(1 + frames, 1, SIDE, SIDE),
        some(1 + frames, 2),
        some(frames, 3),
        some(frames, 4),
        some(frames, 5),
        torch.arange(rows) % 2,
    )


def test_rewards_are_told_and_judged_in_the_bodys_own_unit() -> None:
    one, seen = head(), evidence()
    plain = one(seen).reward
    one.begin(torch.tensor([[2.0, -4.0], [0.5, 0.0], [3.0, 3.0]]), seen.embodiment)
    unit = torch.tensor([3.0, 0.25, 3.0])[:, None]
    torch.testing.assert_close(one(seen).reward, plain * unit)
    nothing = torch.zeros(3, 2, dtype=torch.bool)
    exact = one.loss(seen, one(seen).reward, nothing, nothing)
    off = one.loss(seen, one(seen).reward + 0.5 * unit, nothing, nothing)
    assert float((off - exact).detach()) == pytest.approx(0.5**2 / 2, rel=1e-4)


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
    seen = Evidence.of(world.pose_head, clean[:, :0], facts[:0], clean, facts, features, torch.zeros(2, 3, 16))
    assert torch.equal(seen.latents, torch.cat([clean[:, :1], clean], 1))
    assert seen.moved[:, 0, -2:].eq(0).all()
    assert seen.moved[:, 1:, -2].eq(1).all()


def test_coming_closer_to_what_is_seen_is_learned_from_few_scenes() -> None:
    """A head that read the mean of tokens foretold rewards by how busy an arm was, not by where it went."""

    def scenes(count: int, seed: int) -> tuple[Evidence, Tensor]:
        draw = torch.Generator().manual_seed(seed)
        place = torch.randint(SIDE, (count, 2), generator=draw)
        latents = torch.zeros(count, 2, 1, SIDE, SIDE)
        latents[torch.arange(count), :, 0, place[:, 1], place[:, 0]] = 3
        hand = torch.rand(count, 2, 2, generator=draw) * 2 - 1
        way = (hand - (2 * place / (SIDE - 1) - 1)[:, None]).norm(dim=-1)
        nothing = torch.zeros(count, 1, 5)
        evidence = Evidence(latents, hand, nothing[..., :3], nothing[..., :4], nothing, torch.zeros(count).long())
        return evidence, way[:, :1] - way[:, 1:]

    one = head()
    never = torch.zeros(50, 1, dtype=torch.bool)
    optimiser = torch.optim.Adam(one.parameters(), lr=3e-3)
    for step in range(200):
        seen, rewards = scenes(50, step % 8)
        optimiser.zero_grad()
        one.loss(seen, rewards, never, never).backward()
        optimiser.step()
    unseen, truth = scenes(200, 99)
    error = (one(unseen).reward.detach() - truth).square().mean()
    assert float(error / truth.var()) < 0.25
