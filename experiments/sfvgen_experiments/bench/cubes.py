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
    """Of E episodes [E, F, h, w, 3]: how many of the cubes so long unseen are drawn at all, and where they belong; how
    many pixels those drawn are off, and how many grey levels the place where a cube belongs.

    Means over the episodes that have such cubes, each counting once.
    """
    rows: list[NDArray[np.float64]] = []
    levels: list[float] = []
    for truth, dream, mine, old in zip(real, made, colours, ages, strict=True):
        chosen = (old >= band[0]) & (old <= band[1])
        away = [misplaced(truth, dream, colour)[when] for colour, when in zip(mine, chosen, strict=True)]
        if chosen.any():
            rows.append(np.concatenate(away))
            off = [wrong(truth[when], dream[when], colour) for colour, when in zip(mine, chosen, strict=True)]
            levels.append(float(np.concatenate(off).mean()))
    if not rows:
        return {"episodes": 0}
    drawn = [row[np.isfinite(row)] for row in rows]
    away_by = [row.mean() for row in drawn if len(row)]
    return {
        "episodes": len(rows),
        "drawn": mean_interval([np.isfinite(row).mean() for row in rows]),
        "right": mean_interval([(row <= RIGHT).mean() for row in rows]),
        "pixels_off": mean_interval(away_by) if away_by else None,
        "levels_off": mean_interval(levels),
    }


def wrong(real: Frames, made: Frames, colour: Colour) -> NDArray[np.float64]:
    """[T] mean grey levels, of 255, by which the pixels of a cube are off."""
    mask = pixels_of(real, colour)
    apart = np.abs(real.astype(np.float64) - made).mean(-1)
    return np.array([one[here].mean() for one, here in zip(apart, mask, strict=True)])


def shown(found: dict[str, Any], band: str) -> list[str]:
    """A line an arm."""
    heads = f"{'drawn':>16}{'where it belongs':>20}{'pixels off':>16}{'grey levels':>16}{'episodes':>10}"
    lines = [f"  {f'cubes {band}':44}{heads}"]
    for arm, row in found.items():
        cells: list[Interval | None] = [row.get(key) for key in ("drawn", "right", "pixels_off", "levels_off")]
        told = f"{cell(cells[0], 2):>16}{cell(cells[1], 2):>20}{cell(cells[2], 1):>16}{cell(cells[3], 0):>16}"
        lines.append(f"    {arm:42}{told}{row['episodes']:>10}")
    return lines
