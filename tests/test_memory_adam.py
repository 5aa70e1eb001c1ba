"""Adam for many rows is torch's AdamW for each of them."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sfvgen_planner.memory.adam import Trained, muon, sgd, step

ROWS, SHAPES = 3, {"a": (2, 5), "b": (4, 2)}


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 999),
    clip=st.sampled_from([0.01, 1.0, float("inf")]),
    anchor=st.sampled_from([0.0, 0.5]),
    moves=st.lists(st.lists(st.sampled_from([0.0, 0.001, 0.1]), min_size=ROWS, max_size=ROWS), min_size=1, max_size=4),
)
def test_rows_are_what_torch_makes_of_each(seed: int, clip: float, anchor: float, moves: list[list[float]]) -> None:
    """Rows sit steps out, move at rates of their own, and are clipped and drawn back each by itself."""
    draw = torch.Generator().manual_seed(seed)
    given_ = {name: torch.randn(ROWS, *shape, generator=draw).double() for name, shape in SHAPES.items()}
    start = {name: torch.zeros(1, *shape).double() for name, shape in SHAPES.items()}
    now = Trained.fresh(given_)
    alone = [{name: nn.Parameter(value[row].clone()) for name, value in given_.items()} for row in range(ROWS)]
    adams = [torch.optim.AdamW(one.values(), weight_decay=anchor) for one in alone]
    for rates in moves:
        gradients = {name: torch.randn(ROWS, *shape, generator=draw).double() for name, shape in SHAPES.items()}
        now = step(now, gradients, torch.tensor(rates).double(), clip=clip, start=start, anchor=anchor)
        for row, rate in enumerate(torch.tensor(rates).double().tolist()):
            if rate:
                for name, weight in alone[row].items():
                    weight.grad = gradients[name][row].clone()
                nn.utils.clip_grad_norm_(alone[row].values(), clip)
                adams[row].param_groups[0]["lr"] = rate
                adams[row].step()
    for row, one in enumerate(alone):
        for name, weight in one.items():
            torch.testing.assert_close(now.weights[name][row], weight.detach(), rtol=1e-9, atol=1e-12)


def test_a_gradient_that_is_not_finite_moves_nothing_of_its_row() -> None:
    now = Trained.fresh({"a": torch.ones(2, 3)})
    wrong = torch.tensor([[1.0, 1.0, 1.0], [1.0, torch.nan, 1.0]])
    after = step(now, {"a": wrong}, torch.full((2,), 0.1), clip=1.0)
    assert after.steps.tolist() == [1, 0]
    assert torch.equal(after.weights["a"][1], torch.ones(3))
    assert (after.weights["a"][0] < 1).all()
    assert (after.first["a"][1] == 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), rows=st.integers(1, 4), shape=st.sampled_from([(2, 9), (9, 2), (3, 4, 3, 3)]))
def test_muon_moves_every_direction_of_a_row_alike(seed: int, rows: int, shape: tuple[int, ...]) -> None:
    """Against singular values; whatever the gradient's size, and whoever the neighbours are."""
    draw = torch.Generator().manual_seed(seed)
    gradient = torch.randn(rows, *shape, generator=draw).double() * torch.tensor(10.0) ** (seed % 7 - 3)
    now = Trained.fresh({"a": torch.zeros(rows, *shape).double()})
    after = step(now, {"a": gradient}, torch.full((rows,), 0.1), clip=float("inf"), way=muon)
    moved = -after.weights["a"].flatten(2) / 0.1
    most = max(moved.shape[1:]) ** 0.5
    for row in range(rows):
        left, _, right = torch.linalg.svd(gradient[row].flatten(1), full_matrices=False)
        along_them = left.T @ moved[row] @ right.T / most
        diagonal = along_them.diagonal()
        assert (along_them - diagonal.diag()).abs().max() < 1e-6
        assert diagonal.min() > 0.5
        assert diagonal.max() < 1.3
        alone = step(now.each(lambda x: x[:1]), {"a": gradient[row : row + 1]}, torch.tensor([0.1]), clip=1.0, way=muon)
        torch.testing.assert_close(alone.weights["a"][0], after.weights["a"][row])


def test_sgd_goes_down_the_slope_at_the_pace_of_each_tensor() -> None:
    now = Trained.fresh({"a": torch.ones(2, 3), "b": torch.ones(2, 3)})
    slopes = {"a": torch.full((2, 3), 0.1), "b": torch.full((2, 3), 0.2)}
    pace = {"a": torch.tensor(1.0), "b": torch.tensor(0.5)}
    after = step(now, slopes, torch.tensor([1.0, 0.0]), clip=float("inf"), way=sgd, pace=pace)
    for name in slopes:
        torch.testing.assert_close(after.weights[name][0], torch.full((3,), 0.9))
        assert torch.equal(after.weights[name][1], torch.ones(3))
