"""Habits of a learned world: as proposals that a planner begins with, and as an agent that follows them unasked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory.value import digest
from sfvgen_planner.planning import Goal
from sfvgen_planner.planning.noise import Noise
from sfvgen_planner.planning.space import Floats
from sfvgen_planner.types import Context
from sfvgen_planner.world.habits import AHEAD
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.proposing import drawn, habits_of


@dataclass(frozen=True)
class Habitual:
    """What a body would do by habit; see `planning.Proposals`."""

    world: WorldModel
    body: str

    def __call__(self, context: Context, goal: Goal, count: int, noise: Noise) -> Floats:
        """[B, N, H, A], the likeliest way first."""
        one = self.world.encoder.layout[self.body]
        habits = habits_of(self.world, self.body, context, goal.text)
        bounds = np.array(one.low), np.array(one.high)
        other = replace(noise, round=noise.round + 1)
        return drawn(habits, noise.uniform(count - 1), other.normal(count - 1, one.size), *bounds)


class HabitAgent:
    """Does what is likeliest for a few steps, looks, and goes on. It imagines nothing: what a planner adds is more."""

    def __init__(self, task: str, world: WorldModel | Path | str | None = None, every: int = 4) -> None:
        """`world` is one that has habits, the shipped one if none is given."""
        if not 1 <= every <= AHEAD:
            raise BadOption(f"every={every}", f"1 to {AHEAD} steps", "Leave it out.")
        model = world if isinstance(world, WorldModel) else WorldModel.from_pretrained(world).eval()
        self.propose, self.every = Habitual(model, task), every
        learned = {name: value.float() for name, value in model.habits.state_dict().items()}
        self.parameters = {"every": every, "habits": digest(learned)}

    def seed(self, seed: int) -> None:
        """Nothing is random in what is likeliest; with this, one agent is kept for all episodes."""

    def reset(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        """An episode begins."""
        self._queue: list[NDArray[np.float32]] = []

    def act(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> NDArray[np.float32]:
        """[A], the next action."""
        if not self._queue:
            pixels, poses = (np.asarray(observation[key])[None, None] for key in ("pixels", "pose"))
            text = info.get("instruction")
            goal = Goal(text=None if text is None else (str(text),))
            ways = self.propose(Context(pixels, poses), goal, 1, Noise(np.zeros(1, np.int64)))
            self._queue = list(ways[0, 0, : self.every].astype(np.float32))
        return self._queue.pop(0)
