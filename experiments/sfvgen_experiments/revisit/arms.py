"""What may help a dream to come back to a place as it was: memories, or a choice of frames to dream from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_experiments.dreams import Frames
from sfvgen_experiments.probe.base import picked, picked_facts
from sfvgen_experiments.revisit.ways import Trip
from sfvgen_planner.errors import UnknownName, closest
from sfvgen_planner.learning.remembering import ENCODED_AT_ONCE, Watched, remember_all
from sfvgen_planner.memory import PRESETS, Memory, MemoryConfig, Seen, start
from sfvgen_planner.memory.rows import take
from sfvgen_planner.types import FRAMES_PER_CHUNK, Window
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.pose import metres_between, radians_between
from sfvgen_planner.world.pose_head import foresee
from sfvgen_planner.world.sampler import SamplerConfig

Choice = Literal["last", "longer", "anchor", "bank"]
"""Which frames a chunk is dreamt from: the last ones; as many of them as the world can take; the last and the episode's
first one; the last and, of those seen, the ones whose cameras stood nearest to where the new frames will be."""
VARIANTS = {
    "full": MemoryConfig(),
    "original": MemoryConfig(variant="original"),
    "global": MemoryConfig(variant="global"),
    "frame": MemoryConfig(variant="frame"),
}
"""The paper's, each in the plain way."""
MEMORIES = {**PRESETS, **VARIANTS}
COPY, NONE, SWAPPED = "copy", "none", " swapped"
VISITS = {"visit": "default", "visit_album": "album", "visit_hybrid": "hybrid"}
"""Memories of another way in the same scene, by their preset."""
CHOICES: dict[str, Choice] = {NONE: "last", "longer": "longer", "anchor": "anchor", "bank": "bank"}
ARMS = (COPY, *CHOICES, *MEMORIES, *VISITS)


@dataclass(frozen=True)
class Course:
    """A trip as the world sees it."""

    trip: Trip
    latents: Tensor
    """float [E, T, C, h, w]"""
    facts: Facts
    length: float
    """of the body, in metres"""

    @staticmethod
    def of(world: WorldModel, trip: Trip) -> "Course":
        """Encoded."""
        rows, frames = trip.poses.shape[:2]
        flat = torch.from_numpy(trip.pixels).flatten(0, 1)
        latents = torch.cat([world.codec.encode(part) for part in torch.split(flat, ENCODED_AT_ONCE)])
        silent = (("",) * frames,) * rows
        window = Window(np.empty(0, np.uint8), trip.poses, trip.actions, silent, np.zeros(rows, int))
        facts = Facts.of_window(window, world.encoder.layout, trip.body, trip.camera)
        return Course(
            trip, latents.reshape(rows, frames, *latents.shape[1:]), facts, world.encoder.layout[trip.body].length
        )


def check_arms(names: tuple[str, ...]) -> None:
    """They are known."""
    for name in names:
        if name not in ARMS:
            raise UnknownName(f"arm {name!r}", f"one of {list(ARMS)}", closest(name, ARMS))


def imagined(
    world: WorldModel,
    course: Course,
    names: tuple[str, ...],
    sampler: SamplerConfig,
    foreseen: bool,
    heard: Callable[[int], object] = lambda chunk: None,
) -> dict[str, Frames]:
    """What each arm makes of the rest of the trip, [E, F, h, w, 3]; memories also under another episode's."""
    trip, found = course.trip, {}
    for name in names:
        if name == COPY:
            rest = trip.pixels.shape[1] - trip.seen
            found[name] = np.repeat(trip.pixels[:, trip.seen - 1 : trip.seen], rest, axis=1)
        elif name in CHOICES:
            found[name] = dream(world, course, CHOICES[name], None, sampler, foreseen)
        elif name in MEMORIES:
            memory = remembered(world, course, MEMORIES[name], heard)
            found |= under(world, course, name, memory, sampler, foreseen)
    return found


def under(
    world: WorldModel, course: Course, name: str, memory: Memory, sampler: SamplerConfig, foreseen: bool
) -> dict[str, Frames]:
    """Dreams under every episode's own memory, and under its neighbour's."""
    return {
        name: dream(world, course, "last", memory, sampler, foreseen),
        name + SWAPPED: dream(world, course, "last", rolled(memory), sampler, foreseen),
    }


def rolled(memory: Memory, by: int = 1) -> Memory:
    """Every episode's memory is its neighbour's."""
    return take(memory, torch.arange(memory.rows).roll(by))


def windows_of(world: WorldModel, course: Course, every: int = 1) -> list[Seen]:
    """Of what was seen, after every so manieth chunk."""
    rows, seen = len(course.latents), course.trip.seen
    some = Watched(course.latents[:, :seen], course.facts[:seen], torch.full((rows,), seen))
    return some.windows(world.config.past, every)


def remembered(
    world: WorldModel, course: Course, how: MemoryConfig, heard: Callable[[int], object], every: int = 1
) -> Memory:
    """What was seen, chunk by chunk: one memory for each episode."""
    rows = len(course.latents)
    begun = start(world, how, rows, seeds=torch.arange(rows))
    return remember_all(world, begun, windows_of(world, course, every), heard)


@torch.no_grad()
def dream(
    world: WorldModel, course: Course, choice: Choice, memory: Memory | None, sampler: SamplerConfig, foreseen: bool
) -> NDArray[np.uint8]:
    """[E, F, h, w, 3] what follows what was seen, told true actions; poses are true, or `foreseen`."""
    seen, rows = course.trip.seen, len(course.latents)
    everywhere = torch.ones(rows, dtype=torch.bool)
    latents, known = course.latents[:, :seen], course.facts[:seen].withhold(actions=everywhere, texts=everywhere)
    rest, factors = course.facts[seen:].withhold(texts=everywhere), None if memory is None else memory.factors
    for first in range(0, rest.frames, FRAMES_PER_CHUNK):
        new = rest[first : first + FRAMES_PER_CHUNK]
        if foreseen:
            new = foresee(world.encoder, world.pose_head, known[-world.config.past :], new)
        index = chosen(world, choice, known.poses, new.poses, seen, course.length)
        past, told = picked(latents, index), picked_facts(known, index)
        made = world.dream(past, told, new, torch.arange(rows), sampler, factors, seen + first, foreseen=False)
        latents, known = torch.cat([latents, made.latents], 1), Facts.join(known, made.facts)
    return np.concatenate([world.codec.decode(one[None]).numpy() for one in latents[:, seen:]])


def chosen(world: WorldModel, choice: Choice, known: Tensor, new: Tensor, seen: int, length: float) -> Tensor:
    """int64 [E, Tp]: the frames, of all with poses `known` [E, T, P], that those at `new` [E, 8, P] are dreamt from.

    Of frames only true ones are looked up: the first `seen`.
    """
    rows, frames = known.shape[:2]
    past, most = world.config.past, world.config.denoiser.window - FRAMES_PER_CHUNK
    count = min(frames, most) if choice == "longer" else past
    last = torch.arange(frames - count, frames).expand(rows, -1)
    if choice == "anchor":
        return torch.cat([torch.zeros(rows, 1, dtype=torch.int64), last], 1)
    if choice != "bank":
        return last
    asked = new[:, torch.linspace(0, new.shape[1] - 1, min(past, most - past)).round().long()]
    before = min(seen, frames - past)
    apart = metres_between(asked[:, :, None], known[:, None, :before]) / length
    apart = apart + radians_between(asked[:, :, None], known[:, None, :before])
    return torch.cat([apart.argmin(2).sort(1).values, last], 1)
