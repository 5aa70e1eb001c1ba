"""Playing episodes, importing environments, and what a data set says of itself."""

import os

import numpy as np
import pytest
from data_fakes import FakeEnv, assert_same, described, random_episode

from sfvgen_planner.data import Dataset, contact_sheet, import_env, record_episode, summary
from sfvgen_planner.errors import BadImageSize, BadOption


class Count:
    """Calls a chunk by how many steps it had."""

    def __init__(self):
        self.steps = 0

    def begin(self):
        self.steps = 0

    def watch(self, action):
        self.steps += 1

    def name(self):
        return f"{self.steps} steps"


def _ones(observation, info):
    return np.ones(2, np.float32)


def test_an_episode_says_what_happened_at_each_step():
    episode = record_episode(FakeEnv(20), _ones, seed=3, annotate=Count(), card={"task": "Fake"})
    assert len(episode) == 20
    np.testing.assert_array_equal(episode.poses[:, 0], np.arange(21))
    assert len({frame.tobytes() for frame in episode.pixels}) == 21
    np.testing.assert_array_equal(episode.rewards, np.full(20, 2, np.float32))
    assert episode.instructions == tuple(f"goal {t}" for t in range(20))
    assert episode.phrases == ("8 steps",) * 16 + ("4 steps",) * 4
    assert episode.success.tolist() == episode.terminated.tolist() == [False] * 19 + [True]
    assert not episode.truncated.any()
    assert episode.card == {"seed": 3, "task": "Fake"}
    assert_same(episode, record_episode(FakeEnv(20), _ones, seed=3, annotate=Count(), card={"task": "Fake"}))


class Clock:
    """Calls a chunk by the times it was asked at."""

    def __init__(self, env):
        self.env = env

    def begin(self):
        self.times = [self.env.time]

    def watch(self, action):
        self.times.append(self.env.time)

    def name(self):
        return str(self.times)


def test_a_chunk_is_watched_from_the_state_each_action_is_taken_in():
    env = FakeEnv(10)
    episode = record_episode(env, _ones, seed=3, annotate=Clock(env))
    assert episode.phrases == ("[0, 0, 1, 2, 3, 4, 5, 6, 7]",) * 8 + ("[8, 8, 9]",) * 2


def test_too_long_an_episode_is_truncated():
    episode = record_episode(FakeEnv(20), _ones, seed=3, max_steps=5)
    assert episode.truncated.tolist() == [False] * 4 + [True]
    assert not record_episode(FakeEnv(5), _ones, seed=3, max_steps=5).truncated.any()
    with pytest.raises(BadOption, match="at most 0 steps"):
        record_episode(FakeEnv(), _ones, seed=3, max_steps=0)


@pytest.mark.parametrize("discrete", [False, True])
def test_any_environment_with_pictures_is_imported(tmp_path, discrete):
    env = FakeEnv(9, discrete=discrete)
    dataset = import_env(env, tmp_path / "set", 3, name="any-v0", size=(8, 8), seed=10)
    assert [card["seed"] for card in dataset.cards] == [10, 11, 12]
    assert dataset[0].pixels.shape == (10, 8, 8, 3)
    assert dataset[0].actions.dtype == (np.int64 if discrete else np.float32)
    dataset.path(1).unlink()
    again = import_env(FakeEnv(9, discrete=discrete), tmp_path / "set", 3, name="any-v0", size=(8, 8), seed=10)
    assert len(again) == 3
    assert again.description.frame_rate == 10


def test_a_policy_sees_what_the_environment_shows(tmp_path):
    def policy(observation, info):
        return np.full(2, observation["pose"][0] / 10, np.float32)

    dataset = import_env(FakeEnv(9), tmp_path / "set", 1, name="any-v0", policy=policy)
    np.testing.assert_allclose(dataset[0].actions[:, 0], np.arange(9) / 10)
    assert dataset.cards[0]["behaviour"] == "policy"


def test_an_environment_without_pictures_is_refused(tmp_path):
    env = FakeEnv()
    env.render = lambda: None
    with pytest.raises(BadImageSize, match="rgb_array"):
        import_env(env, tmp_path / "set", 1, name="any-v0")
    del env.action_space.low
    with pytest.raises(BadOption, match="action space"):
        import_env(env, tmp_path / "other", 1, name="any-v0")


def _gymnasium(name):
    gymnasium = pytest.importorskip("gymnasium")
    try:
        env = gymnasium.make(name, render_mode="rgb_array")
        env.reset(seed=0)
        env.render()
    except Exception as error:
        pytest.skip(f"{name} cannot be rendered here: {error}")
    return env


@pytest.mark.slow
def test_car_racing_is_imported(tmp_path):
    pytest.importorskip("Box2D")
    dataset = import_env(_gymnasium("CarRacing-v3"), tmp_path / "cars-v0", 1, name="cars-v0", max_steps=20)
    assert dataset.description.task == "CarRacing-v3"
    assert dataset[0].actions.shape == (20, 3)
    assert dataset[0].pixels.std() > 5


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("MUJOCO_GL") not in ("egl", "osmesa", "glfw"),
    reason="needs a GL library: set MUJOCO_GL to egl, osmesa or glfw",
)
def test_a_standard_mujoco_environment_is_imported(tmp_path):
    dataset = import_env(_gymnasium("Reacher-v5"), tmp_path / "reach-v0", 1, name="reach-v0", max_steps=8)
    assert dataset[0].actions.shape == (8, 2)
    assert dataset[0].pixels.std() > 5


def test_a_summary_and_a_sheet(tmp_path):
    with Dataset.create(tmp_path / "set", described()) as dataset:
        assert summary(dataset)["episodes"] == 0
        with pytest.raises(BadOption, match="from 0 episodes"):
            contact_sheet(dataset)
        episodes = [random_episode(seed, 10 + seed) for seed in range(5)]
        for episode in episodes:
            dataset.append(episode)
    report = summary(dataset)
    assert (report["episodes"], report["frames"]) == (5, sum(len(e) + 1 for e in episodes))
    assert (report["length_min"], report["length_median"], report["length_max"]) == (10, 12, 14)
    assert report["success_rate"] == np.mean([e.success.any() for e in episodes])
    assert report["return_mean"] == pytest.approx(np.mean([e.rewards.sum() for e in episodes]), rel=1e-5)
    assert {key: value["episodes"] for key, value in report["by_behaviour"].items()} == {"expert": 2, "random": 3}
    sheet = contact_sheet(dataset, rows=3, columns=4)
    assert sheet.shape == (3 * 8 - 2, 4 * 7 - 2, 3)
    np.testing.assert_array_equal(sheet[:6, :5], episodes[0].pixels[0])
    np.testing.assert_array_equal(sheet[-6:, -5:], episodes[4].pixels[-1])
