"""Who plays: a scripted or learned agent, or a planner in the true simulator or in a learned world."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from sfvgen_agents.agent import Agent
from sfvgen_agents.habits import Habitual
from sfvgen_agents.loading import identify, load_agent
from sfvgen_agents.planner_agent import PlannerAgent
from sfvgen_agents.planning import SOLVERS, planner_agent, way_of
from sfvgen_agents.relay import Relay
from sfvgen_envs.oracle import oracle_imagine
from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.planning import BUDGETS
from sfvgen_planner.types import FRAMES_PER_CHUNK, Context, Imagine, Plan, Window
from sfvgen_planner.world.model import SHIPPED, WorldModel

ORACLE, LEARNED, HABITS = "oracle", "planner", "habits"
AFTER = "+"
"""Between two names: the first one acts until the task says to go back, and the second, a planner, looks on."""


class OracleMind:
    """The true simulator, from wherever it is. It needs no memory, and no eyes."""

    past = 1

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.env = env

    def begin(self, rows: NDArray[np.bool_], context: Context) -> None:
        """Notes where things are."""
        self._first = self._things()

    def saw(self, window: Window, rows: NDArray[np.bool_]) -> None:
        """Nothing to remember."""

    def imagine(self, steps: int) -> Imagine:
        """Exact, whatever the steps."""
        return oracle_imagine([self.env], pixels=False)

    def foresee(self) -> Imagine:
        """The same: a simulator draws nothing anyway."""
        return self.imagine(1)

    def translate(self, context: Context, plan: Plan) -> NDArray[np.float32]:
        """What the body makes of the phrases."""
        task: Any = self.env.unwrapped
        state, words = task.get_state(), np.asarray(plan.actions.values)[0, 0]
        actions = np.zeros((len(words) * FRAMES_PER_CHUNK, task.action_size), np.float32)
        for step in range(len(actions)):
            if step % FRAMES_PER_CHUNK == 0:
                task.say(task.phrases[int(words[step // FRAMES_PER_CHUNK])])
            actions[step] = task.obey()
            if any(task.tick(actions[step])[1:]):
                break
        task.set_state(state)
        return actions[None]

    def kept_places(self) -> None:
        """It keeps nothing."""

    def place_of(self, context: Context, name: str) -> NDArray[np.float64] | None:
        """Where it truly is."""
        return self._things().get(name)

    def old_place_of(self, name: str) -> NDArray[np.float64] | None:
        """Where it truly was when the episode began."""
        return self._first.get(name)

    def picture(self, context: Context, plan: Plan) -> NDArray[np.uint8]:
        """Drawn anew, because candidates are not."""
        return np.asarray(oracle_imagine([self.env])(context, plan.actions).pixels)[:, 0]

    def _things(self) -> dict[str, NDArray[np.float64]]:
        task: Any = self.env.unwrapped
        if not hasattr(task, "things"):
            return {}
        told = task.things()
        return dict(zip(told.names, np.asarray(told.places[0], np.float64), strict=True))


@dataclass(frozen=True)
class Thinking:
    """What planners have in common, whatever their name asks for."""

    world: str | None = None
    """folder of the learned world; the shipped one if None"""
    memory: str | None = None
    bank: str | None = None
    """folder of memories that episodes begin with"""
    horizon: int = 16
    every: int = 4
    objective: str = "reward"
    clip: str | None = None
    solver: str = "icem"
    budget: str = "small"
    seconds: float | None = None
    """the most a plan may take"""
    steps: int | None = None
    """of denoising, in a round"""
    habits: float = 0.0
    """share of a plan's first candidates that are the learned world's habits, wherever it is planned"""
    camera: str = "fixed"
    """which of the body's it is seen with"""


@dataclass(frozen=True)
class Arm:
    """One who plays. `planner/mppi/medium/posture` is a planner: where it plans, with which solver, with which budget,
    what for."""

    name: str
    where: str | None
    """oracle, planner (in a learned world), or None: an agent that `load_agent` knows"""
    solver: str = ""
    budget: str = ""
    objective: str = ""
    led: str = ""
    """by whom, until the task says to go back"""

    @classmethod
    def parse(cls, name: str, thinking: Thinking) -> "Arm":
        """From what a user writes."""
        leader, _, own = name.rpartition(AFTER)
        where, *rest = own.split("/")
        if where not in (ORACLE, LEARNED):
            return cls(name, None)
        usual = (thinking.solver, thinking.budget, thinking.objective)
        solver, budget, objective = (*rest, *usual[len(rest) :])[:3]
        for given, known, kind in ((solver, SOLVERS, "solver"), (budget, BUDGETS, "budget")):
            if given not in known:
                raise UnknownName(f"{kind} {given!r} in {name!r}", f"one of {list(known)}", closest(given, list(known)))
        if len(rest) > 3:
            raise BadOption(f"agent {name!r}", f"{where}/solver/budget/objective", "Leave the rest out.")
        return cls(name, where, solver, budget, objective, leader)

    def agent(self, env: gym.Env[Any, Any], task: str, seed: int, thinking: Thinking) -> Agent:
        """Who plays `task` in this environment."""
        if self.where is None:
            return load_agent(self.name, task, seed, env.action_space, thinking.world)
        planner = self._planner(env, task, seed, thinking)
        if not self.led:
            return planner
        return Relay(load_agent(self.led, task, seed, env.action_space, thinking.world), planner)

    def _planner(self, env: gym.Env[Any, Any], task: str, seed: int, thinking: Thinking) -> PlannerAgent:
        choices: dict[str, Any] = {
            "solver": self.solver,
            "budget": self.budget,
            "seconds": thinking.seconds,
            "steps": thinking.steps,
            "horizon": thinking.horizon,
            "every": thinking.every,
            "objective": self.objective,
            "clip": thinking.clip,
            "habits": thinking.habits,
        }
        if self.where == ORACLE:
            mind = OracleMind(env)
            phrases = tuple(env.unwrapped.phrases)  # type: ignore[attr-defined]
            propose = Habitual(loaded(thinking.world), task) if thinking.habits else None
            way = way_of(mind, env.action_space, phrases, propose=propose, **choices)
            return PlannerAgent(mind, way, seed=seed, parameters={"world": ORACLE, **choices})
        model = loaded(thinking.world)
        with_what: dict[str, Any] = {"memory": thinking.memory, "bank": thinking.bank, "camera": thinking.camera}
        return planner_agent(task, seed, env.action_space, model, **with_what, **choices)

    def card(self, agent: Agent, thinking: Thinking) -> dict[str, Any]:
        """Who that is, in JSON values; it changes when the agent or its world does."""
        card = {**identify(self.name, agent), "code": code()}
        habits = self.led == HABITS or (self.where == ORACLE and thinking.habits > 0)
        learned = self.where == LEARNED or habits
        return {**card, "world": weights_of(thinking.world)} if learned else card


@cache
def code() -> str:
    """A name for the code that decides how an episode goes, besides the agent's own file."""
    known = sha256()
    for package in ("sfvgen_envs", "sfvgen_agents", "sfvgen_planner.planning"):
        for file in sorted(Path(str(files(package))).rglob("*.py")):
            known.update(file.read_bytes())
    return known.hexdigest()[:16]


@cache
def loaded(folder: str | None) -> WorldModel:
    """A world, loaded once."""
    return WorldModel.from_pretrained(folder)


@cache
def weights_of(folder: str | None) -> str:
    """A name for a world's weights."""
    path = SHIPPED if folder is None else Path(folder)
    files = sorted(path.rglob("*.safetensors"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
