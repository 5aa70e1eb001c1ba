"""A second visit begins with what the first one learnt: out of a dream's row or an agent, through a bank, and back."""

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from dream_fakes import MEMORY, arm_world, dreams
from world_fakes import tiny_world

from sfvgen_agents.minds import LearnedMind
from sfvgen_agents.planner_agent import PlannerAgent
from sfvgen_agents.planning import planner_agent
from sfvgen_envs.dream import DreamConfig
from sfvgen_planner.errors import BadMemory, BadOption
from sfvgen_planner.memory import DEFAULT, Bank, Card, Memory, start, view_of
from sfvgen_planner.memory.adam import Trained
from sfvgen_planner.types import Context
from sfvgen_planner.world.model import WorldModel

HOW = replace(DEFAULT, rank=2, updates=1, draws=1, strength=1.0)


def picture(number: int) -> np.ndarray:
    """Of a place."""
    return np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)


POSE = np.array([0, 0, 0, 1, 0, 0, 0, 5, 5], np.float32)


def known(world: WorldModel, number: int) -> Memory:
    """Of that place."""
    begun, draw = start(world, HOW, 1), torch.Generator().manual_seed(number)
    drawn = {name: torch.randn(value.shape, generator=draw).half().float() for name, value in begun.start.items()}
    return replace(begun, trained=Trained.fresh(drawn))


def visited(world: WorldModel, folder: Path, numbers: tuple[int, ...] = (1, 2)) -> Bank:
    bank = Bank.begun(folder, world)
    for number in numbers:
        bank.add(known(world, number), Card(view_of(world, "toy", picture(number), POSE), 24))
    return bank


def context(*numbers: int) -> Context:
    return Context(np.stack([[picture(n)] * 8 for n in numbers]), np.stack([[POSE] * 8 for _ in numbers]))


def remembers(memory: Memory | None, row: int, other: Memory) -> bool:
    assert memory is not None
    return all(
        torch.equal(memory.trained.weights[name][row], value[0]) for name, value in other.trained.weights.items()
    )


def test_every_episode_of_an_agent_begins_with_its_own_place(tmp_path: Path) -> None:
    world = tiny_world()
    bank = visited(world, tmp_path)
    mind = LearnedMind(world, "toy", memory=HOW, rows=2, bank=bank)
    fresh = mind.memory
    mind.begin(np.array([True, True]), context(2, 1))
    assert remembers(mind.memory, 0, known(world, 2))
    assert remembers(mind.memory, 1, known(world, 1))
    mind.begin(np.array([True, False]), context(1, 2))
    assert remembers(mind.memory, 0, known(world, 1))
    assert remembers(mind.memory, 1, known(world, 1)), "whose episode goes on keeps what it has"
    forgetful = LearnedMind(world, "toy", memory=HOW, rows=2)
    forgetful.begin(np.array([True, True]), context(2, 1))
    assert fresh is not None
    assert all(torch.equal(forgetful.memory.trained.weights[n], v) for n, v in fresh.trained.weights.items())  # type: ignore[union-attr]


def test_a_planner_looks_at_the_first_frame_and_recalls(tmp_path: Path) -> None:
    world, box = tiny_world(), gym.spaces.Box(-1, 1, (2,), np.float32)
    bank = Bank.begun(tmp_path, world)
    begun = start(world, DEFAULT, 1)
    kept = replace(begun, trained=Trained.fresh({n: v.half().float() + 0.5 for n, v in begun.start.items()}))
    name = bank.add(kept, Card(view_of(world, "toy", picture(1), POSE), 24))
    agent = planner_agent("toy", 0, box, world, memory="default", bank=tmp_path, budget="tiny", solver="mppi")
    assert isinstance(agent, PlannerAgent)
    agent.reset({}, {})
    agent.act({"pixels": picture(1), "pose": POSE}, {})
    assert remembers(agent.mind.memory, 0, bank.load(name))  # type: ignore[attr-defined]
    with pytest.raises(BadOption, match="without a memory"):
        planner_agent("toy", 0, box, world, bank=tmp_path)
    other = planner_agent("toy", 0, box, world, memory="paper", bank=tmp_path, budget="tiny", solver="mppi")
    with pytest.raises(BadMemory, match="one world and config"):
        other.act({"pixels": picture(1), "pose": POSE}, {})
    Bank(tmp_path).forget([name])
    empty = planner_agent("toy", 0, box, world, memory="default", bank=tmp_path, budget="tiny", solver="mppi")
    with pytest.raises(BadMemory, match="1 of 0 memories"):
        empty.act({"pixels": picture(1), "pose": POSE}, {})


def test_what_a_dreams_row_remembers_goes_through_the_bank_into_another_dream(tmp_path: Path) -> None:
    world = arm_world()
    rows = dreams(2, world, config=DreamConfig(memory=MEMORY))
    observation, _ = rows.reset(seed=0)
    for action in np.random.default_rng(0).uniform(-1, 1, (9, 2, 4)):
        rows.step(action.astype(np.float32))
    memory = rows.state.memory
    assert memory is not None
    bank = Bank.begun(tmp_path, world)
    views = [view_of(world, "reach", observation["pixels"][row], observation["pose"][row]) for row in range(2)]
    names = [bank.add(memory[row : row + 1], Card(views[row], 9)) for row in range(2)]
    found = Bank(tmp_path, world).recall(views[1])
    assert next(iter(found.weights)) == names[1]
    assert found.distances[names[1]] == 0
    other = dreams(1, world, config=DreamConfig(memory=MEMORY))
    other.reset(seed=0, options={"memory": found.memory})
    assert other.state.memory is not None
    for name, value in memory.trained.weights.items():
        assert torch.equal(other.state.memory.trained.weights[name][0], value[1].half().float())
