"""Errands: what a sentence that names things asks of a gripper, as places that a search is to bring it to.

Nobody says which actions lead there: steps are only where the fingertips are to be and whether the fingers are
open. Whether a step is done is judged by what the body senses.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sfvgen_agents.minds import Mind
from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning import Goal
from sfvgen_planner.planning.rollouts import plain
from sfvgen_planner.types import POSE_CAMERA, Context, Rollout

Floats = NDArray[np.float64]
Find = Callable[[str], Floats | None]
"""name -> where that thing is, [3] metres in the frame of the senses' fingertips; [S, 3] if it may be nearer to the eye
or farther as well, the likeliest in the middle; None where nobody knows"""

OPEN, CLOSED = -1.0, 1.0
"""What the last number of an action says to the fingers."""
OPENED, HELD, EMPTY = 0.032, 0.030, 0.012
"""Half the gap beyond which fingers are open; below which they are around something; below which around nothing."""
GRIP = 0.1
"""Metres of way that it is worth to say to the fingers what is wanted, of 2 that one can be off. What they are told counts,
not what they are foreseen to do: a plan that lets go on the way is no shorter one."""
CLOSER = 0.003
"""Metres that one has to come closer by, to have come closer."""
LIFT, GRASP, DROP = 0.12, 0.022, 0.030
"""Metres above the table: where things are carried, taken, and let go in a box, whose floor is a board."""
HOME = (0.28, 0.0, 0.22)
PATIENCE = 10
"""Frames without coming closer; then something went otherwise than was thought, and the errand begins anew."""
ALONG = 0.02
"""Metres that are near enough to one of several places where a thing may be."""
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


def _reach(find: Find, was: Find, named: Sequence[str]) -> Steps | None:
    """To where it is; where it may be nearer or farther as well, to one place after the other."""
    places = find(named[0])
    if places is None:
        return None
    near = Step.near if places.ndim == 1 else ALONG
    return tuple(Step(_three(place), near=near) for place in places.reshape(-1, 3))


def _home(find: Find, was: Find, named: Sequence[str]) -> Steps | None:
    return (Step(HOME, near=0.02),)


def _push(find: Find, was: Find, named: Sequence[str]) -> Steps | None:
    """Taken between the fingers, and dragged."""
    thing, goal = _at(find, named[0]), _at(find, named[1])
    if thing is None or goal is None:
        return None
    return (*taking(thing)[:3], Step((float(goal[0]), float(goal[1]), GRASP), CLOSED))


def _put(find: Find, was: Find, named: Sequence[str]) -> Steps | None:
    thing, box = _at(find, named[0]), _at(find, named[1])
    if thing is None or box is None:
        return None
    return (*taking(thing), *leaving(np.array([*box[:2], DROP])))


def _give_back(find: Find, was: Find, named: Sequence[str]) -> Steps | None:
    """To where it stood; where nobody remembers that, to the middle of where it may have stood."""
    thing, old = _at(find, named[0]), was(named[0])
    if old is None:
        box = _at(find, "the box")
        old = None if box is None else np.array([FREE[0], -np.copysign(FREE[1], box[1])])
    if thing is None or old is None:
        return None
    return (*taking(thing), *leaving(np.array([*old[:2], GRASP])))


ERRANDS: Mapping[str, Callable[[Find, Find, Sequence[str]], Steps | None]] = {
    r"move the gripper home": _home,
    r"move the gripper to (the \w+ \w+)": _reach,
    r"push (the \w+ cube) onto (the disc)": _push,
    r"put (the \w+ cube) into (the box)": _put,
    r"return (the \w+ cube)": _give_back,
}
"""A sentence's beginning: its steps, from where things are, where they were, and which it names."""


def steps_of(text: str, find: Find, was: Find) -> Steps:
    """What a sentence asks; nothing, where it is not known or names what is not to be found."""
    for sentence, made in ERRANDS.items():
        named = re.match(sentence, text)
        if named:
            return made(find, was, [one if one.startswith("the ") else f"the {one}" for one in named.groups()]) or ()
    return ()


