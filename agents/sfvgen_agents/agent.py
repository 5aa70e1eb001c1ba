"""What an agent is: two methods, and what it is shown."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

SHOWN = ("instruction", "goal")
"""All of `info` that an agent sees. Success and distances are measured on the simulator's truth, which an agent could
climb like a hill; `privileged` is for experts."""


@runtime_checkable
class Agent(Protocol):
    """Anything with these two methods; nothing needs to be inherited.

    Three optional attributes are understood: `privileged = True` asks for the whole `info` (results then say so);
    `seed(seed)` makes whatever is random in it start afresh, and lets one agent be kept from episode to episode (an
    agent without it is built anew for each, so that nothing leaks between them); `parameters`, a mapping of JSON
    values, goes into the results.
    """

    def reset(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> Any:
        """An episode begins. `info` holds the `instruction` in words and, where one may be shown, a picture: `goal`."""

    def act(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> Any:
        """The next action, [A] in [-1, 1]."""


def is_privileged(agent: object) -> bool:
    """Does it ask for the simulator's truth?"""
    return bool(getattr(agent, "privileged", False))


def shown(info: Mapping[str, Any], agent: object) -> dict[str, Any]:
    """The part of `info` that this agent may look at."""
    return dict(info) if is_privileged(agent) else {key: info[key] for key in SHOWN if key in info}
