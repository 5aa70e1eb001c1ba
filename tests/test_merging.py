"""Merging adds up what memories add to the weights; the dense sum knows the answer."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bank_fakes import card, memory_of, place
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from world_fakes import tiny_world

from sfvgen_planner.errors import BadMemory
from sfvgen_planner.memory import Bank, Memory, merge, start

WORLD = tiny_world().double()
RANK = memory_of(WORLD, 0).config.rank


def dense(memory: Memory) -> dict[str, Tensor]:
    """What is added to each layer's weights."""
    factors = memory.factors
    return {name: factors.up[name][0] @ down[0].flatten(1) for name, down in factors.down.items()}


def summed(parts: list[Memory], weights: list[float]) -> dict[str, Tensor]:
    updates = [dense(part) for part in parts]
    return {name: sum(w * one[name] for w, one in zip(weights, updates, strict=True)) for name in updates[0]}  # type: ignore[misc]


WEIGHTS = st.lists(st.floats(-2, 2).filter(lambda w: abs(w) > 0.01), min_size=1, max_size=4)


@settings(max_examples=20, deadline=None)
@given(weights=WEIGHTS, shared=st.booleans())
def test_a_merge_is_the_weighted_sum_of_what_its_parts_add(weights: list[float], shared: bool) -> None:
    parts = [memory_of(WORLD, number, shared=shared) for number in range(len(weights))]
    merged = merge(parts, weights)
    assert merged.config.rank == (RANK if shared else RANK * len(weights))
    for name, value in summed(parts, weights).items():
        torch.testing.assert_close(dense(merged)[name], value, rtol=1e-9, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(weights=WEIGHTS.filter(lambda some: len(some) > 1))
def test_at_the_parts_rank_nothing_is_nearer_to_the_sum(weights: list[float]) -> None:
    parts = [memory_of(WORLD, number) for number in range(len(weights))]
    merged = merge(parts, weights, RANK)
    assert merged.config == parts[0].config
    for name, value in summed(parts, weights).items():
        left, sizes, right = torch.linalg.svd(value, full_matrices=False)
        best = left[:, :RANK] * sizes[:RANK] @ right[:RANK]
        torch.testing.assert_close(dense(merged)[name], best, rtol=1e-5, atol=1e-5)
        lengths = merged.factors.down[name][0].flatten(1).norm(dim=1)
        assert float(lengths.min()) > 0.5 * float(lengths.max()), "every direction can be written on"


def test_one_memory_of_weight_one_is_that_memory_bit_for_bit(tmp_path: Path) -> None:
    one = memory_of(WORLD, 0)
    for rank in (None, RANK, RANK + 1):
        merged = merge([one], [1.0], rank)
        assert all(torch.equal(merged.trained.weights[name], value) for name, value in one.trained.weights.items())
    bank = Bank.begun(tmp_path, WORLD)
    name = bank.add(one, card(3))
    again = bank.load(bank.merge({name: 1.0}))
    assert all(torch.equal(again.trained.weights[name], value) for name, value in one.trained.weights.items())


def test_memories_of_one_start_stay_in_its_coordinates() -> None:
    parts = [memory_of(WORLD, number, shared=True) for number in range(3)]
    merged = merge(parts, [0.5, 0.25, 0.25], RANK)
    for name, down in merged.factors.down.items():
        assert torch.equal(down, parts[0].factors.down[name])


def test_what_has_seen_nothing_adds_nothing_and_can_still_be_written() -> None:
    begun = start(WORLD, memory_of(WORLD, 0).config, 1)
    other = replace(begun, trained=begun.trained.each(lambda value: value * 2))
    merged = merge([begun, other], [0.5, 0.5], RANK)
    for name, value in dense(merged).items():
        assert not value.any()
        assert bool((merged.factors.down[name][0].flatten(1).norm(dim=1) > 0).all())


def test_near_memories_weigh_by_the_inverse_square_of_their_distance(tmp_path: Path) -> None:
    bank = Bank.begun(tmp_path, WORLD)
    parts = [memory_of(WORLD, number, shared=True) for number in range(3)]
    names = [bank.add(part, card(at)) for part, at in zip(parts, (0, 3, 50), strict=True)]
    found = bank.recall(place(1), 2)
    assert found.weights == pytest.approx({names[0]: 0.8, names[1]: 0.2})
    assert found.distances == {names[0]: 1, names[1]: 2}
    expected = summed(parts[:2], [0.8, 0.2])
    for name, value in dense(found.memory).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-9)
    exact = bank.recall(place(3), 3)
    assert list(exact.weights) == [names[1]], "who is there needs no neighbours"
    merged = bank.entry(bank.merge({names[0]: 0.25, names[1]: 0.75}))
    assert merged.card.parts == {names[0]: 0.25, names[1]: 0.75}
    assert merged.card.view.numbers[0] == 2.25
    assert merged.card.frames == 48


def test_only_what_was_written_alike_is_merged(tmp_path: Path) -> None:
    one, wide = memory_of(WORLD, 0), memory_of(WORLD, 1, rank=RANK + 1)
    with pytest.raises(BadMemory, match="ranks"):
        merge([one, wide], [1, 1])
    for parts, weights in (([], []), ([one], [1.0, 2.0]), ([one], [float("nan")])):
        with pytest.raises(BadMemory, match="weights"):
            merge(parts, weights)
    odd = replace(one, config=replace(one.config, rate=0.5))
    with pytest.raises(BadMemory, match="configs"):
        merge([one, odd], [1, 1])
    bank = Bank.begun(tmp_path, WORLD)
    near, far = bank.add(one, card(0)), bank.add(wide, card(1))
    assert list(bank.recall(place(0.1), 2).weights) == [near]
    with pytest.raises(BadMemory, match="ranks"):
        bank.merge({near: 0.5, far: 0.5})
    assert len(bank) == 2
