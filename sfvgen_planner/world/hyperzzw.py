"""The HyperZ.Z.W operator (Zhang, arXiv 2401.17948) as a memory: weights that vary with where a place looks.

A coordinate network of a row's own turns the ray through each place into a kernel, which multiplies what a layer is
given there before the layer's own weights do: `W (x * (1 + K(ray)))`. What an episode writes is the network, of two
layers: `K = B sin(A phi)`, phi being Fourier features of the ray. B = 0 changes nothing, bit for bit.

Letters: M memories, R rows, T frames, n tokens of a frame, h w a layer's height and width, F coordinates, r hidden.
"""

from dataclasses import dataclass
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.address import AddressConfig, fourier
from sfvgen_planner.world.lowrank import LowRank, Plain, Remembering, RowLayer, RowLinear, check_multiple

ADDRESS = "address"
"""The layer that reads where tokens look; in every call it is asked before those that can be remembered into."""
PLACED = r"embed|blocks\.\d+\.[qkvo]|blocks\.\d+\.(up|down)|out|carry\.(up|maps|out|(look|draw)(_on\..*)?)"
"""Layers, by whole name, whose every input stands in some place of a picture."""
OCTAVES = (0, 5)
"""Of a ray's direction: layers stand on finer grids than the tokens that an address is made for."""
SPREAD = 4.0
"""How far the coordinate network's first weights are drawn: the farther, the finer what it can tell apart at first."""
DIRECTION = 3 + 6 * (OCTAVES[1] - OCTAVES[0] + 1)


def coordinates(config: AddressConfig) -> int:
    """F, in a world with such addresses: the ray's direction, its origin and a 1."""
    return DIRECTION + config.features - 3 - 6 * (config.direction[1] - config.direction[0] + 1) + 1


@dataclass(frozen=True)
class HyperZZW(LowRank):
    """`down` is A by layer name, [M, r, F]; `up` is B, [M, in, r]."""

    def opened(self) -> Remembering:
        """For one call of a denoiser."""
        return _Call(self)


class _Call:
    """Keeps what the address's layer is asked for those that are asked later."""

    def __init__(self, memory: HyperZZW) -> None:
        self._memory = memory
        self._seen: Tensor | None = None
        self._known: dict[tuple[int, int], Tensor] = {}

    def through(self, layer: RowLayer, x: Tensor, plain: Plain) -> Tensor:
        """The layer's answer to x times 1 + K."""
        if layer.name == ADDRESS:
            self._seen, self._known = x, {}
        if layer.name not in self._memory.down:
            return plain(x)
        if self._seen is None:
            raise BadOption(f"layer {layer.name!r} before any address", "a causal denoiser", "See PLACED.")
        return plain(x * (1 + self._memory.to_hear(self._kernel(layer, x, self._seen))))

    def _kernel(self, layer: RowLayer, x: Tensor, seen: Tensor) -> Tensor:
        """Of x's shape."""
        down, up = self._memory.down[layer.name], self._memory.up[layer.name]
        rows, _, tokens, _ = seen.shape
        check_multiple(seen, len(down))
        linear = isinstance(layer, RowLinear)
        cells = tokens if linear else x.shape[-2] * x.shape[-1]
        frames = x.numel() // layer.weight.shape[1] // cells // rows
        if (cells, frames) not in self._known:
            fine = 1 if linear else isqrt(cells // tokens)
            across = tokens if linear else x.shape[-1] // fine
            self._known[cells, frames] = phi(seen[:, -frames:], down.shape[2], across, fine)
        hidden = (self._known[cells, frames].reshape(len(down), -1, down.shape[2]) @ down.transpose(1, 2)).sin()
        kernel = hidden @ up.transpose(1, 2)
        if linear:
            return kernel.reshape(x.shape)
        return kernel.reshape(len(x), *x.shape[2:], x.shape[1]).movedim(-1, 1)


def phi(address: Tensor, size: int, across: int, fine: int) -> Tensor:
    """Coordinates [R, T, cells, F = size] of addresses [R, T, n, >= F] on a grid `fine` times as fine as the tokens',
    of which there are `across` in a line."""
    rows, frames = address.shape[:2]
    direction, origin = address[..., :3], address[:, :, :1, address.shape[-1] - (size - DIRECTION - 1) :]
    if fine > 1:
        coarse = direction.reshape(rows * frames, -1, across, 3).movedim(-1, 1)
        between = _finer(coarse, fine).flatten(2).transpose(1, 2).reshape(rows, frames, -1, 3)
        direction = F.normalize(between, dim=-1)
    cells = direction.shape[2]
    one = torch.ones_like(direction[..., :1])
    features = torch.cat([direction, fourier(direction, OCTAVES), origin.expand(-1, -1, cells, -1), one], -1)
    # Where nobody knows where a place looks, nothing is remembered of it.
    return features * (direction != 0).any(-1, keepdim=True)


def _finer(grid: Tensor, times: int) -> Tensor:
    """[B, 3, h, w] -> [B, 3, h * times, w * times] between the middles of cells, straight on beyond the outer ones."""
    for dim in (2, 3):
        first, last, count = grid.narrow(dim, 0, 1), grid.narrow(dim, -1, 1), grid.shape[dim]
        before = 2 * first - grid.narrow(dim, min(1, count - 1), 1)
        after = 2 * last - grid.narrow(dim, max(count - 2, 0), 1)
        grid = torch.cat([before, grid, after], dim)
    wide = F.interpolate(grid, scale_factor=times, mode="bilinear", align_corners=False)
    return wide[:, :, times:-times, times:-times]
