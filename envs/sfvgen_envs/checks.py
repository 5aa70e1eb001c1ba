"""What a user hands to a task, looked at before anything is done with it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.errors import BadAction, BadState, UnknownName, closest

Floats = NDArray[np.float64]


def checked_action(action: Any, size: int, task: str) -> Floats:
    """[size] finite numbers in [-1, 1]; anything else is refused, never clipped in silence."""
    expected = f"{size} finite numbers in [-1, 1]"
    try:
        values = np.asarray(action, np.float64)
    except (TypeError, ValueError):
        raise BadAction(f"action {action!r}", expected, "For actions in words see LanguageActions.") from None
    if values.shape != (size,):
        raise BadAction(f"an action of shape {values.shape}", expected, f"Sample {task}'s action_space.")
    if not np.isfinite(values).all():
        raise BadAction(f"action {values.tolist()}", expected, "Look for a division by zero in the policy.")
    if np.abs(values).max() > 1 + 1e-6:
        raise BadAction(f"action {values.tolist()}", expected, "Clip it: numpy.clip(action, -1, 1).")
    return values


def numbers(goal: Any, factor: str) -> Floats:
    """A goal made of numbers."""
    try:
        return np.asarray(goal, np.float64)
    except (TypeError, ValueError):
        hint = f"Take one from scene.{factor} of an episode."
        raise BadState(f"the goal {goal!r}", f"numbers, for the factor {factor!r}", hint) from None


def one_of(what: str, given: Any, known: tuple[str, ...]) -> None:
    """Refuses a word that is not on the list, and names the closest that is."""
    if given not in known:
        raise UnknownName(f"{what} {given!r}", f"one of {list(known)}", closest(str(given), known))
