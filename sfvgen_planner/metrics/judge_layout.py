"""Where each task's actions and phrases stand in the judge's answers: one joint vector, one joint list."""

from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from sfvgen_planner.errors import BadOption, UnknownName, closest


@dataclass(frozen=True)
class TaskLayout:
    """One task's part."""

    task: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    """bounds of its actions, one per number; empty where they are not numbers or nobody knows them"""
    phrases: tuple[str, ...]
    """the texts it may be told; empty where there are none"""

    def __post_init__(self) -> None:
        bounded = len(self.low) == len(self.high) and all(
            -inf < a < b < inf for a, b in zip(self.low, self.high, strict=True)
        )
        if not bounded:
            raise BadOption(
                f"bounds {self.low} and {self.high} of {self.task}",
                "as many finite numbers, low below high",
                "Give the data set the bounds of its actions.",
            )


@dataclass(frozen=True)
class Layout:
    """All tasks side by side, in this order."""

    tasks: tuple[TaskLayout, ...]

    def __post_init__(self) -> None:
        names = [task.task for task in self.tasks]
        if len(set(names)) < len(names):
            raise BadOption(f"tasks {names}", "each once", "Give one task's data sets the same bounds and phrases.")

    @property
    def actions(self) -> int:
        """Length of the joint action vector."""
        return sum(len(task.low) for task in self.tasks)

    @property
    def phrases(self) -> tuple[str, ...]:
        """The joint list; a text that two tasks share stands in it once."""
        return tuple(dict.fromkeys(text for task in self.tasks for text in task.phrases))

    def task(self, name: str) -> TaskLayout:
        """The part of one task."""
        known = tuple(task.task for task in self.tasks)
        if name not in known:
            raise UnknownName(f"task {name!r}", "one the judge was trained on", closest(name, known))
        return self.tasks[known.index(name)]

    def part(self, name: str) -> slice:
        """Where the task's action numbers stand."""
        start = 0
        for task in self.tasks[: self.tasks.index(self.task(name))]:
            start += len(task.low)
        return slice(start, start + len(self.task(name).low))

    def phrase_ids(self, name: str) -> list[int]:
        """Where the task's phrases stand in the joint list, in the task's order."""
        joint = self.phrases
        return [joint.index(text) for text in self.task(name).phrases]

    def scaled(self, name: str, actions: Any) -> Tensor:
        """The task's actions [..., A] from their bounds to [-1, 1]."""
        task = self.task(name)
        values = torch.as_tensor(actions)
        if values.shape[-1:] != (len(task.low),):
            raise BadOption(
                f"actions of shape {list(values.shape)} for {name}", f"[..., {len(task.low)}]", "See its action space."
            )
        low, high = (torch.tensor(bound, dtype=torch.float32, device=values.device) for bound in (task.low, task.high))
        return 2 * (values.float() - low) / (high - low) - 1
