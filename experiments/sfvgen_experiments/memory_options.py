"""Options of commands that remember: a preset, and what differs from it."""

from dataclasses import dataclass, fields, replace
from typing import Any

from sfvgen_planner.errors import UnknownName, closest
from sfvgen_planner.memory import PRESETS, MemoryConfig


@dataclass(frozen=True)
class MemoryOptions:
    """See `MemoryConfig`; None: as the preset has it."""

    preset: str = "default"
    variant: str | None = None
    modules: tuple[str, ...] | None = None
    rank: int | None = None
    optimiser: str | None = None
    rate: float | None = None
    cool: float | None = None
    fade: float | None = None
    updates: int | None = None
    draws: int | None = None
    levels: str | None = None
    address: bool | None = None
    replay: int | None = None
    mixed: bool | None = None
    rise: float | None = None
    beyond: float | None = None
    strength: float | None = None
    kept: int | None = None

    @property
    def how(self) -> MemoryConfig:
        """How memories are written."""
        if self.preset not in PRESETS:
            known = tuple(PRESETS)
            raise UnknownName(f"preset={self.preset}", f"one of {list(known)}", closest(self.preset, known))
        told = {one.name: getattr(self, one.name) for one in fields(MemoryOptions) if one.name != "preset"}
        given: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
        return replace(PRESETS[self.preset], **given)
