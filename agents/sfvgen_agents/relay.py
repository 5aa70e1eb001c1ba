"""Two agents in one episode: somebody shows the way there, somebody else has to find back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sfvgen_agents.agent import Agent, shown
from sfvgen_agents.planner_agent import PlannerAgent
from sfvgen_agents.retracing import BACK


class Relay:
    """Until an instruction says so the first one acts, and the other looks on and remembers; then that one acts."""

    def __init__(self, first: Agent, then: PlannerAgent) -> None:
        self.first, self.then = first, then
        self.privileged = bool(getattr(first, "privileged", False))
        """the first may be; who finds back is shown what anybody is"""
        self.parameters = {"first": type(first).__name__, **then.parameters}

    def reset(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        """An episode begins."""
        self.first.reset(observation, info)
        self.then.reset(observation, shown(info, self.then))

    def act(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> Any:
        """The next action."""
        if BACK in str(info.get("instruction", "")):
            return self.then.act(observation, shown(info, self.then))
        action = self.first.act(observation, info)
        self.then.watch(observation, np.asarray(action, np.float32))
        return action
