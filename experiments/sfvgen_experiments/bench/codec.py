"""Does what matters survive the codec? `sfvgen bench codec`: PSNR on held-out frames, and are the cubes still there.

A cube is the largest connected patch of its colour in the real picture. It is recovered where the pixels of that colour
in and around its place, in the real and in the coded picture, have their middle within one pixel and their mean colour
within a tenth of the range.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfvgen_envs.table import COLOURS
from sfvgen_planner.data import Dataset, Windows
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.quality import psnr
from sfvgen_planner.metrics.statistics import mean_interval, success_interval
from sfvgen_planner.world.codec import KLCodec

CEILING = 48.13
WITH_CUBES = ("push_cube", "cube_return")
LEAST = 12
"""pixels of a cube that is in the picture: of a face of 4 x 4, three quarters; less is a sliver behind a finger"""
AROUND = 3
"""pixels on each side of a cube's place where it is looked for"""
CHROMA = 0.12
"""how far a pixel's share of red, green and blue may be from the cube's"""


def main(
    codec: str = "outputs/codec", data: tuple[str, ...] = (), frames: int = 400, threads: int = 2
) -> dict[str, Any]:
    """Prints and returns a row for each data set."""
    torch.set_num_threads(threads)
    if not data:
        raise BadOption("no data", "data=[folder,...] of the test split", "Record some: sfvgen collect split=test.")
    eyes = KLCodec.from_pretrained(codec)
    rows: dict[str, Any] = {}
    print(f"{'':22}{'codec dB':>16}{'copy last dB':>16}{'cubes recovered':>24}{'seen':>7}")
    for folder in data:
        dataset = Dataset(folder)
        windows = Windows(dataset, 2)
        pairs = windows.batch(np.linspace(0, len(windows) - 1, min(frames, len(windows))).round().astype(int)).pixels
        real = pairs[:, 1]
        parts = np.array_split(real, max(1, len(real) // 50))
        coded = np.concatenate([eyes.decode(eyes.encode(torch.from_numpy(part))).numpy() for part in parts])
        scores = {
            name: mean_interval(np.minimum(psnr(real[:, None], other[:, None]).numpy(), CEILING)[:, 0])
            for name, other in (("codec", coded), ("copied", pairs[:, 0]))
        }
        cubes = str(dataset.cards[0]["task"]) in WITH_CUBES
        found = np.array([hit for a, b in zip(real, coded, strict=True) if cubes for hit in cubes_recovered(a, b)])
        rows[folder] = {**{name: vars(score) for name, score in scores.items()}, "cubes": None}
        cells = "".join(f"{s.mean:>10.2f} ±{(s.high - s.low) / 2:4.2f}" for s in scores.values())
        told = f"{'-':>24}"
        if len(found):
            share = success_interval(found)
            rows[folder]["cubes"] = vars(share)
            told = f"{share.mean:>9.1%} [{share.low:.1%}, {share.high:.1%}]".rjust(24)
        print(f"{folder.rstrip('/').split('/')[-1]:22}{cells}{told}{len(found):>7}", flush=True)
    return rows


def cubes_recovered(real: NDArray[np.uint8], coded: NDArray[np.uint8]) -> list[bool]:
    """For every cube colour in the real picture [h, w, 3]: is it in the coded one, where it was, as it was?"""
    answers = []
    for colour in COLOURS.values():
        rows, columns = np.nonzero(largest_patch(_coloured(real, colour)))
        if len(rows) < LEAST:
            continue
        place = tuple(slice(max(0, side.min() - AROUND), side.max() + AROUND + 1) for side in (rows, columns))
        there, again = _cube(real[place], colour), _cube(coded[place], colour)
        answers.append(
            there is not None
            and again is not None
            and bool(np.abs(again[0] - there[0]).max() <= 1)
            and bool(np.abs(again[1] - there[1]).max() <= 25.5)
        )
    return answers


def largest_patch(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest set of pixels of a mask [h, w] that touch each other; none of none."""
    names = np.arange(1, mask.size + 1).reshape(mask.shape) * mask
    while True:  # the largest name of each patch spreads over it
        wide = np.pad(names, 1)
        around = [wide[1:-1, 1:-1], wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]]
        spread = np.max(around, axis=0) * mask
        if np.array_equal(spread, names):
            break
        names = spread
    sizes = np.bincount(names.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = mask & (names == sizes.argmax())
    return largest


def _cube(picture: NDArray[np.uint8], colour: tuple[float, float, float]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Middle (row, column) and mean colour of the pixels of a colour; None where there is next to nothing of it."""
    mask = _coloured(picture, colour)
    if mask.sum() < LEAST / 2:
        return None
    return np.argwhere(mask).mean(0), picture[mask].astype(np.float64).mean(0)


def _coloured(picture: NDArray[np.uint8], colour: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Which pixels of [h, w, 3] share a colour's chroma and are not dark."""
    rgb = picture.astype(np.float64)
    light = rgb.sum(-1, keepdims=True)
    wanted = np.asarray(colour) / sum(colour)
    alike: NDArray[np.bool_] = (np.abs(rgb / np.maximum(light, 1) - wanted).max(-1) < CHROMA) & (light[..., 0] > 90)
    return alike


if __name__ == "__main__":
    main()
