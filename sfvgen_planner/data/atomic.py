"""Nothing is half written: a file appears by rename, whole, or not at all."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from uuid import uuid4

from sfvgen_planner.errors import DiskFull

_PREFIX = ".partial-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold `lock` against other processes; a killed holder lets go by itself."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def replacing(path: Path, lock: Path | None = None) -> Iterator[Path]:
    """Yield a name to write to, beside `path`; afterwards it is flushed to the disk and takes the place of `path`.

    With a `lock` it never takes the place of an existing file: FileExistsError.
    """
    with _saying_when_full(path):
        partial, held = _begun(path)
        try:
            yield partial
            os.fsync(held)
            with locked(lock) if lock else nullcontext():
                if lock and path.exists():
                    raise FileExistsError(path)
                os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
            os.close(held)


def write_bytes(path: Path, data: bytes, lock: Path | None = None) -> None:
    """Write `data` to `path` as `replacing` does."""
    with replacing(path, lock) as partial:
        partial.write_bytes(data)


@contextmanager
def building(parent: Path) -> Iterator[Path]:
    """Yield a folder in `parent` to fill, and then to `settle`; what is not settled is removed, whoever is killed."""
    with _saying_when_full(parent):
        while True:
            partial = parent / f"{_PREFIX}{uuid4().hex}"
            partial.mkdir()
            held = os.open(partial, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX)
            if partial.exists():
                break
            os.close(held)  # swept before it was locked
        try:
            yield partial
        finally:
            os.close(held)
            shutil.rmtree(partial, ignore_errors=True)


def settle(partial: Path, final: Path, lock: Path) -> None:
    """Flush the files of `partial` to the disk and give it its name, whole, unless that is taken: FileExistsError."""
    for path in (*partial.iterdir(), partial):
        held = os.open(path, os.O_RDONLY)
        os.fsync(held)
        os.close(held)
    with locked(lock):
        if final.exists():
            raise FileExistsError(final)
        partial.rename(final)


def discard(folder: Path) -> None:
    """Remove a folder: it is gone as a whole, before any of its files is."""
    doomed = folder.with_name(f"{_PREFIX}{uuid4().hex}")
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half written in `folder`: whoever lives holds a lock on his."""
    for partial in folder.glob(f"{_PREFIX}*"):
        try:
            held = os.open(partial, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue
        finally:
            os.close(held)


def _begun(path: Path) -> tuple[Path, int]:
    """A new file beside `path`, and the descriptor that holds it against `sweep`."""
    while True:
        partial = path.with_name(f"{_PREFIX}{uuid4().hex}~{path.name}")
        held = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        fcntl.flock(held, fcntl.LOCK_EX)
        if partial.exists():
            return partial, held
        os.close(held)  # swept before it was locked


@contextmanager
def _saying_when_full(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise DiskFull(
            f"no room left to write {path}",
            "enough free space",
            "Free some space and run the same command again: everything written before is whole.",
        ) from error
