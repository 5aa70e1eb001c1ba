"""Latents kept on disk are those of the very episode that is asked for."""

import shutil
from pathlib import Path

import numpy as np
import torch
from world_fakes import PHRASES, tiny_world, toy_episode, toy_set

from sfvgen_planner.data import Dataset, Description, VectorActions
from sfvgen_planner.learning.latents import LatentSet


def other_set(folder: Path) -> Dataset:
    """Of the same task and length as `toy_set`, but other episodes."""
    actions = VectorActions.of((-1.0, -1.0), (1.0, 1.0))
    about = Description("toy/square-v0", "toy", picture=(16, 16), actions=actions, pose_size=9, phrases=PHRASES)
    with Dataset.create(folder, about) as dataset:
        for number in range(3):
            dataset.append(toy_episode(number + 100, 30))
    return dataset


def test_sets_of_one_name_never_read_each_others_episodes(tmp_path: Path) -> None:
    """Places were named by the set's folder name and the codec alone. Training on `more/reach` beside `old/reach` with
    one `latents` folder then read the old episodes twice, and said nothing."""
    codec, shared = tiny_world().codec, tmp_path / "latents"
    old, more = toy_set(tmp_path / "old" / "reach"), other_set(tmp_path / "more" / "reach")
    LatentSet(old, codec, shared)
    for number, episode in enumerate(LatentSet(more, codec, shared).episodes):
        expected = codec.encode(torch.from_numpy(np.asarray(more[number].pixels))).half().numpy()
        assert np.array_equal(episode["latents"], expected)
        assert np.array_equal(episode["actions"][1:], more[number].actions)


def test_what_is_recorded_again_in_the_same_place_is_encoded_again(tmp_path: Path) -> None:
    codec, shared = tiny_world().codec, tmp_path / "latents"
    LatentSet(toy_set(tmp_path / "reach"), codec, shared)
    shutil.rmtree(tmp_path / "reach")
    again = other_set(tmp_path / "reach")
    assert np.array_equal(LatentSet(again, codec, shared).episodes[1]["actions"][1:], again[1].actions)


def test_some_episodes_alone(tmp_path: Path) -> None:
    codec, dataset = tiny_world().codec, toy_set(tmp_path / "reach")
    found = LatentSet(dataset, codec, tmp_path / "latents", only=[2, 0])
    actions = [episode["actions"][1:] for episode in found.episodes]
    assert all(np.array_equal(one, dataset[n].actions) for one, n in zip(actions, (2, 0), strict=True))
    assert len(list((tmp_path / "latents").rglob("*.safetensors"))) == 2
