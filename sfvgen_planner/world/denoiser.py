"""What every denoiser offers: look at the past once, then denoise the new frames as often as it takes.

Rows: a cache has R rows; `denoise` may be given R * N rows, and row i then continues cache row i // N (candidates of
one episode share its past). A memory has M rows, and row i of the R * N is under memory i // (R * N / M).
"""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.lowrank import LowRank, version_of


@dataclass(frozen=True)
class Cache:
    """The past as a denoiser keeps it: a pure function of clean latents, conditions and memory. Never saved."""

    rows: int
    """R"""
    frames: int
    """how many past frames are in it"""
    version: str
    """of the memory it was made under"""
    content: Any
    """the denoiser's own"""


@dataclass(frozen=True)
class Denoised:
    """What a denoiser answers for T noisy frames."""

    output: Tensor
    """float [R, T, C, h, w]: noise, velocity or flow, as the world was trained"""
    features: Tensor
    """float [R, T, D]: pooled hidden states, for the heads"""
    parts: tuple[Tensor, ...] = ()
    """float [R, T, C, h, w] each: answers that the output is mixed of, where it is a mix; the last one is drawn"""

    @property
    def drawn(self) -> Tensor:
        """float [R, T, C, h, w]: what the output would be if nothing were carried along."""
        return self.parts[-1] if self.parts else self.output


class Denoiser(Protocol):
    """A masked conditional video denoiser."""

    @property
    def matrices(self) -> list[nn.Parameter]:
        """Those inside it, neither its inputs' nor its outputs': optimisers may treat them apart."""

    def prefill(self, context: Tensor, conditions: Conditions, memory: LowRank | None = None) -> Cache:
        """Looks at clean latents [R, T, C, h, w]; T may be 0 (fast learning has no past)."""

    def append(self, cache: Cache, clean: Tensor, conditions: Conditions, memory: LowRank | None = None) -> Cache:
        """The cache with finished frames [R * N, T, C, h, w] added: it then has R * N rows."""

    def ready(self, cache: Cache, conditions: Conditions, memory: LowRank | None = None) -> Conditions:
        """The conditions with all that follows from them and the past alone: before many calls of `denoise`."""

    def denoise(
        self, cache: Cache, noisy: Tensor, level: Tensor, conditions: Conditions, memory: LowRank | None = None
    ) -> Denoised:
        """Denoises [R * N, T, C, h, w] at `level` [R * N, T] (0 clean, 1 noise)."""


def check_memory(cache: Cache, memory: LowRank | None) -> None:
    """A cache made under another memory is stale."""
    if cache.version != version_of(memory):
        raise BadOption(
            f"a cache made under memory {cache.version!r} with memory {version_of(memory)!r}",
            "one and the same",
            "Call prefill() again after the memory has changed.",
        )


def check_rows(cache: Cache, noisy: Tensor, conditions: Conditions) -> int:
    """N, the candidates of each row."""
    rows, frames = int(noisy.shape[0]), int(noisy.shape[1])
    if rows % cache.rows or tuple(conditions.frame.shape[:2]) != (rows, frames):
        raise BadOption(
            f"latents of {rows} rows x {frames} frames, conditions of {list(conditions.frame.shape[:2])}, "
            f"a cache of {cache.rows} rows",
            "latents and conditions alike, and a multiple of the cache's rows",
            "Repeat the conditions for each candidate.",
        )
    return rows // cache.rows
