"""Laws of a data set: it grows by whole episodes, opens in Minari, and mends its own index."""

import errno
import json
import os
import pickle
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_fakes import FakeEnv, assert_same, described, discrete_actions, random_episode

from sfvgen_planner.data import Dataset, VectorActions, merge, repair
from sfvgen_planner.errors import BadEpisode, BadOption, CorruptDataset, DiskFull


def _filled(root, count=3, **changes):
    with Dataset.create(root, described(**changes)) as dataset:
        for seed in range(count):
            dataset.append(random_episode(seed, 10 + seed))
    return dataset


def test_appending_goes_on_after_opening_again(tmp_path):
    _filled(tmp_path / "set")
    with Dataset(tmp_path / "set") as dataset:
        assert dataset.append(random_episode(9)) == 3
    again = Dataset(tmp_path / "set")
    assert len(again) == 4
    assert_same(again[3], random_episode(9))
    assert again.cards[3] == random_episode(9).card
    assert [len(episode) for episode in again] == [10, 11, 12, 20]
    assert pickle.loads(pickle.dumps(again)).entries == again.entries


def test_a_number_is_given_once(tmp_path):
    first, second = _filled(tmp_path / "set", 0), Dataset(tmp_path / "set")
    assert first.put(5, random_episode(5))
    assert not second.put(5, random_episode(6))
    assert second.append(random_episode(7)) == 0
    assert first.append(random_episode(8)) == 6
    assert first.missing(range(8)) == [1, 2, 3, 4, 7]
    assert_same(Dataset(tmp_path / "set")[1], random_episode(5))


def test_resuming_wants_the_same_description(tmp_path):
    _filled(tmp_path / "set")
    assert len(Dataset.resume(tmp_path / "set", described())) == 3
    with pytest.raises(BadOption, match="pose_size"):
        Dataset.resume(tmp_path / "set", described(pose_size=10))
    with pytest.raises(BadOption, match="holds a data set"):
        Dataset.create(tmp_path / "set", described())


@pytest.mark.parametrize("name", ["fake", "fake v0", "/fake-v0", ""])
def test_a_name_that_minari_would_refuse_is_refused(name):
    with pytest.raises(BadOption, match="data set called"):
        described(name=name)


@pytest.mark.parametrize(
    "episode",
    [
        random_episode(0, h=7),
        random_episode(0, discrete=True),
        replace(random_episode(0), poses=np.zeros((21, 8), np.float32)),
        replace(random_episode(0), actions=np.zeros((20, 3), np.float32)),
    ],
)
def test_an_episode_of_another_kind_is_refused(tmp_path, episode):
    dataset = _filled(tmp_path / "set", 1)
    with pytest.raises(BadEpisode, match="an episode with"):
        dataset.append(episode)
    assert len(Dataset(tmp_path / "set")) == 1


