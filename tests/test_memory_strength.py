"""A memory may be written firmly and read softly: the world is told a share of what was learned since the start."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from memory_fakes import SMALL, seen, world_of
from peft import PeftModel
from world_fakes import tiny_world

from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory import Memory, load, merged, remember, save, start
from sfvgen_planner.memory.merging import merge
from sfvgen_planner.world.model import WorldModel

SOFT = replace(SMALL, strength=0.25)


def written(world: WorldModel, strength: float = 0.25) -> Memory:
    config = replace(SMALL, strength=strength)
    return remember(world, start(world, config, 1), seen(world, 1))


def test_what_is_added_to_the_weights_is_that_share_and_writing_knows_nothing_of_it() -> None:
    world = world_of()
    soft, firm = written(world), written(world, 1.0)
    for name, value in firm.trained.weights.items():
        assert torch.equal(value, soft.trained.weights[name])
    assert firm.told is firm.trained.weights
    for name, down in firm.factors.down.items():
        added = firm.factors.up[name][0] @ down[0].flatten(1)
        softly = soft.factors.up[name][0] @ soft.factors.down[name][0].flatten(1)
        assert added.abs().max() > 0
        torch.testing.assert_close(softly, added / 4)
    assert soft.version != firm.version


def test_a_learned_start_is_told_in_full() -> None:
    world = world_of()
    theta0 = written(world, 1.0).factors
    begun = start(world, SOFT, 1, theta0)
    for name, value in begun.factors.up.items():
        assert torch.equal(value, theta0.up[name])
    then = remember(world, begun, seen(world, 1, seed=1))
    for name, value in then.told.items():
        if name.endswith("lora_B"):
            first, last = begun.start[name], then.trained.weights[name]
            torch.testing.assert_close(value, 0.75 * first + 0.25 * last)


@torch.no_grad()
def test_peft_and_the_merged_world_are_told_the_same(tmp_path: Path) -> None:
    world = tiny_world()
    memory, window = written(world), seen(world, 1)
    level = torch.full((1, window.frames), 0.7)
    asked = window.latents, level, world.conditions(window.facts)
    expected = world.denoiser(*asked, memory.factors).output
    assert not torch.allclose(expected, world.denoiser(*asked).output, atol=1e-4)
    save(memory, tmp_path)
    adapted = PeftModel.from_pretrained(tiny_world().denoiser, str(tmp_path))
    torch.testing.assert_close(adapted(*asked).output, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(merged(world, memory).denoiser(*asked).output, expected, rtol=0, atol=1e-5)
    alone = merge([memory], [1.0])
    torch.testing.assert_close(world.denoiser(*asked, alone.factors).output, expected, rtol=0, atol=1e-6)


def test_saved_and_loaded_again_it_goes_on_bit_for_bit(tmp_path: Path) -> None:
    world = tiny_world()
    memory, then = written(world), seen(world, 1, seed=1)
    save(memory, tmp_path)
    again = load(tiny_world(), tmp_path)
    assert again.version == memory.version
    one, other = remember(world, memory, then), remember(world, again, then)
    for mine, theirs in zip(one.trained.tensors, other.trained.tensors, strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("strength", [0.0, 1.5])
def test_a_share_is_above_0_and_at_most_1(strength: float) -> None:
    with pytest.raises(BadOption, match="strength"):
        replace(SMALL, strength=strength)
