"""What is asked of the panorama: go out, come back, and compare the way back with the truth.

The way out is true, and remembered chunk by chunk; the way back is imagined from the last frames alone, whatever helps
it: nothing, its own memory, that of another episode, a bank of frames by pose, or all that was seen.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sfvgen_experiments.probe.base import PAST, banked, picked, picked_facts
from sfvgen_experiments.probe.panorama import LAYOUT, Panorama, there_and_back
from sfvgen_planner.memory import Memory, Seen, remember
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.lowrank import LowRank
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.noise import keyed_noise
from sfvgen_planner.world.sampler import SamplerConfig, sample

Context = Literal["window", "bank", "all"]
"""What new frames are dreamt from: the last ones, those and the bank's, or all."""


@dataclass(frozen=True)
class Trip:
    """E episodes of PAST frames and as many chunks there as back."""

    latents: Tensor
    """float [E, T, C, h, w]"""
    facts: Facts
    chunks: int
    """K, one way"""

    @staticmethod
    def of(seed: int, episodes: int, chunks: int) -> "Trip":
        """The same for every arm."""
        source = Panorama(there_and_back(PAST))
        seen = source.sample(np.random.default_rng([seed, 1]), episodes, PAST + 2 * chunks * FRAMES_PER_CHUNK)
        return Trip(seen.latents, Facts.of_window(seen.window, LAYOUT, seen.body, seen.camera), chunks)

    def window(self, chunk: int) -> Seen:
        """A chunk and the frames before it."""
        frames = slice(chunk * FRAMES_PER_CHUNK, (chunk + 1) * FRAMES_PER_CHUNK + PAST)
        return Seen(self.latents[:, frames], self.facts[frames], PAST)


def remembered(world: WorldModel, memory: Memory, trip: Trip) -> Memory:
    """After the way out."""
    windows = [trip.window(chunk) for chunk in range(trip.chunks)]
    for number, window in enumerate(windows):
        memory = remember(world, memory, window, windows[:number])
    return memory


@torch.no_grad()
def errors(
    world: WorldModel, trip: Trip, sampler: SamplerConfig, memory: LowRank | None = None, context: Context = "window"
) -> Tensor:
    """Mean squared error of the way back, [E, K]: the last chunk shows what was seen longest ago."""
    seen = PAST + trip.chunks * FRAMES_PER_CHUNK
    frames, poses = trip.latents[:, :seen], trip.facts.poses
    for first in range(seen, trip.latents.shape[1], FRAMES_PER_CHUNK):
        new = torch.arange(first, first + FRAMES_PER_CHUNK).expand(len(frames), -1)
        past = _context(context, poses, first, seen)
        chunk = _imagined(world, trip.facts, picked(frames, past), past, new, sampler, memory)
        frames = torch.cat([frames, chunk], 1)
    error = (frames - trip.latents)[:, seen:].square().flatten(2).mean(2)
    return error.reshape(len(error), trip.chunks, FRAMES_PER_CHUNK).mean(2)


def _context(context: Context, poses: Tensor, first: int, seen: int) -> Tensor:
    """int64 [E, Tp]: frames that those from `first` on are dreamt from; the bank holds the `seen` true ones."""
    last = torch.arange(first if context == "all" else PAST).expand(len(poses), -1)
    last = last if context == "all" else last + first - PAST
    if context != "bank":
        return last
    asked = torch.cat([poses[:, :seen], poses[:, first : first + FRAMES_PER_CHUNK]], 1)
    return torch.cat([banked(asked, seen)[:, :PAST], last], 1)


def _imagined(
    world: WorldModel,
    facts: Facts,
    past: Tensor,
    index: Tensor,
    new: Tensor,
    sampler: SamplerConfig,
    memory: LowRank | None,
) -> Tensor:
    """New frames [E, 8, C, h, w] after `past`, under the true poses: foreseeing them is another question."""
    cache = world.denoiser.prefill(past, world.conditions(picked_facts(facts, index)), memory)
    told, process = world.conditions(picked_facts(facts, new)), world.config.process

    def denoise(noisy: Tensor, level: Tensor) -> Tensor:
        output: Tensor = world.denoiser.denoise(cache, noisy, level, told, memory).output
        return output

    seeds = torch.arange(len(past))
    noise = keyed_noise(seeds, new[:, 0].contiguous(), new.shape[1], world.shape, dtype=past.dtype)
    return sample(denoise, noise, sampler.levels(process), process)


def swapped(memory: Memory) -> LowRank:
    """Every row under the memory of its neighbour."""
    factors = memory.factors
    down, up = ({name: value.roll(1, 0) for name, value in part.items()} for part in (factors.down, factors.up))
    return replace(factors, down=down, up=up, version=f"{factors.version} swapped")
