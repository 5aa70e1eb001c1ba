"""What slow learning looks at: windows with their noise, some of what is known withheld; a function of a key alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.latents import LatentSet, LatentWindow
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.dropout import DropRates, drop
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.layout import Layout
from sfvgen_planner.world.schedule import draw_levels

WRITING = DropRates(action=1.0, text=1.0, pose=0.0, wholly=0.0)
"""What is withheld where a memory is written: what was done, not where one looked, for that is the memory's key."""
MOTION_DROP = DropRates(action=0.3, text=0.4, pose=0.0, past=0.5, wholly=0.0)
"""Who foresees poses is told actions or words, and nothing of the past. Words that came with actions nearly always told
nobody anything: after long training all directions of an arm were one word."""
MOTION_CHUNKS = (1, 1, 1, 1, 3, 8)
"""Long ways keep poses from drifting; what a plan asks for is learned from short ones, and faster."""
Learn = Literal["all", "denoiser", "heads", "outcomes", "ahead", "poses"]
"""What learns: a world at first; then, the others left alone, what draws, what reads it, of that what reads outcomes,
of that what looks ahead, what foresees poses."""
READING = ("heads", "outcomes", "ahead")
"""Where dreams are only read."""
READ_CHUNKS = 3
"""At most: who has read first chunks alone takes the softness of later ones for a crash."""


@dataclass(frozen=True)
class SlowConfig:
    """What a step of slow learning looks at."""

    batch: int = 16
    past: int = 8
    """f_p at most; three windows in ten have fewer"""
    single: float = 0.15
    """share of steps with f_g = 1 instead of a chunk"""
    whole: float = 0.12
    """share of steps on windows that are wholly noise, free of actions: what fast learning will do"""
    drop: DropRates = field(default_factory=DropRates)
    blur: float = 0.05
    """the past is disturbed by up to so much noise: dreams continue dreams, which are never quite clean"""
    worn: float = 0.5
    """share of rows whose past is as soft as what was carried along before"""
    heads: float = 0.1
    """weight of each head's loss"""
    ways: int = 8
    """windows that the pose head learns from: with 2 long ones it never heard actions"""
    lived: int = 16
    """chunks that the outcome head learns from without a dream"""
    ended: float = 0.25
    """share of these that end their episode, where heads learn alone also of what is dreamt: a crash or a success is
    one frame in hundreds, and what a plan is about. Each counts as little as it is rare, or a planner would fear all"""
    fear: float = 25.0
    """but ends without success, so many times as much: planners try what nobody did who was recorded"""
    ahead: int = 16
    """ways of travelling eyes that what waits ahead is learned from, where it learns alone"""
    stances: int = 32
    """single frames that the posture head learns from"""
    learn: Learn = "all"
    """under one bound for gradients, long ways of poses drown the others, the denoiser drowns the poses, and postures
    drown the outcomes"""

    def __post_init__(self) -> None:
        if (
            min(self.batch, self.past, self.ways, self.lived, self.ahead, self.stances) < 1
            or not 0 <= self.single + self.whole <= 1
        ):
            raise BadOption(f"{self}", "a batch, a past, and shares that sum to at most 1", "See SlowConfig.")
        if self.learn not in get_args(Learn):
            raise BadOption(f"learn={self.learn}", f"one of {get_args(Learn)}", "See SlowConfig.")
        if not 0 <= self.ended < 1:
            raise BadOption(f"ended={self.ended}", "a share, from 0 to below 1", "See SlowConfig.")
        if not 0 < self.fear < inf:
            raise BadOption(f"fear={self.fear}", "above 0", "1 counts every end as often as it happens.")


