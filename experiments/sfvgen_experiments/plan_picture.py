"""What a planner sees and thinks, side by side: the true view, the same moment as imagined, where the plan ends, and
the scores of everything it considered."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Frame = NDArray[np.uint8]
TITLES = ("true", "imagined", "end of the plan", "candidates")
SIDE, HEAD, GAP = 256, 18, 4
INK, GREY, CHOSEN = (40, 44, 52), (150, 160, 175), (214, 69, 48)


def panels(true: Frame, now: Frame, end: Frame, scores: Sequence[NDArray[np.float64]], caption: str) -> Frame:
    """Three pictures uint8 [h, w, 3] and the rounds' scores [N] each -> one frame, with a caption below."""
    views = [_enlarged(one) for one in (true, now, end)]
    parts = [_titled(view, title) for view, title in zip([*views, scatter(scores)], TITLES, strict=True)]
    gap = np.full((parts[0].shape[0], GAP, 3), 255, np.uint8)
    row = np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=1)
    foot = Image.new("RGB", (row.shape[1], HEAD + 2), "white")
    ImageDraw.Draw(foot).text((2, 3), caption, fill=INK)
    joined = np.concatenate([row, np.asarray(foot)])
    return joined[: joined.shape[0] // 2 * 2, : joined.shape[1] // 2 * 2]


def scatter(scores: Sequence[NDArray[np.float64]]) -> Frame:
    """A column of dots a round, the best one of all marked; what was dropped is left out."""
    board = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(board)
    found = [one[np.isfinite(one)] for one in scores]
    everything = np.concatenate(found) if found else np.zeros(0)
    if everything.size:
        low, high = float(everything.min()), float(everything.max())
        span, margin = max(high - low, 1e-9), 24
        for number, column in enumerate(found):
            x = SIDE * (number + 0.5) / len(found)
            # Candidates of a round lie side by side, in the order they were proposed.
            for place, score in enumerate(column):
                across = x + (place / max(len(column) - 1, 1) - 0.5) * 0.7 * SIDE / len(found)
                y = SIDE - margin - (score - low) / span * (SIDE - 2 * margin)
                big = score == high
                size = 4 if big else 2
                draw.ellipse((across - size, y - size, across + size, y + size), fill=CHOSEN if big else GREY)
            draw.text((x - 22, SIDE - 16), f"round {number + 1}", fill=INK)
        draw.text((4, 4), f"{high:.2f}", fill=CHOSEN)
        draw.text((4, SIDE - margin - 4), f"{low:.2f}", fill=INK)
    return np.asarray(board)


def _enlarged(frame: Frame) -> Frame:
    times = max(1, SIDE // max(frame.shape[:2]))
    large = frame.repeat(times, axis=0).repeat(times, axis=1)[:SIDE, :SIDE]
    down, right = SIDE - large.shape[0], SIDE - large.shape[1]
    return np.pad(large, ((0, down), (0, right), (0, 0)), constant_values=255)


def _titled(view: Frame, title: str) -> Frame:
    head = Image.new("RGB", (view.shape[1], HEAD), "white")
    ImageDraw.Draw(head).text((2, 2), title, fill=INK)
    return np.concatenate([np.asarray(head), view])
