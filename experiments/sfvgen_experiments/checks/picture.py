"""Means with their intervals as a picture: a place along x for each thing measured, a colour for each series."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sfvgen_planner.metrics.statistics import Interval

WIDE, HIGH = 720, 400
LEFT, RIGHT, TOP, FOOT = 56, 16, 40, 34
INK, GREY = (40, 44, 52), (205, 210, 218)
COLOURS = ((38, 98, 178), (214, 69, 48), (70, 150, 80), (150, 110, 40))
Series = Mapping[str, Sequence[Interval | None]]


def plot(path: Path, title: str, labels: Sequence[str], series: Series, *, joined: bool = False) -> None:
    """Draws every series [labels]; where an interval is None nothing was measured."""
    known = [one for values in series.values() for one in values if one is not None]
    if not known:
        return
    low, high = _span(known)

    def height(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HIGH - TOP - FOOT)

    board, font = Image.new("RGB", (WIDE, HIGH), "white"), ImageFont.load_default(12)
    draw = ImageDraw.Draw(board)
    draw.text((LEFT, 4), title, fill=INK, font=font)
    step = next(one for one in (0.25, 0.5, 1.0, 2.0, 5.0, 10.0) if (high - low) / one <= 9 or one == 10.0)
    for tick in range(int(low // step), int(high // step) + 1):
        if low <= tick * step <= high:
            y = height(tick * step)
            draw.line((LEFT, y, WIDE - RIGHT, y), fill=INK if tick == 0 else GREY)
            draw.text((8, y - 7), f"{tick * step:g}", fill=INK, font=font)
    place = (WIDE - LEFT - RIGHT) / len(labels)
    for number, label in enumerate(labels):
        middle = LEFT + place * (number + 0.5)
        draw.text((middle - draw.textlength(label, font) / 2, HIGH - FOOT + 8), label, fill=INK, font=font)
    for number, (name, values) in enumerate(series.items()):
        colour, aside = COLOURS[number % len(COLOURS)], (number - (len(series) - 1) / 2) * min(14.0, place / 6)
        draw.text((LEFT + 160 * number, 21), name, fill=colour, font=font)
        points = [(LEFT + place * (k + 0.5) + aside, one) for k, one in enumerate(values) if one is not None]
        if joined:
            draw.line([(x, height(one.mean)) for x, one in points], fill=colour)
        for x, one in points:
            ends = [height(min(max(bound, low), high)) for bound in (one.low, one.high)]
            draw.line((x, *ends[:1], x, *ends[1:]), fill=colour, width=2)
            y = height(one.mean)
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    board.save(path, optimize=True)


def _span(known: Sequence[Interval]) -> tuple[float, float]:
    """From the lowest to the highest bound, with room; no bound that nobody knows, and none that dwarfs the means."""
    means = [one.mean for one in known]
    room = max(max(means) - min(means), 1.0)
    low = min(max(one.low, min(means) - room) for one in known)
    high = max(min(one.high, max(means) + room) for one in known)
    more = 0.08 * (high - low) or 1.0  # where all is alike
    return low - more, high + more
