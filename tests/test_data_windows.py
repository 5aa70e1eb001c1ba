"""Laws of windows: each is a slice of its episode, and every one is found."""

import pickle

import numpy as np
import pytest
from data_fakes import described, discrete_actions, random_episode

from sfvgen_planner.data import Dataset, Windows
from sfvgen_planner.errors import BadOption

LENGTHS = (20, 3, 33, 15)


@pytest.fixture(params=["vector", "discrete"])
def dataset(tmp_path, request):
    discrete = request.param == "discrete"
    actions = discrete_actions() if discrete else described().actions
    with Dataset.create(tmp_path / "set", described(actions=actions)) as made:
        for seed, steps in enumerate(LENGTHS):
            made.append(random_episode(seed, steps, discrete=discrete))
    return made


def test_every_window_is_a_slice_with_the_action_that_led_into_each_frame(dataset):
    length = 16
    windows = Windows(dataset, length)
    index = 0
    for episode in dataset:
        for start in range(len(episode) + 2 - length):
            window = windows[index]
            index += 1
            assert window.start == start
            np.testing.assert_array_equal(window.pixels, episode.pixels[start : start + length])
            np.testing.assert_array_equal(window.poses, episode.poses[start : start + length])
            assert window.actions.dtype == episode.actions.dtype
            for row in range(length):
                frame = start + row
                if frame == 0:
                    assert not window.actions[row].any()
                    assert window.phrases[row] == ""
                else:
                    np.testing.assert_array_equal(window.actions[row], episode.actions[frame - 1])
                    assert window.phrases[row] == episode.phrases[frame - 1]
    assert index == len(windows)
    assert windows.skipped == 1


def test_a_sample_is_a_batch_of_windows_and_repeats_with_its_generator(dataset):
    windows = Windows(dataset, 8)
    one, two = (windows.sample(np.random.default_rng(5), 6) for _ in range(2))
    assert one.pixels.shape == (6, 8, 6, 5, 3)
    assert one.poses.shape == (6, 8, 7)
    assert one.actions.shape[:2] == (6, 8)
    assert [len(texts) for texts in one.phrases] == [8] * 6
    np.testing.assert_array_equal(one.pixels, two.pixels)
    known = {windows[i].pixels.tobytes() for i in range(len(windows))}
    assert all(row.tobytes() in known for row in one.pixels)


def test_every_window_is_sampled_as_often(dataset):
    windows = Windows(dataset, 16)
    rng = np.random.default_rng(0)
    counts = np.bincount(rng.integers(len(windows), size=5000), minlength=len(windows))
    assert counts.min() > 0
    starts = {tuple(windows[i].poses[0]) for i in range(len(windows))}
    seen = {tuple(row) for row in windows.sample(rng, 400).poses[:, 0]}
    assert seen == starts


def test_cards_choose_and_stride_spreads(dataset):
    windows = Windows(dataset, 8, stride=8, where=lambda card: card["behaviour"] == "random")
    starts = [windows[i].start for i in range(len(windows))]
    assert starts == [0, 8, 0, 8, 16, 24]
    assert windows.skipped == 0


def test_it_travels_to_other_processes(dataset):
    windows = Windows(dataset, 8)
    windows[0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(windows))[3].pixels, windows[3].pixels)


def test_windows_that_fit_no_episode_are_refused(dataset):
    with pytest.raises(BadOption, match="none as long as 64 frames"):
        Windows(dataset, 64)
    with pytest.raises(BadOption, match="0 of them chosen"):
        Windows(dataset, 8, where=lambda card: card["behaviour"] == "mixed")
    with pytest.raises(IndexError):
        Windows(dataset, 8)[10_000]
