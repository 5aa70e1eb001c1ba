"""Tables under a sweeping camera: as the shipped world was trained on, and outside of that in one thing at a time."""

from dataclasses import dataclass

import numpy as np

from sfvgen_envs.scene import bright_colour
from sfvgen_experiments.revisit.ways import Trip, Vary, pan
from sfvgen_planner.errors import UnknownName, closest

TRAINED = "as trained"
RIM = 0.60, 0.66
"""Metres from the arm's foot, along x, of cubes that stand farther off than any in training (to 0.54)."""


@dataclass(frozen=True)
class Kind:
    """How scenes of the test split are drawn."""

    told: str
    length: str = "medium"
    """medium: two cubes, all that was trained on; short: one; long: three"""
    vary: Vary = lambda rng: {}


KINDS = {
    TRAINED: Kind("test-split scenes, two cubes"),
    "one cube": Kind("a count of cubes that was never seen", "short"),
    "three cubes": Kind("a count of cubes that was never seen", "long"),
    "colours": Kind(
        "a darker table and a lighter floor than any",
        vary=lambda rng: {"wood": bright_colour(rng, 0.05, 0.3), "floor": bright_colour(rng, 0.65, 0.95)},
    ),
    "light": Kind("light from behind the table", vary=lambda rng: {"light": round(float(rng.uniform(120, 240)), 1)}),
    "pattern": Kind(
        "twice as coarse a pattern as any, of a stronger colour",
        vary=lambda rng: {"cell": round(float(rng.uniform(0.2, 0.28)), 3), "inlay": bright_colour(rng, 0.05, 0.3)},
    ),
    "layout": Kind(
        "cubes where none ever stood",
        vary=lambda rng: {
            "places": tuple(
                (round(float(x), 3), y) for x, y in zip(rng.uniform(*RIM, 3), (-0.2, 0.0, 0.2), strict=True)
            )
        },
    ),
}


def record(kind: str, scenes: range, seen: int, dreamt: int, size: int) -> Trip:
    """One episode in each of these scenes."""
    if kind not in KINDS:
        raise UnknownName(f"scenes {kind!r}", f"one of {list(KINDS)}", closest(kind, tuple(KINDS)))
    return pan(scenes, seen, dreamt, size, KINDS[kind].length, KINDS[kind].vary)


def some(trip: Trip, first: int, count: int) -> Trip:
    """Some of its episodes."""
    rows = np.arange(first, first + count)
    return Trip(trip.body, trip.camera, trip.pixels[rows], trip.poses[rows], trip.actions[rows], trip.seen)
