"""One episode, one HDF5 file: Minari's layout inside, checked on the way in and on the way out.

Frames lie in chunks of 8 (an action text's length), each with a checksum, so that reading a window touches few of them
and a damaged disk does not go unnoticed.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from sfvgen_planner.errors import BadEpisode, CorruptDataset, SfvgenError
from sfvgen_planner.types import FRAMES_PER_CHUNK, Episode, Things

_ARRAYS = {
    "pixels": "observations/pixels",
    "poses": "observations/pose",
    "actions": "actions",
    "rewards": "rewards",
    "terminated": "terminations",
    "truncated": "truncations",
    "success": "infos/success",
}
_TEXTS = {"instructions": "infos/instruction", "phrases": "infos/phrase"}
_THINGS = {name: f"infos/things/{name}" for name in ("places", "shown", "eye")}
"""Only where somebody wrote them down; the names are an attribute of the folder."""
_WRITE_HINT = "Nothing was written; mend what made the episode."
_READ_HINT = "Run `sfvgen inspect data=<folder> repair=true` to set the broken episodes aside."


def encode_episode(episode: Episode, compression: Literal["none", "gzip"] = "none") -> bytes:
    """The whole file as bytes: equal episodes give equal bytes."""
    arrays = {name: _array(name, getattr(episode, name)) for name in _ARRAYS}
    texts = {name: _packed(name, getattr(episode, name)) for name in _TEXTS}
    _check({**arrays, **texts}, "an episode", BadEpisode, _WRITE_HINT)
    # Built in memory: HDF5 copes badly with a disk that fills up under an open file.
    with h5py.File("episode", "w", driver="core", backing_store=False, libver="latest") as file:
        for name, where in _ARRAYS.items():
            if name == "pixels":
                frames, *picture = arrays[name].shape
                chunks = (min(FRAMES_PER_CHUNK, frames), *picture)
                packing = {"compression": "gzip", "compression_opts": 1} if compression == "gzip" else {}
                file.create_dataset(where, data=arrays[name], chunks=chunks, fletcher32=True, **packing)
            else:
                file.create_dataset(where, data=arrays[name])
        for name, where in _TEXTS.items():
            utf8 = h5py.string_dtype("utf-8", texts[name].dtype.itemsize)
            file.create_dataset(where, data=texts[name].astype(utf8))
        _write_things(file, episode)
        file.attrs.update(summary_of(episode))
        file.attrs["card"] = _json(episode.card)
        seed = episode.card.get("seed")
        if isinstance(seed, int):
            file.attrs["seed"] = seed
        file.flush()
        return bytes(file.id.get_file_image())


def summary_of(episode: Episode) -> dict[str, Any]:
    """`total_steps`, `total_reward` and `success` (at any step): what is known without reading the frames again."""
    return {
        "total_steps": len(episode),
        "total_reward": float(np.sum(episode.rewards, dtype=np.float64)),
        "success": bool(np.any(episode.success)),
    }


def read_episode(path: Path) -> Episode:
    """The episode in `path`, checked."""
    with _reading(path) as file:
        arrays = {name: file[where][()] for name, where in _ARRAYS.items()}
        packed = {name: file[where][()] for name, where in _TEXTS.items()}
        texts = {name: _unpacked(values) for name, values in packed.items()}
        card = json.loads(file.attrs["card"])
        things = _things(file)
    _check({**arrays, **packed}, f"the episode {path}", CorruptDataset, _READ_HINT)
    return Episode(**arrays, instructions=texts["instructions"], phrases=texts["phrases"], card=card, things=things)


def read_summary(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `summary_of` says, and the card, without reading any frames."""
    with _reading(path) as file:
        summary = {
            "total_steps": int(file.attrs["total_steps"]),
            "total_reward": float(file.attrs["total_reward"]),
            "success": bool(file.attrs["success"]),
        }
        return summary, dict(json.loads(file.attrs["card"]))


def read_track(path: Path) -> tuple[Any, Any, tuple[str, ...]]:
    """Poses [T+1, P], actions [T(, A)] and phrases (T): all but the frames."""
    with _reading(path) as file:
        return file[_ARRAYS["poses"]][()], file[_ARRAYS["actions"]][()], _unpacked(file[_TEXTS["phrases"]][()])


def read_things(path: Path) -> Things | None:
    """Where named things stood, if somebody wrote it down."""
    with _reading(path) as file:
        return _things(file)


def read_instruction(path: Path, frame: int) -> str:
    """What the agent was told at this frame, at the last one what it was told before."""
    with _reading(path) as file:
        texts = file[_TEXTS["instructions"]]
        return str(texts[min(frame, len(texts) - 1)].decode())


