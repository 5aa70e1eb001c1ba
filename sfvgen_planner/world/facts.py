"""What is known of each frame beside its picture, as bare numbers and words; `ConditionEncoder` makes it `Conditions`.

R rows of T frames; an entry belongs to what led INTO its frame. Whatever nobody knows is marked so, never left out:
every field always has its full shape, padded to the layout's A and P, so rows of different bodies lie in one batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfvgen_planner.errors import BadAction, BadOption
from sfvgen_planner.types import FRAMES_PER_CHUNK, Actions, Window
from sfvgen_planner.world.layout import Embodiment, Layout

Texts = tuple[tuple[str, ...], ...]
SLACK = 1e-3
"""How far beyond its bounds a planner's action may lie, in parts of the range."""


@dataclass(frozen=True)
class Facts:
    """R rows of T frames."""

    vectors: Tensor
    """float [R, T, A]: actions, as the environment takes them"""
    vectors_known: Tensor
    """bool [R, T, A]: False where padded or absent"""
    ids: Tensor
    """int64 [R, T]: discrete actions counted through all bodies of the layout; -1 where absent"""
    texts: Texts
    """R tuples of T sentences; "" where absent"""
    poses: Tensor
    """float [R, T, P]"""
    poses_known: Tensor
    """bool [R, T]"""
    embodiment: Tensor
    """int64 [R]: which body; it gives the units, even where the world is not told"""
    named: Tensor
    """bool [R]: is the world told which body it is"""
    fovy: Tensor
    """float [R]: degrees of the row's camera; 0 where nobody knows"""

    def __post_init__(self) -> None:
        rows, frames = self.vectors.shape[:2]
        told = [list(value.shape[:2]) for value in (self.vectors_known, self.ids, self.poses, self.poses_known)]
        said = [len(texts) for texts in self.texts]
        alone = [list(value.shape) for value in (self.embodiment, self.named, self.fovy)]
        if told != [[rows, frames]] * 4 or said != [frames] * rows or alone != [[rows]] * 3:
            raise BadOption(
                f"facts of shapes {told}, {said} texts and {alone}",
                f"{rows} rows of {frames} frames in each",
                "Use Facts.of_window, of_actions or of_poses.",
            )

    @property
    def rows(self) -> int:
        """R."""
        return int(self.vectors.shape[0])

    @property
    def frames(self) -> int:
        """T."""
        return int(self.vectors.shape[1])

    def __getitem__(self, frames: slice) -> "Facts":
        """The same for some of the frames."""
        return replace(
            self,
            **{name: getattr(self, name)[:, frames] for name in _PER_FRAME},
            texts=tuple(texts[frames] for texts in self.texts),
        )

    def repeat(self, candidates: int) -> "Facts":
        """[R * N, ...]: every row N times in a row."""
        names = (*_PER_FRAME, *_PER_ROW)
        return replace(
            self,
            **{name: getattr(self, name).repeat_interleave(candidates, 0) for name in names},
            texts=tuple(texts for texts in self.texts for _ in range(candidates)),
        )

    def to(self, device: torch.device | str) -> "Facts":
        """The same on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in (*_PER_FRAME, *_PER_ROW)})

    def with_poses(self, poses: Tensor, known: Tensor | None = None) -> "Facts":
        """With poses [R, T, P], foreseen or true, known everywhere or where `known` [R, T] says."""
        known = torch.ones_like(self.poses_known) if known is None else known
        return replace(self, poses=poses, poses_known=known & (self.fovy > 0)[:, None])

    def withhold(
        self,
        *,
        actions: Tensor | None = None,
        texts: Tensor | None = None,
        poses: Tensor | None = None,
        names: Tensor | None = None,
    ) -> "Facts":
        """With less known: wherever a mask (bool [R] or [R, T]; names: [R]) is True."""
        kept = self
        if actions is not None:
            gone = _spread(actions, self)
            known = self.vectors_known & ~gone[..., None]
            kept = replace(kept, vectors_known=known, ids=self.ids.masked_fill(gone, -1))
        if texts is not None:
            hushed = _spread(texts, self).tolist()
            said = tuple(
                tuple("" if quiet else text for text, quiet in zip(*row, strict=True))
                for row in zip(self.texts, hushed, strict=True)
            )
            kept = replace(kept, texts=said)
        if poses is not None:
            kept = replace(kept, poses_known=self.poses_known & ~_spread(poses, self))
        return kept if names is None else replace(kept, named=self.named & ~names)

    @staticmethod
    def join(past: "Facts", new: "Facts") -> "Facts":
        """Past and new frames of the same rows in one window."""
        return replace(
            new,
            **{name: torch.cat([getattr(past, name), getattr(new, name)], 1) for name in _PER_FRAME},
            texts=tuple(before + after for before, after in zip(past.texts, new.texts, strict=True)),
        )

    @staticmethod
    def stack(parts: Sequence["Facts"]) -> "Facts":
        """The rows of several, which may be of different bodies."""
        names = (*_PER_FRAME, *_PER_ROW)
        return Facts(
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in names},
            texts=tuple(texts for part in parts for texts in part.texts),
        )

    @classmethod
    def of_poses(cls, poses: Any, layout: Layout, body: str, camera: str | None) -> "Facts":
        """Poses [R, T, P] alone (numpy or torch); with `camera` None nobody knows where it looks."""
        one = layout[body]
        given = _tensor(poses).float()
        if given.ndim != 3 or given.shape[2] != one.pose_size:
            raise BadOption(
                f"poses of shape {list(given.shape)}", f"[R, T, {one.pose_size}] for {body!r}", "Check the embodiment."
            )
        rows, frames = int(given.shape[0]), int(given.shape[1])
        if camera is not None:
            _check_poses(given)
        known = torch.full((rows, frames), camera is not None, device=given.device)
        vectors = given.new_zeros(rows, frames, layout.action_size)
        return cls(
            vectors=vectors,
            vectors_known=torch.zeros_like(vectors, dtype=torch.bool),
            ids=torch.full_like(known, -1, dtype=torch.int64),
            texts=(("",) * frames,) * rows,
            poses=torch.nn.functional.pad(given, (0, layout.pose_size - one.pose_size)),
            poses_known=known,
            embodiment=torch.full((rows,), layout.index(body), dtype=torch.int64, device=given.device),
            named=torch.ones(rows, dtype=torch.bool, device=given.device),
            fovy=given.new_full((rows,), 0.0 if camera is None else one.fovy(camera)),
        )

    @classmethod
    def of_window(cls, window: Window, layout: Layout, body: str, camera: str | None) -> "Facts":
        """A batch of windows (leading B) of one body; before an episode's first frame nothing was done."""
        facts = cls.of_poses(window.poses, layout, body, camera)
        first = torch.zeros_like(facts.poses_known)
        first[:, :1] = (_tensor(window.start).to(first.device) == 0)[:, None]
        actions = _tensor(window.actions).to(first.device)
        if not actions.is_floating_point():
            actions = torch.where(first, layout[body].first, actions)  # a 0 there is no id, it is nothing
        told = _with_actions(facts, actions, layout, body)
        texts = tuple(tuple(str(text) for text in row) for row in window.phrases)
        return replace(told, texts=texts).withhold(actions=first, texts=first)

    @classmethod
    def of_actions(cls, actions: Actions, layout: Layout, body: str, camera: str | None) -> "Facts":
        """N candidates for each of B episodes, [B * N] rows; their poses are not known yet: see `foresee`."""
        values = _tensor(actions.values).flatten(0, 1)
        one = layout[body]
        facts = cls.nothing(int(values.shape[0]), actions.frames, layout, body, camera, values.device)
        if actions.kind == "phrase":
            return replace(facts, texts=tuple(_phrases(one, row) for row in values.tolist()))
        if actions.kind != one.kind:
            raise BadAction(f"{actions.kind} actions for {body!r}", f"{one.kind} actions or phrases", "Set `kind`.")
        told = _with_actions(facts, values, layout, body)
        if actions.kind == "vector":
            _check_bounds(values, one)
        return told

    @classmethod
    def nothing(
        cls, rows: int, frames: int, layout: Layout, body: str, camera: str | None, device: torch.device | str
    ) -> "Facts":
        """New frames of which nothing is known but the body and the camera."""
        still = torch.zeros(rows, frames, layout[body].pose_size, device=device)
        still[..., 3] = 1
        facts = cls.of_poses(still, layout, body, camera)
        return replace(facts, poses_known=torch.zeros_like(facts.poses_known))


