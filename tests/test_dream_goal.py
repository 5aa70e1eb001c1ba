"""What a goal's picture asks of a body: told alike in dream and truth, and a reward where asked for."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from dream_fakes import arm_world, dreams, one_dream
from gymnasium.wrappers import FilterObservation
from stable_baselines3 import PPO
from test_dream import real_context
from test_dream_snapshot import same

from sfvgen_agents.agent import shown
from sfvgen_agents.loading import load_agent
from sfvgen_envs import TASKS
from sfvgen_envs.dream import DreamConfig, SeesGoal, load, save
from sfvgen_experiments.evaluate import Eval, evaluate
from sfvgen_planner.errors import BadOption, UnknownName
from sfvgen_planner.world.wanting import GoalSense

WORLD = arm_world()
SEES = DreamConfig(observe=("pose", "goal"))
SEEKS = DreamConfig(observe=("pose",), reward="goal")


def true_task(task: str = "reach", length: str = "short") -> Any:
    return gym.make(f"sfvgen_envs:{TASKS[task]}", size=16, length=length)


def actions(steps: int, rows: int = 3) -> Any:
    return np.random.default_rng(0).uniform(-1, 1, (steps, rows, 4)).astype(np.float32)


def gap(picture: Any, pose: Any) -> float:
    """The distance by hand: root mean square of what is missing, each sense weighing as much as it is sure."""
    head = WORLD.pose_head
    with torch.no_grad():
        told = WORLD.posture(WORLD.codec.encode(torch.from_numpy(picture)[None, None]), torch.tensor([0]))
    wanted, doubt = (part[0, 0].double().numpy() for part in (told.senses, told.doubt))
    here = (np.asarray(pose, np.float64)[7:] - head.mean[0].numpy()) / head.spread[0].numpy()
    return float(np.sqrt(np.average(np.square(wanted - here), weights=1 / np.square(doubt))))


def test_an_episode_asks_alike_in_dream_and_truth() -> None:
    observed, info = dreams(3, WORLD, config=SEES).reset(seed=5)
    for row in range(3):
        env = SeesGoal(true_task(), WORLD, "reach")
        seen, told = env.reset(seed=5 + row)
        np.testing.assert_array_equal(info["goal"][row], told["goal"])
        np.testing.assert_allclose(observed["goal"][row], seen["goal"], rtol=1e-4, atol=1e-5)
        assert env.observation_space["goal"].contains(seen["goal"])
        assert gap(told["goal"], seen["pose"]) > 0.01


@pytest.mark.parametrize("make", [lambda: one_dream(WORLD, config=SEES), lambda: SeesGoal(true_task(), WORLD, "reach")])
def test_what_is_missing_changes_as_the_senses_do(make: Any) -> None:
    env, spread = make(), WORLD.pose_head.spread[0].numpy()
    before, _ = env.reset(seed=1)
    for action in actions(10)[:, 0]:
        after, *_ = env.step(action)
        came = (after["pose"] - before["pose"])[7:] / spread
        assert np.abs(came).max() > 0
        np.testing.assert_allclose(before["goal"] - after["goal"], came, rtol=1e-3, atol=1e-4)
        before = after


def test_what_is_asked_follows_the_next_picture() -> None:
    first, second = (true_task().reset(seed=seed) for seed in (1, 2))
    sense, fresh = GoalSense(WORLD, "reach"), GoalSense(WORLD, "reach")
    pose = first[0]["pose"]
    asked = sense(first[1]["goal"], pose)
    assert not np.allclose(sense(second[1]["goal"], pose), asked)
    np.testing.assert_array_equal(sense(second[1]["goal"], pose), fresh(second[1]["goal"], pose))


def test_rows_that_begin_anew_are_asked_anew_and_no_others() -> None:
    rows = dreams(3, WORLD, config=SEES)
    rows.reset(seed=0)
    rows.step(actions(1)[0])
    before = rows.state.asked.clone()
    rows.reset(seed=9, options={"reset_mask": np.array([False, True, False])})
    changed = (rows.state.asked != before).flatten(1).any(1)
    assert changed.tolist() == [False, True, False]


def test_it_is_restored_and_branched_with_the_dream(tmp_path: Path) -> None:
    config = DreamConfig(observe=("pose", "goal"), reward="goal")
    rows, other = dreams(3, WORLD, config=config), dreams(3, WORLD, config=config)
    rows.reset(seed=0)
    way = actions(13)
    for action in way[:5]:
        rows.step(action)
    save(rows.snapshot(), tmp_path / "half-way.safetensors")
    other.restore(load(tmp_path / "half-way.safetensors"))
    fork = rows.fork(2)
    for action in way[5:]:
        truth = rows.step(action)
        assert same(other.step(action), truth)
        branch = fork.step(action.repeat(2, 0))
        np.testing.assert_allclose(branch[0]["goal"][::2], truth[0]["goal"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(branch[1][1::2], truth[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("at_once", [True, False])
def test_coming_nearer_is_rewarded_and_nothing_else(at_once: bool) -> None:
    rows = dreams(3, WORLD, config=SEEKS)
    first, info = rows.reset(seed=0)
    way = actions(19)
    if at_once:
        seen, rewards, *_ = rows.step_sequence(way.transpose(1, 0, 2))
        poses = np.concatenate([first["pose"][:, None], seen["pose"]], 1)
    else:
        steps = [rows.step(action) for action in way]
        rewards = np.stack([step[1] for step in steps], 1)
        poses = np.stack([first["pose"], *(step[0]["pose"] for step in steps)], 1)
    gaps = np.array([[gap(info["goal"][row], pose) for pose in poses[row]] for row in range(3)])
    assert np.ptp(gaps) > 0.1
    np.testing.assert_allclose(rewards, gaps[:, :-1] - gaps[:, 1:], rtol=1e-2, atol=1e-4)


def test_a_policy_that_sees_its_goal_is_judged_in_both(tmp_path: Path) -> None:
    WORLD.save_pretrained(tmp_path / "world")
    env = FilterObservation(SeesGoal(true_task(), WORLD, "reach"), ["pose", "goal"])
    model = PPO("MultiInputPolicy", env, n_steps=16, batch_size=16, seed=0, device="cpu")
    model.save(tmp_path / "policy.zip")
    agent = load_agent(str(tmp_path / "policy.zip"), "reach", 0, world=str(tmp_path / "world"))
    seen, info = true_task().reset(seed=4)
    agent.reset(seen, shown(info, agent))
    chosen = model.predict(env.reset(seed=4)[0], deterministic=True)[0]
    np.testing.assert_allclose(agent.act(seen, shown(info, agent)), chosen, atol=1e-4)
    assert agent.parameters["goals read by"]  # type: ignore[attr-defined]
    results = evaluate(
        Eval(
            agent=str(tmp_path / "policy.zip"),
            tasks="reach",
            lengths="short",
            episodes=1,
            workers=0,
            size=16,
            where=("dream", "real"),
            world=str(tmp_path / "world"),
            out=str(tmp_path / "out"),
        )
    )
    assert [row["where"] for row in results["rows"]] == ["dream", "real"]


def test_where_no_goal_is_shown() -> None:
    with pytest.raises(BadOption, match="Leave goal out"):
        SeesGoal(true_task("cube_return"), WORLD, "reach").reset(seed=0)
    for config in (SEES, SEEKS):
        with pytest.raises(BadOption, match="Leave goal out"):
            dreams(2, WORLD, config=config).reset(options={"context": real_context(2)})
    with pytest.raises(UnknownName, match="'learned'"):
        DreamConfig(reward="learnt")  # type: ignore[arg-type]
