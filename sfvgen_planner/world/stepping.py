"""A chunk dreamt a few frames at a time: the past is looked at once, and what is made is added to what is known.

`WorldModel.dream` makes whole chunks for planners; an environment makes a frame for every action. A chunk made in one
piece here is the chunk that `dream` makes. Rows as everywhere: row i of R * N goes on from row i // N of R.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.ahead import Sighting
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.denoiser import Cache
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.lowrank import LowRank
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.noise import split
from sfvgen_planner.world.outcome import Evidence, Judged
from sfvgen_planner.world.pose_head import foresee
from sfvgen_planner.world.sampler import SamplerConfig


@dataclass(frozen=True)
class Piece:
    """T consecutive frames of R rows."""

    latents: Tensor
    """[R, T, C, h, w], clean"""
    facts: Facts

    @property
    def rows(self) -> int:
        """R."""
        return int(self.latents.shape[0])

    @property
    def frames(self) -> int:
        """T."""
        return int(self.latents.shape[1])


@dataclass(frozen=True)
class Chunk:
    """R rows within a chunk. Without its cache it is a plain value, and `warmed` makes the cache again, bit for bit."""

    past: Piece
    """what it is dreamt from"""
    seeds: Tensor
    """int64 [R], they key the noise"""
    first: Tensor
    """int64 [R]: the number, in its episode, of the chunk's first new frame"""
    sighting: Sighting
    """what was last seen of places, for outcomes; R rows as of the past"""
    memory: LowRank | None = None
    made: tuple[Piece, ...] = ()
    """new frames so far, as they were made"""
    cache: Cache | None = None

    @property
    def frames(self) -> int:
        """How many new ones there are."""
        return sum(piece.frames for piece in self.made)

    @property
    def known(self) -> Facts:
        """What is known of past and new frames, for all R rows."""
        facts = self.past.facts
        for piece in self.made:
            facts = Facts.join(facts.repeat(piece.rows // facts.rows), piece.facts)
        return facts.repeat(len(self.seeds) // facts.rows)

    @property
    def latents(self) -> Tensor:
        """[R, Tp + T, C, h, w] past and new."""
        rows = len(self.seeds)
        pieces = (self.past, *self.made)
        return torch.cat([piece.latents.repeat_interleave(rows // piece.rows, 0) for piece in pieces], 1)

    def repeat(self, candidates: int) -> "Chunk":
        """R * N rows that share what was looked at so far."""
        seeds, first = (value.repeat_interleave(candidates) for value in (self.seeds, self.first))
        return replace(self, seeds=seeds, first=first)


@dataclass(frozen=True)
class Stepped:
    """T new frames of R rows."""

    latents: Tensor
    """[R, T, C, h, w]"""
    facts: Facts
    """what happened, with foreseen poses"""
    judged: Judged
    """[R, T] each"""
    features: Tensor
    """[R, T, D]: the denoiser's, pooled, under the memory"""
    doubt: Tensor | None = None
    """[R, T]: how much several dreams of the same frame differ (root mean square over its latents)"""


def warmed(world: WorldModel, chunk: Chunk) -> Cache:
    """The cache that a chunk goes on with, by the same calls that made it at first."""
    if chunk.cache is not None:
        return chunk.cache
    past, memory = chunk.past, chunk.memory
    cache: Cache = world.denoiser.prefill(past.latents, world.conditions(past.facts), memory)
    for piece in chunk.made:
        cache = world.denoiser.append(cache, piece.latents, world.conditions(piece.facts), memory)
    return cache


@torch.no_grad()
def step(
    world: WorldModel, chunk: Chunk, happens: Facts, sampler: SamplerConfig, samples: int = 1
) -> tuple[Chunk, Stepped]:
    """The next T frames, of which `happens` [R, T] tells what leads into them.

    With `samples` above 1 every frame is dreamt so many times, and the first one counts; the others tell the doubt.
    """
    if chunk.frames + happens.frames > FRAMES_PER_CHUNK or samples < 1:
        raise BadOption(
            f"{happens.frames} frames, {samples} times, after {chunk.frames}",
            f"at most {FRAMES_PER_CHUNK} in a chunk, once or more",
            "Begin the next chunk.",
        )
    known = chunk.known
    facts = foresee(world.encoder, world.pose_head, known, happens)
    cache, conditions = warmed(world, chunk), world.conditions(facts)
    latents, features = _sampled(world, chunk, cache, facts, conditions, sampler, samples)
    spread = latents.std(1).square().flatten(2).mean(2).sqrt() if samples > 1 else None
    clean, features = latents[:, 0], features[:, 0]
    last, sighting = chunk.latents[:, -1:], chunk.sighting.repeat(len(clean) // chunk.past.rows)
    told = conditions.frame
    seen = Evidence.of(world.encoder, world.pose_head, last, known[-1:], clean, facts, features, told, sighting)
    judged = world.outcome(seen)
    made = (*chunk.made, Piece(clean, facts))
    complete = chunk.frames + facts.frames == FRAMES_PER_CHUNK
    # A finished chunk's cache is of no use: the next one looks at the past anew.
    after = None if complete else world.denoiser.append(cache, clean, conditions, chunk.memory)
    return replace(chunk, made=made, cache=after), Stepped(clean, facts, judged, features, spread)


def _sampled(
    world: WorldModel,
    chunk: Chunk,
    cache: Cache,
    facts: Facts,
    conditions: Conditions,
    sampler: SamplerConfig,
    samples: int,
) -> tuple[Tensor, Tensor]:
    """Latents [R, S, T, C, h, w] and features [R, S, T, D] of S dreams, the first one keyed by the rows' own seeds."""
    seeds = torch.cat([chunk.seeds[:, None], split(chunk.seeds, samples - 1)], 1).flatten()
    first = (chunk.first + chunk.frames).repeat_interleave(samples)
    clean, features = world.sampled(
        cache, conditions, facts, seeds, first, sampler, chunk.memory, chunk.past.latents.dtype
    )
    rows = len(chunk.seeds)
    return clean.reshape(rows, samples, *clean.shape[1:]), features.reshape(rows, samples, *features.shape[1:])
