"""Where does a dream show cubes that it has not seen for long? By colour and centre, against the true frames."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvgen_envs.table import COLOURS, Colour
from sfvgen_experiments.bench.report import cell
from sfvgen_experiments.dreams import Frames
from sfvgen_experiments.revisit.objects import misplaced, pixels_of
from sfvgen_planner.metrics.statistics import Interval, mean_interval

VISIBLE = 12
"""pixels of a cube that is in the true picture; less is a sliver at its edge"""
RIGHT = 3.0
"""pixels within which a cube is where it belongs: about half of its face"""


def colours_of(card: dict[str, Any]) -> tuple[Colour, ...]:
    """Of the cubes in an episode's scene, as its card tells."""
    return tuple(COLOURS[name] for name in dict(card.get("scene") or {}).get("colours", ()))


def ages_of_cubes(seen: Frames, real: Frames, colours: tuple[Colour, ...], past: int) -> NDArray[np.int64]:
    """[cubes, F] of one episode: frames since a cube was in `seen` [K, h, w, 3] last, where it is in `real` [F, ...].

    -1 where it is not in the true picture, was never seen, or is in the `past` frames that the dream begins from.
    """
    found = np.full((len(colours), len(real)), -1)
    for cube, colour in enumerate(colours):
        before = np.flatnonzero(pixels_of(seen, colour).sum((1, 2)) >= VISIBLE)
        there = pixels_of(real, colour).sum((1, 2)) >= VISIBLE
        if len(before) and before[-1] < len(seen) - past:
            found[cube, there] = (len(seen) - before[-1] + np.arange(len(real)))[there]
    return found


def places(
    real: Frames,
    made: Frames,
    colours: tuple[tuple[Colour, ...], ...],
    ages: tuple[NDArray[np.int64], ...],
    band: tuple[int, int],
) -> dict[str, Any]:
    """Of E episodes [E, F, h, w, 3]: how many of the cubes so long unseen are drawn at all and where they belong, and
    how many pixels those drawn are off. Means over the episodes that have such cubes, each counting once."""
    rows: list[NDArray[np.float64]] = []
    for truth, dream, mine, old in zip(real, made, colours, ages, strict=True):
        chosen = (old >= band[0]) & (old <= band[1])
        away = [misplaced(truth, dream, colour)[when] for colour, when in zip(mine, chosen, strict=True)]
        if chosen.any():
            rows.append(np.concatenate(away))
    if not rows:
        return {"episodes": 0}
    drawn = [row[np.isfinite(row)] for row in rows]
    off = [row.mean() for row in drawn if len(row)]
    return {
        "episodes": len(rows),
        "drawn": mean_interval([np.isfinite(row).mean() for row in rows]),
        "right": mean_interval([(row <= RIGHT).mean() for row in rows]),
        "pixels_off": mean_interval(off) if off else None,
    }


def shown(found: dict[str, Any], band: str) -> list[str]:
    """A line an arm."""
    lines = [f"  {f'cubes {band}':44}{'drawn':>16}{'where it belongs':>20}{'pixels off':>16}{'episodes':>10}"]
    for arm, row in found.items():
        cells: list[Interval | None] = [row.get(key) for key in ("drawn", "right", "pixels_off")]
        told = f"{cell(cells[0], 2):>16}{cell(cells[1], 2):>20}{cell(cells[2], 1):>16}"
        lines.append(f"    {arm:42}{told}{row['episodes']:>10}")
    return lines