_PER_FRAME = ("vectors", "vectors_known", "ids", "poses", "poses_known")
_PER_ROW = ("embodiment", "named", "fovy")


def _tensor(values: Any) -> Tensor:
    return values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))


def _spread(mask: Tensor, facts: Facts) -> Tensor:
    """[R] or [R, T] -> [R, T]."""
    mask = mask[:, None] if mask.ndim == 1 else mask
    return mask.to(facts.ids.device).expand(facts.rows, facts.frames)


def _with_actions(facts: Facts, actions: Tensor, layout: Layout, body: str) -> Facts:
    """[R, T, A] or ids [R, T] of one body."""
    one, shape = layout[body], list(actions.shape)
    if one.kind == "discrete":
        if shape != [facts.rows, facts.frames] or actions.is_floating_point():
            raise BadAction(f"actions {actions.dtype} {shape} for {body!r}", "ids [R, T]", "Check the embodiment.")
        ids = actions.long() - one.first
        if ((ids < 0) | (ids >= one.size)).any():
            raise BadAction(
                f"ids from {int(actions.min())} to {int(actions.max())} for {body!r}",
                f"{one.first} to {one.first + one.size - 1}",
                "Count as the environment does.",
            )
        return replace(facts, ids=ids + layout.offset(body))
    if shape != [facts.rows, facts.frames, one.size]:
        raise BadAction(f"actions {shape} for {body!r}", f"vectors [R, T, {one.size}]", "Check the embodiment.")
    if not actions.isfinite().all():
        raise BadAction(f"actions with NaN or infinity for {body!r}", "finite numbers", "Look for a division by zero.")
    pad = (0, layout.action_size - one.size)
    vectors = torch.nn.functional.pad(actions.float(), pad)
    known = torch.nn.functional.pad(torch.ones_like(actions, dtype=torch.bool), pad)
    return replace(facts, vectors=vectors, vectors_known=known)


