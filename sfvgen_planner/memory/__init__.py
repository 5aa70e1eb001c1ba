"""The fast model: what one episode, or many at once, have seen, as low-rank factors beside the slow weights."""

from sfvgen_planner.memory.bank import Bank, Recalled
from sfvgen_planner.memory.card import Card
from sfvgen_planner.memory.config import DEFAULT, PAPER, PRESETS, MemoryConfig
from sfvgen_planner.memory.files import load, save
from sfvgen_planner.memory.merged import merged
from sfvgen_planner.memory.merging import merge
from sfvgen_planner.memory.remember import remember
from sfvgen_planner.memory.start import start
from sfvgen_planner.memory.value import Memory
from sfvgen_planner.memory.view import View, view_of
from sfvgen_planner.memory.window import Seen

__all__ = [
    "DEFAULT",
    "PAPER",
    "PRESETS",
    "Bank",
    "Card",
    "Memory",
    "MemoryConfig",
    "Recalled",
    "Seen",
    "View",
    "load",
    "merge",
    "merged",
    "remember",
    "save",
    "start",
    "view_of",
]
