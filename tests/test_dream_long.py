"""Dreams go on for long without growing."""

import ctypes
import os
import platform
from pathlib import Path

import numpy as np
import pytest
from dream_fakes import arm_world, dreams, remembering
from test_dream import real_context

from sfvgen_envs.dream import DreamConfig

ROWS, STEPS = 64, 20_000


def resident() -> int:
    """Bytes of memory of this process, without what the allocator keeps for later."""
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tells memory as Linux with glibc does")
@pytest.mark.parametrize("config", [DreamConfig(), remembering()], ids=["plain", "remembering"])
def test_twenty_thousand_steps_with_resets_take_no_more_memory(config: DreamConfig) -> None:
    rows = dreams(ROWS, arm_world(), config=config)
    # Two groups that end, and begin anew, at different times and in the middle of the other's chunks.
    rows.reset(seed=0, options={"context": real_context(ROWS), "elapsed": [0] * 40 + [13] * 24})
    draw, sizes, ends = np.random.default_rng(0), [], 0
    for number in range(STEPS // ROWS):
        _, _, terminated, truncated, _ = rows.step(draw.uniform(-1, 1, (ROWS, 4)))
        ends += int((terminated | truncated).sum())
        if number % 5 == 0:
            sizes.append(resident())
    assert ends > 600
    assert len(rows.state.parts) <= 6
    # At first libraries still meet batch sizes for the first time, and keep what they prepared for them.
    quarter = len(sizes) // 4
    early, late = (float(np.median(part)) for part in (sizes[quarter : 2 * quarter], sizes[-quarter:]))
    assert late < 1.01 * early, f"{(late - early) / 2**20:.1f} MB more in the last quarter than in the second"
