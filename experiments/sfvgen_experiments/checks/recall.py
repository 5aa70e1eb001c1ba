"""What dreams of views seen long ago are worth beside the truth: without memory, with the own, with another's."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sfvgen_experiments.dream_figures import CEILING
from sfvgen_experiments.revisit.arms import Course, dream
from sfvgen_experiments.revisit.figures import ages, over
from sfvgen_planner.memory import Memory
from sfvgen_planner.metrics.quality import psnr
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

LONG_AGO = 40
"""Frames for which a view has not been seen."""
PAIRS = {"slow": ("off", "copy"), "gain": ("own", "off"), "style": ("other", "off"), "kept": ("own", "other")}
"""What is told of two paired: the first minus the second."""


def recall(
    world: WorldModel, course: Course, own: Memory, others: Memory, rows: Sequence[int] | None = None
) -> dict[str, Any]:
    """dB of the last frame staying, of no memory, of the own and of another's, and of pairs of them: means over the
    episodes (or `rows` of them) that have views seen so long ago."""
    trip, sampler = course.trip, SamplerConfig(1)
    real = trip.pixels[:, trip.seen :]
    made = {
        "copy": np.repeat(trip.pixels[:, trip.seen - 1 : trip.seen], real.shape[1], axis=1),
        "off": dream(world, course, "last", None, sampler, False),
        "own": dream(world, course, "last", own, sampler, False),
        "other": dream(world, course, "last", others, sampler, False),
    }
    found = {name: np.minimum(psnr(real, one).double().numpy(), CEILING) for name, one in made.items()}
    found |= {name: found[one] - found[less] for name, (one, less) in PAIRS.items()}
    old = ages(course) >= LONG_AGO
    old[[row for row in range(len(old)) if rows is not None and row not in rows]] = False
    return {name: over(values, old) for name, values in found.items()}
