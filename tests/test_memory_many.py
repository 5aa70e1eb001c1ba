"""Many memories at once are what each would be alone, and what plain PEFT makes of it."""

from copy import deepcopy
from dataclasses import replace
from math import inf

import pytest
import torch
from memory_fakes import SMALL, config_for, rows_of, seen, world_of
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from sfvgen_planner.memory import Memory, MemoryConfig, Seen, remember, start
from sfvgen_planner.memory.remember import cropped, drawn
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

BOTH = pytest.mark.parametrize("kind", ["causal", "unet3d"])
SEEDS = torch.tensor([3, 1, 2])


def plain(config: MemoryConfig) -> MemoryConfig:
    """What plain PEFT and torch's Adam can do."""
    return replace(config, clip=inf, bound=inf, rise=inf, replay=0)


class Alone:
    """One episode, as one would write it with plain PEFT."""

    def __init__(self, world: WorldModel, config: MemoryConfig, memory: Memory) -> None:
        self.world, self.config = deepcopy(world), config
        names = list(memory.factors.down)
        lora = LoraConfig(r=config.rank, lora_alpha=config.rank, target_modules=names)
        inject_adapter_in_model(lora, self.world.denoiser)
        self.weights = {
            name.replace(".default.weight", ""): value
            for name, value in self.world.denoiser.named_parameters()
            if "lora_" in name
        }
        for name, value in self.weights.items():
            value.data = memory.start[name].reshape(value.shape).clone()
        self.adam = torch.optim.Adam(self.weights.values(), lr=config.rate)

    def remember(self, window: Seen, memory: Memory) -> None:
        """`memory` says which noise a row of its seed and age draws."""
        now, draw = cropped(window, self.config), drawn(memory, window)
        for update in range(self.config.updates):
            loss = self._loss(now, draw.noise(update, now.latents), draw.level[:, update].flatten())
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()

    def _loss(self, window: Seen, noise: Tensor, level: Tensor) -> Tensor:
        process, draws = self.world.config.process, len(level)
        clean, levels = window.latents.repeat(draws, 1, 1, 1, 1), level[:, None].expand(-1, window.frames)
        conditions = self.world.conditions(window.facts).repeat(draws)
        answer = self.world.denoiser(process.noised(clean, noise, levels), levels, conditions)
        return nn.functional.mse_loss(answer.output, process.target(clean, noise, levels))


def chunks(world: WorldModel, count: int = 3) -> list[Seen]:
    return [seen(world, 3, seed=number) for number in range(count)]


def close(one: Memory, row: int, other: dict[str, Tensor]) -> None:
    for name, value in other.items():
        mine = one.trained.weights[name][row]
        torch.testing.assert_close(mine, value.reshape(mine.shape), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", ["causal", pytest.param("unet3d", marks=pytest.mark.slow)])
def test_rows_of_unequal_age_are_what_plain_peft_makes_of_each(kind: str) -> None:
    """Row 1 joins a chunk later, row 2 begins a new episode after the first chunk."""
    world, config = world_of(kind), plain(config_for(kind))
    memory = start(world, config, 3, seeds=SEEDS)
    alone = [Alone(world, config, memory) for _ in range(3)]
    ages = [start(world, config, 1, seeds=SEEDS[row : row + 1]) for row in range(3)]
    for number, window in enumerate(chunks(world)):
        if number == 1:
            memory = memory.reset(torch.tensor([False, False, True]))
            alone[2], ages[2] = Alone(world, config, memory), start(world, config, 1, seeds=SEEDS[2:])
        weight = torch.tensor([1.0, float(number > 0), 1.0])
        memory = remember(world, memory, replace(window, weight=weight))
        for row in range(3):
            if weight[row]:
                one = rows_of(window, slice(row, row + 1))
                alone[row].remember(one, ages[row])
                ages[row] = remember(world, ages[row], one)
    assert memory.trained.steps.tolist() == [9, 6, 6]
    for row in range(3):
        close(memory, row, {name: value.detach() for name, value in alone[row].weights.items()})
        close(memory, row, {name: value[0] for name, value in ages[row].trained.weights.items()})


def test_with_guards_replay_and_all_rows_are_still_what_each_is_alone() -> None:
    world, config = world_of(), replace(SMALL, anchor=1.0, bound=0.05, clip=0.1)
    memory = start(world, config, 3, seeds=SEEDS)
    lone = [start(world, config, 1, seeds=SEEDS[row : row + 1]) for row in range(3)]
    history: list[Seen] = []
    own: list[list[Seen]] = [[], [], []]
    for number, window in enumerate(chunks(world)):
        weighted = replace(window, weight=torch.tensor([1.0, float(number > 0), 0.5]))
        memory = remember(world, memory, weighted, history)
        history.append(weighted)
        for row in range(3):
            one = weighted.row(row)
            lone[row] = remember(world, lone[row], one, own[row])
            if one.weights[0]:
                own[row].append(one)
    for row in range(3):
        close(memory, row, {name: value[0] for name, value in lone[row].trained.weights.items()})


@BOTH
def test_a_row_is_bit_identical_in_any_company_of_equal_size(kind: str) -> None:
    world, config = world_of(kind), config_for(kind)
    window = seen(world, 3)
    others = seen(world, 3, seed=9)
    mixed = Seen.stack([window.row(0), others.row(1), others.row(2)])
    memory = start(world, config, 3, seeds=SEEDS)
    one, other = remember(world, memory, window), remember(world, memory, mixed)
    for name, value in one.trained.weights.items():
        assert torch.equal(value[0], other.trained.weights[name][0])
    assert not torch.equal(one.factors.up[name.rsplit(".", 1)[0]][1], other.factors.up[name.rsplit(".", 1)[0]][1])


def test_a_reset_row_is_new_and_no_other_bit_changes() -> None:
    world = world_of()
    memory = remember(world, start(world, SMALL, 3, seeds=SEEDS), seen(world, 3))
    fresh, after = start(world, SMALL, 3, seeds=SEEDS), memory.reset(torch.tensor([False, True, False]))
    assert after.trained.steps.tolist() == [3, 0, 3]
    for new, old, begun in zip(after.trained.tensors, memory.trained.tensors, fresh.trained.tensors, strict=True):
        for name, value in new.items():
            assert torch.equal(value[::2], old[name][::2])
            assert torch.equal(value[1], begun[name][1])


def test_rows_are_taken_apart_and_put_together() -> None:
    world = world_of()
    memory = remember(world, start(world, SMALL, 3, seeds=SEEDS), seen(world, 3))
    again = Memory.stack([memory[2:], memory[:2]])
    assert again.seeds.tolist() == [2, 3, 1]
    assert Memory.stack([again[1:], again[:1]]).version == memory.version


@BOTH
def test_candidates_are_grouped_by_memory(kind: str) -> None:
    """B x N planner rows: candidate n of episode b is imagined under memory b."""
    world = world_of(kind)
    window = seen(world, 2)
    memory = remember(world, start(world, config_for(kind), 2), window)
    past, known, new = window.latents[:, :2], window.facts[:2], window.facts[2:].repeat(3)
    seeds = torch.arange(6)
    together = world.dream(past, known, new, seeds, SamplerConfig(2), memory.factors).latents
    for row in range(2):
        one, rows = window.row(row), slice(3 * row, 3 * row + 3)
        facts = one.facts[2:].repeat(3)
        lone = world.dream(
            one.latents[:, :2], one.facts[:2], facts, seeds[rows], SamplerConfig(2), memory[row : row + 1].factors
        ).latents
        torch.testing.assert_close(together[rows], lone, rtol=1e-8, atol=1e-10)
