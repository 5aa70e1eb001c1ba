"""What holds for every dream: Gymnasium's contract, autoreset written out, rows that are the single environment's."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from dream_fakes import arm_world, dreams, ending, one_dream
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from sfvgen_envs.dream import DataStarts, DreamConfig, DreamEnv, DreamVectorEnv
from sfvgen_envs.dream.imitated import make_task
from sfvgen_experiments.collect import Collect, record
from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import Context
from sfvgen_planner.world.outcome import Evidence, Judged

WORLD = arm_world()
STILL = np.zeros((2, 4), np.float32)


def actions(rows: int, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, rows, 4)).astype(np.float32)


def real_context(rows: int = 2, frames: int = 1) -> Context:
    """Frames of the real task, all rows alike."""
    env = make_task("reach", size=(16, 16), length="short")
    seen = [env.reset(seed=5)[0]]
    seen += [env.step(np.zeros(4))[0] for _ in range(frames - 1)]
    pixels, poses = (np.stack([one[key] for one in seen])[None].repeat(rows, 0) for key in ("pixels", "pose"))
    return Context(pixels, poses)


def about_to_end(rows: DreamVectorEnv, *left: int) -> None:
    """Episodes that have so many steps left before their time limit (30)."""
    rows.reset(seed=1, options={"context": real_context(len(left)), "elapsed": [30 - one for one in left]})


@pytest.mark.filterwarnings("ignore")
def test_both_libraries_accept_it() -> None:
    check_env(one_dream(WORLD))
    from stable_baselines3.common.env_checker import check_env as check_sb3

    check_sb3(one_dream(WORLD))
    check_sb3(one_dream(WORLD, config=DreamConfig(observe=("pose", "features"))))


def test_it_is_made_by_its_id() -> None:
    one = gym.make("sfvgen_envs:sfvgen/Dream-v0", task="reach", world=WORLD, length="short")
    assert isinstance(one.unwrapped, DreamEnv)
    some = gym.make_vec("sfvgen_envs:sfvgen/Dream-v0", num_envs=3, task="reach", world=WORLD, length="short")
    assert isinstance(some, DreamVectorEnv)
    assert some.num_envs == 3
    assert some.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    observation, _ = some.reset(seed=0)
    assert some.observation_space.contains(observation)
    assert one.observation_space == make_task("reach", size=(16, 16)).observation_space
    assert one.action_space == make_task("reach").action_space


def test_it_begins_where_the_real_task_of_that_seed_does() -> None:
    real = make_task("reach", size=(16, 16), length="short")
    one = one_dream(WORLD)
    for seed in (3, 4):
        truth, told = real.reset(seed=seed)
        observation, info = one.reset(seed=seed)
        np.testing.assert_array_equal(observation["pose"], truth["pose"])
        np.testing.assert_array_equal(observation["pixels"], truth["pixels"])
        assert info["instruction"] == told["instruction"]
        assert "privileged" not in info
        assert set(info) == {"instruction", "goal", "success_predicted"}


def test_next_step_written_out() -> None:
    rows = dreams(2, WORLD)
    about_to_end(rows, 3, 2)
    table = [  # steps of both episodes afterwards, truncated, does the reward count
        ([28, 29], [False, False], [True, True]),
        ([29, 30], [False, True], [True, True]),
        ([30, 0], [True, False], [True, False]),
        ([0, 1], [False, False], [False, True]),
        ([1, 2], [False, False], [True, True]),
    ]
    for elapsed, ended, counts in table:
        _, reward, terminated, truncated, info = rows.step(STILL)
        assert rows.state.elapsed.tolist() == elapsed
        assert truncated.tolist() == ended
        assert (reward != 0).tolist() == counts
        assert (info["success_predicted"] != 0).tolist() == counts
        assert not terminated.any()
        assert "final_obs" not in info


def test_same_step_written_out() -> None:
    rows = dreams(2, WORLD, autoreset_mode="SameStep")
    about_to_end(rows, 3, 2)
    table = [  # steps of both episodes afterwards, truncated
        ([28, 29], [False, False]),
        ([29, 0], [False, True]),
        ([0, 1], [True, False]),
        ([1, 2], [False, False]),
    ]
    for elapsed, ended in table:
        observation, reward, _, truncated, info = rows.step(STILL)
        assert rows.state.elapsed.tolist() == elapsed
        assert truncated.tolist() == ended
        assert (reward != 0).all()
        assert ("final_obs" in info) == any(ended)
        for row in np.flatnonzero(ended):
            last = info["final_obs"][row]
            assert rows.single_observation_space.contains(last)
            assert not np.array_equal(last["pose"], observation["pose"][row])
            assert info["final_info"]["success_predicted"][row] > 0
            assert info["success_predicted"][row] == 0
            assert info["_final_obs"].tolist() == info["_final_info"].tolist() == ended


def test_disabled_written_out() -> None:
    rows = dreams(2, WORLD, autoreset_mode="Disabled")
    about_to_end(rows, 3, 2)
    for elapsed, ended in (([28, 29], [False, False]), ([29, 30], [False, True])):
        *_, truncated, _ = rows.step(STILL)
        assert rows.state.elapsed.tolist() == elapsed
        assert truncated.tolist() == ended
    with pytest.raises(gym.error.ResetNeeded, match=r"\[1\]"):
        rows.step(STILL)
    rows.reset(options={"reset_mask": truncated})
    assert rows.state.elapsed.tolist() == [29, 0]
    *_, truncated, _ = rows.step(STILL)
    assert truncated.tolist() == [True, False]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_where_the_world_says_so_an_episode_ends(mode: str) -> None:
    rows = dreams(3, ending(arm_world(), 1.0), autoreset_mode=mode)
    rows.reset(seed=0)
    _, _, terminated, truncated, _ = rows.step(actions(3, 1)[0])
    assert terminated.all()
    assert not truncated.any()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_partial_reset_touches_no_other_row(mode: str) -> None:
    """Bit for bit until their chunk ends; after it they are dreamt in other company, seen in rounding alone."""
    world = arm_world(double=True)

    def episode(interrupted: bool) -> list[tuple[dict[str, np.ndarray], torch.Tensor]]:
        rows, seen = dreams(3, world, autoreset_mode=mode), []
        rows.reset(seed=0)
        for step, action in enumerate(actions(3, 20)):
            if interrupted and step in (3, 5, 11):
                before = rows.state.bare
                rows.reset(seed=99 + step, options={"reset_mask": np.array([False, True, False])})
                for name in ("latents", "seeds", "elapsed", "length"):
                    assert torch.equal(getattr(rows.state, name)[[0, 2]], getattr(before, name)[[0, 2]])
            seen.append((rows.step(action)[0], rows.state.latents))
        return seen

    for step, (calm, disturbed) in enumerate(zip(episode(False), episode(True), strict=True)):
        if step < 8:
            for key in calm[0]:
                np.testing.assert_array_equal(calm[0][key][[0, 2]], disturbed[0][key][[0, 2]])
        torch.testing.assert_close(calm[1][[0, 2]], disturbed[1][[0, 2]], rtol=1e-8, atol=1e-8)
    assert not torch.equal(calm[1][1], disturbed[1][1])


@settings(max_examples=3)
@given(seed=st.integers(0, 1000), share=st.sampled_from([0.0, 0.05]))
def test_a_row_is_the_single_dream_of_its_seed(seed: int, share: float) -> None:
    """Also when rows end, and so begin anew, at different times."""
    world = ending(arm_world(double=True), share)
    rows, steps, count = dreams(3, world), 34, 3
    first, _ = rows.reset(seed=seed)
    trace: list[Any] = []
    for action in actions(count, steps, seed):
        trace.append((*rows.step(action), rows.state.shown.pose.double(), rows.state.elapsed))
    for row in range(count):
        one = one_dream(world)
        observation, _ = one.reset(seed=seed + row)
        np.testing.assert_array_equal(observation["pixels"], first["pixels"][row])
        over = False
        for step, action in enumerate(actions(count, steps, seed)[:, row]):
            observations, rewards, terminated, truncated, info, _, elapsed = trace[step]
            if over:
                observation, told = one.reset()
                reward, ends = 0.0, (False, False)
            else:
                observation, reward, *ends, told = one.step(action)
            over = any(ends)
            assert [bool(terminated[row]), bool(truncated[row])] == list(ends)
            assert int(elapsed[row]) == int(one.rows.state.elapsed[0])
            np.testing.assert_allclose(rewards[row], reward, rtol=1e-6)
            np.testing.assert_allclose(observations["pose"][row], observation["pose"], rtol=1e-6, atol=1e-7)
            assert np.abs(observations["pixels"][row].astype(int) - observation["pixels"]).max() <= 1
            np.testing.assert_allclose(info["success_predicted"][row], told["success_predicted"], rtol=1e-6)


def test_in_double_precision_rows_agree_to_eight_digits() -> None:
    world = arm_world(double=True)
    rows, one = dreams(3, world), one_dream(world)
    rows.reset(seed=3)
    one.reset(seed=4)
    for action in actions(3, 16):
        rows.step(action)
        one.step(action[1])
    mine, theirs = one.rows.state, rows.state
    torch.testing.assert_close(mine.latents[0], theirs.latents[1], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(mine.facts.poses[0], theirs.facts.poses[1], rtol=1e-8, atol=1e-8)


def test_rows_keep_their_bits_whatever_their_neighbours_do() -> None:
    def third(actions_of_others: float) -> np.ndarray:
        rows = dreams(3, WORLD)
        rows.reset(seed=7)
        for action in actions(3, 12):
            action[:2] = actions_of_others
            observation = rows.step(action)[0]
        return np.asarray(observation["pose"][2])

    np.testing.assert_array_equal(third(0.0), third(1.0))


def test_a_sequence_is_what_the_world_dreams_and_one_step_is_a_step() -> None:
    rows, other = dreams(2, WORLD), dreams(2, WORLD)
    for one in (rows, other):
        one.reset(seed=2)
    way = actions(2, 20).transpose(1, 0, 2)
    single, _, _, _, _ = other.step(way[:, 0])
    sequence, *_ = rows.step_sequence(way[:, :1])
    np.testing.assert_array_equal(sequence["pixels"][:, 0], single["pixels"])
    rows.reset(seed=2)
    state, dream = rows.state, rows.dream
    observed, reward, terminated, truncated, info = rows.step_sequence(way)
    dreamt = WORLD.dream(
        state.latents[:, -1:], state.facts[-1:], dream.happens(torch.from_numpy(way)), state.seeds,
        DreamConfig().sampler, first=1,
    )  # fmt: skip
    np.testing.assert_array_equal(observed["pose"], dreamt.facts.poses.float().numpy())
    np.testing.assert_array_equal(observed["pixels"], state.detail.upon(WORLD.codec.decode(dreamt.latents)).numpy())
    np.testing.assert_array_equal(reward, dreamt.judged.reward.numpy())
    np.testing.assert_array_equal(info["success_predicted"], dreamt.judged.success.numpy())
    assert terminated.shape == truncated.shape == (2, 20)
    assert rows.state.elapsed.tolist() == [20, 20]


@settings(max_examples=6)
@given(cuts=st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_sequences_may_begin_anywhere_in_a_chunk(cuts: list[int]) -> None:
    rows = dreams(2, WORLD)
    rows.reset(seed=2)
    way = actions(2, sum(cuts)).transpose(1, 0, 2)
    for cut, end in zip(cuts, np.cumsum(cuts), strict=True):
        observed, *_ = rows.step_sequence(way[:, end - cut : end])
        assert observed["pixels"].shape == (2, cut, 16, 16, 3)
        last, *_ = rows.step(STILL)
        assert rows.state.shown.pose is not None
        np.testing.assert_array_equal(last["pose"], rows.state.shown.pose.numpy())


def test_after_an_end_a_sequence_stands_still() -> None:
    rows = dreams(2, WORLD)
    about_to_end(rows, 3, 9)
    observed, reward, terminated, truncated, _ = rows.step_sequence(actions(2, 6).transpose(1, 0, 2))
    assert truncated.tolist() == [[False, False, True, True, True, True], [False] * 6]
    assert (reward[0] != 0).tolist() == [True, True, True, False, False, False]
    assert (reward[1] != 0).all()
    for frame in (3, 4, 5):
        np.testing.assert_array_equal(observed["pixels"][0, frame], observed["pixels"][0, 2])
    assert not np.array_equal(observed["pose"][1, 5], observed["pose"][1, 2])
    assert rows.state.over.tolist() == [True, False]
    with pytest.raises(gym.error.ResetNeeded):
        rows.step_sequence(actions(2, 6).transpose(1, 0, 2))
    assert not terminated.any()


def test_a_live_context_is_gone_on_from() -> None:
    context = real_context(2, frames=8)
    rows = dreams(2, WORLD)
    observation, info = rows.reset(seed=0, options={"context": context, "elapsed": 7, "instruction": "go on"})
    np.testing.assert_array_equal(observation["pose"], context.poses[:, -1])
    assert info["instruction"].tolist() == ["go on"] * 2
    assert rows.state.elapsed.tolist() == [7, 7]
    assert rows.state.length.tolist() == [8, 8]
    rows.step(STILL)
    assert rows.state.elapsed.tolist() == [8, 8]
    seen = {"pixels": context.pixels[0, -1], "pose": context.poses[0, -1]}
    one = one_dream(WORLD)
    observation, _ = one.reset(options={"context": seen})
    np.testing.assert_array_equal(observation["pose"], seen["pose"])


def test_tensors_stay_tensors() -> None:
    rows, other = dreams(2, WORLD, obs_type="torch"), dreams(2, WORLD)
    observation, _ = rows.reset(seed=0)
    other.reset(seed=0)
    told, reward, terminated, truncated, info = rows.step(torch.zeros(2, 4))
    same, *_ = other.step(STILL)
    for value in (*observation.values(), *told.values(), reward, terminated, truncated, info["success_predicted"]):
        assert isinstance(value, torch.Tensor)
    for key, value in told.items():
        np.testing.assert_array_equal(value.numpy(), same[key])
    told["pixels"].zero_()
    assert rows.render()[0].any()


def test_features_may_be_observed_and_pixels_left_out() -> None:
    rows = dreams(2, WORLD, config=DreamConfig(observe=("pose", "features")))
    observation, _ = rows.reset(seed=0)
    assert set(observation) == {"pose", "features"}
    assert rows.observation_space.contains(observation)
    assert observation["features"].any()
    after, *_ = rows.step(STILL)
    assert not np.array_equal(after["features"], observation["features"])


def test_doubt_is_told_and_may_cost() -> None:
    sure, free, dear = (
        dreams(2, WORLD, config=config)
        for config in (DreamConfig(), DreamConfig(doubts=True), DreamConfig(doubts=True, penalty=0.5))
    )
    rewards, doubts = [], []
    for rows in (sure, free, dear):
        _, info = rows.reset(seed=0)
        assert ("uncertainty" in info) == (rows is not sure)
        _, reward, _, _, info = rows.step(STILL)
        rewards.append(reward)
        doubts.append(info.get("uncertainty"))
    np.testing.assert_allclose(rewards[0], rewards[1], rtol=1e-4)
    np.testing.assert_allclose(rewards[1] - 0.5 * doubts[1], rewards[2], rtol=1e-4)
    assert (doubts[1] > 0).all()


def test_the_paper_s_denoiser_dreams_too() -> None:
    rows = dreams(2, arm_world("unet3d"))
    rows.reset(seed=0)
    for action in actions(2, 9):
        observation, *_ = rows.step(action)
    assert rows.observation_space.contains(observation)


def test_a_scene_may_be_varied_as_in_the_real_task() -> None:
    one, real = one_dream(WORLD), make_task("reach", size=(16, 16), length="short")
    for options in ({"variation": {"colour": "blue"}}, {"goal": (0.4, 0.1, 0.1)}):
        truth, told = real.reset(seed=3, options=options)
        observation, info = one.reset(seed=3, options=options)
        assert info["instruction"] == told["instruction"]
        np.testing.assert_array_equal(observation["pixels"], truth["pixels"])


def test_recorded_episodes_are_begun_with(tmp_path: Path) -> None:
    data = record(Collect(task="reach", episodes=3, length="short", size=16, out=str(tmp_path / "reach"), workers=0))
    rows = dreams(4, WORLD, starts=tmp_path / "reach")
    observation, info = rows.reset(seed=0)
    firsts = [episode.poses[0] for episode in data]
    assert all(any(np.array_equal(pose, first) for first in firsts) for pose in observation["pose"])
    assert set(info["instruction"]) <= {episode.instructions[0] for episode in data}
    known = rows.dream.imitated
    rows = dreams(4, WORLD, starts=DataStarts(tmp_path / "reach", known, "short", 8, anywhere=True))
    rows.reset(seed=0)
    assert rows.state.length.tolist() == [8] * 4
    assert len(set(rows.state.elapsed.tolist())) > 1
    again = dreams(4, WORLD, starts=DataStarts(tmp_path / "reach", known, "short", 8, anywhere=True))
    again.reset(seed=0)
    assert torch.equal(again.state.latents, rows.state.latents)
    with pytest.raises(BadOption, match="medium"):
        DreamVectorEnv("reach", 1, world=WORLD, starts=tmp_path / "reach")
    with pytest.raises(BadOption, match="goal"):
        rows.reset(options={"goal": (0.4, 0.1, 0.1)})


def test_an_end_that_nobody_is_sure_of_comes_all_the_same() -> None:
    """A world that gives each frame near a ball one chance in five never ended: no frame had more than a half."""
    world = arm_world()
    world.outcome.near.body.weight.data.zero_()
    torch.nn.init.zeros_(world.outcome.tell[-1].weight)
    world.outcome.tell[-1].bias.data[2] = float(np.log(0.2 / 0.8))
    ended, rows = [], dreams(1, world, autoreset_mode="Disabled")
    rows.reset(seed=0)
    for action in actions(1, 4):
        ended.append(bool(rows.step(action)[2][0]))
    assert ended == [False, False, False, True], "1 - .8 ** 4 is the first above a half"
    rows.reset(options={"reset_mask": np.array([True])})
    assert not rows.step(STILL[:1])[2][0], "a new episode begins with nothing against it"
    rows.reset(seed=0)
    *_, terminated, _, _ = rows.step_sequence(actions(1, 4).transpose(1, 0, 2))
    assert terminated.tolist() == [ended]


def test_frame_by_frame_places_are_where_they_were_seen() -> None:
    """A hand that had passed over a ball took it out of the dream, and circling there was praised."""
    world, asked = arm_world(), []
    torch.nn.init.zeros_(world.pose_head.move.weight)
    torch.nn.init.zeros_(world.pose_head.move.bias)
    judge = world.outcome.forward

    def watched(seen: Evidence) -> Judged:
        asked.append(seen.places)
        return judge(seen)

    world.outcome.forward = watched  # type: ignore[method-assign]
    rows = dreams(2, world)
    rows.reset(seed=4)
    first = rows.state.latents[:, -1:]
    for action in actions(2, 20):
        rows.step(action)
    assert len(asked) == 20
    assert all(torch.equal(places, first) for places in asked)
