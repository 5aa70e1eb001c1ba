"""A folder of mp4 files, and a JSONL file that says in words what happens in which frames, as a data set.

{"file": "a.mp4", "start": 0, "end": 63, "text": "go left"}

One episode per file. Frames are counted from 0, `end` is the first frame that no longer belongs, and a frame belongs to
the step that leads into it. Frames that no line speaks of have the text "".
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_planner.data.dataset import Dataset
from sfvgen_planner.data.description import Description, VectorActions
from sfvgen_planner.data.import_env import unknown_poses
from sfvgen_planner.data.video import frame_rate, read_video
from sfvgen_planner.errors import BadAnnotation, BadOption, BadVideo
from sfvgen_planner.types import POSE_CAMERA, Episode


@dataclass(frozen=True)
class Annotation:
    """One line: what happens in frames `start` to `end` - 1 of `file`."""

    file: str
    start: int
    end: int
    text: str
    line: str
    """where it is written, for error messages"""


def import_videos(
    folder: Path | str,
    jsonl: Path | str,
    out: Path | str,
    *,
    name: str,
    size: tuple[int, int] = (64, 64),
    fps: float = 8.0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Record every video that `jsonl` speaks of, at `fps` frames per second (slower videos keep their rate).

    Actions are unknown (vectors of size 0) and so are poses. Resumes if interrupted.
    """
    if not fps > 0:
        raise BadOption(f"{fps} frames per second", "more than 0", "Set fps.")
    by_file: dict[str, list[Annotation]] = {}
    for annotation in read_annotations(Path(jsonl)):
        by_file.setdefault(annotation.file, []).append(annotation)
    texts = tuple(dict.fromkeys(each.text for annotations in by_file.values() for each in annotations))
    description = Description(
        name=name, task="video", picture=size, actions=VectorActions((), ()), pose_size=POSE_CAMERA, frame_rate=fps,
        phrases=texts,
    )  # fmt: skip
    files = sorted(by_file)
    for file in files:
        if not (Path(folder) / file).is_file():
            first = by_file[file][0]
            raise BadAnnotation(f"{first.line}: {file}, which is not in {folder}", "a file", "Correct the name.")
    with Dataset.resume(out, description) as dataset:
        for number in dataset.missing(range(len(files))):
            dataset.put(number, _episode(Path(folder) / files[number], by_file[files[number]], size, fps))
            on_progress(number + 1, len(files))
    return dataset


def read_annotations(jsonl: Path) -> list[Annotation]:
    """All lines, checked but for what only the videos can tell."""
    try:
        lines = jsonl.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadAnnotation(f"{jsonl}, which cannot be read", "a JSONL file", "Check the path.") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{jsonl.name} line {number}"
        expected = '{"file": "a.mp4", "start": 0, "end": 63, "text": "go left"}'
        try:
            row = json.loads(line)
            annotation = Annotation(row["file"], row["start"], row["end"], row["text"], where)
        except (ValueError, KeyError, TypeError) as error:
            raise BadAnnotation(f"{where}: {line[:80]}", expected, "Correct this line.") from error
        numbers = type(annotation.start) is int and type(annotation.end) is int
        if not (numbers and isinstance(annotation.file, str) and isinstance(annotation.text, str)):
            raise BadAnnotation(f"{where}: {line[:80]}", expected, "Correct this line.")
        if not 0 <= annotation.start < annotation.end:
            given = f"{where}: frames {annotation.start} to {annotation.end} of {annotation.file}"
            raise BadAnnotation(given, "0 <= start < end", "Correct this line.")
        found.append(annotation)
    if not found:
        raise BadAnnotation(f"{jsonl} without lines", "one line or more", "Annotate at least one video.")
    return found


def frame_texts(annotations: list[Annotation], frames: int) -> list[str]:
    """The text of each of a video's frames."""
    texts = [""] * frames
    before: Annotation | None = None
    for each in sorted(annotations, key=lambda annotation: annotation.start):
        given = f"{each.line}: frames {each.start} to {each.end} of {each.file}"
        if each.end > frames:
            raise BadAnnotation(
                f"{given}, which has {frames} frames", f"an end of at most {frames}", "Correct this line."
            )
        if before and each.start < before.end:
            raise BadAnnotation(
                f"{given}, which overlap with {before.line} ({before.start} to {before.end})",
                "ranges that do not overlap (`end` is exclusive)",
                "Correct one of the lines.",
            )
        texts[each.start : each.end] = [each.text] * (each.end - each.start)
        before = each
    return texts


def _episode(path: Path, annotations: list[Annotation], size: tuple[int, int], fps: float) -> Episode:
    frames = read_video(path, size)
    texts = frame_texts(annotations, len(frames))
    source = frame_rate(path)
    kept = _kept(len(frames), source, fps)
    if len(kept) < 2:
        raise BadVideo(f"{path} with {len(frames)} frames at {source} per second", "two frames or more", "Raise fps.")
    steps = len(kept) - 1
    ended = np.arange(steps) == steps - 1
    return Episode(
        pixels=frames[kept],
        poses=unknown_poses(len(kept)),
        actions=np.zeros((steps, 0), np.float32),
        rewards=np.zeros(steps, np.float32),
        terminated=np.zeros(steps, bool),
        truncated=ended,
        success=np.zeros(steps, bool),
        instructions=("",) * steps,
        phrases=tuple(texts[frame] for frame in kept[1:]),
        card={"task": "video", "behaviour": "video", "file": path.name, "actions": "unknown", "poses": "unknown"},
    )


def _kept(frames: int, source: float, fps: float) -> Any:
    """Which frames to keep (int [T]) so that there are `fps` in a second."""
    step = max(1.0, source / fps)
    return np.floor(np.arange(0, frames - 1e-6, step) + 1e-6).astype(int)
