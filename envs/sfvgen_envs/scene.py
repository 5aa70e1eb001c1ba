"""Scenes: what varies between episodes, and why no scene is in two splits.

A scene is a frozen value. Its split is a function of the scene alone: the coarse facts that make two scenes look or
feel different (`signature`) are hashed, and a quarter of all hashes is `test`. A scene in both splits would need two
hashes, and two scenes alike in every coarse fact are always in the same split.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar
from zlib import crc32

import numpy as np

from sfvgen_planner.errors import BadState, UnknownName, closest

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
Length = Literal["short", "medium", "long"]
LENGTHS: tuple[Length, ...] = ("short", "medium", "long")

PATIENCE = 1000
"""Draws before a variation is declared impossible in its split."""


@dataclass(frozen=True)
class Scene:
    """Base of every task's factors of variation."""

    def signature(self) -> str:
        """The coarse facts that decide the split."""
        raise NotImplementedError(f"{type(self).__name__} must say which facts decide its split.")


S = TypeVar("S", bound=Scene)


def split_of(scene: Scene) -> Split:
    """Which split a scene belongs to, now and for ever (crc32 does not depend on the process)."""
    return "test" if crc32(f"{type(scene).__name__} {scene.signature()}".encode()) % 4 == 0 else "train"


def draw_scene(
    draw: Callable[[np.random.Generator], S], rng: np.random.Generator, split: str, fixed: Mapping[str, Any]
) -> S:
    """Draws until a scene, with the `fixed` factors put in, falls into the split."""
    if split not in SPLITS:
        raise UnknownName(f"split {split!r}", f"one of {list(SPLITS)}", closest(split, SPLITS))
    for _ in range(PATIENCE):
        scene = draw(rng)
        known = tuple(field.name for field in fields(scene))
        for name in fixed:
            if name not in known:
                raise UnknownName(f"variation {name!r}", f"a factor of {type(scene).__name__}", closest(name, known))
        scene = replace(scene, **fixed)
        if split_of(scene) == split:
            return scene
    raise BadState(
        f"a variation {dict(fixed)} that the {split!r} split does not hold",
        "factors that leave something to draw",
        "Fix fewer factors, or ask for the other split.",
    )


def bright_colour(rng: np.random.Generator, low: float = 0.25, high: float = 0.85) -> tuple[float, float, float]:
    """A colour for walls and floors: RGB, each drawn alone and rounded so that scenes print and compare exactly."""
    red, green, blue = (round(float(x), 3) for x in rng.uniform(low, high, 3))
    return red, green, blue
