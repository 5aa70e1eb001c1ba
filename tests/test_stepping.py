"""Frame by frame, a chunk is what its definition says; in one piece it is the chunk that planners dream."""

from dataclasses import replace

import pytest
import torch
from memory_fakes import config_for, seen, world_of
from torch import Tensor
from world_fakes import tiny_world

from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory import start
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.noise import keyed_noise, split
from sfvgen_planner.world.pose_head import foresee
from sfvgen_planner.world.sampler import SamplerConfig, sample
from sfvgen_planner.world.stepping import Chunk, Piece, step

SAMPLER = SamplerConfig(steps=2)
both = pytest.mark.parametrize("kind", ["causal", "unet3d"])


def begun(world: WorldModel, rows: int = 3, memory: bool = False) -> tuple[Chunk, Facts]:
    """A chunk after three frames of past, and what will happen in eight new ones."""
    window = seen(world, rows, frames=11, past=3)
    everywhere = torch.ones(rows, dtype=torch.bool)
    past = Piece(window.latents[:, :3], window.facts[:3].withhold(actions=everywhere))
    factors = None
    if memory:
        fresh = start(world, replace(config_for(world.config.kind), rank=2), rows)
        draw = torch.Generator().manual_seed(5)
        weights = {
            name: value + 0.3 * torch.randn(value.shape, generator=draw, dtype=value.dtype)
            for name, value in fresh.trained.weights.items()
        }
        factors = replace(fresh, trained=replace(fresh.trained, weights=weights)).factors
    sighting = world.sighted(past.latents, past.facts)
    chunk = Chunk(past, torch.tensor([7, 8, 2**40][:rows]), torch.tensor([1, 30, 500][:rows]), sighting, factors)
    return chunk, window.facts[3:].withhold(poses=everywhere)


def by_definition(world: WorldModel, chunk: Chunk, happens: Facts) -> Tensor:
    """One frame after another, each from a window looked at wholly anew: no cache, no appending, no helper of ours."""
    latents, known = chunk.past.latents, chunk.past.facts
    for frame in range(happens.frames):
        facts = foresee(world.encoder, world.pose_head, known, happens[frame : frame + 1])
        conditions = world.conditions(facts)
        cache = world.denoiser.prefill(latents, world.conditions(known), chunk.memory)

        def denoise(noisy: Tensor, level: Tensor) -> Tensor:
            return world.denoiser.denoise(cache, noisy, level, conditions, chunk.memory).output  # noqa: B023

        noise = keyed_noise(chunk.seeds, chunk.first + frame, 1, world.shape, dtype=latents.dtype)
        clean = sample(denoise, noise, SAMPLER.levels(world.config.process), world.config.process)
        latents, known = torch.cat([latents, clean], 1), Facts.join(known, facts)
    return latents


@both
@pytest.mark.parametrize("memory", [False, True])
@torch.no_grad()
def test_frame_by_frame_it_is_its_definition(kind: str, memory: bool) -> None:
    world = world_of(kind)
    chunk, happens = begun(world, memory=memory)
    wanted = by_definition(world, chunk, happens[:4])
    for frame in range(4):
        chunk, stepped = step(world, chunk, happens[frame : frame + 1], SAMPLER)
    torch.testing.assert_close(chunk.latents, wanted, rtol=1e-8, atol=1e-8)
    assert torch.equal(stepped.latents, chunk.latents[:, -1:])


@both
def test_in_one_piece_it_is_the_chunk_that_planners_dream(kind: str) -> None:
    world = tiny_world(kind)
    world.outcome.ahead.learned[:] = True
    window = seen(world, 2, frames=11, past=3)
    past = Piece(window.latents[:, :3].float(), window.facts[:3])
    happens = window.facts[3:].withhold(poses=torch.ones(2, dtype=torch.bool))
    chunk = Chunk(past, torch.tensor([1, 2]), torch.tensor([9, 9]), world.sighted(past.latents, past.facts))
    _, stepped = step(world, chunk, happens, SAMPLER)
    dreamt = world.dream(past.latents, past.facts, happens, chunk.seeds, SAMPLER, first=9)
    assert torch.equal(stepped.latents, dreamt.latents)
    assert torch.equal(stepped.judged.reward, dreamt.judged.reward)
    assert torch.equal(stepped.facts.poses, dreamt.facts.poses)


@both
def test_a_chunk_without_its_cache_goes_on_bit_for_bit(kind: str) -> None:
    world = tiny_world(kind)
    window = seen(world, 2, frames=11, past=3)
    past = Piece(window.latents[:, :3], window.facts[:3])
    chunk = Chunk(past, torch.tensor([1, 2]), torch.tensor([4, 5]), world.sighted(past.latents, past.facts))
    happens = window.facts[3:]
    for span in (slice(0, 1), slice(1, 4)):
        chunk, _ = step(world, chunk, happens[span], SAMPLER)
    assert chunk.cache is not None
    kept, _ = step(world, chunk, happens[4:5], SAMPLER)
    again, _ = step(world, replace(chunk, cache=None), happens[4:5], SAMPLER)
    assert torch.equal(kept.latents, again.latents)


def test_candidates_share_a_past_and_are_what_they_would_be_alone() -> None:
    world = world_of()
    chunk, happens = begun(world, memory=True)
    chunk, _ = step(world, chunk, happens[:2], SAMPLER)
    others = replace(happens, vectors=-happens.vectors)
    mixed = Facts.stack([happens, others])
    order = torch.tensor([0, 3, 1, 4, 2, 5])
    names = {name: value[order] for name, value in vars(mixed).items() if isinstance(value, Tensor)}
    branches, _ = step(world, chunk.repeat(2), replace(mixed, **names)[2:4], SAMPLER)
    branches, _ = step(world, branches, replace(mixed, **names)[4:5], SAMPLER)
    for number, told in enumerate((happens, others)):
        alone, _ = step(world, chunk, told[2:4], SAMPLER)
        alone, _ = step(world, alone, told[4:5], SAMPLER)
        torch.testing.assert_close(branches.latents[number::2], alone.latents, rtol=1e-8, atol=1e-8)


def test_doubt_changes_nothing_but_tells_how_much_two_dreams_differ() -> None:
    world = world_of()
    chunk, happens = begun(world)
    _, sure = step(world, chunk, happens[:2], SAMPLER)
    _, doubted = step(world, chunk, happens[:2], SAMPLER, samples=2)
    torch.testing.assert_close(sure.latents, doubted.latents, rtol=1e-8, atol=1e-8)
    assert sure.doubt is None
    assert doubted.doubt is not None
    assert doubted.doubt.shape == (3, 2)
    assert (doubted.doubt > 0).all()
    other = replace(chunk, seeds=split(chunk.seeds, 1)[:, 0])
    _, second = step(world, other, happens[:2], SAMPLER)
    apart = (second.latents - sure.latents).square().flatten(2).mean(2).sqrt() / 2**0.5
    torch.testing.assert_close(doubted.doubt, apart, rtol=1e-8, atol=1e-8)


def test_a_chunk_has_room_for_eight_frames() -> None:
    world = tiny_world()
    chunk, happens = begun(world.double())
    chunk, _ = step(world, chunk, happens[:5], SAMPLER)
    with pytest.raises(BadOption, match="at most 8"):
        step(world, chunk, happens[:4], SAMPLER)
