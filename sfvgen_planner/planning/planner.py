"""The planner: a solver, an objective, a budget, and a world it only knows as a function."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning.beginning import Proposals
from sfvgen_planner.planning.budget import BUDGETS, Budget
from sfvgen_planner.planning.cem import ICEM
from sfvgen_planner.planning.goal import Goal
from sfvgen_planner.planning.rollouts import plain
from sfvgen_planner.planning.search import search
from sfvgen_planner.planning.solver import Solver, by_row
from sfvgen_planner.planning.space import Space
from sfvgen_planner.planning.splitting import Split
from sfvgen_planner.types import Array, Context, Imagine, Plan, Rollout

Objective = Callable[[Rollout, Goal], Array]
"""(rollout, goal) -> scores [B, N], higher is better"""


@dataclass(frozen=True)
class Warm:
    """What one plan leaves to the next."""

    state: Any
    """the solver's"""
    plans: int
    """so far"""
    at_once: int | None


@dataclass(frozen=True)
class Planner:
    """A value: to plan in another world, or under another memory, `replace(planner, imagine=...)`."""

    imagine: Imagine
    objective: Objective
    space: Space
    solver: Solver = field(default_factory=ICEM)
    budget: Budget = BUDGETS["small"]
    fine: Imagine | None = None
    """imagines the finalists of the budget, more slowly and better; None: they are not looked at again"""
    limit: int | None = None
    """the most frames this world foresees, where there is a limit"""
    proposals: Proposals | None = None
    """of candidates in vectors that each plan begins with, beside the solver's own"""

    def __post_init__(self) -> None:
        if self.limit is not None and self.space.frames > self.limit:
            raise BadOption(
                f"a horizon of {self.space.frames} frames", f"up to {self.limit}, as this world", "Look less far ahead."
            )

    def plan(
        self,
        context: Context,
        goal: Goal | None = None,
        *,
        seeds: NDArray[np.int64] | None = None,
        before: Plan | None = None,
        done: int = 0,
        fresh: NDArray[np.bool_] | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> Plan:
        """The best sequence found for each of the context's B episodes.

        `seeds` int64 [B] key what the solver draws (0, 1, ... if not given). `before` is the plan made last, of which
        `done` decisions were carried out since; in rows that are `fresh` (bool [B]) it is forgotten.
        """
        rows = len(context.poses)
        wanted = goal or Goal()
        wanted.check(context)
        seeds = np.arange(rows) if seeds is None else np.asarray(seeds, np.int64)
        if len(seeds) != rows or (seeds < 0).any():
            raise BadOption(f"seeds {seeds.tolist()}", f"{rows} numbers from 0 up, one an episode", "Count them.")
        told = self.proposals
        warm = before.warm if before is not None else None
        state = self._begin(warm, rows, done, fresh)
        plans = warm.plans + 1 if warm is not None else 0
        winner, state, trace = search(
            self.solver,
            self.space,
            self.budget,
            self.imagine,
            lambda rollout: self._scores(rollout, wanted),
            context,
            seeds,
            state=state,
            plan=plans,
            first=lambda values: (
                values if told is None else told.among(self.space, values, context, wanted, seeds, plans)
            ),
            fine=self.fine,
            split=Split(warm.at_once if warm is not None and warm.at_once else self.budget.at_once),
            clock=clock,
        )
        actions = self.space.actions(winner.values)
        return Plan(actions, winner.scores[:, 0], winner.rollout, Warm(state, plans, trace.at_once), trace)

    def _begin(self, warm: Warm | None, rows: int, done: int, fresh: NDArray[np.bool_] | None) -> Any:
        if warm is None:
            return None
        went_on = self.solver.shifted(self.space, warm.state, done)
        if fresh is None or not fresh.any():
            return went_on
        return by_row(fresh, self.solver.begin(self.space, rows), went_on)

    def _scores(self, rollout: Rollout, goal: Goal) -> Array:
        scores = self.objective(rollout, goal)
        wanted = tuple(rollout.rewards.shape[:2])
        if tuple(scores.shape) != wanted:
            raise BadOption(f"scores {list(scores.shape)}", f"{list(wanted)}, one a candidate", "Sum over frames.")
        return plain(scores)
