"""A memory may multiply what layers are given by kernels made of where places look, and keeps every law of memories."""

from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch
from memory_fakes import before_and_after, rows_of, seen, world_of
from peft import PeftModel
from world_fakes import tiny_world

from sfvgen_agents.minds import LearnedMind
from sfvgen_planner.errors import BadMemory, BadOption, UnknownName
from sfvgen_planner.memory import (
    DEFAULT,
    PRESETS,
    Bank,
    Card,
    Memory,
    MemoryConfig,
    Seen,
    View,
    load,
    merged,
    remember,
    save,
    start,
)
from sfvgen_planner.memory.merging import merge
from sfvgen_planner.memory.start import identity
from sfvgen_planner.types import Actions, Context
from sfvgen_planner.world.address import fourier, pinhole
from sfvgen_planner.world.causal import CausalConfig, CausalDenoiser
from sfvgen_planner.world.hyperzzw import DIRECTION, OCTAVES, HyperZZW, phi
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

CONFIG = MemoryConfig(
    operator="hyperzzw", modules=("brush", "mlp", "attention"), rank=3, updates=3, draws=2, bound=inf, rate=0.05
)
SEEDS = torch.tensor([3, 1, 2])


def painting() -> WorldModel:
    """A tiny world with convolutions that carry and draw."""
    return world_of(process="clean")


def dreamt(world: WorldModel, window: Seen, memory: Memory | None) -> torch.Tensor:
    new = window.facts[window.past :]
    past, known = window.latents[:, : window.past], window.facts[: window.past]
    seeds = torch.zeros(window.rows, dtype=torch.int64)
    factors = None if memory is None else memory.factors
    return world.dream(past, known, new, seeds, SamplerConfig(2), factors, foreseen=False).latents


def alike(one: Memory, other: Memory) -> bool:
    pairs = zip(one.trained.tensors, other.trained.tensors, strict=True)
    return all(torch.equal(mine[name], theirs[name]) for mine, theirs in pairs for name in mine)


def test_a_zero_memory_changes_nothing_and_a_written_one_does() -> None:
    world = painting()
    window, memory = seen(world, 2), start(world, CONFIG, 2)
    plain = dreamt(world, window, None)
    assert isinstance(memory.factors, HyperZZW)
    assert torch.equal(dreamt(world, window, memory), plain)
    assert not torch.allclose(dreamt(world, window, remember(world, memory, window)), plain)


def test_slow_weights_and_the_memory_given_are_never_written() -> None:
    world = painting()
    before, memory = identity(world), start(world, CONFIG, 2)
    kept = replace(memory, trained=memory.trained.each(torch.clone))
    remember(world, memory, seen(world, 2))
    assert identity(world) == before
    assert alike(memory, kept)


def test_what_a_layer_answers_is_what_it_would_answer_to_its_input_times_the_kernel() -> None:
    """Independent: the coordinate network written out for one place of one frame of each row."""
    world, name = painting(), "blocks.0.up"
    memory = remember(world, start(world, CONFIG, 2), seen(world, 2))
    layer, factors = world.denoiser.blocks[0].up, memory.factors
    called: list[tuple[torch.Tensor, torch.Tensor]] = []
    window, addresses = seen(world, 2, seed=4), []
    hooks = [
        layer.register_forward_hook(lambda module, given, answer: called.append((given[0], answer))),
        world.denoiser.address.register_forward_hook(lambda module, given, answer: addresses.append(given[0])),
    ]
    told = world.conditions(window.facts)
    with torch.no_grad():
        world.denoiser(window.latents, torch.full((2, 6), 0.7).double(), told, factors)
    for hook in hooks:
        hook.remove()
    x, answer = called[0]
    row, frame, token = 1, 3, 2
    address = addresses[0][row, frame, token].numpy()
    direction, origin = address[:3], address[-42:]
    waves = np.pi * 2.0 ** np.arange(OCTAVES[0], OCTAVES[1] + 1)
    angles = (direction[:, None] * waves).ravel()
    features = np.concatenate([direction, np.sin(angles), np.cos(angles), origin, [1.0]])
    kernel = factors.up[name][row].numpy() @ np.sin(factors.down[name][row].numpy() @ features)
    given = x[row, frame * 4 + token].numpy() * (1 + kernel)
    expected = layer.weight.detach().numpy() @ given + layer.bias.detach().numpy()
    np.testing.assert_allclose(answer[row, frame * 4 + token].numpy(), expected, rtol=1e-8)
    assert np.abs(kernel).max() > 0.01


