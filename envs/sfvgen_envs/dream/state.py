"""B dreams as one value. Nothing in it is ever written, every step makes the next one: a snapshot is the value itself.

A row's frames are in two places: up to its last chunk boundary in the history, newest last, and from there on in the
chunk it is in. Rows that are equally far in a chunk, and began it together, are dreamt together: a *part*.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_planner.memory import Memory
from sfvgen_planner.world.ahead import Sighting
from sfvgen_planner.world.detail import Detail
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.stepping import Chunk

Random = dict[str, Any]
"""State of a numpy generator."""


@dataclass(frozen=True)
class Told:
    """What an agent is told of B rows' episodes when they begin."""

    instruction: NDArray[np.object_]
    """str [B]"""
    goal: NDArray[np.uint8] | None = None
    """[B, h, w, 3], where any row has one"""
    shows: NDArray[np.bool_] | None = None
    """[B]: which rows have a goal that may be shown"""

    def put(self, rows: Sequence[int], instructions: Sequence[str], goals: Sequence[NDArray[Any] | None]) -> "Told":
        """With what these rows are told now."""
        instruction = self.instruction.copy()
        instruction[list(rows)] = instructions
        shape = next((goal.shape for goal in goals if goal is not None), None)
        if self.goal is None and shape is None:
            return Told(instruction)
        many = len(instruction)
        goal = np.zeros((many, *shape), np.uint8) if self.goal is None else self.goal.copy()  # type: ignore[misc]
        shows = np.zeros(many, bool) if self.shows is None else self.shows.copy()
        for row, one in zip(rows, goals, strict=True):
            shows[row] = one is not None
            goal[row] = 0 if one is None else one
        return Told(instruction, goal, shows)

    def repeat(self, times: int) -> "Told":
        """Every row so many times in a row."""
        values = (self.instruction, self.goal, self.shows)
        return Told(*(None if value is None else value.repeat(times, 0) for value in values))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Part:
    """R rows in one chunk."""

    rows: Tensor
    """int64 [R]: which of the B they are"""
    alive: Tensor
    """bool [R]: False where the row has begun another episode; it is dreamt on, unseen, until the chunk ends, so that
    the others' numbers do not depend on it"""
    chunk: Chunk

    @property
    def living(self) -> Tensor:
        """int64: those of the B rows that are in this chunk."""
        return self.rows[self.alive]


@dataclass(frozen=True)
class Shown:
    """What is observed of B rows; None where nobody asked for it."""

    pixels: Tensor | None
    """uint8 [B, h, w, 3]"""
    pose: Tensor | None
    """float32 [B, P]"""
    features: Tensor | None
    """float32 [B, D]"""
    goal: Tensor | None
    """float32 [B, S]"""

    def put(self, rows: Tensor, other: "Shown") -> "Shown":
        """With the other's rows in the places int64 [K]."""
        pairs = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(Shown))
        return Shown(*(None if mine is None else placed(mine, rows, new) for mine, new in pairs))