@dataclass(frozen=True)
class Lived:
    """What really happened in R rows of 1 + T frames: the outcome head learns from it without a dream."""

    latents: Tensor
    """float [R, 1 + T, C, h, w]"""
    facts: Facts
    rewards: Tensor
    """float [R, T], as are success and terminated, bool"""
    success: Tensor
    terminated: Tensor
    weight: Tensor
    """float [R]: by how much a row counts"""

    @property
    def outcomes(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is to be told of them, and their weight."""
        return self.rewards, self.success, self.terminated, self.weight

    def to(self, device: torch.device | str) -> "Lived":
        """The same elsewhere."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Batch:
    """R rows of T frames, ready for the loss; the first `past` of them are given."""

    latents: Tensor
    """float [R, T, C, h, w]"""
    facts: Facts
    """what is known of them, some of it withheld"""
    truth: Facts
    """all of it"""
    rewards: Tensor
    """float [R, T]"""
    success: Tensor
    terminated: Tensor
    """bool [R, T]"""
    weight: Tensor
    """float [R]: by how much a row's outcomes count"""
    past: int
    level: Tensor
    """float [R, T]; 0 in the past"""
    noise: Tensor
    """float [R, T, C, h, w]"""
    seeds: Tensor
    """int64 [R]: they key the noise of dreams"""
    disturbance: Tensor
    """float [R, T, C, h, w]; 0 in the new frames"""
    wear: Tensor
    """float [R, 2]: pixels that the past was carried there and back by; 0 where it is as sharp as ever"""
    motion: Facts
    """of other, longer windows: what the pose head learns from"""
    lived: Lived
    stances: Lived
    """of one frame"""
    ahead: Lived | None
    """ways of travelling eyes, if these are learned from"""


def frames_of(config: SlowConfig, rng: np.random.Generator) -> tuple[int, int]:
    """(f_p, f_g) of one step."""
    kind = rng.random()
    if config.learn in READING:
        past = int(rng.integers(1, config.past + 1))
        return past, 1 if kind < config.single else FRAMES_PER_CHUNK * int(rng.integers(1, READ_CHUNKS + 1))
    if kind < config.whole:
        return 0, config.past + FRAMES_PER_CHUNK
    single = kind < config.whole + config.single
    past = config.past if rng.random() < 0.7 else int(rng.integers(1, config.past + 1))
    # Dreamt one by one, frames follow all that were made of their chunk.
    return (past + int(rng.integers(FRAMES_PER_CHUNK)), 1) if single else (past, FRAMES_PER_CHUNK)


def draw_batch(sets: Sequence[LatentSet], layout: Layout, config: SlowConfig, key: Sequence[int]) -> Batch:
    """The batch of a key (seed, step, process): a function of nothing else."""
    rng = np.random.default_rng(list(key))
    draw = torch.Generator().manual_seed(int(rng.integers(2**63)))
    past, new = frames_of(config, rng)
    while new > FRAMES_PER_CHUNK and not any(one.windows(past + new).any() for one in sets):
        new -= FRAMES_PER_CHUNK
    ended = config.ended if config.learn in READING else 0.0
    fitting = [one for one in sets if one.windows(past + new).any()] or sets
    windows, weight = drawn(fitting, config.batch, past + new, rng, ended, config.fear)
    truth = Facts.stack([Facts.of_window(w.window, layout, w.body, w.camera) for w in windows])
    latents = torch.cat([w.latents for w in windows])
    rows, frames = latents.shape[:2]
    level = torch.zeros(rows, frames)
    level[:, past:] = draw_levels("leaning", (rows,), draw)[:, None]
    noise = torch.randn(latents.shape, generator=draw)
    disturbance = (
        torch.randn(latents.shape, generator=draw) * config.blur * torch.rand(rows, 1, 1, 1, 1, generator=draw)
    )
    disturbance[:, past:] = 0
    worn = torch.rand(rows, 1, generator=draw) < config.worn
    wear = (torch.rand(rows, 2, generator=draw) - 0.5) * worn
    return Batch(
        latents,
        drop(truth, config.drop if past else WRITING, draw, past),
        truth,
        torch.cat([window.rewards for window in windows]),
        torch.cat([window.success for window in windows]),
        torch.cat([window.terminated for window in windows]),
        weight,
        past,
        level,
        noise,
        torch.randint(2**62, (rows,), generator=draw),
        disturbance,
        wear,
        drop(_motion(sets, layout, config, rng), MOTION_DROP, draw, config.past),
        _lived(*drawn(sets, config.lived, 1 + FRAMES_PER_CHUNK, rng, config.ended, config.fear), layout),
        _lived(*drawn(sets, config.stances, 1, rng), layout),
        _ahead(sets, layout, config, rng) if config.learn == "ahead" else None,
    )


def _motion(sets: Sequence[LatentSet], layout: Layout, config: SlowConfig, rng: np.random.Generator) -> Facts:
    """A body's way over one, three or eight chunks."""
    fitting = {
        chunks: [one for one in sets if one.windows(config.past + FRAMES_PER_CHUNK * chunks).any()]
        for chunks in set(MOTION_CHUNKS)
    }
    possible = [chunks for chunks in MOTION_CHUNKS if fitting[chunks]]
    if not possible:
        least = config.past + FRAMES_PER_CHUNK
        raise BadOption(f"no episode of {least} frames", "a past and a chunk at least", "Record longer episodes.")
    chunks = int(rng.choice(possible))
    parts, _ = drawn(fitting[chunks], config.ways, config.past + FRAMES_PER_CHUNK * chunks, rng)
    return Facts.stack([Facts.of_window(part.window, layout, part.body, part.camera) for part in parts])


def _ahead(sets: Sequence[LatentSet], layout: Layout, config: SlowConfig, rng: np.random.Generator) -> Lived:
    """Ways of any length up to what a plan looks ahead."""
    for one in sets:
        if one.camera is None or layout[one.body].on_tripod:
            raise BadOption(f"learn=ahead of {one.body!r}", "bodies whose eyes travel", "Leave out its data.")
    longest = max(len(episode["latents"]) for one in sets for episode in one.episodes)
    length = min(longest, 1 + int(rng.integers(1, 1 + FRAMES_PER_CHUNK * READ_CHUNKS)))
    fitting = [one for one in sets if one.windows(length).any()]
    return _lived(*drawn(fitting, config.ahead, length, rng, config.ended, config.fear), layout)


def _lived(parts: Sequence[LatentWindow], weight: Tensor, layout: Layout) -> Lived:
    return Lived(
        torch.cat([part.latents for part in parts]),
        Facts.stack([Facts.of_window(part.window, layout, part.body, part.camera) for part in parts]),
        torch.cat([part.rewards[:, 1:] for part in parts]),
        torch.cat([part.success[:, 1:] for part in parts]),
        torch.cat([part.terminated[:, 1:] for part in parts]),
        weight,
    )


def drawn(
    sets: Sequence[LatentSet],
    count: int,
    length: int,
    rng: np.random.Generator,
    ended: float = 0.0,
    fear: float = 1.0,
) -> tuple[list[LatentWindow], Tensor]:
    """Windows of sets that count alike; a share of them ends its episode, where episodes of its set do. And weights
    [count], in whose mean each window of a set counts as if it had been drawn from anywhere, `fear` times so where it
    ends without success."""
    last = int(count * ended)
    parts, weights = [], []
    for rare, many in ((False, count - last), (True, last)):
        for one, n in _shared(sets, many, rng):
            ending = one.ending(length) if last else 0.0
            part = one.ends(rng, n, length) if rare and ending else one.sample(rng, n, length)
            parts.append(part)
            lost = part.terminated[:, -1] & ~part.success[:, -1]
            weights.append(_as_rare(part.terminated[:, -1], ending, last / count) * torch.where(lost, fear, 1.0))
    return parts, torch.cat(weights)


def _as_rare(ends: Tensor, ending: float, ended: float) -> Tensor:
    """[B]: how often windows are met, against how often they are drawn. A share `ending` of all windows are ends, bool
    [B], and `ended` of what is drawn is drawn from those alone."""
    if not ending:
        return torch.ones(len(ends))
    often = ending / (ended + (1 - ended) * ending)
    return torch.where(ends, often, 1 / (1 - ended))


def _shared(sets: Sequence[LatentSet], count: int, rng: np.random.Generator) -> list[tuple[LatentSet, int]]:
    """How many of `count` windows are each set's, for sets that count alike."""
    shares = rng.multinomial(count, [1 / len(sets)] * len(sets))
    return [(one, int(n)) for one, n in zip(sets, shares, strict=True) if n]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The same elsewhere."""
    return replace(batch, **{name: value.to(device) for name, value in vars(batch).items() if hasattr(value, "to")})
