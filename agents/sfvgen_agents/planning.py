"""Planning agents by what a user calls their parts: `sfvgen eval agent=planner`, `sfvgen plan solver=mppi`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from sfvgen_agents.habits import Habitual
from sfvgen_agents.minds import LearnedMind, Mind
from sfvgen_agents.planner_agent import PlannerAgent, Way
from sfvgen_agents.wishes import objective_of
from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.memory import PRESETS, Bank
from sfvgen_planner.planning import (
    CEM,
    ICEM,
    MPPI,
    BeamSearch,
    CategoricalCEM,
    PredictiveSampling,
    Proposals,
    RandomShooting,
    Space,
    budget_of,
)
from sfvgen_planner.planning.solver import Solver
from sfvgen_planner.planning.subgoals import Grammar
from sfvgen_planner.types import FRAMES_PER_CHUNK
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


def way_of(
    mind: Mind,
    action_space: spaces.Space[Any],
    phrases: tuple[str, ...],
    *,
    solver: str = "icem",
    budget: str = "small",
    seconds: float | None = None,
    steps: int | None = None,
    horizon: int = 16,
    every: int = 4,
    objective: str = "reward",
    clip: str | None = None,
    habits: float = 0.0,
    propose: Habitual | None = None,
) -> Way:
    """A way of planning in a body's actions, or (categorical, beam) in its phrases.

    `seconds` and `steps` (of denoising, in a round) take the place of what the budget says. `habits` is the share of a
    plan's first candidates that `propose` makes; where it is 0, nobody is asked.
    """
    wanted, chosen, spent = objective_of(objective, mind, clip), solver_of(solver), budget_of(budget)
    spent = spent if seconds is None else replace(spent, seconds=seconds)
    spent = spent if steps is None else replace(spent, denoising_steps=steps)
    if isinstance(action_space, spaces.Discrete):
        space = Space.discrete(int(action_space.n), horizon, int(action_space.start))
        return Way(wanted, space, chosen, spent, every)
    if habits and (propose is None or solver in OVER_WORDS):
        raise BadOption(
            f"habits={habits} with solver={solver}", "a world's habits, and a search in vectors", "Use icem."
        )
    if solver in OVER_WORDS:
        chunks = -(-horizon // FRAMES_PER_CHUNK)
        space = Space.phrases(len(phrases), chunks)
        return Way(wanted, space, chosen, spent, FRAMES_PER_CHUNK, Grammar(phrases), phrases)
    if not isinstance(action_space, spaces.Box):
        raise BadOption(f"actions {action_space}", "a Box or Discrete space", "Wrap the environment.")
    low, high = np.asarray(action_space.low, float), np.asarray(action_space.high, float)
    proposals = Proposals(propose, habits) if habits and propose is not None else None
    space, errands = Space.box(low.tolist(), high.tolist(), horizon), "errand" in objective
    return Way(wanted, space, chosen, spent, every, proposals=proposals, errands=errands)


def planner_agent(
    task: str,
    seed: int,
    space: spaces.Space[Any],
    world: WorldModel | Path | str | None = None,
    *,
    memory: str | None = None,
    bank: Path | str | None = None,
    nearest: int = 1,
    rows: int = 1,
    camera: str = "fixed",
    **choices: Any,
) -> PlannerAgent:
    """Plans in a learned world, the shipped one if none is given; `choices` are those of `way_of`.

    memory: a preset to remember by, None not to. With the folder of a bank, an episode begins with what was remembered
    by that preset of the `nearest` places like its first one. `camera`: which of the body's it looks through.
    """
    model = world if isinstance(world, WorldModel) else WorldModel.from_pretrained(world)
    if memory is not None and memory not in PRESETS:
        raise UnknownName(f"memory {memory!r}", f"none, or one of {list(PRESETS)}", closest(memory, list(PRESETS)))
    body = model.encoder.layout[task]
    config = None if memory is None else PRESETS[memory]
    held = None if bank is None else Bank(bank, model)
    mind = LearnedMind(model, task, camera=camera, memory=config, rows=rows, bank=held, nearest=nearest)
    way = way_of(mind, space, tuple(body.phrases), propose=Habitual(model, task), **choices)
    # A world that is given as it is has no name; who asks knows its weights.
    told: dict[str, Any] = (
        {} if isinstance(world, WorldModel) else {"world": "shipped" if world is None else str(world)}
    )
    told |= {"memory": memory, "camera": camera, **choices}
    told |= {} if bank is None else {"bank": str(bank), "nearest": nearest}
    return PlannerAgent(mind, way, rows=rows, seed=seed, parameters=told)
