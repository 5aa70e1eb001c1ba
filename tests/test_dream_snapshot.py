"""A dream half-way as a value: gone on from bit for bit, branched without a trace, kept on the disk."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dream_fakes import arm_world, dreams, ending, one_dream, remembering
from hypothesis import given, settings
from hypothesis import strategies as st

from sfvgen_envs.dream import DreamConfig, DreamVectorEnv, load, save
from sfvgen_planner.errors import BadCheckpoint, BadOption, BadState
from sfvgen_planner.memory.config import ALBUM

WORLD = ending(arm_world(), 0.05)
"""Rows end at different times."""
CONFIGS = {"plain": DreamConfig(), "remembering": remembering(), "doubting": DreamConfig(doubts=True)}
ways = pytest.mark.parametrize("config", list(CONFIGS.values()), ids=list(CONFIGS))


def actions(rows: int, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, rows, 4)).astype(np.float32)


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray) and a.dtype != object:
        return a.dtype == b.dtype and np.array_equal(a, b)
    if is_dataclass(a):
        return all(same(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list | np.ndarray):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def went_on(rows: DreamVectorEnv, way: np.ndarray) -> list[Any]:
    return [rows.step(action) for action in way]


@ways
@settings(max_examples=3)
@given(before=st.integers(0, 13))
def test_restored_it_goes_on_bit_for_bit(config: DreamConfig, before: int) -> None:
    rows, other = (dreams(3, WORLD, config=config) for _ in range(2))
    rows.reset(seed=before)
    way = actions(3, before + 12, before)
    went_on(rows, way[:before])
    kept = rows.snapshot()
    assert all(part.chunk.cache is None for part in kept.parts)
    truth = went_on(rows, way[before:])
    assert before == 0 or not same(rows.snapshot(), kept)
    other.reset(seed=77)
    went_on(other, actions(3, 5, 1))
    other.restore(kept)
    assert same(went_on(other, way[before:]), truth)
    rows.reset(options={"snapshot": kept})
    assert same(went_on(rows, way[before:]), truth)


@ways
def test_through_a_file_too(config: DreamConfig, tmp_path: Path) -> None:
    rows, other = (dreams(3, WORLD, config=config) for _ in range(2))
    rows.reset(seed=5)
    way = actions(3, 30)
    went_on(rows, way[:13])
    kept = rows.snapshot()
    save(kept, tmp_path / "half-way.safetensors")
    other.restore(load(tmp_path / "half-way.safetensors"))
    assert same(went_on(other, way[13:]), went_on(rows, way[13:]))


@ways
def test_a_fork_of_a_fork_is_restored_as_well(config: DreamConfig, tmp_path: Path) -> None:
    """Its caches were made by fewer rows than it has, and are made so again."""
    rows = dreams(2, arm_world(), config=config)
    rows.reset(seed=1)
    went_on(rows, actions(2, 10))
    one = rows.fork(2)
    went_on(one, actions(4, 2))
    two = one.fork(2)
    save(two.snapshot(), tmp_path / "fork.safetensors")
    again = dreams(8, rows.dream.world, config=config, autoreset_mode="Disabled")
    again.restore(load(tmp_path / "fork.safetensors"))
    assert same(went_on(again, actions(8, 9)), went_on(two, actions(8, 9)))


@ways
@settings(max_examples=2)
@given(count=st.integers(1, 3), steps=st.integers(0, 10))
def test_a_fork_never_changes_its_parent(config: DreamConfig, count: int, steps: int) -> None:
    rows, untouched = (dreams(2, arm_world(), config=config) for _ in range(2))
    for one in (rows, untouched):
        one.reset(seed=3)
        went_on(one, actions(2, steps))
    before = rows.snapshot()
    fork = rows.fork(count)
    went_on(fork, actions(2 * count, 12, 9))
    fork.reset(seed=8)
    fork.close()
    assert same(rows.snapshot(), before)
    assert same(went_on(rows, actions(2, 9, 4)), went_on(untouched, actions(2, 9, 4)))


def test_a_fork_of_one_is_its_parent() -> None:
    rows = dreams(2, arm_world(), config=remembering(), autoreset_mode="Disabled")
    rows.reset(seed=3)
    went_on(rows, actions(2, 5))
    fork = rows.fork(1)
    assert same(went_on(fork, actions(2, 12, 4)), went_on(rows, actions(2, 12, 4)))


def test_forks_share_their_noise_unless_given_seeds() -> None:
    rows = dreams(2, arm_world())
    rows.reset(seed=3)
    went_on(rows, actions(2, 5))
    still = np.zeros((4, 6, 4), np.float32)
    alike, *_ = rows.fork(2).step_sequence(still)
    np.testing.assert_array_equal(alike["pixels"][0::2], alike["pixels"][1::2])
    other, *_ = rows.fork(2, seeds=[1, 2, 3, 4]).step_sequence(still)
    assert not np.array_equal(other["pixels"][0::2], other["pixels"][1::2])
    with pytest.raises(BadOption, match="3 seeds"):
        rows.fork(2, seeds=[1, 2, 3])


def test_forks_share_memory_until_they_write() -> None:
    rows = dreams(2, arm_world(), config=remembering())
    rows.reset(seed=3)
    went_on(rows, actions(2, 9))
    fork = rows.fork(3)
    assert fork.state.memory is rows.state.memory
    fork.step_sequence(np.zeros((6, 9, 4), np.float32))
    assert fork.state.memory is rows.state.memory
    written = rows.fork(3)
    written.step_sequence(np.zeros((6, 9, 4), np.float32), writes=True)
    assert written.state.memory is not None
    assert written.state.memory.rows == 6
    assert rows.state.memory is not None
    assert rows.state.memory.rows == 2


def test_the_single_dream_forks_and_is_restored() -> None:
    one = one_dream(arm_world())
    one.reset(seed=2)
    one.step(np.zeros(4))
    kept = one.snapshot()
    fork = one.fork(4)
    assert fork.num_envs == 4
    after = one.step(np.zeros(4))
    one.restore(kept)
    assert same(one.step(np.zeros(4)), after)
    np.testing.assert_allclose(fork.step(np.zeros((4, 4)))[0]["pose"][0], after[0]["pose"], atol=1e-6)


def _other_rows(rows: DreamVectorEnv) -> None:
    rows.restore(_of(dreams(2, WORLD)))


def _other_world(rows: DreamVectorEnv) -> None:
    world = arm_world()
    next(world.denoiser.parameters()).data += 1
    rows.restore(_of(dreams(3, world)))


def _with_memory(rows: DreamVectorEnv) -> None:
    rows.restore(_of(dreams(3, WORLD, config=remembering())))


def _no_snapshot(rows: DreamVectorEnv) -> None:
    rows.restore({"seeds": 1})  # type: ignore[arg-type]


def _of(rows: DreamVectorEnv) -> Any:
    rows.reset(seed=0)
    return rows.snapshot()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(_other_rows, "rows"), (_other_world, "world"), (_with_memory, "memory"), (_no_snapshot, "dict")],
)
def test_a_snapshot_of_something_else_is_refused(wrong: Callable[[DreamVectorEnv], None], said: str) -> None:
    rows = dreams(3, WORLD)
    rows.reset(seed=0)
    before = rows.snapshot()
    with pytest.raises(BadState, match=said):
        wrong(rows)
    assert same(rows.snapshot(), before)


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    rows = dreams(1, WORLD)
    rows.reset(seed=0)
    path = tmp_path / "one.safetensors"
    save(rows.snapshot(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        load(path)


def test_kept_frames_are_saved_and_go_on(tmp_path: Path) -> None:
    world, keeping = arm_world(process="clean"), replace(remembering(), memory=replace(ALBUM, kept=3))
    world.outcome.tell[-1].bias.data[2] = -1e6
    rows, other = (dreams(2, world, config=keeping) for _ in range(2))
    rows.reset(seed=0)
    way = actions(2, 30)
    went_on(rows, way[:16])
    album = rows.state.memory and rows.state.memory.album
    assert album is not None
    assert bool(album.given.any(1).all())
    save(rows.snapshot(), tmp_path / "kept.safetensors")
    other.restore(load(tmp_path / "kept.safetensors"))
    assert same(rows.state.memory, other.state.memory)
    assert same(went_on(rows, way[16:]), went_on(other, way[16:]))