def _check_bounds(values: Tensor, body: Embodiment) -> None:
    low, high = values.new_tensor(body.low), values.new_tensor(body.high)
    slack = torch.nan_to_num(high - low, posinf=0.0) * SLACK
    if ((values < low - slack) | (values > high + slack)).any():
        raise BadAction(
            f"actions from {values.min():.3g} to {values.max():.3g} for {body.name!r}",
            f"within {list(body.low)} and {list(body.high)}",
            "Clip what the solver samples.",
        )


def _check_poses(poses: Tensor) -> None:
    if not poses.isfinite().all() or (poses[..., 3:7].square().sum(-1) < 0.25).any():
        raise BadOption(
            "poses with NaN, infinity or a quaternion that turns nowhere",
            "position, unit quaternion w x y z, senses",
            'Say camera=None where nobody knows the pose (cards: "poses": "unknown").',
        )


def _phrases(body: Embodiment, ids: list[int]) -> tuple[str, ...]:
    if not all(0 <= number < len(body.phrases) for number in ids):
        raise BadAction(
            f"phrases {sorted(set(ids))} for {body.name!r}", f"0 to {len(body.phrases) - 1}", "See `phrases`."
        )
    return tuple(body.phrases[number] for number in ids for _ in range(FRAMES_PER_CHUNK))
