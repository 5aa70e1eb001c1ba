"""The causal denoiser: a space-time transformer whose past is computed once and shared by every candidate.

A frame is (h / 2) x (w / 2) tokens. A token attends to all tokens of its own and of earlier frames, so changing the
action of frame k leaves frames before k exactly alone, and keys and values of the past never change while new frames
are denoised. Every frame has its own noise level; the past's is 0.

Two things the network need not learn: keys and queries turn with the direction a token looks in (as rotary embeddings
do with time), so that what was seen there before is at hand however the camera moved; and where a world predicts clean
latents, each of them is a mix of the network's answer and the last clean frame: what stands still is copied, not drawn.
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
LOOKS = 2.0
"""Radians by which the slowest turn with the view differs between directions 1 apart; each next is twice as fast."""

KEEP = 1.0
"""A new network copies more than it draws (the logit of how much)."""


@dataclass(frozen=True)
class Past:
    """What a cache of this denoiser holds."""

    blocks: list[KeysValues]
    last: Tensor
    """[R, C, h, w]: the last clean frame"""


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
    looks: float = 0.6
    """share of the d / 2 pairs of a head that turn with the view; the others turn with time"""
    copies: bool = False
    """may mix in the last clean frame: only where clean latents are predicted"""

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens of a frame, down and across."""
        return self.height // self.patch, self.width // self.patch

    @property
    def pairs(self) -> tuple[int, int]:
        """Of a head: how many turn with the view (as many for each axis), and how many with time."""
        half = self.dim // self.heads // 2
        view = int(self.looks * half) // 3 * 3
        return view, half - view

    @property
    def tokens(self) -> int:
        """n, of one frame."""
        return self.grid[0] * self.grid[1]


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
        """x [R, T, n, D], modulation [R, T, 6, D], turn [R, 1, T * n, 2, d / 2] -> x, and the new keys and values."""
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
        self.address = RowLinear(config.address_size, dim)
        self.happens = RowLinear(config.frame_size, dim)
        self.place = nn.Parameter(torch.randn(config.tokens, dim) * 0.02)
        self.frame = nn.Sequential(RowLinear(config.frame_size, dim), nn.SiLU(), RowLinear(dim, dim))
        self.level = nn.Sequential(RowLinear(dim, dim), nn.SiLU(), RowLinear(dim, dim))
        self.modulate = RowLinear(dim, 6 * dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.last = RowLinear(dim, 2 * dim)
        self.out = RowLinear(dim, (config.channels + config.copies) * cell)
        self.look = nn.Linear(config.address_size, config.pairs[0], bias=False)
        with torch.no_grad():  # an address begins with the unit vector along the ray
            self.look.weight.zero_()
            for pair in range(config.pairs[0]):
                self.look.weight[pair, pair % 3] = LOOKS * 2.0 ** (pair // 3)
        for layer in (self.modulate, self.last, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.out.bias[config.channels * cell :] = KEEP
        name_rows(self)

    @property
    def matrices(self) -> list[nn.Parameter]:
        """Of the blocks."""
        return [weight for name, weight in self.blocks.named_parameters() if name.endswith(".weight")]

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
        past: Past | None = cache.content
        _, new = self._run(clean, clean.new_zeros(rows, frames), conditions, past, cache.frames, memory)
        if past is not None:
            new = [(_after(a, c), _after(b, d)) for (a, b), (c, d) in zip(past.blocks, new, strict=True)]
        return Cache(rows, cache.frames + frames, cache.version, Past(new, clean[:, -1]))

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
        past: Past | None,
        before: int,
        memory: LowRank | None,
    ) -> tuple[Denoised, list[KeysValues]]:
        config = self.config
        rows, frames = self._check(latents, level, before, conditions)
        with using(memory):
            x = self.embed(_patches(latents, config.patch)) + self.place + self.happens(conditions.frame)[:, :, None]
            address = _patches(conditions.address.to(x.dtype), 1)
            x = x + self.address(address)
            known = self.level(_waves(level, config.dim)) + self.frame(conditions.frame)
            modulation = self.modulate(F.silu(known)).reshape(rows, frames, 6, config.dim)
            turn = self._turns(address, before)
            mask = _causal(before, frames, config.tokens, x.device)
            kept: list[KeysValues] = []
            for number, block in enumerate(self.blocks):
                x, keys_values = block(x, modulation, turn, None if past is None else past.blocks[number], mask)
                kept.append(keys_values)
            shift, scale = self.last(F.silu(known))[:, :, None].chunk(2, -1)
            hidden = _norm(x)
            output = self.out(hidden * (1 + scale) + shift)
        answer = _pictures(output, config)
        if not config.copies:
            return Denoised(answer, hidden.mean(2)), kept
        mixed = _mixed(answer, *(_last_given(latents, level) if past is None else _last_of(past, rows)))
        return Denoised(mixed, hidden.mean(2), answer[:, :, :-1]), kept

    def _turns(self, address: Tensor, before: int) -> Tensor:
        """Of addresses [R, T, n, F]: [R, 1, T * n, 2, d / 2] cosines and sines that keys and queries turn by."""
        config, frames = self.config, address.shape[1]
        with torch.autocast(address.device.type, enabled=False):  # an angle has no small errors
            view = self.look(address)
        rates = torch.linspace(0, -math.log(64.0), config.pairs[1], device=address.device, dtype=address.dtype).exp()
        time = torch.arange(before, before + frames, device=address.device, dtype=address.dtype)[:, None, None] * rates
        angles = torch.cat([view, time.expand(*view.shape[:3], -1)], -1).flatten(1, 2)[:, None]
        return torch.stack([angles.cos(), angles.sin()], -2)

    def _check(self, latents: Tensor, level: Tensor, before: int, conditions: Conditions) -> tuple[int, int]:
        config = self.config
        rows, frames = int(latents.shape[0]), int(latents.shape[1])
        shape = (config.channels, config.height, config.width)
        if tuple(latents.shape[2:]) != shape or tuple(level.shape) != (rows, frames):
            raise BadOption(
                f"latents {list(latents.shape)} with levels {list(level.shape)}",
                f"[R, T, {shape[0]}, {shape[1]}, {shape[2]}] and [R, T]",
                "Encode pictures with this world's codec.",
            )
        if tuple(conditions.address.shape[2:]) != (config.address_size, *config.grid):
            raise BadOption(
                f"addresses {list(conditions.address.shape)}",
                f"[R, T, {config.address_size}, {config.grid[0]}, {config.grid[1]}], one for each token",
                "Make them with WorldModel.conditions.",
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
    """[R, T, n, C * patch * patch] -> [R, T, C, h, w] for any C."""
    rows, frames, patch = x.shape[0], x.shape[1], config.patch
    high, wide = config.height // patch, config.width // patch
    x = x.reshape(rows, frames, high, wide, -1, patch, patch)
    return x.permute(0, 1, 4, 2, 5, 3, 6).reshape(rows, frames, -1, config.height, config.width)


def _mixed(answer: Tensor, last: Tensor, given: Tensor) -> Tensor:
    """Answer [R, T, C + 1, h, w], of which the last channel says how much of `last` [R, C, h, w] to keep, if given."""
    keep = answer[:, :, -1:].sigmoid() * given.reshape(-1, 1, 1, 1, 1)
    return keep * last[:, None] + (1 - keep) * answer[:, :, :-1]


def _last_given(latents: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """The last of the clean frames that latents [R, T, C, h, w] begin with, and which rows [R] have one."""
    given = (level == 0).cumprod(1).sum(1)
    return latents[torch.arange(len(latents), device=latents.device), (given - 1).clamp(min=0)], (given > 0).float()


def _last_of(past: Past, rows: int) -> tuple[Tensor, Tensor]:
    return past.last.repeat_interleave(rows // len(past.last), 0), past.last.new_ones(rows)


def _waves(level: Tensor, dim: int) -> Tensor:
    """[R, T] -> [R, T, dim] sines and cosines of the level."""
    rates = torch.exp(torch.linspace(0, math.log(1000.0), dim // 2, device=level.device, dtype=level.dtype))
    angles = level[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)


def _rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotary embedding of x [R, heads, T * n, d]."""
    cos, sin = turn.unbind(-2)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def _causal(before: int, frames: int, tokens: int, device: torch.device) -> Tensor | None:
    """[T * n, (before + T) * n] which keys a query may see; None where it may see all."""
    if frames == 1:
        return None
    query = torch.arange(before, before + frames, device=device)[:, None]
    key = torch.arange(before + frames, device=device)[None]
    return (key <= query).repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
