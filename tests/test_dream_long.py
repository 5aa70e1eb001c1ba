"""Dreams go on for long without growing."""

import os
from pathlib import Path

import numpy as np
import pytest
from dream_fakes import arm_world, dreams, ending, remembering

from sfvgen_envs.dream import DreamConfig

ROWS, STEPS = 16, 20_000


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="tells memory as Linux does")
@pytest.mark.parametrize("config", [DreamConfig(), remembering()], ids=["plain", "remembering"])
def test_twenty_thousand_steps_with_resets_take_no_more_memory(config: DreamConfig) -> None:
    rows = dreams(ROWS, ending(arm_world(), 0.02), config=config)
    rows.reset(seed=0)
    draw, sizes, ends = np.random.default_rng(0), [], 0
    for number in range(STEPS // ROWS):
        _, _, terminated, truncated, _ = rows.step(draw.uniform(-1, 1, (ROWS, 4)))
        ends += int((terminated | truncated).sum())
        if number % 25 == 0:
            sizes.append(resident())
    assert ends > 300
    assert len(rows.state.parts) <= 16
    # In the first half libraries still meet batch sizes for the first time, and keep what they prepared for them.
    half = len(sizes) // 2
    grown = max(sizes[half:]) / max(sizes[:half]) - 1
    assert grown < 0.005, f"{grown:.2%} more in the second half"
