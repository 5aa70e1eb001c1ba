"""A memory as a value: low-rank factors of M rows with all that is needed to go on writing them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from sfvgen_planner.errors import BadMemory
from sfvgen_planner.memory.adam import Tensors, Trained
from sfvgen_planner.memory.config import MemoryConfig, Operator
from sfvgen_planner.world.album import Album
from sfvgen_planner.world.hyperzzw import HyperZZW
from sfvgen_planner.world.lowrank import LowRank

A, B = ".lora_A", ".lora_B"


@dataclass(frozen=True)
class Memory:
    """What M episodes have seen; `remember` makes the next one."""

    trained: Trained
    """factors by layer name + `.lora_A` [M, r, in, ...] and `.lora_B` [M, out, r] (of "hyperzzw" [M, r, F] and
    [M, in, r]), their moments, updates so far"""
    start: Tensors
    """Theta_0 [1, ...]: what a row is reset to"""
    seeds: Tensor
    """int64 [M]: they key the noise each row is written with"""
    config: MemoryConfig
    world: str
    """identity of the slow weights it was written beside"""
    pace: Tensors | None = None
    """learned factors of the rate, a number for each tensor of factors by name; None: all 1"""
    album: Album | None = None
    """frames that are kept beside the factors, where `config.kept` wants some"""

    @property
    def rows(self) -> int:
        """M."""
        return len(self.seeds)

    @property
    def numbers(self) -> int:
        """Of a row, in its factors and all the frames it has room for."""
        frames = 0 if self.album is None else sum(value.numel() for value in self.album.tensors.values()) // self.rows
        factors = 0 if self.config.variant == "off" else sum(value.numel() for value in self.start.values())
        return factors + frames

    @cached_property
    def told(self) -> Tensors:
        """The factors as the world is told them: of what B has learned since the start only `config.strength`."""
        share, weights = self.config.strength, self.trained.weights
        if share == 1:
            return weights
        return {
            name: self.start[name] + share * (value - self.start[name]) if name.endswith(B) else value
            for name, value in weights.items()
        }

    @cached_property
    def version(self) -> str:
        """Names the content: equal factors and frames, equal version."""
        return digest(self.told if self.album is None else {**self.told, **self.album.tensors})

    @cached_property
    def factors(self) -> LowRank:
        """What the world takes: `world.dream(..., memory=memory.factors)`."""
        told = self.told if self.config.variant != "off" or self.album is None else {}
        return low_rank(told, self.version, self.config.operator, self.album)

    @property
    def beside(self) -> LowRank | None:
        """What no weights can hold (see `merged`): the frames alone."""
        return None if self.album is None else LowRank({}, {}, self.version, self.album)

    def reset(self, rows: Tensor) -> "Memory":
        """New episodes begin in these rows (bool [M]): factors and moments as at the start; no other bit changes."""
        check_mask(rows, self.rows)
        fresh = Trained.fresh(
            {name: value.repeat(self.rows, *[1] * (value.ndim - 1)) for name, value in self.start.items()}
        )
        album = None if self.album is None else self.album.emptied.where(rows, self.album)
        return replace(self, trained=fresh.where(rows, self.trained), album=album)

    def each(self, change: Callable[[Tensor], Tensor]) -> "Memory":
        """With every tensor that begins with M changed alike."""
        album = None if self.album is None else self.album.each(change)
        return replace(self, trained=self.trained.each(change), seeds=change(self.seeds), album=album)

    def __getitem__(self, rows: slice) -> "Memory":
        """Some of the rows."""
        chosen = self.each(lambda value: value[rows])
        if chosen.rows == 0:
            raise BadMemory(f"rows {rows} of {self.rows}", "one row or more", "Slice within the rows.")
        return chosen

    @staticmethod
    def stack(parts: Sequence["Memory"]) -> "Memory":
        """The rows of several, which must be of one world, config and start."""
        if not parts:
            raise BadMemory("no memories", "one or more", "Begin with start().")
        one = parts[0]
        alike = {(part.config, part.world, digest(part.start), digest(part.pace or {})) for part in parts}
        if len(alike) > 1:
            raise BadMemory("memories of different worlds, configs or starts", "one of each", "Keep them apart.")
        weights, first, second = (
            {name: torch.cat([part.trained.tensors[which][name] for part in parts]) for name in one.start}
            for which in range(3)
        )
        steps = torch.cat([part.trained.steps for part in parts])
        albums = [part.album for part in parts if part.album is not None]
        return replace(
            one,
            trained=Trained(weights, first, second, steps),
            seeds=torch.cat([part.seeds for part in parts]),
            album=Album.stack(albums) if albums else None,
        )


def low_rank(weights: Tensors, version: str, operator: Operator = "lowrank", album: Album | None = None) -> LowRank:
    """Weights by PEFT's names as the world takes them."""
    down = {name.removesuffix(A): value for name, value in weights.items() if name.endswith(A)}
    kind = LowRank if operator == "lowrank" else HyperZZW
    return kind(down, {name: weights[name + B] for name in down}, version, album)


def named(factors: LowRank) -> dict[str, Tensor]:
    """And back."""
    return {
        key: value
        for name in factors.down
        for key, value in ((name + A, factors.down[name]), (name + B, factors.up[name]))
    }


def digest(tensors: Mapping[str, Tensor]) -> str:
    """A short name for the content."""
    known = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        known.update(name.encode())
        known.update(value.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return known.hexdigest()[:16]


def check_mask(rows: Tensor, count: int) -> None:
    """A mask of rows is bool [M]."""
    if rows.dtype != torch.bool or tuple(rows.shape) != (count,):
        raise BadMemory(f"rows {rows.dtype} {list(rows.shape)}", f"bool [{count}]", "Say of each row whether.")
