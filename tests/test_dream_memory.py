"""Every row of a dream remembers its own episode, at chunk boundaries, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from dream_fakes import MEMORY, arm_world, dreams, ending, one_dream, remembering
from torch import Tensor

from sfvgen_envs.dream import DreamConfig, DreamVectorEnv
from sfvgen_planner.errors import BadMemory
from sfvgen_planner.memory import Memory, Seen, remember, start
from sfvgen_planner.memory.rows import put, repeated, take
from sfvgen_planner.memory.value import Memory as Value


def actions(rows: int, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, rows, 4)).astype(np.float32)


def memory_of(rows: DreamVectorEnv) -> Memory:
    assert rows.state.memory is not None
    return rows.state.memory


def written(memory: Memory) -> Tensor:
    """bool [M]: which rows differ from the start."""
    return torch.stack(
        [(value != memory.start[name]).flatten(1).any(1) for name, value in memory.trained.weights.items()]
    ).any(0)


@pytest.mark.parametrize("every", [1, 2, 4])
def test_a_row_learns_after_every_so_many_chunks(every: int) -> None:
    rows = dreams(2, arm_world(), config=remembering(every=every))
    rows.reset(seed=0)
    assert memory_of(rows).config == MEMORY
    for number, action in enumerate(actions(2, 24), start=1):
        rows.step(action)
        due = number // (8 * every) * MEMORY.updates
        assert memory_of(rows).trained.steps.tolist() == [due, due]
        assert written(memory_of(rows)).all() == (due > 0)


def test_a_world_is_never_written() -> None:
    world = arm_world()
    before = {name: value.clone() for name, value in world.state_dict().items()}
    rows = dreams(2, world, config=remembering())
    rows.reset(seed=0)
    for action in actions(2, 17):
        rows.step(action)
    assert all(torch.equal(value, before[name]) for name, value in world.state_dict().items())


def test_off_is_off() -> None:
    world = arm_world()
    config = DreamConfig(memory=replace(MEMORY, variant="off"))
    rows, plain = dreams(2, world, config=config), dreams(2, world)
    for one in (rows, plain):
        one.reset(seed=0)
    assert rows.state.memory is None
    for action in actions(2, 9):
        np.testing.assert_array_equal(rows.step(action)[0]["pixels"], plain.step(action)[0]["pixels"])


def test_what_is_remembered_changes_what_is_dreamt_but_not_before_it_is() -> None:
    world = arm_world()
    rows, plain = dreams(2, world, config=remembering()), dreams(2, world)
    for one in (rows, plain):
        one.reset(seed=0)
    for number, action in enumerate(actions(2, 12)):
        seen, told = rows.step(action)[0], plain.step(action)[0]
        if number < 8:
            np.testing.assert_array_equal(seen["pixels"], told["pixels"])
    assert not np.array_equal(seen["pixels"], told["pixels"])


def test_it_learns_what_remember_makes_of_the_window() -> None:
    """By hand: the window of one past and eight new frames, then the next with the first one too short to replay."""
    world = arm_world()
    rows = dreams(2, world, config=remembering(trust=0.5))
    rows.reset(seed=0)
    byhand = replace(start(world, MEMORY, 2), seeds=rows.state.seeds)
    way = actions(2, 24)
    for chunk in range(3):
        for action in way[8 * chunk : 8 * chunk + 8]:
            rows.step(action)
        state = rows.state
        past = 1 if chunk == 0 else 8
        windows = []
        for back in range(chunk - 1, -1, -1):  # the chunk before last, and so on; of the first one nobody has 16 frames
            end = state.latents.shape[1] - 8 * back
            begin = end - past - 8
            if back == 0 or state.length[0] >= state.latents.shape[1] - begin:
                span = slice(begin, end)
                windows.append(Seen(state.latents[:, span], state.facts[span], past, torch.full((2,), 0.5)))
        if chunk == 0:
            span = slice(-9, None)
            windows = [Seen(state.latents[:, span], state.facts[span], 1, torch.full((2,), 0.5))]
        byhand = remember(world, byhand, windows[-1], windows[:-1])
        assert byhand.version == memory_of(rows).version


def test_rows_remember_their_own_episode_only() -> None:
    """In double precision: each as if it were alone, also where others begin anew in between."""
    world = ending(arm_world(double=True), 0.05)
    rows, singles = dreams(3, world, config=remembering()), [one_dream(world, config=remembering()) for _ in range(3)]
    rows.reset(seed=4)
    for number, one in enumerate(singles):
        one.reset(seed=4 + number)
    over, began = [False] * 3, 0
    for action in actions(3, 40):
        rows.step(action)
        for number, one in enumerate(singles):
            if over[number]:
                one.reset()
                over[number], began = False, began + 1
            else:
                _, _, terminated, truncated, _ = one.step(action[number])
                over[number] = terminated or truncated
    assert began > 2
    assert memory_of(rows).trained.steps.any()
    for number, one in enumerate(singles):
        mine, alone = take(memory_of(rows), torch.tensor([number])), memory_of(one.rows)
        assert torch.equal(mine.trained.steps, alone.trained.steps)
        for name, value in mine.trained.weights.items():
            torch.testing.assert_close(value, alone.trained.weights[name], rtol=1e-6, atol=1e-9)


def test_a_new_episode_forgets() -> None:
    rows = dreams(2, arm_world(), config=remembering())
    rows.reset(seed=0)
    for action in actions(2, 9):
        rows.step(action)
    before = memory_of(rows)
    rows.reset(options={"reset_mask": np.array([True, False])})
    after = memory_of(rows)
    assert written(after).tolist() == [False, True]
    assert after.trained.steps.tolist() == [0, MEMORY.updates]
    for name, value in after.trained.weights.items():
        assert torch.equal(value[1], before.trained.weights[name][1])


def test_a_dream_may_begin_with_what_a_live_agent_remembers() -> None:
    world = arm_world()
    rows = dreams(2, world, config=remembering())
    rows.reset(seed=0)
    for action in actions(2, 9):
        rows.step(action)
    known = memory_of(rows)[0:1]
    other = dreams(3, world, config=remembering())
    other.reset(seed=0, options={"memory": known})
    assert written(memory_of(other)).all()
    other.reset(options={"memory": known, "reset_mask": np.array([False, True, False])})
    with pytest.raises(BadMemory, match="remembers nothing"):
        dreams(2, world).reset(options={"memory": known})
    with pytest.raises(BadMemory, match="2 rows"):
        other.reset(options={"memory": memory_of(rows)})
    with pytest.raises(BadMemory, match="dict"):
        other.reset(options={"memory": {}})


def test_a_plan_leaves_memory_alone() -> None:
    rows = dreams(2, arm_world(), config=remembering())
    rows.reset(seed=0)
    before = memory_of(rows).version
    rows.step_sequence(actions(2, 17).transpose(1, 0, 2))
    assert memory_of(rows).version == before
    rows.reset(seed=0)
    rows.step_sequence(actions(2, 17).transpose(1, 0, 2), writes=True)
    assert memory_of(rows).version != before
    assert memory_of(rows).trained.steps.tolist() == [2 * MEMORY.updates] * 2


def test_rows_are_taken_and_put_back_bit_for_bit() -> None:
    world = arm_world()
    memory = start(world, MEMORY, 4)
    memory = replace(
        memory,
        trained=memory.trained.each(
            lambda value: value + torch.arange(4).reshape(-1, *[1] * (value.ndim - 1)).to(value)
        ),
    )
    some = take(memory, torch.tensor([2, 0]))
    assert some.trained.steps.tolist() == [2, 0]
    back = put(memory, torch.tensor([2, 0]), some)
    assert back.version == memory.version
    moved = put(memory, torch.tensor([1, 3]), some)
    assert moved.trained.steps.tolist() == [0, 2, 2, 0]
    assert repeated(memory, 2).trained.steps.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert repeated(memory, 1) is memory
    with pytest.raises(BadMemory, match="2 rows"):
        put(memory, torch.tensor([1]), some)
    assert isinstance(back, Value)
