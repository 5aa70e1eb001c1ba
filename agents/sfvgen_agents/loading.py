"""Finds an agent by what a user calls it.

- a name: `random`, `expert`, `guess` (an expert without memory that guesses best, in the two memory tasks), `planner`
  (iCEM in the world that comes with the package), `habits` (what a world's habits are, without a plan);
- `module:Class`: your own, needing only `reset` and `act`; its constructor is given `task`, `seed`, `rng` and `space`
  (of actions) where it names them;
- `policy.zip`: saved by Stable-Baselines3;
- an object: an agent, or anything with SB3's `predict`.
"""

from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from inspect import Parameter, getsourcefile, signature
from pathlib import Path
from typing import Any, cast

import numpy as np
from gymnasium import spaces

from sfvgen_agents.agent import Agent, is_privileged
from sfvgen_planner.errors import BadOption, UnknownName, closest

EXPERTS = {
    "reach": "sfvgen_agents.arms:ReachExpert",
    "push_cube": "sfvgen_agents.arms:PushExpert",
    "cube_return": "sfvgen_agents.arms:ReturnExpert",
    "lane_keep": "sfvgen_agents.drivers:LaneExpert",
    "route_return": "sfvgen_agents.drivers:RouteExpert",
}
MEMORY_TASKS = ("cube_return", "route_return")
NAMES = ("random", "expert", "guess", "planner", "habits")


def load_agent(
    spec: object, task: str, seed: int, space: spaces.Space[Any] | None = None, world: str | None = None
) -> Agent:
    """An agent for a task; all that is random in it follows `seed`. `space`: the actions of the task's environment;
    `world`: folder of the world whose habits they are, or that reads goals for policies that see them; the shipped one
    if not given."""
    if not isinstance(spec, str):
        return _as_agent(spec, task, world)
    if spec.endswith(".zip"):
        from sfvgen_agents.policies import load_policy

        return cast(Agent, load_policy(Path(spec), seed, task, world))
    given: dict[str, Any] = {"task": task, "seed": seed, "space": space, "rng": np.random.default_rng(seed)}
    if ":" in spec:
        return _as_agent(_construct(_find(spec), given), task, world)
    if spec == "random":
        return _as_agent(_construct(_find("sfvgen_agents.behaviours:RandomAgent"), given), task, world)
    if spec == "planner":
        return _as_agent(_construct(_find("sfvgen_agents.planning:planner_agent"), given), task, world)
    if spec == "habits":
        return _as_agent(_construct(_find("sfvgen_agents.habits:HabitAgent"), {**given, "world": world}), task, world)
    if spec == "expert":
        return _as_agent(_construct(_find(_expert(task, tuple(EXPERTS))), given), task, world)
    if spec == "guess":
        return _as_agent(_construct(_find(_expert(task, MEMORY_TASKS)), {**given, "belief": "guess"}), task, world)
    raise UnknownName(f"agent {spec!r}", "a name, module:Class or a .zip", closest(spec, NAMES))


def identify(spec: str, agent: Agent) -> dict[str, Any]:
    """Who an agent is, in JSON values: class, parameters, and a hash of its file that changes when it does."""
    kind = type(agent)
    source = Path(spec) if spec.endswith(".zip") else Path(getsourcefile(kind) or "")
    return {
        "spec": spec,
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "privileged": is_privileged(agent),
        "sha256": sha256(source.read_bytes()).hexdigest() if source.is_file() else "",
        "parameters": dict(getattr(agent, "parameters", {})),
    }


def _expert(task: str, known: tuple[str, ...]) -> str:
    if task not in known:
        raise UnknownName(f"task {task!r}", f"one with such an agent: {', '.join(known)}", closest(task, known))
    return EXPERTS[task]


def _find(spec: str) -> Callable[..., Any]:
    """The class that `module:Class` names."""
    home, _, name = spec.partition(":")
    try:
        module = import_module(home)
    except ModuleNotFoundError as error:
        # A module that is there, but misses something itself, deserves its own traceback.
        if error.name is None or not f"{home}.".startswith(f"{error.name}."):
            raise
        hint = "Is it installed, or in the folder you start from?"
        raise UnknownName(f"module {home!r} in agent {spec!r}", "a module that can be imported", hint) from error
    except ValueError as error:
        raise UnknownName(f"agent {spec!r}", "module:Class", "Write the module before the colon.") from error
    if not hasattr(module, name):
        names = tuple(key for key, value in vars(module).items() if isinstance(value, type))
        raise UnknownName(f"{name!r} in agent {spec!r}", f"a class of {home}", closest(name, names) if names else "")
    found = getattr(module, name)
    return cast("Callable[..., Any]", found) if callable(found) else lambda: found


def _construct(kind: Callable[..., Any], given: dict[str, Any]) -> object:
    """Calls it with what it asks for."""
    asked = signature(kind).parameters
    for name, parameter in asked.items():
        required = parameter.default is Parameter.empty and parameter.kind not in (
            Parameter.VAR_POSITIONAL,
            Parameter.VAR_KEYWORD,
        )
        if required and name not in given:
            raise BadOption(
                f"agent {kind!r} whose constructor requires {name!r}",
                f"no other required arguments than {', '.join(given)}",
                "Give it a default, or write a class that fills it in.",
            )
    return kind(**{name: value for name, value in given.items() if name in asked})


def _as_agent(thing: object, task: str, world: str | None) -> Agent:
    if isinstance(thing, Agent):
        return thing
    if callable(getattr(thing, "predict", None)):
        from sfvgen_agents.policies import policy_agent

        return cast(Agent, policy_agent(thing, task, world))
    missing = [name for name in ("reset", "act") if not callable(getattr(thing, name, None))]
    raise BadOption(
        f"an agent {type(thing).__name__} without {' and '.join(missing)}",
        "reset(observation, info) and act(observation, info)",
        "Add the methods; nothing needs to be inherited.",
    )