@dataclass(frozen=True)
class Errand:
    """A sentence, and how far it is done."""

    text: str
    steps: Steps
    stage: int = 0
    """steps that are done"""
    nearest: float = np.inf
    """metres that were left of the step, at the least"""
    waited: int = 0
    """frames since then"""

    def seen(self, senses: Floats) -> "Errand":
        """One frame later, fingertips and half a gap [4 or more]."""
        if self.stage == len(self.steps):
            return replace(self, waited=self.waited + 1)
        step, half = self.steps[self.stage], float(senses[3])
        away = float(np.linalg.norm(senses[:3] - step.place))
        gripped = not step.felt or (half >= OPENED if step.grip == OPEN else half <= HELD)
        if away <= step.near and gripped:
            return replace(self, stage=self.stage + 1, nearest=np.inf, waited=0)
        if away < self.nearest - CLOSER:
            return replace(self, nearest=away, waited=0)
        return replace(self, waited=self.waited + 1)

    def failed(self, senses: Floats) -> bool:
        """Has it to begin anew? Nothing is held that should be, or nothing was done for long."""
        if not self.steps:
            return True
        before, now = self.steps[max(self.stage - 1, 0)], self.steps[min(self.stage, len(self.steps) - 1)]
        holds = self.stage > 0 and before.grip == now.grip == CLOSED
        return self.waited >= PATIENCE or bool(holds and senses[3] < EMPTY)

    @property
    def wanted(self) -> Floats:
        """[W, 5]: what is left, see `numbers`, as far as what has to be felt first."""
        ahead = self.steps[self.stage :]
        end = next((number for number, step in enumerate(ahead) if step.felt), len(ahead))
        return numbers(ahead[: max(end, 1)])


class Errands:
    """The errands of one episode, one after another."""

    def __init__(self, mind: Mind) -> None:
        self.mind = mind
        self.now: Errand | None = None
        self.begun = 0
        """how often one was begun"""

    def anew(self, goal: Goal, context: Context) -> bool:
        """Looks at the last frame. Begins another errand, where words or what is sensed ask for it?"""
        text, senses = goal.need("text")[0], np.asarray(context.poses[0, -1, POSE_CAMERA:], np.float64)
        known = self.now is not None and self.now.text == text
        if self.now is not None and known:
            self.now = self.now.seen(senses)
            if not self.now.failed(senses):
                return False
        steps = steps_of(text, lambda name: self.mind.place_of(context, name), self.mind.old_place_of)
        self.now, self.begun = Errand(text, steps), self.begun + 1
        return True

    def grounded(self, goal: Goal) -> Goal:
        """With the numbers that are left of it, where there is one."""
        return goal if self.now is None or not self.now.steps else replace(goal, pose=self.now.wanted[None])


def numbers(steps: Steps) -> Floats:
    """[W, 5]: place, grip (NaN: any), how near."""
    told = [(*step.place, np.nan if step.grip is None else step.grip, step.near) for step in steps]
    return np.array(told, np.float64).reshape(-1, 5)


def left(wanted: Floats, tips: Floats, grips: Floats) -> Floats:
    """[N]: metres of the errand that are left, wanted [W, 5], mean over the frames of fingertips [N, T, 3] and what the
    fingers are told [N, T]; a step that is done in one frame is not asked of the next, but for the last."""
    last, rest = len(wanted) - 1, np.zeros(len(wanted))
    for step in range(last, 0, -1):
        rest[step - 1] = rest[step] + _apart(wanted[step], wanted[step - 1, :3], wanted[step - 1, 3])
    stage, total = np.zeros(len(tips), np.int64), np.zeros(len(tips))
    for tip, grip in zip(tips.swapaxes(0, 1), grips.T, strict=True):
        now = wanted[stage]
        stage = np.minimum(stage + (np.linalg.norm(tip - now[:, :3], axis=-1) <= now[:, 4]), last)
        total += _apart(wanted[stage], tip, grip) + rest[stage]
    return total / tips.shape[1]


def _apart(step: Floats, tip: Floats, grip: Floats) -> Floats:
    """[...] metres from a step [..., 5]."""
    return np.asarray(np.linalg.norm(step[..., :3] - tip, axis=-1) + GRIP * np.nan_to_num(np.abs(step[..., 3] - grip)))


def on_errand(rollout: Rollout, goal: Goal) -> Floats:
    """[B, N]: minus the metres that are left, where there is an errand."""
    tips = plain(rollout.poses)[..., POSE_CAMERA : POSE_CAMERA + 3].astype(np.float64)
    if goal.pose is None or not np.shape(goal.pose)[1]:
        return np.zeros(tips.shape[:2])
    if rollout.actions is None:
        raise BadOption("a rollout that does not say what was done", "its actions", "Fill in `rollout.actions`.")
    grips = plain(rollout.actions.values)[..., -1].astype(np.float64)
    return np.stack([-left(*row) for row in zip(np.asarray(goal.pose), tips, grips, strict=True)])


def _at(find: Find, name: str) -> Floats | None:
    """[3]: where it is, the likeliest place if there are several."""
    places = find(name)
    return None if places is None else places.reshape(-1, 3)[places.size // 6]


def _three(place: Floats) -> tuple[float, float, float]:
    return float(place[0]), float(place[1]), float(place[2])
