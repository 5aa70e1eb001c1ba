"""What a world dreamt, as a value."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.outcome import Evidence, Judged


@dataclass(frozen=True)
class Dreamt:
    """T new frames for each of R rows."""

    latents: Tensor
    """[R, T, C, h, w]"""
    facts: Facts
    """what happened, with foreseen poses"""
    judged: Judged
    """[R, T] each"""
    evidence: tuple[Evidence, ...]
    """what each chunk was judged by"""

    @staticmethod
    def joined(chunks: Sequence["Dreamt"]) -> "Dreamt":
        """One after another."""
        facts = chunks[0].facts
        for chunk in chunks[1:]:
            facts = Facts.join(facts, chunk.facts)
        judged = (torch.cat([getattr(c.judged, n) for c in chunks], 1) for n in ("reward", "success", "terminated"))
        evidence = tuple(seen for chunk in chunks for seen in chunk.evidence)
        return Dreamt(torch.cat([chunk.latents for chunk in chunks], 1), facts, Judged(*judged), evidence)
