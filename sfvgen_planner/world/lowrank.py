"""Low-rank factors as an argument: one set for each row of a batch, and no module is ever patched.

A layer that can be remembered into (`RowLinear`, `RowConv2d`, `RowConv3d`) has the weights and the name of the plain
layer it stands for. While `using(memory)` is open, and only in that thread of execution, it adds its row's
`B A x` to its output; outside, it is the plain layer, bit for bit.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.errors import BadOption


@dataclass(frozen=True)
class LowRank:
    """Factors of M memories for some of a denoiser's layers."""

    down: Mapping[str, Tensor]
    """A by layer name: [M, r, in], for convolutions [M, r, in, *kernel]"""
    up: Mapping[str, Tensor]
    """B by layer name: [M, out, r]; any scale is already in it"""
    version: str
    """names this content; caches made under another are refused"""

    def __post_init__(self) -> None:
        if self.down.keys() != self.up.keys() or not self.down:
            raise BadOption(
                f"factors for {sorted(self.down)} and {sorted(self.up)}", "A and B for the same layers", "Pair them."
            )

    @property
    def rows(self) -> int:
        """M."""
        return int(next(iter(self.down.values())).shape[0])


def version_of(memory: LowRank | None) -> str:
    """The version a cache is stamped with."""
    return "none" if memory is None else memory.version


_USED: ContextVar[LowRank | None] = ContextVar("memory", default=None)


@contextmanager
def using(memory: LowRank | None) -> Iterator[None]:
    """Within it, this thread's calls of row layers are under `memory`."""
    token = _USED.set(memory)
    try:
        yield
    finally:
        _USED.reset(token)


def _factors(name: str, x: Tensor) -> tuple[Tensor, Tensor] | None:
    memory = _USED.get()
    if memory is None or name not in memory.down:
        return None
    if x.shape[0] % memory.rows:
        raise BadOption(
            f"{x.shape[0]} rows under {memory.rows} memories", "a multiple of the memories", "Give each row a memory."
        )
    return memory.down[name], memory.up[name]


class RowLinear(nn.Linear):
    """A linear layer that can be remembered into; x is [rows, ..., in], rows a multiple of M."""

    name = ""

    def forward(self, input: Tensor) -> Tensor:
        """y = W x + b, plus B (A x) of the row's memory."""
        y = super().forward(input)
        factors = _factors(self.name, input)
        if factors is None:
            return y
        down, up = factors
        x = input.reshape(down.shape[0], -1, input.shape[-1])
        return y + (x @ down.transpose(1, 2) @ up.transpose(1, 2)).reshape(y.shape)


def _row_conv(conv: Any, y: Tensor, x: Tensor, down: Tensor, up: Tensor, convolve: Any, spread: Tensor) -> Tensor:
    """Grouped convolution: the M memories become channel groups of one call."""
    memories, rank = down.shape[:2]
    each = x.shape[0] // memories
    grouped = x.reshape(memories, each, *x.shape[1:]).transpose(0, 1).reshape(each, -1, *x.shape[2:])
    z = convolve(grouped, down.flatten(0, 1), None, conv.stride, conv.padding, conv.dilation, memories)
    z = convolve(z, up.flatten(0, 1).reshape(-1, rank, *spread.shape), None, 1, 0, 1, memories)
    added: Tensor = z.reshape(each, memories, *y.shape[1:]).transpose(0, 1).reshape(y.shape)
    return y + added


class RowConv2d(nn.Conv2d):
    """A convolution that can be remembered into; rows are frames folded into the batch, memory by memory."""

    name = ""

    def forward(self, input: Tensor) -> Tensor:
        """The plain convolution, plus the row's low-rank one."""
        y = super().forward(input)
        factors = _factors(self.name, input)
        return y if factors is None else _row_conv(self, y, input, *factors, F.conv2d, torch.ones(1, 1))


class RowConv3d(nn.Conv3d):
    """The same in space and time."""

    name = ""

    def forward(self, input: Tensor) -> Tensor:
        """The plain convolution, plus the row's low-rank one."""
        y = super().forward(input)
        factors = _factors(self.name, input)
        return y if factors is None else _row_conv(self, y, input, *factors, F.conv3d, torch.ones(1, 1, 1))


ROWS: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: RowLinear, nn.Conv2d: RowConv2d, nn.Conv3d: RowConv3d}


def name_rows(model: nn.Module) -> nn.Module:
    """Turns every plain linear and convolution of `model` into its row layer, once, and tells each its name."""
    for name, module in model.named_modules():
        if type(module) in ROWS:
            # Same object, same parameters: only its forward learns to look for a memory.
            module.__class__ = ROWS[type(module)]
        if isinstance(module, RowLinear | RowConv2d | RowConv3d):
            module.name = name
    return model
