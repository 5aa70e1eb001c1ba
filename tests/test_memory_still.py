"""Before a camera that stands still nothing leaves the view, and nothing is remembered."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_fakes import SMALL, rows_of, seen, world_of

from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory import DEFAULT, Memory, MemoryConfig, Seen, remember, start
from sfvgen_planner.memory.elsewhere import elsewhere
from sfvgen_planner.memory.value import digest
from sfvgen_planner.world.pose import turned_by

HERE = replace(SMALL, updates=1, beyond=0.25)
WORLD = world_of()
FOVY = 40.0
"""Of the toy's camera, in degrees."""


def looking(degrees: float, metres: float = 0.0, rows: int = 1, seed: int = 0) -> Seen:
    """Windows whose every frame is seen from one place."""
    window = seen(WORLD, rows, seed=seed)
    poses = torch.zeros_like(window.facts.poses)
    poses[..., 0] = metres
    poses[..., 3:7] = turned_by(torch.tensor([0.0, float(np.deg2rad(degrees)), 0.0], dtype=torch.float64))
    return replace(window, facts=window.facts.with_poses(poses))


def both(one: Seen, other: Seen) -> Seen:
    return Seen.stack([one, other])


def told(memory: Memory) -> str:
    return digest(memory.trained.weights) + digest(memory.trained.first) + str(memory.trained.steps.tolist())


def test_where_nothing_leaves_the_view_nothing_is_written() -> None:
    begun, window = start(WORLD, HERE, 2), looking(10.0, rows=2)
    assert told(remember(WORLD, begun, window, [looking(10.0, rows=2, seed=1)])) == told(begun)
    always = start(WORLD, replace(HERE, beyond=0.0), 2)
    assert told(remember(WORLD, always, window)) != told(always)


def test_once_it_has_looked_elsewhere_all_is_written() -> None:
    begun = start(WORLD, HERE, 1)
    turned = remember(WORLD, begun, looking(25.0), [looking(10.0)])
    assert turned.trained.steps.tolist() == [1]
    assert remember(WORLD, turned, looking(25.0)).trained.steps.tolist() == [2], "also while it rests"
    assert remember(WORLD, begun, looking(0.0, metres=0.3), [looking(0.0)]).trained.steps.tolist() == [1]


def test_within_a_window_too() -> None:
    window = looking(0.0)
    poses = window.facts.poses.clone()
    poses[:, -1, 0] = 0.3
    begun = start(WORLD, HERE, 1)
    assert remember(WORLD, begun, replace(window, facts=window.facts.with_poses(poses))).trained.steps.tolist() == [1]


def test_each_row_by_itself() -> None:
    begun = start(WORLD, HERE, 2, seeds=torch.tensor([3, 4]))
    now, before = both(looking(0.0), looking(20.0, seed=1)), both(looking(0.0, seed=2), looking(0.0, seed=3))
    together = remember(WORLD, begun, now, [before])
    one = slice(1, 2)
    alone = remember(WORLD, begun[one], rows_of(now, one), [rows_of(before, one)])
    assert told(together[:1]) == told(begun[:1])
    for name, value in alone.trained.weights.items():
        torch.testing.assert_close(value[0], together.trained.weights[name][1], rtol=1e-8, atol=1e-12)


def test_a_look_of_another_episode_does_not_count() -> None:
    other = replace(looking(90.0), weight=torch.zeros(1))
    begun = start(WORLD, HERE, 1)
    assert told(remember(WORLD, begun, looking(0.0), [other])) == told(begun)


def test_where_nobody_knows_the_poses_all_is_written() -> None:
    window, everywhere = looking(0.0), torch.ones(1, dtype=torch.bool)
    blind = replace(window, facts=window.facts.withhold(poses=everywhere))
    assert remember(WORLD, start(WORLD, HERE, 1), blind).trained.steps.tolist() == [1]


@settings(deadline=None, max_examples=30)
@given(st.floats(-80, 80), st.floats(-80, 80), st.floats(0.05, 1.5), st.floats(0, 2))
def test_how_far_is_in_fields_of_view_and_lengths_together(one: float, other: float, far: float, metres: float) -> None:
    apart = abs(one - other) / FOVY + metres / WORLD.encoder.layout["toy"].length
    if abs(apart - far) < 1e-6:
        return
    windows = [looking(one, metres), looking(other)]
    assert elsewhere(windows, WORLD.encoder.layout, far).tolist() == [apart > far]


def test_the_default_preset_asks_and_the_others_do_not() -> None:
    assert DEFAULT.beyond > 0
    assert MemoryConfig().beyond == 0
    with pytest.raises(BadOption, match="beyond=-1"):
        replace(DEFAULT, beyond=-1.0)
