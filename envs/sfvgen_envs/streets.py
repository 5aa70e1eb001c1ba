"""What can be said to a driver in the town: each phrase as a way along the streets from here.

These skills know the map and where the car stands, never the route.
"""

import numpy as np

from sfvgen_envs.car import MAX_SPEED, SPACING, Maneuver, maneuver_along, maneuver_of
from sfvgen_envs.town import BARRIER, CORNER, LATTICE, PITCH, STREET, Route, stub
from sfvgen_envs.way import Floats, rounded, spaced, turning

PHRASES = ("drive forward", "drive slowly", "turn left", "turn right", "turn around", "stop", "reverse")
SLOW, BACKWARD = 1.5, -1.5
VIEW = 12.0
"""Metres a way leads ahead."""
TURN_RADIUS = 1.4
"""Of a turn in a street; a little wider than the car can."""
DROP = 3.4
"""Radii that a drop, and the car on it, need ahead."""
NOSE = 3.0
"""Metres from the rear axle that a stop leaves free ahead: enough to turn around."""


def barriers(route: Route) -> Floats:
    """[2, 2] the middles of the walls across the route's first and last street."""
    return np.stack([stub(route[1], route[0], BARRIER), stub(route[-2], route[-1], BARRIER)])


def street(place: Floats, heading: float) -> tuple[Floats, Floats]:
    """The street the car drives in: the nearest point of its middle line [2], and the direction along it [2]."""
    lines = PITCH * np.clip(np.round(place / PITCH), 0, LATTICE - 1)
    aside = np.abs(place - lines)
    looking = np.array([np.cos(heading), np.sin(heading)])
    # A street along x is one whose y is near a line; within a crossing the heading alone decides.
    score = np.abs(looking) - np.maximum(aside[::-1] - STREET / 2, 0)
    axis = int(np.argmax(score))
    direction = np.zeros(2)
    direction[axis] = 1.0 if looking[axis] >= 0 else -1.0
    middle = place.copy()
    middle[1 - axis] = lines[1 - axis]
    return middle, direction


def free_ahead(middle: Floats, direction: Floats, walls: Floats) -> float:
    """Metres along the street until a wall."""
    extent = PITCH * (LATTICE - 1) / 2
    free = extent + BARRIER - float((middle - extent) @ direction)
    for wall in walls - middle:
        aside = abs(float(wall[0] * direction[1] - wall[1] * direction[0]))
        if aside < 1 and 0 < wall @ direction < free:
            free = float(wall @ direction)
    return free


def next_crossing(middle: Floats, direction: Floats) -> Floats | None:
    """[2] the next crossing ahead that can still be turned at."""
    axis = int(np.argmax(np.abs(direction)))
    metres = (PITCH * np.arange(LATTICE) - middle[axis]) * direction[axis]
    ahead = metres[metres >= 1.0]
    return None if not len(ahead) else np.asarray(middle + ahead.min() * direction)


def maneuver(phrase: str, place: Floats, heading: float, going: float, walls: Floats) -> Maneuver:
    """What a phrase sets out to do from here, going at so many metres per second."""
    if phrase == "stop":
        return maneuver_of(phrase, 0.0)
    if phrase == "reverse":
        return maneuver_of(phrase, BACKWARD)
    middle, direction = street(place, heading)
    speed = SLOW if phrase == "drive slowly" else MAX_SPEED
    free = free_ahead(middle, direction, walls)
    if phrase == "turn around":
        return maneuver_along(phrase, speed, _turned(middle, direction, going, free))
    corner = next_crossing(middle, direction)
    if phrase in ("turn left", "turn right") and corner is not None and (corner - middle) @ direction < free:
        side = np.array([-direction[1], direction[0]]) * (1 if phrase == "turn left" else -1)
        # Where the corner is nearer than its curve is long, the curve begins behind the car.
        begin = middle if (corner - middle) @ direction > CORNER else corner - CORNER * direction
        way = rounded(np.stack([begin - 0.5 * direction, corner, corner + VIEW * side]), CORNER, SPACING)
        return maneuver_along(phrase, speed, way)
    return maneuver_along(phrase, speed, _straight(middle, direction, min(max(free - NOSE, 0.5), VIEW)))


def _straight(start: Floats, direction: Floats, metres: float) -> Floats:
    return spaced(np.stack([start, start + metres * direction]), SPACING)


def _turned(middle: Floats, direction: Floats, going: float, free: float) -> Floats:
    """Slow down, and turn in a drop where there is room for one; else half a circle to the left, and back over."""
    left = np.array([-direction[1], direction[0]])
    slowing = max(going**2 - 3.5, 0) / 8
    begin = middle + slowing * direction
    if slowing + DROP * TURN_RADIUS < free:
        drop = turning(begin, float(np.arctan2(direction[1], direction[0])), TURN_RADIUS, SPACING)
        return spaced(np.concatenate([middle[None], drop, (begin - VIEW * direction)[None]]), SPACING)
    angles = np.linspace(0, np.pi, 18)[:, None]
    half = begin + TURN_RADIUS * (np.sin(angles) * direction + (1 - np.cos(angles)) * left)
    back = middle - 5 * direction
    return spaced(np.concatenate([middle[None], half, back[None], back[None] - VIEW * direction]), SPACING)
