"""Planning agents by what a user calls their parts: `sfvgen eval agent=planner`, `sfvgen plan solver=mppi`."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from sfvgen_agents.minds import LearnedMind, Mind
from sfvgen_agents.planner_agent import PlannerAgent, Way
from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.memory import PRESETS
from sfvgen_planner.planning import (
    CEM,
    ICEM,
    MPPI,
    BeamSearch,
    CategoricalCEM,
    PredictiveSampling,
    RandomShooting,
    Space,
    budget_of,
)
from sfvgen_planner.planning.objectives import (
    Effort,
    GoalImage,
    GoalText,
    Reward,
    Roughness,
    Success,
    Term,
    Uncertainty,
    latents_of,
)
from sfvgen_planner.planning.solver import Solver
from sfvgen_planner.planning.subgoals import Grammar
from sfvgen_planner.types import FRAMES_PER_CHUNK, Rollout
from sfvgen_planner.world.likeness import Likeness
from sfvgen_planner.world.model import WorldModel

SOLVERS: dict[str, Callable[[], Solver]] = {
    "shooting": RandomShooting,
    "predictive": PredictiveSampling,
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "categorical": CategoricalCEM,
    "beam": BeamSearch,
}
OVER_WORDS = ("categorical", "beam")


def solver_of(name: str) -> Solver:
    """A solver with its defaults."""
    if name not in SOLVERS:
        raise UnknownName(f"solver {name!r}", f"one of {list(SOLVERS)}", closest(name, list(SOLVERS)))
    return SOLVERS[name]()


def objective_of(text: str, mind: Mind, clip: str | None = None) -> Term:
    """What a user writes, e.g. "reward + 2*goal - 0.1*effort". `clip`: a CLIP model's folder, for "text"."""
    terms: dict[str, Callable[[], Term]] = {
        "reward": Reward,
        "success": Success,
        "effort": Effort,
        "roughness": Roughness,
        "uncertainty": Uncertainty,
        "goal": lambda: GoalImage(_from(mind, "goal_latents")),
        "text": lambda: GoalText(_alike(mind, clip)),
    }
    squeezed = text.replace(" ", "")
    parts = re.findall(r"([+-]?)(?:(\d+\.?\d*|\.\d+)\*)?([a-z]+)", squeezed)
    if not parts or "".join(f"{sign}{weight}{'*' if weight else ''}{name}" for sign, weight, name in parts) != squeezed:
        raise BadOption(f"the objective {text!r}", "a sum such as reward+2*goal-0.1*effort", "Quote spaces.")
    for _, _, name in parts:
        if name not in terms:
            raise UnknownName(f"objective {name!r}", f"some of {list(terms)}", closest(name, list(terms)))
    weighted = [float(f"{sign}{weight or 1}") * terms[name]() for sign, weight, name in parts]
    total: Term = weighted[0]
    for term in weighted[1:]:
        total = total + term
    return total


def way_of(
    mind: Mind,
    action_space: spaces.Space[Any],
    phrases: tuple[str, ...],
    *,
    solver: str = "icem",
    budget: str = "small",
    horizon: int = 16,
    every: int = 4,
    objective: str = "reward",
    clip: str | None = None,
) -> Way:
    """A way of planning in a body's actions, or (categorical, beam) in its phrases."""
    wanted, chosen = objective_of(objective, mind, clip), solver_of(solver)
    if isinstance(action_space, spaces.Discrete):
        space = Space.discrete(int(action_space.n), horizon, int(action_space.start))
        return Way(wanted, space, chosen, budget_of(budget), every)
    if solver in OVER_WORDS:
        chunks = -(-horizon // FRAMES_PER_CHUNK)
        space = Space.phrases(len(phrases), chunks)
        return Way(wanted, space, chosen, budget_of(budget), FRAMES_PER_CHUNK, Grammar(phrases), phrases)
    if not isinstance(action_space, spaces.Box):
        raise BadOption(f"actions {action_space}", "a Box or Discrete space", "Wrap the environment.")
    low, high = np.asarray(action_space.low, float), np.asarray(action_space.high, float)
    return Way(wanted, Space.box(low.tolist(), high.tolist(), horizon), chosen, budget_of(budget), every)


def planner_agent(
    task: str,
    seed: int,
    space: spaces.Space[Any],
    world: WorldModel | Path | str | None = None,
    *,
    memory: str | None = None,
    rows: int = 1,
    **choices: Any,
) -> PlannerAgent:
    """Plans in a learned world, the shipped one if none is given; `choices` are those of `way_of`.

    memory: "default" or "paper" to remember, None not to.
    """
    model = world if isinstance(world, WorldModel) else WorldModel.from_pretrained(world)
    if memory is not None and memory not in PRESETS:
        raise UnknownName(f"memory {memory!r}", f"none, or one of {list(PRESETS)}", closest(memory, list(PRESETS)))
    body = model.encoder.layout[task]
    config = None if memory is None else PRESETS[memory]
    mind = LearnedMind(model, task, memory=config, rows=rows)
    way = way_of(mind, space, tuple(body.phrases), **choices)
    told = {"world": "shipped" if world is None else str(world), "memory": memory, **choices}
    return PlannerAgent(mind, way, rows=rows, seed=seed, parameters=told if isinstance(world, str | None) else choices)


def _alike(mind: Mind, clip: str | None) -> Callable[[Rollout, tuple[str, ...]], Any]:
    """How a rollout's last pictures are as sentences say: [B, N, 1]."""
    if clip is None:
        raise BadOption("the objective text", "a CLIP model to read it", "Say clip=<folder>.")
    likeness, decode = Likeness.from_pretrained(clip), _from(mind, "decoded")

    def alike(rollout: Rollout, texts: tuple[str, ...]) -> Any:
        return likeness(decode(latents_of(rollout)[:, :, -1:]), texts)

    return alike


def _from(mind: Mind, name: str) -> Any:
    found = getattr(mind, name, None)
    if found is None:
        raise BadOption(f"pictures in a {type(mind).__name__}", "a learned world", "Use reward instead.")
    return found
