"""Recording episodes with several processes, and going on where a killed run stopped.

Each worker records whole episodes and puts them into the data set itself; the parent hands out numbers and writes the
index. Whoever is killed, only the episodes then being recorded are lost. A number always gives the same episode.
"""

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption, SfvgenError
from sfvgen_planner.types import Episode

Record = Callable[[int], Episode]
"""number -> episode; equal numbers, equal episodes"""

_INDEX_SHARE = 0.05
"""at most this part of the time goes into writing the index while collecting"""


@dataclass(frozen=True)
class Progress:
    """How far a collection is."""

    done: int
    """episodes of this collection on the disk, those found there included"""
    total: int
    frames: int
    """recorded by this run"""
    seconds: float
    """since this run began"""
    recorded: int
    """episodes recorded by this run"""


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    number: int | None = None
    """what it is recording"""


def collect(
    numbers: Iterable[int],
    out: Path | str,
    workers: int,
    make_record: Callable[[], Record],
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Dataset:
    """Record the episodes `numbers` that the data set `out` (made before) does not have yet.

    `make_record` is called once in each worker, so it must be picklable: a function or a dataclass of a module.
    With 0 workers everything happens in this process.
    """
    if workers < 0:
        raise BadOption(f"{workers} workers", "0 or more", "0 records in the calling process.")
    dataset = Dataset(out)
    asked = list(numbers)
    todo = dataset.missing(asked)
    report = _Report(dataset, len(asked), len(asked) - len(todo), on_progress)
    try:
        if workers == 0:
            _alone(dataset, todo, make_record, report)
        else:
            _together(dataset.root, todo, min(workers, len(todo)), make_record, report)
    finally:
        dataset.flush()
    return dataset


class _Report:
    """Tells of progress, and keeps the index from lagging far behind."""

    def __init__(self, dataset: Dataset, total: int, found: int, tell: Callable[[Progress], None]) -> None:
        self.dataset, self.total, self.found, self.tell = dataset, total, found, tell
        self.recorded = self.frames = 0
        self.began = time.monotonic()
        self.next_index = self.began + 1
        self._tell()

    def __call__(self, frames: int) -> None:
        self.recorded += 1
        self.frames += frames
        self._tell()
        if time.monotonic() > self.next_index:
            before = time.monotonic()
            self.dataset.flush()
            after = time.monotonic()
            self.next_index = after + max(1.0, (after - before) / _INDEX_SHARE)

    def _tell(self) -> None:
        seconds = time.monotonic() - self.began
        self.tell(Progress(self.found + self.recorded, self.total, self.frames, seconds, self.recorded))


def _alone(dataset: Dataset, todo: list[int], make_record: Callable[[], Record], report: _Report) -> None:
    record = make_record()
    for number in todo:
        episode = record(number)
        dataset.put(number, episode)
        report(len(episode) + 1)


def _together(root: Path, todo: list[int], count: int, make_record: Callable[[], Record], report: _Report) -> None:
    # A forked child of a process that has used torch or a GL library may hang; a spawned one starts clean.
    context = multiprocessing.get_context("spawn")
    pending = todo[::-1]
    crew: list[_Worker] = []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, root, make_record), daemon=True)
            process.start()
            theirs.close()
            crew.append(_Worker(process, ours))
            _hand_out(crew[-1], pending)
        while busy := [worker for worker in crew if worker.number is not None]:
            ready = wait([worker.pipe for worker in busy])
            for worker in busy:
                if worker.pipe in ready:
                    report(_answer(worker))
                    _hand_out(worker, pending)
    finally:
        for worker in crew:
            worker.pipe.close()
            worker.process.terminate()
        for worker in crew:
            worker.process.join()


def _hand_out(worker: _Worker, pending: list[int]) -> None:
    worker.number = pending.pop() if pending else None
    if worker.number is not None:
        try:
            worker.pipe.send(worker.number)
        except OSError:
            _answer(worker)


def _answer(worker: _Worker) -> int:
    """How many frames the worker recorded; or what went wrong with it, raised."""
    try:
        answer: Any = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        raise SfvgenError(
            f"a worker that died while recording episode {worker.number} (exit code {worker.process.exitcode})",
            "workers that live",
            "All finished episodes are safe; resume with fewer workers if memory ran out (exit code -9).",
        ) from None
    if isinstance(answer, BaseException):
        raise answer
    return int(answer)


def _work(pipe: Connection, root: Path, make_record: Callable[[], Record]) -> None:
    """A worker's life. It ends when the parent hangs up, also by dying: then nobody is left behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        dataset = Dataset(root)
        record = make_record()
        while True:
            number = pipe.recv()
            try:
                episode = record(number)
                dataset.put(number, episode)
            except SfvgenError as error:
                pipe.send(error)
            except Exception as error:
                pipe.send(_told(f"episode {number}", error))
            else:
                pipe.send(len(episode) + 1)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        pipe.send(_told("a worker", error))


def _told(what: str, error: Exception) -> SfvgenError:
    """An error that crosses to the parent; its traceback stays here, on stderr."""
    traceback.print_exc()
    return SfvgenError(
        f"{what}, which failed with {type(error).__name__}: {error}",
        "an episode",
        "All finished episodes are safe; mend the cause and resume.",
    )
