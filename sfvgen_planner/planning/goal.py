"""What is wanted, of B episodes. Objectives read from it what they need, and say so where it is missing."""

from dataclasses import dataclass
from typing import Any

from sfvgen_planner.errors import BadState
from sfvgen_planner.types import Array, Context


@dataclass(frozen=True)
class Goal:
    """Every part may be missing."""

    image: Array | None = None
    """uint8 [B, h, w, 3]: how it looks in the end"""
    text: tuple[str, ...] | None = None
    """B sentences"""
    pose: Array | None = None
    """float [B, P], or [B, W, P] for way-points in order"""

    def need(self, part: str) -> Any:
        """That part."""
        value = getattr(self, part)
        if value is None:
            raise BadState(f"a goal without {part}", f"Goal({part}=...)", "Or leave out the objective that needs it.")
        return value

    def check(self, context: Context) -> None:
        """Does it fit the episodes it is meant for?"""
        rows, size = len(context.poses), tuple(context.pixels.shape[2:])
        if self.image is not None and tuple(self.image.shape) != (rows, *size):
            raise BadState(
                f"a goal image {list(self.image.shape)}", f"{[rows, *size]}, like the observations", "Resize it."
            )
        if self.text is not None and len(self.text) != rows:
            raise BadState(f"{len(self.text)} goal texts", f"{rows}, one an episode", "Give each its own.")
        if self.pose is not None and len(self.pose) != rows:
            raise BadState(f"{len(self.pose)} goal poses", f"{rows}, one an episode", "Give each its own.")
