"""Runs that are killed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfvgen_planner.learning.run import RunConfig, Step

Train = Callable[[Path, RunConfig, Callable[[Step], None]], Any]


def goes_on(train: Train, folder: Path) -> None:
    """Killed in its fourth step of six, and begun again, a training loses and repeats nothing."""
    run = RunConfig(6, 1e-3, warmup=1, checkpoint_seconds=0.0)

    def losses(where: str, stop: int | None) -> list[float]:
        found: list[float] = []

        def listen(step: Step) -> None:
            found.append(step.loss)
            if step.number == stop:
                raise KeyboardInterrupt

        train(folder / where, run, listen)
        return found

    whole = losses("whole", None)
    with pytest.raises(KeyboardInterrupt):
        losses("killed", 4)
    assert losses("killed", None) == whole[3:]
