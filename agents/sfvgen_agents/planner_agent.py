"""An agent that plans: it looks, remembers, imagines what its candidates lead to, and does the beginning of the best.

One implementation for B episodes: `reset` and `act` are its batch of one, `predict` is Stable-Baselines3's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvgen_agents.doing import Errands
from sfvgen_agents.history import History
from sfvgen_agents.minds import Mind, Rows
from sfvgen_agents.retracing import BACK, Trail
from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning import BUDGETS, ICEM, Budget, Goal, Planner, Proposals, Space
from sfvgen_planner.planning.objectives import sees
from sfvgen_planner.planning.planner import Objective
from sfvgen_planner.planning.solver import Solver
from sfvgen_planner.planning.subgoals import Decomposer, Subgoal, places
from sfvgen_planner.types import FRAMES_PER_CHUNK, Plan

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Way:
    """How an agent plans."""

    objective: Objective
    space: Space
    """of vectors or ids: these are done; of phrases: the video they lead to is, by inverse dynamics"""
    solver: Solver = field(default_factory=ICEM)
    budget: Budget = BUDGETS["small"]
    every: int = 4
    """so many frames of a plan are carried out, then comes the next plan"""
    decompose: Decomposer | None = None
    """of phrases: which of them, by the instruction of the moment; None: any"""
    phrases: tuple[str, ...] = ()
    """the body's closed list, where the space is one of phrases"""
    proposals: Proposals | None = None
    """that each plan begins with"""
    errands: bool = False
    """is the instruction of the moment to be grounded in places"""

    def __post_init__(self) -> None:
        if not 1 <= self.every <= self.space.frames:
            raise BadOption(f"{self.every} frames of a plan of {self.space.frames}", "1 to all of them", "Set `every`.")
        if self.space.kind == "phrase" and self.every % FRAMES_PER_CHUNK and self.decompose is not None:
            raise BadOption(f"every={self.every} with sub-goals", "whole chunks of 8", "A sub-goal lasts a chunk.")


