"""Adam for many rows is torch's AdamW for each of them."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sfvgen_planner.memory.adam import Trained, step

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
