"""What dreams of a way back are worth beside the truth, by how long ago a view was seen last."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvgen_experiments.bench.memory import ages_of
from sfvgen_experiments.bench.report import cell
from sfvgen_experiments.dream_figures import CEILING, sharpness_of
from sfvgen_experiments.dreams import Frames
from sfvgen_experiments.revisit.arms import COPY, NONE, Course
from sfvgen_experiments.revisit.objects import misplaced
from sfvgen_planner.metrics.cuts import scene_cuts
from sfvgen_planner.metrics.figures import Extractor
from sfvgen_planner.metrics.quality import psnr, ssim
from sfvgen_planner.metrics.revisits import scene_revisit_consistency
from sfvgen_planner.metrics.statistics import Interval, mean_interval

BANDS = {
    "160 or more": (160, 10**6),
    "80 to 159": (80, 159),
    "40 to 79": (40, 79),
    "1 to 39": (1, 39),
    "never": (-1, -1),
}
BEFORE = 16
"""Seen frames with which a dream is looked at for cuts: PySceneDetect wants to see a scene before it."""
SHORTEST = 2
"""Frames of a scene, so that a flicker counts."""


def ages(course: Course) -> NDArray[np.int64]:
    """[E, F] frames since a view was seen last, -1 for never; of objects, since it last stood where it stands again."""
    trip = course.trip
    if trip.back is not None:
        return trip.back[:, trip.seen :]
    return ages_of(course.facts.poses, trip.seen, float(course.facts.fovy[0]), course.length)


def measure(course: Course, made: dict[str, Frames], extract: Extractor | None) -> dict[str, Any]:
    """By arm, all paired with the dream without memory."""
    trip, old = course.trip, ages(course)
    real = trip.pixels[:, trip.seen :]
    decibels = {name: np.minimum(psnr(real, one).double().numpy(), CEILING) for name, one in made.items()}
    places = {name: consistency(trip.pixels[:, : trip.seen], one, old, extract) for name, one in made.items()}
    found: dict[str, Any] = {}
    for name, one in made.items():
        bands = {}
        for band, (low, high) in BANDS.items():
            inside = (old >= low) & (old <= high)
            bands[band] = {
                "psnr": over(decibels[name], inside),
                "gain": None if NONE not in made else over(decibels[name] - decibels[NONE], inside),
                "src": over(places[name], inside & ~np.isnan(places[name])),
            }
        found[name] = {
            "ages": bands,
            "whole": {
                "psnr": mean_interval(decibels[name].mean(1)),
                "ssim": mean_interval(ssim(real, one).double().mean(1).numpy()),
                "src": over(places[name], ~np.isnan(places[name])),
            },
            "cuts": cuts(trip.pixels[:, trip.seen - BEFORE : trip.seen], one),
            "sharpness": sharpness_of(real, one),
            **({"object": objects(course, one, old)} if trip.colours else {}),
        }
    before = trip.pixels[:, trip.seen - BEFORE : trip.seen]
    alike = consistency(trip.pixels[:, : trip.seen], real, old, extract)
    src = {band: over(alike, (old >= low) & (old <= high) & ~np.isnan(alike)) for band, (low, high) in BANDS.items()}
    return {"episodes": len(real), "arms": found, "truth": {"cuts": cuts(before, real), "src": src}}


def over(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> Interval | None:
    """Mean over the episodes that have such frames, each counting once; None where there are none."""
    rows = [row for row in range(len(chosen)) if chosen[row].any()]
    return mean_interval([values[row][chosen[row]].mean() for row in rows]) if rows else None


def consistency(seen: Frames, made: Frames, old: NDArray[np.int64], extract: Extractor | None) -> NDArray[np.float64]:
    """[E, F] how alike a place looks to when it was seen last, NaN where it never was: SRC, frame by frame."""
    found = np.full(old.shape, np.nan)
    for row in range(len(old)) if extract is not None else ():
        features = extract(np.concatenate([seen[row], made[row]]))  # type: ignore[misc]
        first = seen.shape[1]
        for frame in np.flatnonzero(old[row] > 0):
            pair = (first + int(frame) - int(old[row, frame]), first + int(frame))
            found[row, frame] = scene_revisit_consistency(features, [pair])
    return found


def cuts(before: Frames, made: Frames) -> Interval:
    """Mean number of hard cuts."""
    clips = np.concatenate([before, made], axis=1)
    return mean_interval([scene_cuts(clip, shortest=SHORTEST) for clip in clips])


def objects(course: Course, made: Frames, old: NDArray[np.int64]) -> dict[str, Any]:
    """While the object is back: how many pixels it is off where it is drawn, and how often it is not drawn."""
    real = course.trip.pixels[:, course.trip.seen :]
    away = np.stack([misplaced(*rows) for rows in zip(real, made, course.trip.colours, strict=True)])
    there = (old > 0) & ~np.isnan(away)
    off = over(np.where(np.isfinite(away), away, 0.0), there & np.isfinite(away))
    return {"pixels": off, "lost": over(np.isinf(away).astype(float), there)}


def shown(way: str, figures: dict[str, Any]) -> str:
    """A line an arm: the gain over no memory in dB by age, cuts, and objects."""
    arms, bands = figures["arms"], list(BANDS)
    heads = "".join(f"{band:>16}" for band in bands)
    lines = [f"\n{way}, {figures['episodes']} episodes: dB over no memory by age (its own dB in its line)"]
    lines.append(f"{'':20}{heads}{'cuts':>14}{'sharpness':>14}")
    for name, found in arms.items():
        key = "psnr" if name == NONE or NONE not in arms else "gain"
        cells = "".join(f"{cell(found['ages'][band][key], 2):>16}" for band in bands)
        more = f"{cell(found['cuts'], 2):>14}" + (f"{cell(found['sharpness'], 2):>14}" if name != COPY else "")
        lines.append(f"  {name:18}{cells}{more}")
        if "object" in found:
            told = found["object"]
            lines.append(f"  {'':18}object off by {cell(told['pixels'], 2)} pixels, gone {cell(told['lost'], 2)}")
    return "\n".join(lines)