def test_finer_grids_look_where_their_cells_do() -> None:
    """Directions between tokens are those of a camera with so many more pixels, at the rim too."""
    tokens, cells = (pinhole(torch.tensor([30.0]).double(), side, side) for side in (4, 16))
    address = torch.cat([tokens.reshape(1, 1, 16, 3), torch.zeros(1, 1, 16, 6).double()], -1)
    found = phi(address, DIRECTION + 6 + 1, 4, 4)
    assert found.shape == (1, 1, 256, DIRECTION + 7)
    torch.testing.assert_close(found[0, 0, :, :3], cells.reshape(256, 3), atol=0.004, rtol=0)
    torch.testing.assert_close(found[..., 3:DIRECTION], fourier(found[..., :3], OCTAVES))
    coarse = phi(address, DIRECTION + 6 + 1, 16, 1)
    torch.testing.assert_close(coarse[..., :3], address[..., :3])


def test_where_nobody_knows_where_places_look_nothing_is_remembered() -> None:
    world = painting()
    memory = remember(world, start(world, CONFIG, 2), seen(world, 2))
    blind = seen(world, 2)
    blind = replace(blind, facts=blind.facts.withhold(poses=torch.ones(2, dtype=torch.bool)))
    assert torch.equal(dreamt(world, blind, memory), dreamt(world, blind, None))


def test_a_chunk_becomes_easier_on_the_same_noise() -> None:
    config = replace(CONFIG, updates=1, replay=0, clip=inf, rise=inf, rate=0.001)
    was, less = before_and_after(painting(), config)
    assert (less < was).all()


def test_rows_of_one_batch_are_what_each_is_alone() -> None:
    """Gradients and all: three rows that jump, beside three lone ones; another row's window changes nothing."""
    world, config = painting(), replace(CONFIG, variant="jump", optimiser="muon", mixed=True)
    memory = start(world, config, 3, seeds=SEEDS)
    windows = [seen(world, 3, seed=number) for number in range(3)]
    lone = [start(world, config, 1, seeds=SEEDS[row : row + 1]) for row in range(3)]
    for number, window in enumerate(windows):
        memory = remember(world, memory, window, windows[:number])
        for row in range(3):
            own = [rows_of(one, slice(row, row + 1)) for one in windows[: number + 1]]
            lone[row] = remember(world, lone[row], own[-1], own[:-1])
    for row in range(3):
        for name, value in lone[row].trained.weights.items():
            torch.testing.assert_close(memory.trained.weights[name][row], value[0], rtol=1e-7, atol=1e-9)
    mixed = Seen.stack([windows[0].row(0), windows[1].row(1), windows[2].row(2)])
    one, other = (remember(world, start(world, config, 3, seeds=SEEDS), window) for window in (windows[0], mixed))
    for name, value in one.trained.weights.items():
        assert torch.equal(value[0], other.trained.weights[name][0])
    assert any(not torch.equal(value[1], other.trained.weights[name][1]) for name, value in one.trained.weights.items())


def test_candidates_are_grouped_by_memory() -> None:
    world = painting()
    window = seen(world, 2)
    memory = remember(world, start(world, CONFIG, 2), window)
    past, known, new = window.latents[:, :2], window.facts[:2], window.facts[2:].repeat(3)
    together = world.dream(past, known, new, torch.arange(6), SamplerConfig(2), memory.factors).latents
    for row in range(2):
        one, rows = window.row(row), slice(3 * row, 3 * row + 3)
        alone = world.dream(
            one.latents[:, :2],
            one.facts[:2],
            one.facts[2:].repeat(3),
            torch.arange(6)[rows],
            SamplerConfig(2),
            memory[row : row + 1].factors,
        ).latents
        torch.testing.assert_close(together[rows], alone, rtol=1e-8, atol=1e-10)


