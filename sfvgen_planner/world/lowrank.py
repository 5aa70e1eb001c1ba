"""Low-rank factors as an argument: one set for each row of a batch, and no module is ever patched.

A layer that can be remembered into (`RowLinear`, `RowConv2d`, `RowConv3d`) has the weights and the name of the plain
layer it stands for. While `using(memory)` is open, and only in that thread of execution, it answers as the memory has
it: `LowRank` adds its row's `B A x` to the output (`HyperZZW` does otherwise); outside, it is the plain layer, bit for
bit.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.album import Album

Plain = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LowRank:
    """Factors of M memories for some of a denoiser's layers."""

    down: Mapping[str, Tensor]
    """A by layer name: [M, r, in], for convolutions [M, r, in, *kernel]"""
    up: Mapping[str, Tensor]
    """B by layer name: [M, out, r]; any scale is already in it"""
    version: str
    """names this content; caches made under another are refused"""
    album: Album | None = None
    """of the same M episodes: frames to be carried from, see `carry.py`"""
    heard: Tensor | None = None
    """[R]: 0 for rows that the factors say nothing to; None: all hear them"""

    def __post_init__(self) -> None:
        if self.down.keys() != self.up.keys() or (not self.down and self.album is None):
            raise BadOption(
                f"factors for {sorted(self.down)} and {sorted(self.up)}", "A and B for the same layers", "Pair them."
            )

    @property
    def rows(self) -> int:
        """M."""
        return int(next(iter(self.down.values())).shape[0]) if self.album is None else self.album.rows

    def opened(self) -> "Remembering":
        """For one call of a denoiser."""
        return self

    def through(self, layer: "RowLayer", x: Tensor, plain: Plain) -> Tensor:
        """The plain answer, plus B (A x) of each row's memory where it is heard."""
        y = plain(x)
        if layer.name not in self.down:
            return y
        check_multiple(x, self.rows)
        return y + self.to_hear(layer.low_rank(x, y, self.down[layer.name], self.up[layer.name]))

    def to_hear(self, change: Tensor) -> Tensor:
        """What is left of a change [rows, ...]: 0 in rows that are not to hear it."""
        if self.heard is None:
            return change
        each = self.heard.to(change).repeat_interleave(len(change) // len(self.heard))
        return change * each.reshape(-1, *[1] * (change.ndim - 1))


class Remembering(Protocol):
    """A memory during one call of a denoiser."""

    def through(self, layer: "RowLayer", x: Tensor, plain: Plain) -> Tensor:
        """What `layer` answers to x, where without a memory it would answer plain(x)."""


def check_multiple(x: Tensor, memories: int) -> None:
    """Every memory has as many of the rows."""
    if x.shape[0] % memories:
        raise BadOption(
            f"{x.shape[0]} rows under {memories} memories", "a multiple of the memories", "Give each row a memory."
        )


def version_of(memory: LowRank | None) -> str:
    """The version a cache is stamped with."""
    return "none" if memory is None else memory.version


_USED: ContextVar[Remembering | None] = ContextVar("memory", default=None)


@contextmanager
def using(memory: LowRank | None) -> Iterator[None]:
    """Within it, this thread's calls of row layers are under `memory`."""
    token = _USED.set(None if memory is None else memory.opened())
    try:
        yield
    finally:
        _USED.reset(token)


def _answer(layer: "RowLayer", x: Tensor, plain: Plain) -> Tensor:
    memory = _USED.get()
    return plain(x) if memory is None else memory.through(layer, x, plain)


class RowLinear(nn.Linear):
    """A linear layer that can be remembered into; x is [rows, ..., in], rows a multiple of M."""

    name = ""

    def forward(self, input: Tensor) -> Tensor:
        """y = W x + b, as the row's memory has it."""
        return _answer(self, input, super().forward)

    def low_rank(self, x: Tensor, y: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """B A x, of y's shape."""
        rows = x.reshape(down.shape[0], -1, x.shape[-1])
        return (rows @ down.transpose(1, 2) @ up.transpose(1, 2)).reshape(y.shape)


def _row_conv(conv: Any, y: Tensor, x: Tensor, down: Tensor, up: Tensor, convolve: Any, spread: Tensor) -> Tensor:
    """Grouped convolution: the M memories become channel groups of one call."""
    memories, rank = down.shape[:2]
    each = x.shape[0] // memories
    grouped = x.reshape(memories, each, *x.shape[1:]).transpose(0, 1).reshape(each, -1, *x.shape[2:])
    z = convolve(grouped, down.flatten(0, 1), None, conv.stride, conv.padding, conv.dilation, memories)
    z = convolve(z, up.flatten(0, 1).reshape(-1, rank, *spread.shape), None, 1, 0, 1, memories)
    added: Tensor = z.reshape(each, memories, *y.shape[1:]).transpose(0, 1).reshape(y.shape)
    return added


class RowConv2d(nn.Conv2d):
    """A convolution that can be remembered into; rows are frames folded into the batch, memory by memory."""

    name = ""

    def forward(self, input: Tensor) -> Tensor:
        """The plain convolution, as the row's memory has it."""
        return _answer(self, input, super().forward)

    def low_rank(self, x: Tensor, y: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """The row's low-rank convolution, of y's shape."""
        return _row_conv(self, y, x, down, up, F.conv2d, torch.ones(1, 1))


class RowConv3d(nn.Conv3d):
    """The same in space and time."""

    name = ""

    def forward(self, input: Tensor) -> Tensor:
        """The plain convolution, as the row's memory has it."""
        return _answer(self, input, super().forward)

    def low_rank(self, x: Tensor, y: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """The row's low-rank convolution, of y's shape."""
        return _row_conv(self, y, x, down, up, F.conv3d, torch.ones(1, 1, 1))


RowLayer = RowLinear | RowConv2d | RowConv3d
ROWS: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: RowLinear, nn.Conv2d: RowConv2d, nn.Conv3d: RowConv3d}


def name_rows(model: nn.Module) -> nn.Module:
    """Turns every plain linear and convolution of `model` into its row layer, once, and tells each its name."""
    for name, module in model.named_modules():
        if type(module) in ROWS:
            # Same object, same parameters: only its forward learns to look for a memory.
            module.__class__ = ROWS[type(module)]
        if isinstance(module, RowLayer):
            module.name = name
    return model
