"""What waits ahead is read off the last true picture, at the place where a travelling eye will be."""

from dataclasses import replace
from math import cos, radians, sin, tan

import pytest
import torch
from test_outcome import SIDE, evidence, head
from torch import Tensor
from world_fakes import tiny_world

from sfvgen_planner.world.ahead import FAR, Ahead, Sighting
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.outcome import Evidence, OutcomeHead
from sfvgen_planner.world.pose import multiply
from sfvgen_planner.world.sampler import SamplerConfig

HALF = tan(radians(40))


def camera(place: tuple[float, float, float] = (0, 0, 0), turn: float = 0.0) -> Tensor:
    """[8]: at a place, turned to the left by so many radians, 80 degrees from top to bottom."""
    return torch.tensor([*place, cos(turn / 2), 0, sin(turn / 2), 0, HALF])


def learned(bodies: int = 2) -> OutcomeHead:
    """A head that may be asked of what waits ahead."""
    one = head(bodies)
    one.ahead.learned[:] = True
    return one


def roaming(rows: int = 3, frames: int = 2, seed: int = 0) -> Evidence:
    """Of eyes that go about."""
    draw = torch.Generator().manual_seed(seed)
    ways = [(float(x), 0.0, -0.2 * k) for x, k in zip(torch.randn(rows, generator=draw) / 9, range(rows), strict=True)]
    turns = torch.randn(rows, 1 + frames, generator=draw).mul(0.2).tolist()
    cameras = torch.stack([torch.stack([camera(ways[r], turns[r][t]) for t in range(1 + frames)]) for r in range(rows)])
    seen = evidence(rows, frames, seed)
    sighting = Sighting(seen.sighting.picture, camera().expand(rows, 8))
    return replace(seen, sighting=sighting, cameras=cameras, roams=torch.ones(rows, dtype=torch.bool))


def test_places_around_a_foreseen_eye_are_found_in_the_picture() -> None:
    """Worked out by hand: half a length ahead, three tenths to the left, turned to the left by half a right angle."""
    torch.manual_seed(0)
    ahead: Ahead = head().ahead
    with torch.no_grad():
        ahead.around[:] = torch.tensor([0.1, -0.2, -0.4])
    then, now = camera()[None], camera((-0.3, 0.0, -0.5), radians(45))[None, None]
    there, inside = ahead._found(then, now, now[..., :6], 1.0)
    right, below, before = 0.1, 0.2, 0.4  # of the eye that will be there
    x = -0.3 + (right - before) * cos(radians(45))
    depth = 0.5 + (right + before) * cos(radians(45))
    torch.testing.assert_close(there[0, 0, 0], torch.tensor([x, below]) / (depth * HALF))
    assert inside.all()
    behind = camera((0.0, 0.0, 3.0))[None, None]
    assert not ahead._found(then, behind, behind[..., :6], 1.0)[1].any()


def test_nothing_dreamt_is_looked_at() -> None:
    one, seen = learned(), roaming()
    other = replace(seen, latents=torch.randn_like(seen.latents), features=torch.randn_like(seen.features))
    assert torch.equal(one.logits(other), one.logits(seen))
    picture = replace(seen.sighting, picture=seen.sighting.picture + 1)
    assert not torch.equal(one.logits(replace(seen, sighting=picture)), one.logits(seen))


def test_an_eye_that_does_not_travel_never_hears_of_it() -> None:
    one, seen = learned(), roaming()
    some = replace(seen, roams=torch.tensor([True, False, False]))
    before, still = one.logits(some), replace(seen, roams=torch.zeros(3, dtype=torch.bool))
    assert torch.equal(before[1:], one.logits(still)[1:])
    assert torch.equal(before[:1], one.logits(seen)[:1])
    assert not torch.equal(before[:1], one.logits(still)[:1])


def test_who_never_learned_it_is_not_asked() -> None:
    """A new body would be judged by nothing but chance."""
    one, seen = learned(), roaming()
    one.ahead.learned[1] = False
    mixed, still = one.logits(seen), one.logits(replace(seen, roams=torch.zeros(3, dtype=torch.bool)))
    same = [torch.equal(mixed[row], still[row]) for row in range(3)]
    assert same == [False, True, False], "bodies 0, 1, 0"


def test_the_whole_world_may_be_moved_and_turned() -> None:
    """Only where places are from the eye that saw them counts."""
    one, seen = learned().double(), roaming()
    turn = torch.tensor([cos(0.4), 0, sin(0.4), 0], dtype=torch.float64)
    c, s = cos(0.8), sin(0.8)
    about = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)

    def moved(cameras: Tensor) -> Tensor:
        cameras = cameras.double()
        place = cameras[..., :3] @ about.T + torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
        return torch.cat([place, multiply(turn.expand_as(cameras[..., 3:7]), cameras[..., 3:7]), cameras[..., 7:]], -1)

    picture, told = seen.sighting.picture.double(), (seen.senses.double(), seen.embodiment)
    plain = one.ahead(Sighting(picture, seen.sighting.camera.double()), seen.cameras.double(), *told)
    other = one.ahead(Sighting(picture, moved(seen.sighting.camera)), moved(seen.cameras), *told)
    torch.testing.assert_close(other, plain, rtol=1e-9, atol=1e-9)