class PlannerAgent:
    """In receding horizon. While it plans its memory stands still; what it imagines it never remembers."""

    def __init__(
        self, mind: Mind, way: Way, *, rows: int = 1, seed: int = 0, parameters: Mapping[str, Any] | None = None
    ) -> None:
        if way.decompose is not None and rows > 1:
            raise BadOption(f"{rows} episodes with sub-goals", "one", "Each has its own; build an agent for each.")
        if way.errands and rows > 1:
            raise BadOption(f"{rows} episodes on errands", "one", "Each has its own; build an agent for each.")
        self.mind, self.way, self.rows = mind, way, rows
        self.parameters = dict(parameters or {})
        self.seconds: list[float] = []
        """of each plan so far"""
        self._led: NDArray[Any] | None = None
        """what was done last"""
        self.seed(seed)
        self._forget()

    def seed(self, seed: int) -> None:
        """Makes its draws start afresh."""
        self.seeds = np.arange(self.rows, dtype=np.int64) + seed

    def reset(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        """An episode begins."""
        self._forget()

    def act(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> Any:
        """[A], the next action."""
        pixels, poses = (np.asarray(observation[key])[None] for key in ("pixels", "pose"))
        image, text = info.get("goal"), info.get("instruction")
        goal = Goal(None if image is None else np.asarray(image)[None], None if text is None else (str(text),))
        return self._acts(pixels, poses, self._unseen(1), goal)[0]

    def watch(self, observation: Mapping[str, Any], action: NDArray[Any]) -> None:
        """Sees and remembers what somebody else, who does this action [A] now, lives through."""
        pixels, poses = (np.asarray(observation[key])[None] for key in ("pixels", "pose"))
        self._look(pixels, poses, self._unseen(1))
        self._led = np.asarray(action)[None]

    def predict(
        self,
        observation: Mapping[str, Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """SB3's: actions [B, A] for observations of B environments, or [A] for one without a leading B.

        What it knows of the episodes lies in the agent, so `state` is passed on as it is: one agent for one vector of
        environments. There is no `info` here: a goal's picture is the observation's `goal`, if it has one.
        """
        alone = np.ndim(observation["pose"]) == 1
        told = {key: np.asarray(value)[None] if alone else np.asarray(value) for key, value in observation.items()}
        rows = len(told["pose"])
        if rows != self.rows:
            raise BadOption(f"{rows} environments", f"{self.rows}, as this agent", "Build it with rows=...")
        new = self._unseen(rows) if episode_start is None else np.asarray(episode_start, bool)
        actions = self._acts(_channels_last(told["pixels"]), told["pose"], new, Goal(told.get("goal")))
        return (actions[0] if alone else actions), state

    def _forget(self) -> None:
        self.history = History(self.mind.past)
        self.plan: Plan | None = None
        self._queue: NDArray[Any] = np.zeros((self.rows, 0))
        self._led = None
        self._trail: Trail | None = None
        self._errands = Errands(self.mind)
        self._done, self._text, self._stage = 0, "", 0

    def _unseen(self, rows: int) -> Rows:
        """Has nothing been seen yet?"""
        return np.full(rows, self.history.count.size == 0)

    def _acts(self, pixels: NDArray[np.uint8], poses: Floats, new: Rows, goal: Goal) -> NDArray[Any]:
        """[B, A]: looks at the next frame, remembers if a chunk is complete, plans if nothing is left to be done."""
        self._look(pixels, poses, new)
        anew = self.way.errands and self._errands.anew(goal, self.history.context)
        if new.any() or anew or self._done >= self._queue.shape[1]:
            self._replan(self._errands.grounded(goal) if self.way.errands else self._with_way_back(goal, poses), new)
        self._done += 1
        self._led = self._queue[:, self._done - 1]
        return self._led

    def _look(self, pixels: NDArray[np.uint8], poses: Floats, new: Rows) -> None:
        """At the next frame; remembers if a chunk is complete."""
        self.history.add(pixels, poses.astype(np.float32), self._led, new)
        if new.any():
            self.mind.begin(new, self.history.context)
        if self.history.ripe.any():
            self.mind.saw(self.history.window, self.history.ripe)

    def _with_way_back(self, goal: Goal, poses: Floats) -> Goal:
        """Where words want what only a memory knows, the places to be passed next are the goal's."""
        if self.rows > 1 or goal.text is None or BACK not in goal.text[0]:
            return goal
        here = np.asarray(poses[0, :3], np.float64)
        if self._trail is None:
            kept = self.mind.kept_places()
            self._trail = None if kept is None else Trail.back(kept, here)
        if self._trail is None:
            return goal
        self._trail = self._trail.gone(here)
        return replace(goal, pose=self._trail.ahead()[None])

    def _replan(self, goal: Goal, new: Rows) -> None:
        began, way = perf_counter(), self.way
        space = way.space if way.decompose is None else self._asked(way.decompose, goal)
        drawn = sees(way.objective)
        imagine = self.mind.imagine(way.budget.denoising_steps) if drawn else self.mind.foresee()
        fine = self.mind.imagine(way.budget.final_steps) if drawn and way.budget.finalists else None
        planner = Planner(imagine, way.objective, space, way.solver, way.budget, fine, proposals=way.proposals)
        before = self.plan if space == way.space else None
        done = self._done // space.frames_each
        plan = planner.plan(self.history.context, goal, seeds=self.seeds, before=before, done=done, fresh=new)
        if way.space.kind == "phrase":
            actions: NDArray[Any] = self.mind.translate(self.history.context, plan)
        else:
            actions = np.asarray(plan.actions.values)[:, 0]
        self.plan, self._queue, self._done = plan, actions[:, : way.every], 0
        self.seconds.append(perf_counter() - began)

    def _asked(self, decompose: Decomposer, goal: Goal) -> Space:
        """The space of the present sub-goal; the next plan is about the next one."""
        text = goal.need("text")[0]
        if text != self._text:
            self._text, self._stage = text, 0
        subgoals: tuple[Subgoal, ...] = decompose(text)
        now = subgoals[min(self._stage, len(subgoals) - 1)]
        self._stage += self.way.every // FRAMES_PER_CHUNK
        return replace(self.way.space, allowed=places(self.way.phrases, now))


def _channels_last(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """SB3 moves channels to the front of pictures; worlds want them last."""
    return pixels if pixels.shape[-1] == 3 else np.moveaxis(pixels, 1, -1)
