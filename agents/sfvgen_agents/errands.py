"""Errands: what a sentence that names things asks of a gripper, as places that a search is to bring it to.

Nobody says which actions lead there: steps are only where the fingertips are to be and whether the fingers are
open. Whether a step is done is judged by what the body senses.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Find = Callable[[str], Floats | None]
"""name -> where that thing is, [3] metres in the frame of the senses' fingertips; [S, 3] if it may be nearer to the eye
or farther as well, the likeliest in the middle; None where nobody knows"""

OPEN, CLOSED = -1.0, 1.0
"""What the last number of an action says to the fingers."""
LIFT, GRASP, DROP, DRAG = 0.12, 0.022, 0.030, 0.040
"""Metres above the table: where things are carried, taken, let go in a box, whose floor is a board, and dragged, so
that the table does not pull them out of the fingers."""
HOME = (0.28, 0.0, 0.22)
ALONG = 0.02
"""Metres that are near enough to one of several places where a thing may be."""
SLOTS = (0.0, 0.07, -0.07)
"""Metres forwards from a box's middle, of what is put there first, second, third."""
FREE = (0.405, 0.11)
"""Where things may stand on a table with a box at its side: the middle of that, forwards and away from the box."""


@dataclass(frozen=True)
class Step:
    """A sub-goal."""

    place: tuple[float, float, float]
    """of the fingertips"""
    grip: float | None = None
    """OPEN or CLOSED; None: any"""
    near: float = 0.012
    """metres from the place that are near enough"""
    felt: bool = False
    """is it done only when the fingers are felt to be so?"""


Steps = tuple[Step, ...]
ASIDE: Steps = (Step(HOME, near=0.05),)
"""Out of the way of the eye."""


def taking(place: Floats) -> Steps:
    """Whatever stands there is between the fingers in the end, and above the table."""
    x, y = float(place[0]), float(place[1])
    return (
        Step((x, y, LIFT), OPEN),
        Step((x, y, GRASP), OPEN),
        Step((x, y, GRASP), CLOSED, 0.02, felt=True),
        Step((x, y, LIFT), CLOSED, 0.04),
    )


def leaving(place: Floats) -> Steps:
    """What is held stands there in the end, let go of, and the hand is above it."""
    x, y, low = (float(number) for number in place)
    return (
        Step((x, y, LIFT), CLOSED),
        Step((x, y, low), CLOSED),
        Step((x, y, low), OPEN, 0.02, felt=True),
        Step((x, y, low + 0.10), OPEN),
    )


@dataclass(frozen=True)
class Known:
    """What is known when a sentence is said."""

    find: Find
    """where a thing is"""
    was: Find
    """where it was when the episode began"""
    put: int = 0
    """how many things were put into the box before"""


def _reach(known: Known, thing: str) -> Steps | None:
    """To where it is; where it may be nearer or farther as well, to one place after the other."""
    places = known.find(thing)
    if places is None:
        return None
    near = Step.near if places.ndim == 1 else ALONG
    return tuple(Step(_three(place), near=near) for place in places.reshape(-1, 3))


def _home(known: Known) -> Steps:
    return (Step(HOME, near=0.02),)


def _push(known: Known, thing: str, goal: str) -> Steps | None:
    """Taken between the fingers, and dragged."""
    place, there = _at(known.find, thing), _at(known.find, goal)
    if place is None or there is None:
        return None
    return (*taking(place)[:3], Step((float(there[0]), float(there[1]), DRAG), CLOSED))


def _put(known: Known, thing: str, box: str) -> Steps | None:
    """Beside what was put there before."""
    place, there = _at(known.find, thing), _at(known.find, box)
    if place is None or there is None:
        return None
    return (*taking(place), *leaving(np.array([there[0] + SLOTS[known.put % len(SLOTS)], there[1], DROP])))


def _give_back(known: Known, thing: str) -> Steps | None:
    """To where it stood; where nobody remembers that, to the middle of where it may have stood."""
    place, old = _at(known.find, thing), _at(known.was, thing)
    if old is None:
        box = _at(known.find, "the box")
        old = None if box is None else np.array([FREE[0], -np.copysign(FREE[1], box[1])])
    if place is None or old is None:
        return None
    return (*taking(place), *leaving(np.array([*old[:2], GRASP])))


PUT = "put "
ERRANDS: Mapping[str, Callable[..., Steps | None]] = {
    r"move the gripper home": _home,
    r"move the gripper to (the \w+ \w+)": _reach,
    r"push (the \w+ cube) onto (the disc)": _push,
    rf"{PUT}(the \w+ cube) into (the box)": _put,
    r"return (the \w+ cube)": _give_back,
}
"""A sentence's beginning: its steps, from what is known and what it names."""


def steps_of(text: str, known: Known) -> Steps:
    """What a sentence asks; nothing, where it is not known. Where it names what is not to be found, the hand, which may
    hide it, goes aside."""
    for sentence, made in ERRANDS.items():
        named = re.match(sentence, text)
        if named:
            return made(known, *named.groups()) or ASIDE
    return ()


def _at(find: Find, name: str) -> Floats | None:
    """[3]: where it is, the likeliest place if there are several."""
    places = find(name)
    return None if places is None else places.reshape(-1, 3)[places.size // 6]


def _three(place: Floats) -> tuple[float, float, float]:
    return float(place[0]), float(place[1]), float(place[2])
