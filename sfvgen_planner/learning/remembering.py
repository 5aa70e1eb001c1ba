"""Whole episodes remembered, many at once, chunk by chunk as an agent would have done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sfvgen_planner.errors import BadMemory
from sfvgen_planner.memory import Memory, Seen, remember
from sfvgen_planner.memory.loss import held_back_loss
from sfvgen_planner.types import FRAMES_PER_CHUNK, Episode, Window
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel

ENCODED_AT_ONCE = 64
MEASURED = 8
"""Windows of an episode, spread evenly over it, that tell how well it is remembered."""


@dataclass(frozen=True)
class Watched:
    """R episodes from their first frames on, the shorter ones drawn out to the longest."""

    latents: Tensor
    """float [R, T, C, h, w]"""
    facts: Facts
    lengths: Tensor
    """int64 [R]: frames that are really there"""

    def windows(self, past: int, every: int = 1) -> list[Seen]:
        """After every so manieth chunk the window that ends with it; rows whose episode is over weigh nothing."""
        ends = range(past + FRAMES_PER_CHUNK, int(self.lengths.max()) + 1, FRAMES_PER_CHUNK * every)
        found = []
        for end in ends:
            part = slice(end - past - FRAMES_PER_CHUNK, end)
            there = (self.lengths >= end).to(self.latents.dtype)
            found.append(Seen(self.latents[:, part], self.facts[part], past, there))
        return found


def watched(
    world: WorldModel, episodes: Sequence[Episode], body: str, camera: str | None, most: int | None = None
) -> Watched:
    """Episodes of one body as the world sees them, `most` frames of each at most."""
    lengths = [len(one) + 1 if most is None else min(most, len(one) + 1) for one in episodes]
    least = world.config.past + FRAMES_PER_CHUNK
    if not lengths or min(lengths) < least:
        raise BadMemory(
            f"episodes of {sorted(lengths)[:3]} frames", f"{least} or more, a past and a chunk", "Leave it out."
        )

    def drawn_out(values: np.ndarray, frames: int) -> np.ndarray:
        kept = np.asarray(values)[:frames]
        return np.concatenate([kept, np.repeat(kept[-1:], max(lengths) - frames, 0)])

    latents, poses, actions, phrases = [], [], [], []
    for one, frames in zip(episodes, lengths, strict=True):
        pixels = torch.from_numpy(np.asarray(one.pixels[:frames]))
        seen = torch.cat([world.codec.encode(part) for part in torch.split(pixels, ENCODED_AT_ONCE)])
        latents.append(torch.cat([seen, seen[-1:].expand(max(lengths) - frames, *seen.shape[1:])]))
        acted = np.asarray(one.actions)
        poses.append(drawn_out(one.poses, frames))
        actions.append(drawn_out(np.concatenate([np.zeros_like(acted[:1]), acted]), frames))
        said = ("", *one.phrases)[:frames]
        phrases.append(said + ("",) * (max(lengths) - frames))
    window = Window(np.empty(0, np.uint8), np.stack(poses), np.stack(actions), tuple(phrases), np.zeros(len(lengths)))
    return Watched(
        torch.stack(latents), Facts.of_window(window, world.encoder.layout, body, camera), torch.tensor(lengths)
    )


def remember_all(
    world: WorldModel, memory: Memory, windows: Sequence[Seen], heard: Callable[[int], object] = lambda chunk: None
) -> Memory:
    """After each window in turn, with those before it for replay."""
    for number, window in enumerate(windows):
        memory = remember(world, memory, window, windows[:number])
        heard(number)
    return memory


def known(world: WorldModel, memory: Memory, windows: Sequence[Seen]) -> list[float]:
    """Of each row the mean loss of some of its windows, on noise they were not learned from."""
    whole = []
    for row in range(memory.rows):
        own = [window for window in windows if window.weights[row] > 0]
        chosen = [own[int(i)] for i in np.unique(np.linspace(0, len(own) - 1, MEASURED).round())]
        one = memory[row : row + 1]
        whole.append(float(torch.stack([held_back_loss(world, one, window.row(row)) for window in chosen]).mean()))
    return whole
