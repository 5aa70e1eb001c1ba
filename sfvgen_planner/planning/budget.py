"""How much a plan may cost. Budgets, not loops: a solver is never told when to stop."""

from dataclasses import dataclass
from math import inf

from sfvgen_planner.errors import BadOption, UnknownName, closest


@dataclass(frozen=True)
class Budget:
    """What may be spent on one plan of one episode."""

    candidates: int = 64
    """in a round"""
    iterations: int = 3
    """rounds"""
    denoising_steps: int = 1
    """of the world in a round"""
    seconds: float = inf
    """after which the best so far is returned; never less than one round is done"""
    finalists: int = 0
    """of the best, which are imagined again with `final_steps`, and judged by that; 0: none"""
    final_steps: int = 4
    survivors: float = 1.0
    """below 1: only this share of the candidates is imagined beyond its first chunk"""
    at_once: int | None = None
    """the most candidates of an episode in one call of the world; found out by running out of memory where not said"""

    def __post_init__(self) -> None:
        least = min(self.candidates, self.iterations, self.denoising_steps, self.final_steps)
        if least < 1 or (self.at_once is not None and self.at_once < 1) or self.finalists < 0:
            raise BadOption(f"{self}", "1 candidate, round, denoising step or more", "See BUDGETS.")
        if not self.seconds > 0 or not 0 < self.survivors <= 1:
            raise BadOption(
                f"{self.seconds} seconds, {self.survivors} survivors",
                "more than 0, and a share up to 1",
                "See BUDGETS.",
            )

    @property
    def finally_costs(self) -> float:
        """Finalists, and the solver's own answer, in rounds."""
        return (self.finalists + 1) * self.final_steps / (self.candidates * self.denoising_steps)


BUDGETS = {
    "tiny": Budget(16, 2),
    "small": Budget(32, 3, finalists=4),
    "medium": Budget(64, 4, finalists=8),
    "large": Budget(256, 4, finalists=16),
}


def budget_of(name: str) -> Budget:
    """One of BUDGETS."""
    if name not in BUDGETS:
        raise UnknownName(f"budget {name!r}", f"one of {list(BUDGETS)}", closest(name, list(BUDGETS)))
    return BUDGETS[name]
