"""Ways to act while episodes are recorded: noise, a hand on its way to nowhere, phrases, and stretches of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sfvgen_agents.agent import Agent, shown
from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import FRAMES_PER_CHUNK, POSE_CAMERA


class RandomAgent:
    """Noise with a memory of about one chunk; white noise would only make a body tremble on the spot.

    Each number follows x' = rho x + sqrt(1 - rho^2) n with rho = exp(-1 / chunk), whose spread is `reach` of half the
    action's range. Discrete actions are held for a random while instead, half a chunk on average.
    """

    def __init__(self, space: spaces.Space[Any], *, seed: int = 0, reach: float = 0.6) -> None:
        # A copy: sampling would otherwise move the generator of the environment's own space.
        self.space, self.reach = deepcopy(space), reach
        if isinstance(space, spaces.Box) and not space.is_bounded():
            raise BadOption(f"a random agent for {space}", "bounds on every number", "Wrap it in RescaleAction.")
        self.seed(seed)
        self._rho = float(np.exp(-1 / FRAMES_PER_CHUNK))

    def seed(self, seed: int) -> None:
        """Makes its noise start afresh."""
        self.rng = np.random.default_rng(seed)
        self.space.seed(seed)

    def reset(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        """Draws the first noise."""
        if isinstance(self.space, spaces.Box):
            self._noise = self.rng.standard_normal(self.space.shape)
        else:
            self._held = self.space.sample()

    def act(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> Any:
        """The next of a smooth walk."""
        if not isinstance(self.space, spaces.Box):
            if self.rng.random() < 2 / FRAMES_PER_CHUNK:
                self._held = self.space.sample()
            return self._held
        fresh = self.rng.standard_normal(self.space.shape)
        self._noise = self._rho * self._noise + np.sqrt(1 - self._rho**2) * fresh
        low, high = self.space.low.astype(float), self.space.high.astype(float)
        action = (low + high) / 2 + self.reach * (high - low) / 2 * self._noise
        return np.clip(action, low, high).astype(self.space.dtype)


class WanderAgent:
    """An arm that goes from place to place, whatever is there, at a pace drawn for each; sometimes it rests.

    An expert moves swiftly and earns, noise does neither: who learned from these two alone takes swiftness for success.
    """

    def __init__(self, low: NDArray[np.float64], high: NDArray[np.float64], step: float, *, seed: int = 0) -> None:
        """Fingertips stay between `low` and `high` [3], metres; a full action moves them by `step`."""
        self.low, self.high, self.step = low, high, step
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Makes its choices start afresh."""
        self.rng = np.random.default_rng(seed)

    def reset(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        """The first step chooses a place."""
        self._left = 0

    def act(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> NDArray[np.float32]:
        """The next step of the way."""
        tip = np.asarray(observation["pose"][POSE_CAMERA : POSE_CAMERA + 3], np.float64)
        if self._left == 0 or np.linalg.norm(self._place - tip) < self.step / 2:
            self._choose(tip)
        self._left -= 1
        way = (self._place - tip) / self.step * self._pace
        return np.append(np.clip(way, -1, 1), self._grip).astype(np.float32)

    def _choose(self, tip: NDArray[np.float64]) -> None:
        rests = self.rng.random() < 0.3
        self._place = tip if rests else self.rng.uniform(self.low, self.high)
        self._left = int(self.rng.integers(2, 2 * FRAMES_PER_CHUNK))
        self._pace, self._grip = self.rng.uniform(0.4, 1.5), self.rng.uniform(-1, 1)


class PhraseAgent:
    """Says phrases at random, one a chunk, and does what the body makes of them."""

    def __init__(
        self,
        phrases: Sequence[str],
        say: Callable[[str], None],
        obey: Callable[[], Any],
        *,
        seed: int = 0,
    ) -> None:
        self.phrases, self.say, self.obey = tuple(phrases), say, obey
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Makes its choices start afresh."""
        self.rng = np.random.default_rng(seed)

    def reset(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        """The first step says something."""
        self._left = 0

    def act(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> Any:
        """The next action of the phrase."""
        if self._left == 0:
            self.say(str(self.rng.choice(self.phrases)))
            self._left = FRAMES_PER_CHUNK
        self._left -= 1
        return self.obey()


EXPERT = -1
SHARE, LONGEST = 0.75, 3


def turns(
    rng: np.random.Generator, others: int, share: float = SHARE, longest: int = LONGEST
) -> Iterator[tuple[int, int]]:
    """Whose turn it is, EXPERT or the number of another, and for how many steps; again and again."""
    while True:
        who = EXPERT if rng.random() < share or not others else int(rng.integers(others))
        yield who, FRAMES_PER_CHUNK * int(rng.integers(1, longest + 1))


class MixedAgent:
    """The expert, broken by stretches of other behaviours: data that shows success, failure and recovery.

    A stretch lasts one to `longest` whole chunks, so that no chunk is half one thing. The expert has about `share` of
    the chunks. Everyone is reset when the episode begins and never again: an expert reset half-way forgets how far it
    is, and solves far fewer episodes than one that has to cope with what the others did.
    """

    privileged = True

    def __init__(
        self,
        expert: Agent,
        others: Sequence[Agent],
        *,
        seed: int = 0,
        share: float = SHARE,
        longest: int = LONGEST,
    ) -> None:
        self.expert, self.others, self.share, self.longest = expert, tuple(others), share, longest
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Makes its choices start afresh, and those of everybody in it that has choices."""
        self._turns = turns(np.random.default_rng(seed), len(self.others), self.share, self.longest)
        for place, agent in enumerate((self.expert, *self.others)):
            if hasattr(agent, "seed"):
                # Not the same seed for all, or two noises would be one.
                agent.seed(int(np.random.SeedSequence([seed, place]).generate_state(1)[0]))

    def reset(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        """Begins with a stretch of whoever is drawn."""
        for agent in (self.expert, *self.others):
            agent.reset(observation, shown(info, agent))
        self._left = 0

    def act(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> Any:
        """The action of whoever has this stretch."""
        if self._left == 0:
            who, self._left = next(self._turns)
            self._present = self.expert if who == EXPERT else self.others[who]
        self._left -= 1
        return self._present.act(observation, shown(info, self._present))
