"""What is remembered: a window of past and new frames, seen or dreamt, of each row's episode."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from sfvgen_planner.errors import BadMemory
from sfvgen_planner.world.facts import Facts


@dataclass(frozen=True)
class Seen:
    """A window of M rows; the first `past` of its T frames were there before."""

    latents: Tensor
    """float [M, T, C, h, w]"""
    facts: Facts
    """what is known of them; poses, true or foreseen, are the memory's address"""
    past: int = 0
    weight: Tensor | None = None
    """float [M], by which an update is shortened: 1 for what was observed, less for what was dreamt, 0 where nothing is
    to be remembered (such a row stays as it was, bit for bit); None: all 1"""

    @property
    def rows(self) -> int:
        """M."""
        return int(self.latents.shape[0])

    @property
    def frames(self) -> int:
        """T."""
        return int(self.latents.shape[1])

    @property
    def weights(self) -> Tensor:
        """[M]."""
        return self.latents.new_ones(self.rows) if self.weight is None else self.weight

    def after(self, frame: int) -> "Seen":
        """Without the frames before this one."""
        return replace(self, latents=self.latents[:, frame:], facts=self.facts[frame:], past=self.past - frame)

    def weighed(self, rows: Tensor) -> "Seen":
        """With weight 0 but in these rows, bool [M]."""
        return replace(self, weight=torch.where(rows, self.weights, 0))

    def row(self, number: int) -> "Seen":
        """One row."""
        one = slice(number, number + 1)
        facts = replace(self.facts, **{field.name: getattr(self.facts, field.name)[one] for field in fields(Facts)})
        return replace(self, latents=self.latents[one], facts=facts, weight=self.weights[one])

    def behind(self, other: "Seen") -> "Seen":
        """My new frames after another window's past: nobody did or said what leads there."""
        past, everywhere = other.past, torch.ones_like(self.facts.named)
        new = self.facts[self.past :].withhold(actions=everywhere, texts=everywhere)
        latents = torch.cat([other.latents[:, :past], self.latents[:, self.past :]], 1)
        return Seen(latents, Facts.join(other.facts[:past], new), past, self.weight)

    @staticmethod
    def stack(parts: Sequence["Seen"]) -> "Seen":
        """The rows of several of one length and past."""
        facts = Facts.stack([part.facts for part in parts])
        latents, weight = (torch.cat(values) for values in ([p.latents for p in parts], [p.weights for p in parts]))
        return Seen(latents, facts, parts[0].past, weight)


def check_seen(seen: Seen, rows: int, shape: tuple[int, int, int]) -> None:
    """A window that can be remembered by `rows` memories of a world whose latents are `shape`."""
    latents, weights = seen.latents, seen.weights
    if seen.rows != rows or (seen.facts.rows, seen.facts.frames) != (seen.rows, seen.frames):
        raise BadMemory(
            f"latents of {seen.rows} rows x {seen.frames} frames with facts of {seen.facts.rows} x {seen.facts.frames}",
            f"{rows} rows in each, as the memory has, and as many frames",
            "Give every row of the memory its window.",
        )
    if not 0 <= seen.past < seen.frames:
        raise BadMemory(
            f"{seen.frames} frames of which {seen.past} are past", "at least one new frame", "Wait for a chunk."
        )
    if tuple(latents.shape[2:]) != shape or not latents.is_floating_point():
        raise BadMemory(
            f"latents {latents.dtype} {list(latents.shape)}",
            f"[M, T, {shape[0]}, {shape[1]}, {shape[2]}]",
            "Encode first.",
        )
    if tuple(weights.shape) != (rows,) or not ((weights >= 0) & weights.isfinite()).all():
        raise BadMemory(f"weights {weights.tolist()}", f"{rows} finite numbers from 0 up", "0 leaves a row out.")
    if not latents[weights > 0].isfinite().all():
        raise BadMemory("latents with NaN or infinity", "finite numbers", "Give such rows weight 0.")
