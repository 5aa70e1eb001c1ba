"""Muon: updates with equal singular values for inner matrices, AdamW to the bit for everything else."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sfvgen_planner.learning.muon import LIKE_ADAMW, MOMENTUM, Muon
from sfvgen_planner.memory.adam import orthogonal


@given(rows=st.integers(2, 12), columns=st.integers(2, 12), seed=st.integers(0, 99))
def test_an_orthogonal_matrix_keeps_singular_vectors_and_evens_values(rows: int, columns: int, seed: int) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    left, size, right = torch.linalg.svd(matrix, full_matrices=False)
    told = left.T @ orthogonal(matrix) @ right.T
    torch.testing.assert_close(told, told.diag().diag(), rtol=0, atol=1e-9)
    clear = size > 0.05 * size.square().sum().sqrt()
    assert (told.diag()[clear] - 1).abs().max() < 0.4


def test_two_updates_are_those_written_by_hand() -> None:
    torch.manual_seed(0)
    matrix, vector = nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.randn(6))
    copy, expected = nn.Parameter(vector.detach().clone()), matrix.detach().clone()
    groups = [
        {"params": [matrix], "weight_decay": 0.1, "orthogonal": True},
        {"params": [vector], "weight_decay": 0.2},
    ]
    ours, theirs = Muon(groups, lr=0.01), torch.optim.AdamW([copy], lr=0.01, weight_decay=0.2)
    momentum = torch.zeros(4, 6)
    for _ in range(2):
        gradient = torch.randn(4, 6)
        matrix.grad, vector.grad = gradient.clone(), torch.randn(6)
        copy.grad = vector.grad.clone()
        ours.step()
        theirs.step()
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * gradient
        update = orthogonal(MOMENTUM * momentum + (1 - MOMENTUM) * gradient)
        expected = expected * (1 - 0.01 * 0.1) - 0.01 * LIKE_ADAMW * 6**0.5 * update
        torch.testing.assert_close(matrix.detach(), expected)
        assert torch.equal(vector, copy)


def test_a_kernel_is_the_matrix_of_what_each_output_reads() -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(4, 3, 2, 2))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    kernel.grad = torch.randn(4, 3, 2, 2)
    matrix.grad = kernel.grad.flatten(1).clone()
    for one in (kernel, matrix):
        Muon([{"params": [one], "orthogonal": True}], lr=0.1).step()
    assert torch.equal(kernel.flatten(1), matrix)


def test_a_state_goes_on_where_it_was() -> None:
    def run(split: bool) -> torch.Tensor:
        torch.manual_seed(0)
        matrix = nn.Parameter(torch.randn(4, 4))
        optimiser = Muon([{"params": [matrix], "orthogonal": True}], lr=0.1)
        for step in range(4):
            if split and step == 2:
                state = optimiser.state_dict()
                optimiser = Muon([{"params": [matrix], "orthogonal": True}], lr=0.1)
                optimiser.load_state_dict(state)
            matrix.grad = torch.randn(4, 4)
            optimiser.step()
        return matrix.detach()

    assert torch.equal(run(False), run(True))
