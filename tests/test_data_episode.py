"""Laws of one episode's file: what goes in comes out, and what should not go in is refused."""

import errno
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from data_fakes import assert_same, random_episode
from hypothesis import given, settings
from hypothesis import strategies as st

from sfvgen_planner.data.atomic import replacing, sweep, write_bytes
from sfvgen_planner.data.episode_file import encode_episode, read_episode, read_frames, read_summary
from sfvgen_planner.errors import BadEpisode, CorruptDataset, DiskFull


@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(1, 40),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    discrete=st.booleans(),
    compression=st.sampled_from(["none", "gzip"]),
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    extra=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=3),
)
def test_what_goes_in_comes_out_bit_for_bit(tmp_path_factory, steps, h, w, discrete, compression, text, extra):
    episode = random_episode(steps, steps, discrete=discrete, h=h, w=w)
    episode = replace(episode, phrases=(text, *episode.phrases[1:]), card={**episode.card, "extra": extra})
    path = tmp_path_factory.mktemp("one") / "episode.hdf5"
    path.write_bytes(encode_episode(episode, compression))
    assert_same(read_episode(path), episode)


def test_equal_episodes_are_equal_files():
    assert encode_episode(random_episode(3)) == encode_episode(random_episode(3))


def test_actions_of_size_zero_are_kept(tmp_path):
    episode = replace(random_episode(0), actions=np.zeros((20, 0), np.float32))
    (tmp_path / "e.hdf5").write_bytes(encode_episode(episode))
    assert_same(read_episode(tmp_path / "e.hdf5"), episode)


def test_a_card_may_be_long(tmp_path):
    episode = replace(random_episode(0), card={"scene": "x" * 100_000})
    (tmp_path / "e.hdf5").write_bytes(encode_episode(episode))
    assert read_summary(tmp_path / "e.hdf5")[1] == episode.card


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"poses": np.full((21, 7), np.nan, np.float32)}, "poses"),
        ({"rewards": np.full(20, np.inf, np.float32)}, "rewards"),
        ({"pixels": np.zeros((20, 6, 5, 3), np.uint8)}, "pixels"),
        ({"pixels": np.zeros((21, 6, 5, 3), np.float32)}, "pixels"),
        ({"pixels": np.zeros((21, 6, 5, 4), np.uint8)}, "pixels"),
        ({"actions": np.zeros((19, 2), np.float32)}, "actions"),
        ({"actions": np.zeros((20, 2), np.int64)}, "actions"),
        ({"actions": np.zeros(20, np.float32)}, "actions"),
        ({"success": np.zeros(20)}, "success"),
        ({"rewards": np.zeros(0, np.float32)}, "without steps"),
        ({"phrases": ("go",) * 19}, "phrases"),
        ({"phrases": ("go\0",) * 20}, "phrases"),
        ({"instructions": ("\ud800",) * 20}, "instructions"),
        ({"card": {"seed": np.int64(3)}}, "card"),
    ],
)
def test_a_broken_episode_is_refused(change, names):
    with pytest.raises(BadEpisode, match=names):
        encode_episode(replace(random_episode(0), **change))


@pytest.mark.parametrize("part", [0, 100, 0.5, 0.95])
def test_a_truncated_file_is_named(tmp_path, part):
    path = tmp_path / "episode_7.hdf5"
    data = encode_episode(random_episode(0))
    path.write_bytes(data[: int(part * len(data)) if part < 1 else part])
    with pytest.raises(CorruptDataset, match=r"episode_7\.hdf5.*repair"):
        read_episode(path)


def test_a_flipped_bit_in_a_frame_is_noticed(tmp_path):
    episode = random_episode(0)
    path = tmp_path / "episode_7.hdf5"
    data = bytearray(encode_episode(episode))
    data[data.find(episode.pixels[0].tobytes()) + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptDataset, match=r"episode_7\.hdf5"):
        read_episode(path)
    with pytest.raises(CorruptDataset, match=r"episode_7\.hdf5"):
        read_frames(path, 0, np.empty((4, 6, 5, 3), np.uint8))


@pytest.mark.parametrize("key", ["rewards", "observations/pose", "infos/phrase"])
def test_a_missing_array_is_noticed(tmp_path, key):
    path = tmp_path / "episode_7.hdf5"
    path.write_bytes(encode_episode(random_episode(0)))
    with h5py.File(path, "a") as file:
        del file[key]
    with pytest.raises(CorruptDataset, match=r"episode_7\.hdf5"):
        read_episode(path)


@pytest.mark.parametrize("where", ["pathlib.Path.write_bytes", "os.fsync", "os.replace"])
def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, where):
    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "there").write_text("old")
    monkeypatch.setattr(where, full)
    with pytest.raises(DiskFull, match="there"):
        write_bytes(tmp_path / "there", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_text() == "old"


def test_what_a_killed_writer_left_is_swept_but_not_what_a_living_one_writes(tmp_path):
    with replacing(tmp_path / "mine") as partial:
        partial.write_bytes(b"half")
        (tmp_path / ".partial-of-the-dead~mine").write_bytes(b"half")
        sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [partial]
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]


def test_the_card_is_json_that_minari_shows(tmp_path):
    (tmp_path / "e.hdf5").write_bytes(encode_episode(random_episode(4)))
    with h5py.File(tmp_path / "e.hdf5") as file:
        assert json.loads(file.attrs["card"])["behaviour"] == "random"
        assert file.attrs["seed"] == 4
        assert file.attrs["total_steps"] == 20
