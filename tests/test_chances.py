"""Numbers told as chances: what they say is what is to be expected."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sfvgen_planner.world.chances import COUNT, FINE, WIDEST, mean_of, near_zero, surprise


def learned(numbers: torch.Tensor, steps: int = 400) -> torch.Tensor:
    """Logits that are least surprised by numbers [N], all seen in one situation."""
    logits = torch.zeros(COUNT, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = surprise(logits.expand(len(numbers), -1), numbers).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    return logits.detach()


@given(st.floats(-500, 500))
def test_what_is_certain_is_told_exactly(number: float) -> None:
    told = mean_of(learned(torch.tensor([number], dtype=torch.float64), 200))
    torch.testing.assert_close(told, torch.tensor(number, dtype=torch.float64), rtol=1e-2, atol=2e-2)


def test_a_rare_crash_is_expected_as_often_as_it_happens() -> None:
    """Huber's error, which was here before, told .01 where one step in five cost 20: a planner drove off the road."""
    numbers = torch.tensor([0.05] * 80 + [-20.0] * 20, dtype=torch.float64)
    told = mean_of(learned(numbers))
    torch.testing.assert_close(told, numbers.mean(), rtol=1e-2, atol=1e-2)


def test_surprise_is_the_cross_entropy_of_shares_with_the_numbers_mean() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(5, COUNT, generator=draw, dtype=torch.float64)
    numbers = torch.tensor([-30.0, -0.01, 0.0, 0.7, 123.0], dtype=torch.float64)
    grid = torch.linspace(-WIDEST, WIDEST, COUNT, dtype=torch.float64).sinh() / FINE
    expected = []
    for row, number in zip(logits, numbers, strict=True):
        above = int((grid <= number).sum().clamp(max=COUNT - 1))
        share = (number - grid[above - 1]) / (grid[above] - grid[above - 1])
        log = row - row.exp().sum().log()
        expected.append(-((1 - share) * log[above - 1] + share * log[above]))
    torch.testing.assert_close(surprise(logits, numbers), torch.stack(expected), rtol=1e-9, atol=1e-9)


def test_beyond_the_widest_is_the_widest() -> None:
    told = mean_of(learned(torch.tensor([1e6], dtype=torch.float64)))
    widest = torch.tensor(WIDEST, dtype=torch.float64).sinh() / FINE
    torch.testing.assert_close(told, widest, rtol=2e-2, atol=0.0)


def test_one_begins_with_nothing_to_be_expected_and_little_doubt() -> None:
    first = near_zero()
    torch.testing.assert_close(mean_of(first), torch.tensor(0.0), atol=1e-5, rtol=0.0)
    numbers = torch.linspace(-WIDEST, WIDEST, COUNT).sinh() / FINE
    assert first.softmax(-1)[numbers.abs() < 1].sum() > 0.9