@dataclass(frozen=True)
class DreamState:
    """All of B dreams, but for caches, which are made again when needed."""

    world: str
    """identity of the slow weights it was dreamt with"""
    latents: Tensor
    """[B, L, C, h, w] history, newest last"""
    facts: Facts
    """[B, L] of the same frames"""
    sighting: Sighting
    """what was last seen of places, for outcomes"""
    length: Tensor
    """int64 [B]: how many of the L are of this episode"""
    parts: tuple[Part, ...]
    seeds: Tensor
    """int64 [B], they key the noise of each episode"""
    elapsed: Tensor
    """int64 [B] steps"""
    chunks: Tensor
    """int64 [B] chunks finished in this episode"""
    over: Tensor
    """bool [B]: the episode has ended (or not begun) and nothing follows it but a reset"""
    lasting: Tensor
    """[B]: how likely it is that the episode goes on, after all that was said of its end"""
    memory: Memory | None
    """of M rows: row i of B is under memory i // (B / M), so that forks share one until they write"""
    asked: Tensor | None
    """[B, 2, S]: the senses that goals' pictures show, and doubts; None where nobody looks at them"""
    detail: Detail | None
    """of the pictures that episodes began with; None where nobody asked for pixels"""
    shown: Shown
    told: Told
    random: tuple[Random, ...]
    """of each row's generator, which draws starts and seeds; only a snapshot holds it"""

    @property
    def rows(self) -> int:
        """B."""
        return len(self.seeds)

    @property
    def poses(self) -> Tensor:
        """[B, P] now."""
        poses = self.facts.poses[:, -1].clone()
        for part in self.parts:
            poses[part.living] = part.chunk.known.poses[part.alive, -1]
        return poses

    @property
    def bare(self) -> "DreamState":
        """Without caches."""
        return replace(self, parts=tuple(replace(p, chunk=replace(p.chunk, cache=None)) for p in self.parts))

    def without(self, gone: Tensor) -> "DreamState":
        """Rows (bool [B]) leave their chunks."""
        left = (replace(part, alive=part.alive & ~gone[part.rows]) for part in self.parts)
        return replace(self, parts=tuple(part for part in left if part.alive.any()))

    def fork(self, times: int, seeds: Tensor | None = None) -> "DreamState":
        """Every row so many times in a row; caches and memory are shared, noise too unless `seeds` [B * times] are
        given."""

        def repeated(value: Any) -> Any:
            return None if value is None else value.repeat_interleave(times, 0)

        def part(one: Part) -> Part:
            rows = (one.rows[:, None] * times + torch.arange(times, device=one.rows.device)).flatten()
            chunk = one.chunk.repeat(times)
            chunk = chunk if seeds is None else replace(chunk, seeds=seeds[rows])
            return Part(rows, repeated(one.alive), chunk)

        names = ("latents", "length", "seeds", "elapsed", "chunks", "over", "lasting", "asked")
        forked = {name: repeated(getattr(self, name)) for name in names}
        shown = Shown(*(repeated(getattr(self.shown, field.name)) for field in fields(Shown)))
        detail = None if self.detail is None else self.detail.repeat(times)
        state = replace(self, **forked, facts=self.facts.repeat(times), shown=shown, told=self.told.repeat(times))
        state = replace(state, detail=detail, sighting=self.sighting.repeat(times))
        state = replace(state, parts=tuple(part(one) for one in self.parts))
        return state if seeds is None else replace(state, seeds=seeds)


def placed(whole: Tensor, rows: Tensor, part: Tensor) -> Tensor:
    """`whole` [B, ...] with `part` [K, ...] in the places int64 [K]."""
    return part.to(whole) if len(rows) == len(whole) and in_order(rows) else whole.index_copy(0, rows, part.to(whole))


def in_order(rows: Tensor) -> bool:
    """Are they 0, 1, 2, ...?"""
    return bool((rows == torch.arange(len(rows), device=rows.device)).all())


def facts_of(facts: Facts, rows: Tensor) -> Facts:
    """Some rows (int64 [K]) of facts."""
    tensors = {name: value[rows] for name, value in vars(facts).items() if isinstance(value, Tensor)}
    return replace(facts, **tensors, texts=tuple(facts.texts[row] for row in rows.tolist()))


def facts_placed(whole: Facts, rows: Tensor, part: Facts) -> Facts:
    """Facts with those of K rows in the places int64 [K]."""
    tensors = {
        name: placed(value, rows, getattr(part, name))
        for name, value in vars(whole).items()
        if isinstance(value, Tensor)
    }
    texts = list(whole.texts)
    for row, said in zip(rows.tolist(), part.texts, strict=True):
        texts[row] = said
    return replace(whole, **tensors, texts=tuple(texts))


def facts_as(facts: Facts, dtype: torch.dtype) -> Facts:
    """With numbers of the world's precision."""
    return replace(facts, vectors=facts.vectors.to(dtype), poses=facts.poses.to(dtype), fovy=facts.fovy.to(dtype))
