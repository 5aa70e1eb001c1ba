"""What came, and under it what every arm dreamt, as one picture."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Frames = NDArray[np.uint8]
COLUMNS, TIMES, GAP, HEAD = 8, 2, 2, 14
INK = (40, 44, 52)


def picture(rows: Mapping[str, Frames], episodes: int) -> Frames:
    """Of the first episodes of [E, F, h, w, 3] by name: a row for each name, frames spread evenly to the last one."""
    count, frames = next(iter(rows.values())).shape[:2]
    chosen = np.linspace(0, frames - 1, min(COLUMNS, frames)).round().astype(int)
    strips = [
        _strip(f"{name}, episode {episode}", shown[episode][chosen])
        for episode in range(min(episodes, count))
        for name, shown in rows.items()
    ]
    return np.concatenate(strips)


def _strip(title: str, frames: Frames) -> Frames:
    """[h, w, 3] of frames [n, h, w, 3] side by side, twice as large, under a title."""
    large = frames.repeat(TIMES, 1).repeat(TIMES, 2)
    row = np.concatenate(list(np.pad(large, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)), 1)
    head = Image.new("RGB", (row.shape[1], HEAD), "white")
    ImageDraw.Draw(head).text((2, 1), title, fill=INK)
    return np.concatenate([np.asarray(head), row])
