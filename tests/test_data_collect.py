"""Laws of collecting: the same set whoever works, however often it is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from data_fakes import MakeRecord, assert_same, described

from sfvgen_experiments.collecting import collect
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption, SfvgenError


@pytest.fixture
def out(tmp_path):
    Dataset.create(tmp_path / "set", described())
    return tmp_path / "set"


def _check(dataset, numbers):
    """Exactly these episodes, as an unkilled run makes them."""
    record = MakeRecord()()
    assert [entry.number for entry in dataset.entries] == list(numbers)
    for entry, episode in zip(dataset.entries, dataset, strict=True):
        assert_same(episode, record(entry.number))


def test_one_process_and_two_make_the_same_set(tmp_path):
    seen = []
    for workers in (0, 2):
        Dataset.create(tmp_path / str(workers), described())
        _check(collect(range(12), tmp_path / str(workers), workers, MakeRecord(), seen.append), range(12))
    assert [progress.done for progress in seen] == [*range(13), *range(13)]
    assert seen[-1].frames == 12 * 21
    one, two = (
        [path.read_bytes() for path in sorted((tmp_path / str(workers)).rglob("episode_*"))] for workers in (0, 2)
    )
    assert one == two


def test_only_what_is_missing_is_recorded(out):
    collect([1, 3], out, 0, MakeRecord())
    seen = []
    _check(collect(range(5), out, 0, MakeRecord(), seen.append), range(5))
    assert (seen[0].done, seen[0].total, seen[-1].recorded) == (2, 5, 3)
    assert len(collect(range(5), out, 2, MakeRecord())) == 5


def test_fewer_than_no_workers_are_refused(out):
    with pytest.raises(BadOption, match="-1 workers"):
        collect(range(3), out, -1, MakeRecord())


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (MakeRecord(fails=4), "episode 4, which failed with ValueError: the robot fell over"),
        (MakeRecord(dies=4), r"a worker that died while recording episode 4 \(exit code 3\)"),
    ],
)
def test_a_worker_in_trouble_is_a_clean_error_and_loses_nothing(out, trouble, says):
    seen = []
    with pytest.raises(SfvgenError, match=says):
        collect(range(8), out, 2, trouble, seen.append)
    dataset = Dataset(out)
    numbers = [entry.number for entry in dataset.entries]
    assert len(numbers) >= seen[-1].done
    assert 4 not in numbers
    _check(dataset, numbers)
    _check(collect(range(8), out, 0, MakeRecord()), range(8))


def _start(out: Path, total: int) -> "subprocess.Popen[str]":
    script = Path(__file__).with_name("data_fakes.py")
    return subprocess.Popen(
        [sys.executable, str(script), str(out), str(total), "2"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _all_end(group: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("processes live on after their parent")


@pytest.mark.slow
def test_killed_20_times_it_loses_at_most_what_was_being_recorded(out):
    minari = pytest.importorskip("minari")
    rng = random.Random(0)
    total, finished = 10_000, 0
    for kill in range(20):
        process = _start(out, total)
        assert process.stdout is not None
        told = int(process.stdout.readline())
        assert told == finished
        if kill % 5:  # every fifth time while the workers start, else while they record and the index is written
            told = int(process.stdout.readline())
            assert told == finished + 1
        time.sleep(rng.uniform(0, 0.4))
        os.killpg(process.pid, signal.SIGKILL)
        told = int(([str(told), *process.stdout.read().split()])[-1])
        process.wait()
        minari_before = minari.MinariDataset(out / "data")
        assert len(list(minari_before)) == minari_before.total_episodes
        dataset = Dataset(out)
        finished = len(dataset)
        assert finished >= told
        _check(dataset, [entry.number for entry in dataset.entries])
        assert minari.MinariDataset(out / "data").total_episodes == finished
    assert 16 <= finished < total, "the kills must fall into the middle"
    last = finished + 20
    _check(collect(range(last), out, 0, MakeRecord()), range(last))
    assert not list(out.rglob(".partial*"))


@pytest.mark.slow
def test_ctrl_c_leaves_a_good_set_and_no_process(out):
    process = _start(out, 100_000)
    assert process.stdout is not None
    while int(process.stdout.readline()) < 20:
        pass
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    minari = pytest.importorskip("minari")
    assert minari.MinariDataset(out / "data").total_episodes == len(Dataset(out)) >= 20
    _all_end(process.pid)


@pytest.mark.slow
def test_workers_whose_parent_is_killed_end_too(out):
    process = _start(out, 100_000)
    assert process.stdout is not None
    while int(process.stdout.readline()) < 20:
        pass
    process.kill()
    process.communicate(timeout=20)
    _all_end(process.pid)
