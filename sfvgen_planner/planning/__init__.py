"""Planning: candidate actions rolled out in a world that is only a function, scored, improved."""

from sfvgen_planner.planning.beam import BeamSearch
from sfvgen_planner.planning.beginning import Proposals
from sfvgen_planner.planning.budget import BUDGETS, Budget, budget_of
from sfvgen_planner.planning.categorical import CategoricalCEM
from sfvgen_planner.planning.cem import CEM, ICEM
from sfvgen_planner.planning.goal import Goal
from sfvgen_planner.planning.mppi import MPPI
from sfvgen_planner.planning.planner import Planner
from sfvgen_planner.planning.shooting import PredictiveSampling, RandomShooting
from sfvgen_planner.planning.space import Space

__all__ = [
    "BUDGETS",
    "CEM",
    "ICEM",
    "MPPI",
    "BeamSearch",
    "Budget",
    "CategoricalCEM",
    "Goal",
    "Planner",
    "PredictiveSampling",
    "Proposals",
    "RandomShooting",
    "Space",
    "budget_of",
]
