"""The causal denoiser: a space-time transformer whose past is computed once and shared by every candidate.

A frame is (h / 2) x (w / 2) tokens. A token attends to all tokens of its own and of earlier frames, so changing the
action of frame k leaves frames before k exactly alone, and keys and values of the past never change while new frames
are denoised. Every frame has its own noise level; the past's is 0.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.denoiser import Cache, Denoised, check_memory, check_rows
from sfvgen_planner.world.lowrank import LowRank, RowLinear, name_rows, using, version_of

KeysValues = tuple[Tensor, Tensor]
"""[R, heads, T * n, d] each"""


@dataclass(frozen=True)
class CausalConfig:
    """Sizes; `frame_size` and `address_size` are the conditions' E and F."""

    channels: int = 8
    height: int = 8
    width: int = 8
    frame_size: int = 64
    address_size: int = 72
    patch: int = 2
    dim: int = 160
    depth: int = 6
    heads: int = 4
    window: int = 32

    @property
    def tokens(self) -> int:
        """n, of one frame."""
        return (self.height // self.patch) * (self.width // self.patch)


class Block(nn.Module):
    """Attention and MLP, modulated per frame."""

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.q, self.k, self.v, self.o = (RowLinear(dim, dim) for _ in range(4))
        self.up, self.down = RowLinear(dim, 4 * dim), RowLinear(4 * dim, dim)
        self.table = nn.Parameter(torch.zeros(6, dim))

    def forward(
        self, x: Tensor, modulation: Tensor, turn: Tensor, past: KeysValues | None, mask: Tensor | None
    ) -> tuple[Tensor, KeysValues]:
        """x [R, T, n, D], modulation [R, T, 6, D], turn [T, n, 2, d / 2] -> x, and the new frames' keys and values."""
        shift, scale, gate, shift2, scale2, gate2 = (modulation + self.table)[:, :, :, None].unbind(2)
        h = _norm(x) * (1 + scale) + shift
        rows, frames, tokens, dim = x.shape
        q, k, v = (
            layer(h.reshape(rows, frames * tokens, dim)).reshape(rows, frames * tokens, self.heads, -1).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        q, k = _rotate(_norm(q), turn), _rotate(_norm(k), turn)
        keys, values = (k, v) if past is None else (_after(past[0], k), _after(past[1], v))
        seen = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        x = x + gate * self.o(seen.transpose(1, 2).reshape(rows, frames * tokens, dim)).reshape(x.shape)
        h = (_norm(x) * (1 + scale2) + shift2).reshape(rows, frames * tokens, dim)
        x = x + gate2 * self.down(F.silu(self.up(h))).reshape(x.shape)
        return x, (k, v)


class CausalDenoiser(nn.Module):
    """See the module's docstring; implements `Denoiser`."""

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        if config.height % config.patch or config.width % config.patch or config.dim % (4 * config.heads):
            raise BadOption(f"{config}", "patches that tile the latents, dim a multiple of 4 heads", "Adjust sizes.")
        self.config = config
        dim, cell = config.dim, config.patch**2
        self.embed = RowLinear(config.channels * cell, dim)
        self.address = RowLinear(config.address_size * cell, dim)
        self.place = nn.Parameter(torch.randn(config.tokens, dim) * 0.02)
        self.frame = nn.Sequential(RowLinear(config.frame_size, dim), nn.SiLU(), RowLinear(dim, dim))
        self.level = nn.Sequential(RowLinear(dim, dim), nn.SiLU(), RowLinear(dim, dim))
        self.modulate = RowLinear(dim, 6 * dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.last = RowLinear(dim, 2 * dim)
        self.out = RowLinear(dim, config.channels * cell)
        for layer in (self.modulate, self.last, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        name_rows(self)

    def prefill(self, context: Tensor, conditions: Conditions, memory: LowRank | None = None) -> Cache:
        """Keys and values of clean latents [R, T, C, h, w]."""
        empty = Cache(int(context.shape[0]), 0, version_of(memory), None)
        return self.append(empty, context, conditions, memory)

    def append(self, cache: Cache, clean: Tensor, conditions: Conditions, memory: LowRank | None = None) -> Cache:
        """Adds finished frames [R * N, T, C, h, w]."""
        check_memory(cache, memory)
        check_rows(cache, clean, conditions)
        rows, frames = int(clean.shape[0]), int(clean.shape[1])
        if frames == 0:
            return cache
        past = cache.content
        _, new = self._run(clean, clean.new_zeros(rows, frames), conditions, past, cache.frames, memory)
        if past is not None:
            new = [(_after(a, c), _after(b, d)) for (a, b), (c, d) in zip(past, new, strict=True)]
        return Cache(rows, cache.frames + frames, cache.version, new)

    def denoise(
        self, cache: Cache, noisy: Tensor, level: Tensor, conditions: Conditions, memory: LowRank | None = None
    ) -> Denoised:
        """Denoises frames [R * N, T, C, h, w] that follow the cache."""
        check_memory(cache, memory)
        check_rows(cache, noisy, conditions)
        return self._run(noisy, level, conditions, cache.content, cache.frames, memory)[0]

    def forward(
        self, latents: Tensor, level: Tensor, conditions: Conditions, memory: LowRank | None = None
    ) -> Denoised:
        """A whole window at once, past frames at level 0: what training does."""
        return self._run(latents, level, conditions, None, 0, memory)[0]

    def _run(
        self,
        latents: Tensor,
        level: Tensor,
        conditions: Conditions,
        past: list[KeysValues] | None,
        before: int,
        memory: LowRank | None,
    ) -> tuple[Denoised, list[KeysValues]]:
        config = self.config
        rows, frames = self._check(latents, level, before)
        with using(memory):
            x = self.embed(_patches(latents, config.patch)) + self.place
            x = x + self.address(_patches(conditions.address.to(x.dtype), config.patch))
            known = self.level(_waves(level, config.dim)) + self.frame(conditions.frame)
            modulation = self.modulate(F.silu(known)).reshape(rows, frames, 6, config.dim)
            turn = _turns(before, frames, config, x)
            mask = _causal(before, frames, config.tokens, x.device)
            kept: list[KeysValues] = []
            for number, block in enumerate(self.blocks):
                x, keys_values = block(x, modulation, turn, None if past is None else past[number], mask)
                kept.append(keys_values)
            shift, scale = self.last(F.silu(known))[:, :, None].chunk(2, -1)
            hidden = _norm(x)
            output = self.out(hidden * (1 + scale) + shift)
        latents = _pictures(output, config)
        return Denoised(latents, hidden.mean(2)), kept

    def _check(self, latents: Tensor, level: Tensor, before: int) -> tuple[int, int]:
        config = self.config
        rows, frames = int(latents.shape[0]), int(latents.shape[1])
        shape = (config.channels, config.height, config.width)
        if tuple(latents.shape[2:]) != shape or tuple(level.shape) != (rows, frames):
            raise BadOption(
                f"latents {list(latents.shape)} with levels {list(level.shape)}",
                f"[R, T, {shape[0]}, {shape[1]}, {shape[2]}] and [R, T]",
                "Encode pictures with this world's codec.",
            )
        if before + frames > config.window:
            raise BadOption(
                f"{before} past and {frames} new frames", f"at most {config.window} together", "Prefill fewer frames."
            )
        return rows, frames


def _after(past: Tensor, new: Tensor) -> Tensor:
    """[R, heads, P, d] and [R * N, heads, Q, d] -> [R * N, heads, P + Q, d]; the shared past is copied only once."""
    candidates = new.reshape(past.shape[0], -1, *new.shape[1:])
    shared = past[:, None].expand(-1, candidates.shape[1], -1, -1, -1)
    return torch.cat([shared, candidates], 3).flatten(0, 1)


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _patches(x: Tensor, patch: int) -> Tensor:
    """[R, T, C, h, w] -> [R, T, n, C * patch * patch]."""
    rows, frames, channels, height, width = x.shape
    x = x.reshape(rows, frames, channels, height // patch, patch, width // patch, patch)
    return x.permute(0, 1, 3, 5, 2, 4, 6).reshape(rows, frames, -1, channels * patch * patch)


def _pictures(x: Tensor, config: CausalConfig) -> Tensor:
    """[R, T, n, C * patch * patch] -> [R, T, C, h, w]."""
    rows, frames, patch = x.shape[0], x.shape[1], config.patch
    high, wide = config.height // patch, config.width // patch
    x = x.reshape(rows, frames, high, wide, config.channels, patch, patch)
    return x.permute(0, 1, 4, 2, 5, 3, 6).reshape(rows, frames, config.channels, config.height, config.width)


def _waves(level: Tensor, dim: int) -> Tensor:
    """[R, T] -> [R, T, dim] sines and cosines of the level."""
    rates = torch.exp(torch.linspace(0, math.log(1000.0), dim // 2, device=level.device, dtype=level.dtype))
    angles = level[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)


def _turns(before: int, frames: int, config: CausalConfig, like: Tensor) -> Tensor:
    """[T * n, 2, d / 2] cosines and sines by which keys and queries turn with time."""
    half = config.dim // config.heads // 2
    rates = torch.exp(torch.linspace(0, -math.log(64.0), half, device=like.device, dtype=like.dtype))
    angles = torch.arange(before, before + frames, device=like.device, dtype=like.dtype)[:, None] * rates
    return torch.stack([angles.cos(), angles.sin()], 1).repeat_interleave(config.tokens, 0)


def _rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotary embedding of x [R, heads, T * n, d]."""
    cos, sin = turn.unbind(1)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def _causal(before: int, frames: int, tokens: int, device: torch.device) -> Tensor | None:
    """[T * n, (before + T) * n] which keys a query may see; None where it may see all."""
    if frames == 1:
        return None
    query = torch.arange(before, before + frames, device=device)[:, None]
    key = torch.arange(before + frames, device=device)[None]
    return (key <= query).repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
