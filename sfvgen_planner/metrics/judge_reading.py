"""What one asks a judge: features of clips, places of frames, the actions that a clip shows."""

from typing import Any

import torch
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.adherence import Adherence, action_adherence, phrase_adherence
from sfvgen_planner.metrics.frechet import MOST_FEATURES
from sfvgen_planner.metrics.judge import Judge, Verdict
from sfvgen_planner.metrics.video import as_video

ROWS = 64
"""Clips looked at together."""


def look(judge: Judge, clips: Any) -> Verdict:
    """The verdict on B clips [B, T, h, w, 3], on the CPU, without gradients."""
    parts = []
    with torch.inference_mode():
        for start in range(0, max(len(clips), 1), ROWS):
            parts.append(judge(clips[start : start + ROWS]))
    names = ("features", "place", "actions", "phrases")
    return Verdict(**{name: torch.cat([getattr(part, name).cpu() for part in parts]) for name in names})


class ClipFeatures:
    """The judge as an extractor of clips [B, T, h, w, 3], for FVD(judge)."""

    name = "judge"
    most_features = MOST_FEATURES

    def __init__(self, judge: Judge) -> None:
        self.judge, self.identity = judge, judge.identity

    def __call__(self, video: Any) -> Tensor:
        """[B, 64]."""
        return look(self.judge, video).features


class PlaceFeatures:
    """The judge as an extractor of frames [B, h, w, 3], for SRC(judge): each is shown as a still clip."""

    name = "judge"
    most_features = MOST_FEATURES

    def __init__(self, judge: Judge) -> None:
        self.judge, self.identity = judge, judge.identity

    def __call__(self, video: Any) -> Tensor:
        """[B, 64]."""
        frames = as_video(video[:, None], "frames")
        rows = range(0, len(frames), ROWS)
        length = 2 * self.judge.config.stride
        return torch.cat([look(self.judge, frames[r : r + ROWS].expand(-1, length, -1, -1, -1)).place for r in rows])


def read_actions(judge: Judge, clips: Any, task: str, last: int | None = None) -> Tensor:
    """[B, last, A]: what led into the last frames, scaled to [-1, 1].

    By default all but the first frame, of whose past a clip shows nothing.
    """
    part, frames = judge.layout.part(task), _last(clips, last)
    if part.stop == part.start:
        raise BadOption(f"task {task!r}, whose actions are not numbers", "a task with a Box", "Read its phrases.")
    return look(judge, clips).actions[:, -frames:, part]


def read_phrases(judge: Judge, clips: Any, task: str, last: int | None = None) -> Tensor:
    """[B, P]: logits of the task's own phrases in its order, averaged over the last frames."""
    ids, frames = judge.layout.phrase_ids(task), _last(clips, last)
    if not ids:
        raise BadOption(f"task {task!r} without phrases", "a task one can talk to", "Read its actions.")
    return look(judge, clips).phrases[:, -frames:, ids].mean(1)


def follows_actions(judge: Judge, task: str, made: Any, real: Any, actions: Any) -> Adherence:
    """Adherence to actions [B, L, A] (in the task's own units) that led into the last L frames of clips."""
    told = judge.layout.scaled(task, actions)
    seen, true = (read_actions(judge, clips, task, told.shape[1]) for clips in (made, real))
    return action_adherence(seen, true, told.cpu())


def follows_phrases(judge: Judge, task: str, made: Any, real: Any, ids: Any, last: int | None = None) -> Adherence:
    """Adherence to phrases [B] (numbers in the task's list), each told for the last frames of its clip."""
    seen, true = (read_phrases(judge, clips, task, last) for clips in (made, real))
    return phrase_adherence(seen, true, ids)


def _last(clips: Any, last: int | None) -> int:
    frames = int(clips.shape[1]) if len(clips.shape) == 5 else 0
    last = frames - 1 if last is None else last
    if not 0 < last < frames:
        raise BadOption(f"the last {last} of {frames} frames", "1 or more, and one before them", "Show longer clips.")
    return last