@pytest.mark.parametrize("actions", ["vector", "discrete", "none"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_it_opens_in_minari_without_loss(tmp_path, monkeypatch, actions, compression):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    kind = {"vector": described().actions, "discrete": discrete_actions(), "none": VectorActions((), ())}[actions]
    episodes = [random_episode(seed, 12, discrete=actions == "discrete", h=40, w=33) for seed in range(4)]
    if actions == "none":
        episodes = [replace(episode, actions=np.zeros((12, 0), np.float32)) for episode in episodes]
    described_here = described(name="mine/fake-v0", actions=kind, picture=(40, 33), compression=compression)
    with Dataset.create(tmp_path / "mine" / "fake-v0", described_here) as dataset:
        for number, episode in zip((7, 0, 3, 12), episodes, strict=True):
            dataset.put(number, episode)
    loaded = minari.load_dataset("mine/fake-v0")
    assert (loaded.total_episodes, loaded.total_steps, loaded.spec.version) == (4, 48, 0)
    for ours, theirs in zip(dataset, loaded.iterate_episodes(), strict=True):
        np.testing.assert_array_equal(theirs.observations["pixels"], ours.pixels)
        np.testing.assert_array_equal(theirs.observations["pose"], ours.poses)
        np.testing.assert_array_equal(theirs.actions, ours.actions)
        np.testing.assert_array_equal(theirs.rewards, ours.rewards)
        np.testing.assert_array_equal(theirs.terminations, ours.terminated)
        assert theirs.infos["phrase"][0].decode() == ours.phrases[0]
        assert loaded.observation_space.contains({key: value[0] for key, value in theirs.observations.items()}), actions
        assert loaded.action_space.contains(theirs.actions[0])
    assert len(loaded.sample_episodes(2)) == 2
    assert [card["seed"] for card in loaded.storage.get_episode_metadata(range(4))] == [1, 2, 0, 3]
    assert "mine/fake-v0" in minari.list_local_datasets()


def test_minari_recovers_the_environment(tmp_path):
    gymnasium, minari = pytest.importorskip("gymnasium"), pytest.importorskip("minari")
    spec = gymnasium.make("CartPole-v1").spec.to_json()
    _filled(tmp_path / "set", env_spec=spec)
    assert minari.MinariDataset(tmp_path / "set" / "data").recover_environment().spec.id == "CartPole-v1"


@pytest.mark.parametrize("file", ["main_data.hdf5", "cards.jsonl"])
@pytest.mark.parametrize("damage", ["gone", "truncated"])
def test_opening_mends_the_index(tmp_path, file, damage):
    minari = pytest.importorskip("minari")
    _filled(tmp_path / "set")
    path = tmp_path / "set" / "data" / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(Dataset(tmp_path / "set")) == 3
    assert minari.MinariDataset(tmp_path / "set" / "data").total_episodes == 3
    assert len(list(minari.MinariDataset(tmp_path / "set" / "data"))) == 3


def test_episodes_that_nobody_indexed_are_found(tmp_path):
    minari = pytest.importorskip("minari")
    dataset = _filled(tmp_path / "set")
    dataset.append(random_episode(9))  # and then the process dies: no flush
    assert minari.MinariDataset(tmp_path / "set" / "data").total_episodes == 3
    assert len(Dataset(tmp_path / "set")) == 4
    assert len(list(minari.MinariDataset(tmp_path / "set" / "data"))) == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_set_opens(tmp_path):
    dataset = _filled(tmp_path / "set")
    dataset.append(random_episode(9))
    folder = tmp_path / "set" / "data"
    folder.chmod(0o500)
    assert len(Dataset(tmp_path / "set")) == 4
    folder.chmod(0o700)


def test_a_set_that_cannot_write_its_index_still_opens(tmp_path, monkeypatch):
    dataset = _filled(tmp_path / "set")
    dataset.append(random_episode(9))

    def forbidden(*_args):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", forbidden)
    assert len(Dataset(tmp_path / "set")) == 4


def test_a_truncated_episode_is_named_and_set_aside(tmp_path):
    dataset = _filled(tmp_path / "set")
    path = dataset.path(1)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CorruptDataset, match=path.name):
        Dataset(tmp_path / "set")
    assert [moved.name for moved in repair(tmp_path / "set")] == [path.name]
    mended = Dataset(tmp_path / "set")
    assert [entry.number for entry in mended.entries] == [0, 2]
    assert mended.missing(range(3)) == [1]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sfvgen": {}}', '{"sfvgen": {"version": 1}}', "\xff\xfe"])
def test_metadata_that_is_not_ours_is_named(tmp_path, text):
    _filled(tmp_path / "set", 1)
    (tmp_path / "set" / "data" / "metadata.json").write_text(text, encoding="latin-1")
    with pytest.raises(CorruptDataset, match=r"metadata\.json"):
        Dataset(tmp_path / "set")


def test_another_format_version_is_refused(tmp_path):
    _filled(tmp_path / "set", 1)
    path = tmp_path / "set" / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["sfvgen"]["version"] = 99
    path.write_text(json.dumps(metadata))
    with pytest.raises(CorruptDataset, match=r"version 99; expected version 1\. Open it with the release"):
        Dataset(tmp_path / "set")


def test_no_data_set_is_named(tmp_path):
    with pytest.raises(CorruptDataset, match="nowhere"):
        Dataset(tmp_path / "nowhere")


def test_a_full_disk_loses_only_the_episode_being_written(tmp_path, monkeypatch):
    dataset = _filled(tmp_path / "set")

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull, match=r"episode_00000003\.hdf5"):
            dataset.append(random_episode(9))
    assert not list((tmp_path / "set").rglob(".partial*"))
    assert len(Dataset(tmp_path / "set")) == 3


_FILL = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from data_fakes import assert_same, described, random_episode
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import DiskFull
root = Path({root!r})
dataset = Dataset.create(root, described(picture=(32, 32)))
try:
    for seed in range(1000):
        dataset.append(random_episode(seed, h=32, w=32))
except DiskFull as error:
    assert f"episode_{{seed:08d}}.hdf5" in str(error)
assert not list(root.rglob(".partial*"))
again = Dataset(root)
assert 0 < seed == len(again)
for number in range(seed):
    assert_same(again[number], random_episode(number, h=32, w=32))
"""


def test_a_disk_that_is_really_full_loses_only_the_episode_being_written(tmp_path):
    script = tmp_path / "fill.py"
    script.write_text(_FILL.format(tests=str(Path(__file__).parent), root=str(tmp_path / "small" / "set")))
    (tmp_path / "small").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path / "small")]
    alone = ["unshare", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*alone, *mount], capture_output=True).returncode:
        pytest.skip("may not mount a small disk here")
    both = f"{shlex.join(mount)} && {shlex.join([sys.executable, str(script)])}"
    run = subprocess.run([*alone, "sh", "-c", both], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_merging_keeps_everything(tmp_path):
    first, second = _filled(tmp_path / "a", 3), _filled(tmp_path / "b", 2, task="Other", compression="gzip")
    merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c", "both-v0")
    assert merged.description.task == "Fake+Other"
    for ours, source in zip(merged, [*first, *second], strict=True):
        assert_same(ours, source)
    with pytest.raises(BadOption, match="exists"):
        merge([tmp_path / "a"], tmp_path / "c", "both-v0")


def test_merging_wants_equal_spaces(tmp_path):
    _filled(tmp_path / "a", 1)
    Dataset.create(tmp_path / "b", described(actions=discrete_actions(), frame_rate=10.0))
    with pytest.raises(BadOption, match="actions and frame_rate differ"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c", "both-v0")
    assert not (tmp_path / "c").exists()


def test_the_fake_environment_reuses_its_arrays():
    env = FakeEnv()
    first, _ = env.reset(seed=0)
    assert env.step(np.zeros(2))[0]["pixels"] is first["pixels"]