def read_instructions(path: Path) -> tuple[str, ...]:
    """What the agent was told at each step."""
    with _reading(path) as file:
        return _unpacked(file[_TEXTS["instructions"]][()])


def read_frames(path: Path, start: int, out: Any) -> None:
    """Fill `out` (uint8 [T, h, w, 3]) with the frames from `start` on."""
    with _reading(path) as file:
        # `Dataset.read_direct` does the same, and takes 100 µs more for a window.
        frames = h5py.h5d.open(file.id, _ARRAYS["pixels"].encode())
        source = frames.get_space()
        if start < 0 or start + len(out) > source.shape[0] or source.shape[1:] != out.shape[1:]:
            raise ValueError(f"frames {start} to {start + len(out)} of {source.shape}")
        source.select_hyperslab((start, 0, 0, 0), out.shape)
        frames.read(h5py.h5s.create_simple(out.shape), source, out)


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    try:
        # Nobody writes to a file that has its name, so no lock is needed, and some file systems have none.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CorruptDataset(f"{path}, which cannot be read ({error})", "a whole episode", _READ_HINT) from error


def _write_things(file: Any, episode: Episode) -> None:
    if (things := episode.things) is None:
        return
    frames, named = len(episode) + 1, len(things.names)
    wanted = {"places": [frames, named, 3], "shown": [frames, named], "eye": [7]}
    values = {name: np.asarray(getattr(things, name), np.int32 if name == "shown" else np.float32) for name in wanted}
    shapes = {name: [*value.shape] for name, value in values.items()}
    if shapes != wanted or not all(np.isfinite(value).all() for value in values.values()):
        raise BadEpisode(f"things {list(things.names)} of shapes {shapes}", f"finite ones of {wanted}", _WRITE_HINT)
    for name, value in values.items():
        file.create_dataset(_THINGS[name], data=value)
    file["infos/things"].attrs["names"] = json.dumps(things.names)


def _things(file: Any) -> Things | None:
    if "infos/things" not in file:
        return None
    names = tuple(json.loads(file["infos/things"].attrs["names"]))
    return Things(names, *(file[where][()] for where in _THINGS.values()))


def _array(name: str, value: Any) -> Any:
    array = np.asarray(value)
    if name == "pixels":
        wanted = array.dtype if array.dtype == np.uint8 else None
    elif name in ("terminated", "truncated", "success"):
        wanted = array.dtype if array.dtype == bool else None
    elif name == "actions" and np.issubdtype(array.dtype, np.integer):
        wanted = np.dtype(np.int64)
    else:
        wanted = np.dtype(np.float32) if np.issubdtype(array.dtype, np.floating) else None
    if wanted is None:
        raise BadEpisode(f"{name} of type {array.dtype}", "the types that `Episode` names", _WRITE_HINT)
    return array.astype(wanted, copy=False)


def _check(arrays: dict[str, Any], what: str, error: type[SfvgenError], hint: str) -> None:
    steps = len(arrays["rewards"]) if arrays["rewards"].ndim == 1 else 0
    if steps == 0:
        raise error(f"{what} without steps", "one step or more, rewards of shape [T]", hint)
    for name, array in arrays.items():
        long = steps + 1 if name in ("pixels", "poses") else steps
        if array.ndim == 0 or len(array) != long:
            raise error(f"{what} with {name} of shape {list(array.shape)}", f"{long} rows", hint)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise error(f"{what} with {name} that are not finite", "finite numbers", hint)
    pixels, actions = arrays["pixels"], arrays["actions"]
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3 or 0 in pixels.shape:
        raise error(f"{what} with pixels of shape {list(pixels.shape)}", "uint8 [T+1, h, w, 3]", hint)
    if arrays["poses"].ndim != 2:
        raise error(f"{what} with poses of shape {list(arrays['poses'].shape)}", "[T+1, P]", hint)
    if actions.ndim != (1 if actions.dtype.kind == "i" else 2):
        raise error(f"{what} with actions of shape {list(actions.shape)}", "float [T, A] or int [T]", hint)


def _packed(name: str, texts: Any) -> Any:
    if any(not isinstance(text, str) or "\0" in text for text in texts):
        raise BadEpisode(f"{name} with something that is no text", "strings without NUL", _WRITE_HINT)
    try:
        encoded = [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        raise BadEpisode(f"{name} that are not Unicode ({error})", "valid text", _WRITE_HINT) from error
    return np.array(encoded, dtype=f"S{max([1, *map(len, encoded)])}")


def _unpacked(texts: Any) -> tuple[str, ...]:
    return tuple(text.decode() for text in texts)


def _json(card: dict[str, Any]) -> str:
    try:
        return json.dumps(card, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadEpisode(
            f"a card that is no JSON ({error})", "plain numbers, texts, lists, dicts", _WRITE_HINT
        ) from error
