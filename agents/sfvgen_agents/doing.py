"""How far an errand is done, and how much of it plans leave undone."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sfvgen_agents.errands import ASIDE, CLOSED, OPEN, PUT, Known, Steps, steps_of
from sfvgen_agents.minds import Mind
from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning import Goal
from sfvgen_planner.planning.rollouts import plain
from sfvgen_planner.types import POSE_CAMERA, Context, Rollout

Floats = NDArray[np.float64]

OPENED, HELD, EMPTY = 0.038, 0.036, 0.012
"""Half the gap beyond which fingers are open; below which they are around something, be it a cube that stands askew;
below which around nothing."""
GRIP = 0.1
"""Metres of way that it is worth to say to the fingers what is wanted, of 2 that one can be off. What they are told
counts, not what they are foreseen to do: a plan that lets go on the way is no shorter one."""
CLOSER = 0.003
"""Metres that one has to come closer by, to have come closer."""
PATIENCE = 10
"""Frames without coming closer; then something went otherwise than was thought, and the errand begins anew."""
SETTLED = 3
"""Frames after the last step in which words may change; if they do not, it was not done as it was meant."""


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
        """Has it to begin anew? Nothing is held that should be, nothing came of it for long, or it
        is over and still asked for."""
        if not self.steps:
            return True
        before, now = self.steps[max(self.stage - 1, 0)], self.steps[min(self.stage, len(self.steps) - 1)]
        holds = self.stage > 0 and before.grip == now.grip == CLOSED
        over = self.stage == len(self.steps)
        patience = 0 if over and self.steps == ASIDE else SETTLED if over else PATIENCE
        return self.waited >= patience or bool(holds and senses[3] < EMPTY)

    @property
    def fingered(self) -> bool:
        """Did fingers get to what they are to take?"""
        return self.stage > 0 and self.steps[0].grip is not None

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
        self._put: list[str] = []

    def anew(self, goal: Goal, context: Context) -> bool:
        """Looks at the last frame. Begins another errand, where words or what is sensed ask for it?"""
        text, senses = goal.need("text")[0], np.asarray(context.poses[0, -1, POSE_CAMERA:], np.float64)
        known = self.now is not None and self.now.text == text
        if self.now is not None and known:
            self.now = self.now.seen(senses)
            if not self.now.failed(senses):
                return False
        if known and self.now is not None and self.now.fingered:
            # The hand may have moved what it missed, and hides it.
            self.now, self.begun = Errand(text, ASIDE), self.begun + 1
            return True
        if text.startswith(PUT) and text not in self._put:
            self._put.append(text)
        place_of, put = partial(self.mind.place_of, context), max(len(self._put) - 1, 0)
        steps = steps_of(text, Known(place_of, self.mind.old_place_of, put))
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
    return np.asarray(total / tips.shape[1])


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
