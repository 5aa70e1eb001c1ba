"""Others' solvers in our worlds: the duck type, in the shapes that stable-worldmodel's solvers send."""

from typing import Any

import numpy as np
import pytest
import torch
from planning_fakes import Obstacle, Quadratic, rollout_of
from torch import Tensor
from world_fakes import tiny_world

from sfvgen_planner.errors import BadAction, BadState
from sfvgen_planner.planning.costs import CostModel, pictures
from sfvgen_planner.planning.objectives import GoalImage, Reward
from sfvgen_planner.types import Actions, Context, Rollout

LOW, HIGH = (-1.0, -1.0), (1.0, 1.0)
PAID = Reward(discount=1.0)


class TheirCEM:
    """A small solver in the manner of that package: info is expanded to [B, S, ...], candidates are Gaussian, costs are
    asserted to be a tensor [B, S], and the model is asked for its parameters' dtype."""

    def __init__(self, model: Any, samples: int = 200, rounds: int = 12, block: int = 1) -> None:
        self.model, self.samples, self.rounds, self.block = model, samples, rounds, block

    def solve(self, info: dict[str, Any], horizon: int, size: int) -> Tensor:
        dtype = next(self.model.parameters()).dtype
        rows = len(next(iter(info.values())))
        draw = torch.Generator().manual_seed(0)
        mean = torch.zeros(rows, horizon, size * self.block, dtype=dtype)
        spread = torch.ones_like(mean)
        told: dict[str, Any] = {
            key: value.unsqueeze(1).expand(rows, self.samples, *value.shape[1:]) for key, value in info.items()
        }
        for _ in range(self.rounds):
            drawn = torch.randn(rows, self.samples, *mean.shape[1:], generator=draw, dtype=dtype)
            candidates = drawn * spread[:, None] + mean[:, None]
            candidates[:, 0] = mean
            costs = self.model.get_cost(told, candidates)
            assert isinstance(costs, torch.Tensor)
            assert costs.shape == (rows, self.samples)
            places = torch.topk(costs, 20, dim=1, largest=False).indices
            best = candidates[torch.arange(rows)[:, None], places]
            mean, spread = best.mean(1), best.std(1)
        return mean


def info(rows: int, size: int = 16) -> dict[str, Tensor]:
    pose = torch.zeros(rows, 1, 9)
    pose[..., 3] = 1
    return {"pixels": torch.zeros(rows, 1, 3, size, size, dtype=torch.uint8), "pose": pose}


@pytest.mark.parametrize("block", [1, 2])
def test_their_solver_finds_the_best_in_our_world(block: int) -> None:
    bottom = np.array([[0.4, -0.6], [-0.2, 0.9]])
    model = CostModel(Quadratic(bottom), PAID, LOW, HIGH)
    found = TheirCEM(model, block=block).solve(info(2), 2, 2)
    assert found.shape == (2, 2, 2 * block)
    assert np.allclose(found.reshape(2, 2 * block, 2), bottom[:, None], atol=0.1)


def test_and_the_way_around_an_obstacle() -> None:
    model = CostModel(Obstacle(), PAID, LOW, HIGH, at_once=64)
    found = TheirCEM(model, rounds=20).solve(info(1), 8, 2)
    cost = model.get_cost({key: value[:, None] for key, value in info(1).items()}, found[:, None])
    assert float(cost[0, 0]) < 0.2


def test_a_cost_is_minus_the_score_within_the_bounds() -> None:
    actions = torch.tensor([[[[5.0, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]]]])
    costs = CostModel(Quadratic(np.zeros((1, 2))), PAID, LOW, HIGH).get_cost(
        {key: value[:, None].expand(1, 3, *value.shape[1:]) for key, value in info(1).items()}, actions
    )
    assert costs.tolist() == [[1.0, 1.0, 0.0]]
    assert costs.dtype == torch.float32


def test_what_is_not_finite_costs_infinitely_much() -> None:
    def broken(context: Context, actions: Actions) -> Rollout:
        rewards = np.zeros(actions.values.shape[:3])
        rewards[:, 0] = np.nan
        return rollout_of(np.zeros((*rewards.shape, 9)), rewards)

    told = {key: value[:, None].expand(1, 2, *value.shape[1:]) for key, value in info(1).items()}
    costs = CostModel(broken, PAID, LOW, HIGH).get_cost(told, torch.zeros(1, 2, 1, 2))
    assert costs.tolist() == [[np.inf, 0.0]]


def test_a_learned_world_takes_their_pictures_and_goals() -> None:
    world = tiny_world()
    imagine = world.imagine_with(None, body="toy", pixels=False)

    def encoded(image: Any) -> Tensor:
        return world.codec.encode(torch.from_numpy(image)[:, None])[:, 0]  # type: ignore[no-any-return]

    model = CostModel(imagine, GoalImage(encoded), LOW, HIGH)
    told = {key: value[:, None].expand(2, 3, *value.shape[1:]) for key, value in info(2).items()}
    told["goal"] = torch.rand(2, 1, 1, 3, 16, 16).expand(2, 3, 1, 3, 16, 16)
    actions = torch.rand(2, 3, 4, 2)
    costs = model.get_cost(told, actions)
    assert costs.shape == (2, 3)
    context = Context(np.zeros((2, 1, 16, 16, 3), np.uint8), told["pose"][:, 0].numpy())
    latents = imagine(context, Actions("vector", actions.numpy())).latents
    goal = (255 * told["goal"][:, 0, 0]).round().to(torch.uint8).movedim(1, -1)
    with torch.no_grad():
        want = (latents[:, :, -1] - encoded(goal.numpy())[:, None]).square().mean((2, 3, 4))
    assert torch.allclose(costs, want.float(), atol=1e-4)


def test_pictures_come_in_their_shapes() -> None:
    last = np.random.default_rng(0).integers(0, 255, (2, 1, 4, 8, 8, 3)).astype(np.uint8)
    first = np.moveaxis(last, -1, 3)
    for given in (last, first, torch.from_numpy(first), first / 255, torch.from_numpy(first) / 255):
        assert np.array_equal(pictures(given), last[:, 0])
    assert np.array_equal(pictures(last[:, :, 0]), last[:, 0, :1])
    with pytest.raises(BadState, match="Do not normalise"):
        pictures(first / 127.5 - 1)
    with pytest.raises(BadState, match="Leave them as observed"):
        pictures(np.zeros((2, 1, 8)))


def test_odd_questions_are_refused() -> None:
    model = CostModel(Obstacle(), PAID, LOW, HIGH)
    with pytest.raises(BadAction, match="2 or a multiple"):
        model.get_cost(info(1), torch.zeros(1, 2, 3, 3))
    with pytest.raises(BadState, match="'pose' in it"):
        model.get_cost({"pixels": torch.zeros(1, 2, 1, 3, 8, 8)}, torch.zeros(1, 2, 3, 2))
