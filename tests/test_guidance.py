"""Guidance in a dream: the world is asked with and without the actions, and goes on beyond their difference."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from world_fakes import tiny_world

from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import Window
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.diffusion import FLOW
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.noise import keyed_noise
from sfvgen_planner.world.outcome import Evidence
from sfvgen_planner.world.sampler import SamplerConfig

both_denoisers = pytest.mark.parametrize("kind", ["causal", "unet3d"])
EVERYWHERE = torch.ones(2, dtype=torch.bool)


def flowing(kind: str) -> WorldModel:
    world = tiny_world(kind)
    world.config = replace(world.config, process=FLOW)
    return world


def told(world: WorldModel, frames: int, words: str = "go left") -> Facts:
    rng = np.random.default_rng(frames)
    poses = np.zeros((2, frames, 9), np.float32)
    poses[..., 3] = 1
    actions = rng.uniform(-1, 1, (2, frames, 2)).astype(np.float32)
    window = Window(np.empty(0), poses, actions, ((words,) * frames,) * 2, np.ones(2, int))
    return Facts.of_window(window, world.encoder.layout, "toy", "fixed")


def past(world: WorldModel) -> Tensor:
    return torch.randn(2, 3, *world.shape, generator=torch.Generator().manual_seed(0))


def dream(world: WorldModel, sampler: SamplerConfig, new: Facts | None = None, frames: int = 8) -> Tensor:
    new = told(world, frames) if new is None else new
    return world.dream(past(world), told(world, 3), new, torch.tensor([5, 6]), sampler).latents


@both_denoisers
def test_a_guided_dream_is_eulers_method_on_the_mix_of_both(kind: str) -> None:
    """The whole window at once, without caches: without + scale * (with - without), four steps of a quarter."""
    world = flowing(kind)
    found = world.dream(
        past(world), told(world, 3), told(world, 8), torch.tensor([5, 6]), SamplerConfig(4, guidance=2.5)
    )
    seen = world.conditions(told(world, 3))
    silent = found.facts.withhold(actions=EVERYWHERE, texts=EVERYWHERE)
    assert not silent.vectors_known.any()
    assert silent.poses_known.all(), "where the camera looks is told both times"
    windows = [Conditions.join(seen, world.conditions(facts)) for facts in (found.facts, silent)]
    z = keyed_noise(torch.tensor([5, 6]), torch.zeros(2, dtype=torch.int64), 8, world.shape, dtype=torch.float32)
    for level in (1.0, 0.75, 0.5, 0.25):
        levels = torch.cat([torch.zeros(2, 3), torch.full((2, 8), level)], 1)
        with torch.no_grad():
            flows = [world.denoiser(torch.cat([past(world), z], 1), levels, window).output[:, 3:] for window in windows]
        z = z - 0.25 * (flows[1] + 2.5 * (flows[0] - flows[1]))
    torch.testing.assert_close(found.latents, z, rtol=1e-3, atol=1e-4)


@both_denoisers
def test_without_guidance_nothing_is_asked_twice(kind: str) -> None:
    world = flowing(kind)
    asked: list[int] = []
    denoise = world.denoiser.denoise

    def counted(*given: object) -> object:
        asked.append(1)
        return denoise(*given)

    world.denoiser.denoise = counted
    plain = dream(world, SamplerConfig(3), frames=16)
    assert len(asked) == 2 * 3
    assert torch.equal(plain, dream(world, SamplerConfig(3, guidance=1.0), frames=16))
    asked.clear()
    assert not torch.equal(plain, dream(world, SamplerConfig(3, guidance=2.0), frames=16))
    assert len(asked) == 2 * 2 * 3


@both_denoisers
def test_where_nothing_is_told_there_is_nothing_to_go_beyond(kind: str) -> None:
    world = flowing(kind)
    silent = told(world, 8).withhold(actions=EVERYWHERE, texts=EVERYWHERE)
    torch.testing.assert_close(
        dream(world, SamplerConfig(2, guidance=4.0), silent), dream(world, SamplerConfig(2), silent)
    )


def test_outcomes_are_read_where_the_actions_are_known() -> None:
    world, asked = flowing("causal"), []
    head = world.outcome.forward

    def watched(seen: Evidence) -> object:
        asked.append(seen.frame)
        return head(seen)

    world.outcome.forward = watched  # type: ignore[method-assign]
    sampler = SamplerConfig(2, guidance=2.0)
    found = world.dream(past(world), told(world, 3), told(world, 8), torch.tensor([5, 6]), sampler)
    assert found.facts.vectors_known.all()
    assert torch.equal(asked[0], world.conditions(found.facts).frame)


def test_added_noise_is_the_samplers_and_keyed_as_all_noise() -> None:
    """eta above 0: another dream than without, the same one every time, whatever it is cut into."""
    world, noisy = flowing("causal"), SamplerConfig(3, eta=1.0)
    whole = dream(world, noisy)
    assert torch.equal(whole, dream(world, noisy))
    assert not torch.equal(whole, dream(world, SamplerConfig(3)))


@pytest.mark.parametrize("scale", [0.5, -1.0, float("inf"), float("nan")])
def test_a_scale_below_one_is_refused(scale: float) -> None:
    with pytest.raises(BadOption, match="guidance 1 or more"):
        SamplerConfig(guidance=scale)
