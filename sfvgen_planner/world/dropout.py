"""Conditions left out in training, so that a world also dreams where nobody says what happens."""

from dataclasses import dataclass, fields

import torch

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.facts import Facts


@dataclass(frozen=True)
class DropRates:
    """With which chance a row loses what, each independently of the others."""

    action: float = 0.15
    text: float = 0.3
    pose: float = 0.05
    past: float = 0.3
    """actions and texts of the past frames: a planner's context has none"""
    wholly: float = 0.1
    """everything, and the body's name"""

    def __post_init__(self) -> None:
        for one in fields(self):
            if not 0 <= getattr(self, one.name) <= 1:
                raise BadOption(f"drop rate {one.name}={getattr(self, one.name)}", "0 to 1", "It is a probability.")


def drop(facts: Facts, rates: DropRates, generator: torch.Generator, past: int = 0) -> Facts:
    """A pure function of the facts and the generator's state (on the CPU); the first `past` frames are the past."""
    draws = torch.rand(5, facts.rows, generator=generator)
    wholly = draws[4] < rates.wholly
    action, text, pose = (draws[i] < rate for i, rate in enumerate((rates.action, rates.text, rates.pose)))
    early = (draws[3] < rates.past)[:, None] & (torch.arange(facts.frames) < past)
    where = facts.ids.device
    return facts.withhold(
        actions=((action | wholly)[:, None] | early).to(where),
        texts=((text | wholly)[:, None] | early).to(where),
        poses=(pose | wholly).to(where),
        names=wholly.to(where),
    )