def test_places_stay_where_they_were_seen_while_the_eye_stands_still() -> None:
    """A hand once passed over a ball in a dream, the ball was gone, and nothing contradicted who circled there."""
    before = torch.stack([camera(), camera((0.1, 0, 0)), camera(turn=0.1)])
    seen = replace(evidence(rows=3), cameras=before[:, None].expand(-1, 3, -1))
    seen = replace(seen, sighting=Sighting(seen.sighting.picture + 1, camera().expand(3, 8)))
    assert torch.equal(seen.places[:1], seen.sighting.picture[:1])
    assert torch.equal(seen.places[1:], seen.latents[1:, :1])


def test_far_from_the_picture_it_is_not_asked() -> None:
    """There a dream may be wrong, but a picture from there shows nothing."""
    one, seen = learned(), roaming()
    cameras = seen.cameras.clone()
    cameras[:, 2, 0] += 2 * FAR
    far = replace(seen, cameras=cameras)
    dreamt = one.logits(replace(far, roams=torch.zeros(3, dtype=torch.bool)))
    same = (one.logits(far) == dreamt).all(-1)
    assert same.tolist() == [[False, True]] * 3


@pytest.mark.parametrize("pace", [0.0, 0.02, 1.0])
def test_a_whole_dream_looks_at_what_was_really_seen(pace: float) -> None:
    world = tiny_world()
    layout, draw = world.encoder.layout, torch.Generator().manual_seed(0)
    poses = torch.zeros(2, 20, 9)
    poses[..., 3], poses[..., 2] = 1, -pace * torch.arange(20.0)
    facts = Facts.of_poses(poses, layout, "toy", "fixed")
    past = torch.randn(2, 4, *world.shape, generator=draw)
    told = SamplerConfig(steps=1)
    dreamt = world.dream(past, facts[:4], facts[4:], torch.arange(2), told, foreseen=False)
    first, second = (seen.sighting for seen in dreamt.evidence)
    assert torch.equal(first.picture, past[:, -1:])
    torch.testing.assert_close(first.camera[:, 2], torch.full((2,), -3 * pace))
    assert torch.equal(second.picture, past[:, -1:])
    assert torch.equal(second.camera, first.camera)


@pytest.fixture(scope="module")
def fitted() -> OutcomeHead:
    """Learned from pictures of a ground that is dark on one side: there the eye must not go."""
    one = learned(bodies=1)
    optimiser = torch.optim.Adam(one.ahead.parameters(), lr=3e-3)
    for step in range(150):
        seen, off = ground(64, step)
        optimiser.zero_grad()
        one.loss_ahead(seen, -10.0 * off, ~off, off, torch.ones(64)).backward()
        optimiser.step()
    return one


def ground(rows: int, seed: int) -> tuple[Evidence, Tensor]:
    """Eyes that go forward and aside over a ground whose edge runs straight ahead, and are they off it, [R, T]."""
    draw = torch.Generator().manual_seed(seed)
    edge = torch.rand(rows, generator=draw) - 0.5
    y, x = torch.meshgrid(
        (torch.arange(SIDE) * 2 + 1) / SIDE - 1, (torch.arange(SIDE) * 2 + 1) / SIDE - 1, indexing="ij"
    )
    # The ground is a tenth below: a pixel below the horizon sees it so far to the side.
    aside = torch.where(y > 0, x / y * 0.1, torch.nan)
    picture = torch.where(y > 0, torch.where(aside > edge[:, None, None], -1.0, 1.0), 0.0)[:, None, None]
    place = torch.zeros(rows, 3, 8)
    place[..., 3], place[..., 7] = 1, HALF
    place[:, 1:, 2] = -0.1 - 0.3 * torch.rand(rows, 2, generator=draw)
    place[:, 1:, 0] = torch.rand(rows, 2, generator=draw) * 0.8 - 0.4
    seen = evidence(rows, 2, seed)
    sighting = Sighting(picture, camera().expand(rows, 8))
    seen = replace(seen, sighting=sighting, cameras=place, roams=torch.ones(rows, dtype=torch.bool))
    return replace(seen, embodiment=torch.zeros(rows, dtype=torch.int64)), place[:, 1:, 0] > edge[:, None]


def test_where_the_ground_ends_is_learned_from_few_scenes(fitted: OutcomeHead) -> None:
    seen, off = ground(300, 9999)
    with torch.no_grad():
        judged = fitted(seen)
    right = ((judged.terminated > 0.5) == off).float().mean()
    assert float(right) > 0.9
    assert float(judged.reward[off].mean()) < -7 < -3 < float(judged.reward[~off].mean())
