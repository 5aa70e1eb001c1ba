"""Playing one episode and writing down what happens."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import FRAMES_PER_CHUNK, Episode, Things


class Environment(Protocol):
    """What is used of a Gymnasium environment; its observations are dicts of `pixels` and `pose`."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        ...

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One action."""
        ...


class Annotator(Protocol):
    """Says in words what happened during a chunk of 8 steps, or of what is left of the episode."""

    def begin(self) -> None:
        """A chunk begins in the present state."""
        ...

    def watch(self, action: Any) -> None:
        """`action` is about to be taken in the present state."""
        ...

    def name(self) -> str:
        """The phrase of the chunk that just ended."""
        ...


Act = Callable[[Any, dict[str, Any]], Any]
"""(observation, info) -> action"""


def record_episode(
    env: Environment,
    act: Act,
    *,
    seed: int,
    options: dict[str, Any] | None = None,
    annotate: Annotator | None = None,
    things: Callable[[], Things] | None = None,
    max_steps: int | None = None,
    card: dict[str, Any] | None = None,
) -> Episode:
    """Play from `reset(seed, options)` to the end, or for `max_steps` (the last step is then marked truncated).

    `things` tells where named things stand at the moment, one frame at a time.
    """
    if max_steps is not None and max_steps < 1:
        raise BadOption(f"episodes of at most {max_steps} steps", "1 or more", "Raise max_steps.")
    observation, info = env.reset(seed=seed, options=options)
    observations = [_copied(observation)]
    stood = [things()] if things else []
    steps: list[tuple[Any, float, bool, bool, bool]] = []
    instructions: list[str] = []
    phrases: list[str] = []
    while not steps or not (steps[-1][2] or steps[-1][3]):
        into_chunk = len(steps) % FRAMES_PER_CHUNK
        if annotate and into_chunk == 0:
            annotate.begin()
        instructions.append(str(info.get("instruction", "")))
        action = act(observation, info)
        if annotate:
            annotate.watch(action)
        observation, reward, terminated, truncated, info = env.step(action)
        truncated = bool(truncated) or (len(steps) + 1 == max_steps and not terminated)
        observations.append(_copied(observation))
        stood += [things()] if things else []
        steps.append((np.array(action), float(reward), bool(terminated), truncated, bool(info.get("success", False))))
        if annotate and (into_chunk == FRAMES_PER_CHUNK - 1 or terminated or truncated):
            phrases += [annotate.name()] * (into_chunk + 1)
    actions = np.stack([step[0] for step in steps])
    discrete = np.issubdtype(actions.dtype, np.integer) and actions.ndim == 1
    return Episode(
        pixels=np.stack([pixels for pixels, _ in observations]),
        poses=np.stack([pose for _, pose in observations]),
        actions=actions.astype(np.int64) if discrete else actions.reshape(len(steps), -1).astype(np.float32),
        rewards=np.array([step[1] for step in steps], np.float32),
        terminated=np.array([step[2] for step in steps]),
        truncated=np.array([step[3] for step in steps]),
        success=np.array([step[4] for step in steps]),
        instructions=tuple(instructions),
        phrases=tuple(phrases) if annotate else ("",) * len(steps),
        card={"seed": seed, **(card or {})},
        things=_joined(stood) if stood else None,
    )


def _joined(frames: list[Things]) -> Things:
    """Of one frame each; an episode's things keep their names."""
    if len(named := {one.names for one in frames}) > 1:
        raise BadOption(f"things named {sorted(named)[:2]}", "the same names in every frame", "Name them all at once.")
    places, shown = (np.concatenate([getattr(one, name) for one in frames]) for name in ("places", "shown"))
    return Things(frames[0].names, places, shown, frames[0].eye)


def _copied(observation: Any) -> tuple[Any, Any]:
    """Environments may reuse their arrays."""
    return np.array(observation["pixels"], np.uint8), np.array(observation["pose"], np.float32)
