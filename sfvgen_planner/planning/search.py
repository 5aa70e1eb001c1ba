"""The one loop: propose, imagine, score, improve, until the budget is spent; then the finalists once more, finely."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil, inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.errors import NoPlan
from sfvgen_planner.planning.budget import Budget
from sfvgen_planner.planning.noise import Noise
from sfvgen_planner.planning.rollouts import chosen, joined, plain
from sfvgen_planner.planning.solver import Solver, Values, at, best
from sfvgen_planner.planning.space import Floats, Space
from sfvgen_planner.planning.splitting import Split
from sfvgen_planner.types import FRAMES_PER_CHUNK, Array, Context, Imagine, Rollout

Score = Callable[[Rollout], Array]
"""rollout -> [B, N], higher is better"""
Clock = Callable[[], float]


@dataclass(frozen=True)
class Trace:
    """How a plan was found."""

    scores: tuple[Floats, ...]
    """[B, N] of each round; -inf for what was dropped"""
    dropped: int
    """candidates whose scores were not finite"""
    frames: int
    """imagined, of all candidates and rows"""
    seconds: float
    imagining: float
    """seconds of those that the world took"""
    judging: float
    """seconds of those that the objective took"""
    at_once: int | None
    """how many candidates of an episode fitted into memory, where that was found out"""


@dataclass(frozen=True)
class Judged:
    """Candidates whose future was seen."""

    values: Values
    scores: Floats
    """[B, N]"""
    rollout: Rollout
    places: NDArray[np.int64] | None = None
    """[B, N] which of those proposed they are, if not the first so many"""

    def learned(self, values: Values) -> tuple[Values, Floats]:
        """What a solver learns from: all that was proposed, as far as time allowed; -inf for what was given up."""
        if self.places is None:
            return self.values, self.scores
        scores = np.full(values.shape[:2], -inf)
        np.put_along_axis(scores, self.places, self.scores, 1)
        return values, scores

    def top(self, count: int) -> "Judged":
        """The best of them, best first."""
        places = best(self.scores, count)
        return Judged(at(self.values, places), np.take_along_axis(self.scores, places, 1), chosen(self.rollout, places))

    def beside(self, other: "Judged") -> "Judged":
        """Both."""
        return Judged(
            np.concatenate([self.values, other.values], 1),
            np.concatenate([self.scores, other.scores], 1),
            joined([self.rollout, other.rollout]),
        )


@dataclass
class Inquiry:
    """Asks the world and the objective, and keeps account of what that took."""

    space: Space
    score: Score
    context: Context
    split: Split
    clock: Clock
    deadline: float = inf
    dropped: int = 0
    frames: int = 0
    imagining: float = 0.0
    judging: float = 0.0
    scores: list[Floats] = field(default_factory=list)

    def judged(self, imagine: Imagine, values: Values, survivors: float = 1.0) -> Judged:
        """Their futures and scores; with survivors below 1, only the best after one chunk are imagined to the end."""
        cut = FRAMES_PER_CHUNK // self.space.frames_each
        if survivors == 1 or values.shape[2] <= cut:
            return self._scored(values, self._ahead(imagine, values))
        begun = self._scored(values, self._ahead(imagine, values, end=cut))
        kept = best(begun.scores, max(1, ceil(survivors * begun.values.shape[1])))
        values, before = at(begun.values, kept), chosen(begun.rollout, kept)
        if hasattr(imagine, "resume"):
            rest = self._ahead(imagine, values, cut, before=before)
            begun_too = chosen(before, _places(rest.rewards.shape[1], len(values)))
            found = self._scored(values, joined([begun_too, rest], axis=2))
        else:
            found = self._scored(values, self._ahead(imagine, values))
        return replace(found, places=kept[:, : found.scores.shape[1]])

    def _ahead(
        self, imagine: Any, values: Values, start: int = 0, end: int | None = None, before: Rollout | None = None
    ) -> Rollout:
        """Futures of as many candidates as the time allows, from decision `start` to `end`."""
        began, parts = self.clock(), []

        def ask(first: int, last: int) -> Rollout:
            actions = self.space.actions(values[:, first:last, start:end])
            if before is None:
                rollout: Rollout = imagine(self.context, actions)
            else:
                places = first + _places(last - first, len(values))
                rollout = imagine.resume(self.context, chosen(before, places), actions)
            return replace(rollout, actions=actions)

        for part in self.split.parts(values.shape[1], ask):
            parts.append(part)
            if self.clock() >= self.deadline:
                break
        rollout = joined(parts)
        self.imagining += self.clock() - began
        self.frames += int(np.prod(rollout.rewards.shape))
        return rollout

    def _scored(self, values: Values, rollout: Rollout) -> Judged:
        began = self.clock()
        scores = plain(self.score(rollout))
        self.judging += self.clock() - began
        there = np.isfinite(scores)
        self.dropped += int((~there).sum())
        return Judged(values[:, : scores.shape[1]], np.where(there, scores, -inf), rollout)


def search(
    solver: Solver,
    space: Space,
    budget: Budget,
    imagine: Imagine,
    score: Score,
    context: Context,
    seeds: NDArray[np.int64],
    *,
    state: Any = None,
    plan: int = 0,
    first: Callable[[Values], Values] = lambda values: values,
    fine: Imagine | None = None,
    split: Split | None = None,
    clock: Clock,
) -> tuple[Judged, Any, Trace]:
    """The best candidate of each row (N = 1), the solver's state, and how it went.

    `state` is where to begin, or None; `first` changes the first round's candidates; `fine` imagines the finalists; a
    row whose candidates were all dropped is an error.
    """
    began = clock()
    asked = Inquiry(space, score, context, split or Split(budget.at_once), clock, began + budget.seconds)
    state = solver.begin(space, len(seeds)) if state is None else state
    pool: Judged | None = None
    lasted = 0.0
    for number in range(solver.rounds(space, budget.iterations)):
        before = clock()
        # A round that would not end in time is not begun.
        if pool is not None and before + lasted > asked.deadline:
            break
        values = solver.propose(space, state, budget.candidates, Noise(seeds, plan, number))
        values = values if number else first(values)
        found = asked.judged(imagine, values, budget.survivors)
        values, scores = found.learned(values)
        asked.scores.append(scores)
        state = solver.improve(space, state, values, scores)
        pool, lasted = _pooled(pool, found, max(1, budget.finalists)), clock() - before
    if pool is None:
        raise NoPlan("a search of no rounds", "one or more", "Give the budget an iteration.")
    if budget.finalists and fine is not None and clock() + lasted * budget.finally_costs <= asked.deadline:
        last = solver.answer(space, state)
        asked.deadline = inf
        pool = asked.judged(fine, pool.values if last is None else np.concatenate([pool.values, last], 1))
    winner = pool.top(1)
    _check_found(winner)
    took = clock() - began
    trace = Trace(
        tuple(asked.scores), asked.dropped, asked.frames, took, asked.imagining, asked.judging, asked.split.at_once
    )
    return winner, state, trace


def _check_found(winner: Judged) -> None:
    """Every row has a candidate whose score is finite."""
    lost = np.flatnonzero(~np.isfinite(winner.scores[:, 0]))
    if len(lost):
        raise NoPlan(
            f"no finite score for any candidate of episode {int(lost[0])}",
            "one at least",
            "Look at what the world or the objective makes of it.",
        )


def _pooled(pool: Judged | None, found: Judged, count: int) -> Judged:
    """The best so far; a longer sequence is no rival of a shorter one, it takes its place."""
    top = found.top(count)
    if pool is None or pool.values.shape[2] < top.values.shape[2]:
        return top
    return pool.beside(top).top(count)


def _places(count: int, rows: int) -> NDArray[np.int64]:
    """[B, N] of the first so many."""
    return np.tile(np.arange(count), (rows, 1))
