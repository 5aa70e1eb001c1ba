"""Actions in words: a closed list of phrases, each lasting exactly one chunk."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sfvgen_envs.task import Floats, Observation, Task
from sfvgen_planner.errors import UnknownName, closest
from sfvgen_planner.types import FRAMES_PER_CHUNK


class LanguageActions(gym.Wrapper[Observation, Any, Observation, Floats]):
    """Says phrases to a task instead of numbers: `Discrete` over `phrases`, or `Text` with `text=True`.

    One step here is one chunk: 8 steps of the task (fewer only where the episode ends), rewards added up. Saying a
    phrase again goes on with what is not finished; once it is, the phrase starts afresh.
    `info["frames"]` holds the chunk's pictures, uint8 [T, h, w, 3].
    """

    metadata: ClassVar[dict[str, Any]] = dict(Task.metadata)  # type: ignore[misc]

    def __init__(self, env: gym.Env[Observation, Floats], *, text: bool = False) -> None:
        super().__init__(env)
        self.task: Task[Any, Any] = env.unwrapped  # type: ignore[assignment]
        self.phrases = self.task.phrases
        letters = "".join(sorted(set("".join(self.phrases))))
        longest = max(len(phrase) for phrase in self.phrases)
        self.action_space = spaces.Text(longest, charset=letters) if text else spaces.Discrete(len(self.phrases))

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Acts out one phrase (a text, or its number)."""
        self.task.say(self._phrase(action))
        total, frames = 0.0, []
        for _ in range(FRAMES_PER_CHUNK):
            observation, reward, terminated, truncated, info = self.env.step(self.task.obey())
            total += float(reward)
            frames.append(observation["pixels"])
            if terminated or truncated:
                break
        info["frames"] = np.stack(frames)
        return observation, total, terminated, truncated, info

    def _phrase(self, action: Any) -> str:
        if isinstance(action, str):
            if action not in self.phrases:
                raise UnknownName(f"phrase {action!r}", "one of `phrases`", closest(action, self.phrases))
            return action
        if action not in range(len(self.phrases)):
            raise UnknownName(f"phrase number {action}", f"0 to {len(self.phrases) - 1}", "See `env.phrases`.")
        return self.phrases[int(action)]


ALIKE = 0.02
"""Squared difference of actions, summed over a chunk, below which two phrases say the same."""


class Namer:
    """Names what a body did over a chunk: the phrase whose maneuver would have acted most like it.

    One definition for every behaviour (expert, random, mixed), so the words of a data set mean one thing.
    """

    def __init__(self, task: Task[Any, Any]) -> None:
        self.task = task
        self._distances = np.zeros(len(task.phrases))

    def begin(self) -> None:
        """Starts a chunk in the task's present state."""
        self._maneuvers = [self.task.begin(phrase) for phrase in self.task.phrases]
        self._distances = np.zeros(len(self._maneuvers))

    def watch(self, action: NDArray[Any]) -> None:
        """Notes the action about to be taken."""
        would = np.stack([self.task.follow(maneuver) for maneuver in self._maneuvers])
        self._distances += np.square(would - np.asarray(action)).sum(axis=1)

    def name(self) -> str:
        """The closest phrase so far; of those about as close, the first in the list."""
        return self.task.phrases[int(np.argmax(self._distances <= self._distances.min() + ALIKE))]
