"""How a body stands, read off a picture, and with what doubt."""

import math

import numpy as np
import pytest
import torch
from world_fakes import BODY, tiny_world

from sfvgen_agents.minds import LearnedMind
from sfvgen_agents.wishes import objective_of
from sfvgen_planner.errors import BadState
from sfvgen_planner.planning import Goal
from sfvgen_planner.types import Rollout
from sfvgen_planner.world.posture import Posture, PostureHead

SIDE = 8


def pictures(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A bright cell: pictures [N, 1, 1, SIDE, SIDE]; its place across, and a number that is not shown: [N, 1, 2]."""
    draw = torch.Generator().manual_seed(seed)
    cell = torch.randint(SIDE, (count, 2), generator=draw)
    shown = torch.zeros(count, 1, 1, SIDE, SIDE)
    shown[torch.arange(count), 0, 0, cell[:, 1], cell[:, 0]] = 3
    return shown, torch.stack([2 * cell[:, 0] / (SIDE - 1) - 1, torch.randn(count, generator=draw)], -1)[:, None]


def test_what_is_seen_is_read_surely_and_what_is_not_with_its_whole_doubt() -> None:
    torch.manual_seed(0)
    head, body = PostureHead((1, SIDE, SIDE), senses=2, bodies=1, dim=32), torch.zeros(64, dtype=torch.int64)
    optimiser, known = torch.optim.Adam(head.parameters(), lr=5e-3), torch.ones(64, 1, 2, dtype=torch.bool)
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, total_iters=500)
    for step in range(500):
        shown, senses = pictures(64, step)
        optimiser.zero_grad()
        head.loss(shown, body, senses, known).backward()
        optimiser.step()
        falling.step()
    shown, senses = pictures(64, 1000)
    with torch.no_grad():
        told = head(shown, body)
    assert (told.senses - senses)[..., 0].abs().mean() < 0.1
    assert told.doubt[..., 0].mean() < 0.2
    assert 0.8 < float(told.doubt[..., 1].mean()) < 1.2
    assert told.senses[..., 1].abs().mean() < 0.2


def test_the_loss_is_the_negative_log_likelihood_of_what_is_known() -> None:
    torch.manual_seed(1)
    head, body = PostureHead((1, SIDE, SIDE), senses=2, bodies=3, dim=16), torch.tensor([0, 2])
    shown, senses = pictures(2, 0)
    known = torch.tensor([[[True, False]], [[True, True]]])
    told = head(shown, body)
    normal = torch.distributions.Normal(told.senses, told.doubt).log_prob(senses)
    expected = -(normal + 0.5 * math.log(2 * math.pi))[known].mean()
    torch.testing.assert_close(head.loss(shown, body, senses, known), expected)


def test_distance_is_counted_in_doubts_and_padding_counts_for_nothing() -> None:
    wanted = Posture(torch.tensor([[[9.0, 9.0, 9.0], [1.0, 0.0, 7.0]]]), torch.tensor([[[1.0, 1, 1], [0.5, 2.0, 0.1]]]))
    here = torch.tensor([[[[0.0, 0.0], [1.0, 4.0]]]])
    torch.testing.assert_close(wanted.apart(here), torch.tensor([[[math.sqrt(2.0), math.sqrt(2.0)]]]))


def test_a_planner_that_wants_a_posture_wants_the_goals() -> None:
    """Of two futures the one whose senses are those that the head reads off the goal's picture is the better one."""
    world = tiny_world()
    mind, image = LearnedMind(world, BODY.name), np.full((1, 16, 16, 3), 90, np.uint8)
    with torch.no_grad():
        read = world.posture(mind.goal_latents(image)[:, None], torch.zeros(1, dtype=torch.int64)).senses[0, 0]
    poses = torch.zeros(1, 2, 3, 9)
    poses[..., 3] = 1
    poses[0, 0, :, 7:] = read * world.pose_head.spread[0] + world.pose_head.mean[0]
    poses[0, 1, :, 7:] = poses[0, 0, :, 7:] + 1
    nothing = torch.zeros(1, 2, 3)
    rollout = Rollout(poses=poses, rewards=nothing, success=nothing, terminated=nothing)
    wish = objective_of("posture", mind)
    scores = np.asarray(wish(rollout, Goal(image=image)))[0]
    assert scores[0] == pytest.approx(0, abs=1e-4)
    assert scores[1] < -0.5
    with pytest.raises(BadState, match="without image"):
        wish(rollout, Goal())
