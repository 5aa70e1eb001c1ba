"""Ways: rows of points in the plane, how to follow them, and how faithfully somebody went along them in order."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Path = tuple[tuple[float, float], ...]


def frozen(values: ArrayLike) -> Floats:
    """A copy nobody can write to: fit for states and privileged information."""
    array = np.array(values, np.float64)
    array.setflags(write=False)
    return array


def told(points: Floats) -> Path:
    """A way [n, 2] for `info`: vector environments stack arrays there, and paths differ in length."""
    return tuple((float(x), float(y)) for x, y in points)


def along(points: Floats) -> Floats:
    """[n] metres from the first point to each, along the way [n, 2]."""
    legs = np.hypot(*np.diff(points, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(legs)])


def spaced(points: Floats, spacing: float) -> Floats:
    """The way [n, 2] with a point every `spacing` metres (a little less, so that both ends stay)."""
    metres = along(points)
    places = np.linspace(0, metres[-1], int(np.ceil(metres[-1] / spacing - 1e-9)) + 1)
    return np.stack([np.interp(places, metres, points[:, 0]), np.interp(places, metres, points[:, 1])], axis=1)


def rounded(corners: Floats, radius: float, spacing: float = 0.25) -> Floats:
    """The way through right-angled `corners` [n, 2], each cut by a quarter circle."""
    pieces = [corners[:1]]
    for before, corner, after in zip(corners[:-2], corners[1:-1], corners[2:], strict=True):
        come, go = (
            (corner - before) / np.linalg.norm(corner - before),
            (after - corner) / np.linalg.norm(after - corner),
        )
        if abs(come @ go) > 0.5:
            pieces.append(corner[None])
            continue
        angles = np.linspace(0, np.pi / 2, int(np.ceil(radius * np.pi / 2 / spacing)) + 1)[:, None]
        pieces.append(corner + radius * ((np.sin(angles) - 1) * come + (1 - np.cos(angles)) * go))
    return spaced(np.concatenate([*pieces, corners[-1:]]), spacing)


def headings(points: Floats) -> Floats:
    """[n] the way's direction at each point, radians."""
    steps = np.gradient(points, axis=0)
    return np.arctan2(steps[:, 1], steps[:, 0])


def turning(place: Floats, heading: float, radius: float, spacing: float = 0.25) -> Floats:
    """[n, 2] out and back onto the same line: a drop of three arcs, first to the right, then left all around."""
    steps = 12
    sides = np.repeat([-1.0, 1.0, -1.0], [steps, 5 * steps, steps])  # 60, 300 and 60 degrees
    turned = np.pi / 3 / steps * sides
    angles = heading + np.cumsum(turned) - turned / 2
    chord = 2 * radius * np.sin(np.pi / 6 / steps)
    drop = np.cumsum(chord * np.stack([np.cos(angles), np.sin(angles)], axis=1), axis=0)
    return spaced(np.concatenate([place[None], place + drop]), spacing)


def wrapped(angle: float) -> float:
    """An angle in (-pi, pi]."""
    return float(-((-angle + np.pi) % (2 * np.pi) - np.pi))


class ByValue:
    """Equality of frozen values that hold arrays."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            np.array_equal(mine, theirs) for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Matching(ByValue):
    """How well K way-points were visited in order, by the cheapest monotone matching of way-points to places.

    Each way-point is matched to one place where the driver has been, no way-point to an earlier place than the one
    before it. `distance` is the mean distance over all K; it falls while the way is driven, and says at the end how
    faithfully it was.
    """

    way_points: Floats
    """[K, 2]"""
    costs: Floats
    """[K + 1] metres: the cheapest matching of the first k way-points to the places so far"""

    @classmethod
    def of(cls, way_points: ArrayLike) -> "Matching":
        """Before anything was driven."""
        points = frozen(way_points)
        return cls(points, frozen([0.0] + [np.inf] * len(points)))

    def visit(self, place: Floats) -> "Matching":
        """After one more place [2]."""
        gaps = np.concatenate([[0.0], np.cumsum(np.hypot(*(self.way_points - place).T))])
        # costs'[k] = min over j <= k of costs[j] + the gaps from j to k
        return Matching(self.way_points, frozen(gaps + np.minimum.accumulate(self.costs - gaps)))

    @property
    def distance(self) -> float:
        """Mean metres over all way-points."""
        return float(self.costs[-1] / (len(self.costs) - 1))