def test_saved_and_loaded_again_it_goes_on_bit_for_bit_and_peft_refuses_it(tmp_path: Path) -> None:
    world = tiny_world(process="clean")
    memory = remember(world, start(world, CONFIG, 1), seen(world, 1))
    then = seen(world, 1, seed=1)
    save(memory, tmp_path / "whole")
    again = load(tiny_world(process="clean"), tmp_path / "whole")
    assert (again.version, again.config) == (memory.version, memory.config)
    assert alike(remember(world, again, then), remember(world, memory, then))
    save(memory, tmp_path / "half", half=True)
    kept = load(world, tmp_path / "half")
    assert kept.config.operator == "hyperzzw"
    assert all(torch.equal(kept.told[name], value.half().float()) for name, value in memory.told.items())
    with pytest.raises(BadMemory, match="operator"):
        load(world, tmp_path / "half", DEFAULT)
    with pytest.raises((ValueError, KeyError)):
        PeftModel.from_pretrained(tiny_world(process="clean").denoiser, str(tmp_path / "whole"))


def test_kernels_are_summed_exactly_and_to_no_lower_rank() -> None:
    world = painting()
    parts = [remember(world, start(world, CONFIG, 1), seen(world, 1, seed=number)) for number in range(2)]
    both = merge(parts, [0.5, 2.0])
    features = torch.randn(7, 82, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def kernel(memory: Memory, name: str) -> torch.Tensor:
        down, up = memory.factors.down[name][0], memory.factors.up[name][0]
        return (features @ down.T).sin() @ up.T

    for name in both.factors.down:
        torch.testing.assert_close(kernel(both, name), 0.5 * kernel(parts[0], name) + 2 * kernel(parts[1], name))
    with pytest.raises(BadMemory, match="rank 3"):
        merge(parts, [0.5, 0.5], 3)


def test_the_preset_fits_a_quarter_of_a_megabyte_in_the_shipped_sizes() -> None:
    world = painting()
    world.denoiser = CausalDenoiser(
        CausalConfig(16, 16, 16, 128, 75, patch=4, dim=128, depth=5, copies=True, fine=4)
    ).double()
    assert 2 * start(world, PRESETS["hyperzzw"], 1).numbers <= 256 * 1024


def test_bad_input_is_named() -> None:
    world = painting()
    with pytest.raises(BadMemory, match="some place"):
        start(world, replace(CONFIG, modules=("modulate",)), 1)
    with pytest.raises(BadMemory, match="causal"):
        start(world_of("unet3d"), replace(CONFIG, modules=("mlp",)), 1)
    with pytest.raises(BadMemory, match="No weights hold it"):
        merged(world, start(world, CONFIG, 1))
    with pytest.raises(BadOption, match="bound=inf"):
        replace(CONFIG, bound=1.0)
    with pytest.raises(UnknownName, match="hyperzzw"):
        replace(CONFIG, operator="hyperzz")  # type: ignore[arg-type]
    low = replace(CONFIG, operator="lowrank")
    with pytest.raises(BadMemory, match="architecture or rank"):
        remember(world, replace(start(world, CONFIG, 1), config=low), seen(world, 1))
    with pytest.raises(BadOption, match="multiple"):
        dreamt(world, seen(world, 3), start(world, CONFIG, 2))


def test_an_agent_plans_under_it_as_the_world_dreams_under_it_and_a_bank_gives_it_back(tmp_path: Path) -> None:
    """No weights hold a kernel, so a single episode's plan takes its factors too."""
    world = tiny_world(process="clean")
    memory = remember(world, start(world, CONFIG, 1), seen(world, 1))
    with Bank.begun(tmp_path, world) as bank:
        bank.add(memory, Card(View("toy", np.zeros(3, np.float16)), 6))
        found = bank.recall(View("toy", np.ones(3, np.float16))).memory
    mind = LearnedMind(world, "toy", memory=CONFIG)
    rng = np.random.default_rng(0)
    poses = np.zeros((1, 8, 9), np.float32)
    poses[..., 3] = 1
    context = Context(rng.integers(0, 256, (1, 8, 16, 16, 3), dtype=np.uint8), poses)
    actions = Actions("vector", rng.uniform(-1, 1, (1, 2, 8, 2)).astype(np.float32))
    plain = mind.imagine(1)(context, actions).latents
    mind.memory = found
    told = mind.imagine(1)(context, actions).latents
    expected = world.imagine_with(found.factors, body="toy", seeds=mind.seeds)(context, actions).latents
    assert torch.equal(told, expected)  # type: ignore[arg-type]
    assert not torch.allclose(told, plain)  # type: ignore[arg-type]
