"""Stable-Baselines3 policies as agents, as they are."""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from gymnasium import spaces

from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.memory.value import digest
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.wanting import GoalSense

_ALGORITHMS = {
    "stable_baselines3.dqn": "stable_baselines3:DQN",
    "stable_baselines3.sac": "stable_baselines3:SAC",
    "stable_baselines3.td3": "stable_baselines3:TD3",  # DDPG too: it is TD3 with other settings
    "sb3_contrib.common.recurrent": "sb3_contrib:RecurrentPPO",
    "sb3_contrib.common.maskable": "sb3_contrib:MaskablePPO",
    "sb3_contrib.crossq": "sb3_contrib:CrossQ",
    "sb3_contrib.qrdqn": "sb3_contrib:QRDQN",
    "sb3_contrib.tqc": "sb3_contrib:TQC",
}
"""A saved policy does not say which algorithm made it, but where its class was defined."""


class PolicyAgent:
    """Anything with SB3's `predict`, playing deterministically.

    Observations: a policy over `Dict` is given the keys it knows, one over pictures alone is given `pixels`. One that
    was trained to see its `goal` needs a `sense` that reads goals' pictures.
    """

    def __init__(self, model: Any, parameters: Mapping[str, Any] | None = None, sense: GoalSense | None = None) -> None:
        self.model, self.sense = model, sense
        self.parameters = dict(parameters or {"algorithm": type(model).__name__})
        self.state: Any = None
        self._first = np.ones(1, dtype=bool)

    def seed(self, seed: int) -> None:
        """Nothing is random in a deterministic policy; with this, one model is kept for all episodes."""

    def reset(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        """Forgets the recurrent state."""
        self.state, self._first = None, np.ones(1, dtype=bool)

    def act(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> Any:
        """What the policy predicts."""
        try:
            action, self.state = self.model.predict(
                self._known(observation, info), state=self.state, episode_start=self._first, deterministic=True
            )
        except ValueError as error:
            seen = {key: np.shape(value) for key, value in observation.items()}
            raise BadOption(
                f"a policy that cannot read {seen} ({str(error).splitlines()[0]})",
                f"one trained on observations like {getattr(self.model, 'observation_space', 'these')}",
                "Evaluate with the size and wrappers it was trained with.",
            ) from error
        self._first = np.zeros(1, dtype=bool)
        return action

    def _known(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> Any:
        if self.sense is not None and "goal" in info:
            observation = {**observation, "goal": self.sense(info["goal"], observation["pose"])}
        space = getattr(self.model, "observation_space", None)
        if isinstance(space, spaces.Box):
            return observation["pixels"] if len(space.shape) == 3 else observation["pose"]
        if isinstance(space, spaces.Dict):
            missing = set(space) - set(observation)
            if missing:
                known = ", ".join(observation)
                raise BadOption(
                    f"a policy that needs {sorted(missing)}", known, "Train it on observations of this task."
                )
            return {key: observation[key] for key in space}
        return dict(observation)


def policy_agent(
    model: Any, task: str, world: str | None = None, parameters: Mapping[str, Any] | None = None
) -> PolicyAgent:
    """An agent for a task; where the policy sees its `goal`, a world (of that folder, or the shipped one) reads it."""
    space, told = getattr(model, "observation_space", None), dict(parameters or {"algorithm": type(model).__name__})
    if not isinstance(space, spaces.Dict) or "goal" not in space.spaces:
        return PolicyAgent(model, told)
    reader = WorldModel.from_pretrained(world).eval()
    told["goals read by"] = digest({name: value.float() for name, value in reader.posture.state_dict().items()})
    return PolicyAgent(model, told, GoalSense(reader, task))


def load_policy(path: Path, seed: int, task: str, world: str | None = None) -> PolicyAgent:
    """A policy saved with `model.save(path)`. Loading unpickles: only open files you trust."""
    if not path.is_file():
        near = [str(other) for other in sorted(path.parent.glob("*.zip"))]
        hint = closest(str(path), near) if near else "There is no .zip in that folder."
        raise UnknownName(f"policy {str(path)!r}", "a file saved by Stable-Baselines3", hint)
    algorithm = algorithm_of(path)
    module, name = algorithm.split(":")
    try:
        kind = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise BadOption(
            f"a {name} policy", f"the package {module}", f"pip install {module.replace('_', '-')}"
        ) from error
    # On the CPU: one picture at a time gains nothing from a GPU, and the rows are the same on every machine.
    return policy_agent(kind.load(path, device="cpu", seed=seed), task, world, {"algorithm": name})


def algorithm_of(path: Path) -> str:
    """Which algorithm a file holds, as `module:Class`, read without unpickling anything."""
    try:
        with ZipFile(path) as archive:
            saved = json.loads(archive.read("data"))
        home = str(saved["policy_class"]["__module__"])
    except (BadZipFile, KeyError, ValueError, TypeError) as error:
        raise BadOption(
            f"{path}, which Stable-Baselines3 did not save", "a .zip of `model.save`", "Save it again."
        ) from error
    for prefix, algorithm in _ALGORITHMS.items():
        if home.startswith(prefix + "."):
            return algorithm
    if "clip_range" in saved:
        return "stable_baselines3:PPO"
    return "sb3_contrib:TRPO" if "cg_max_steps" in saved else "stable_baselines3:A2C"
