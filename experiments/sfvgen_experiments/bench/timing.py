"""Ways of doing the same timed in turns, so that a slow moment of the machine hits all of them; and their memory."""

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Made = TypeVar("Made")


def in_turns(repeats: int, *ways: Callable[[], object]) -> NDArray[np.float64]:
    """[repeats, ways] seconds."""
    taken = np.empty((repeats, len(ways)))
    for row in taken:
        for column, way in enumerate(ways):
            began = time.perf_counter()
            way()
            row[column] = time.perf_counter() - began
    return taken


def peak(way: Callable[[], Made], device: torch.device) -> tuple[Made, float | None]:
    """What a way makes, and the megabytes it needed beyond what was there: of the GPU, or of the process where Linux
    tells."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        made = way()
        return made, (torch.cuda.max_memory_allocated(device) - before) / 1e6
    with suppress(AttributeError, OSError):  # what was freed but kept would hide what a way needs
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before_kb = _status("VmRSS")
    except (OSError, KeyError):
        return way(), None
    made = way()
    return made, max(0, _status("VmHWM") - before_kb) / 1e3


def _status(name: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(lines[name].split()[0])
