"""The causal denoiser: a space-time transformer whose past is computed once and shared by every candidate.

A frame is (h / 2) x (w / 2) tokens. A token attends to all tokens of its own and of earlier frames, so changing the
action of frame k leaves frames before k exactly alone, and keys and values of the past never change while new frames
are denoised. Every frame has its own noise level; the past's is 0.

Two things the network need not learn: keys and queries turn with the direction a token looks in (as rotary embeddings
do with time), so that what was seen there before is at hand however the camera moved; and where a world predicts clean
latents, what the last clean frame shows is carried along instead of drawn anew (see `carry.py`).
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.blocks import Block, KeysValues, after, norm, unseen, waves
from sfvgen_planner.world.carry import Carry, Last, Sources, Still, zeroed
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.denoiser import Cache, Denoised, check_memory, check_rows
from sfvgen_planner.world.lowrank import LowRank, RowLinear, name_rows, using, version_of
from sfvgen_planner.world.patches import patches, pictures

LOOKS = 2.0
"""Radians by which the slowest turn with the view differs between directions 1 apart; each next is twice as fast."""


@dataclass(frozen=True)
class Past:
    """What a cache of this denoiser holds."""

    blocks: list[KeysValues]
    last: Last
    """the last clean frame"""


@dataclass(frozen=True)
class Ready:
    """What new frames are carried from, and may hear, whatever their noise."""

    sources: Sources
    still: Still
    heard: Tensor | None
    """[R]: 0 for rows that hear nothing of their memory, None: all do"""


@dataclass(frozen=True)
class _Seen:
    """What the blocks made of some frames."""

    tokens: Tensor
    """[R, T, n, D]"""
    known: Tensor
    """[R, T, D]: of level and conditions"""
    blocks: list[KeysValues]


@dataclass(frozen=True)
class CausalConfig:
    """Sizes; `frame_size` and `address_size` are the conditions' E and F."""

    channels: int = 8
    height: int = 8
    width: int = 8
    frame_size: int = 64
    address_size: int = 72
    patch: int = 2
    dim: int = 128
    depth: int = 5
    heads: int = 2
    window: int = 32
    looks: float = 0.6
    """share of the d / 2 pairs of a head that turn with the view; the others turn with time"""
    copies: bool = False
    """the last clean frame is carried along: only where clean latents are predicted"""
    fine: int = 1
    """pixels a latent is wide where a linear code unfolds it; 1: latents are carried as they are"""
    brush: int = 64
    """width of the convolutions that carry and draw"""

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
        self.modulate = zeroed(RowLinear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(dim, config.heads) for _ in range(config.depth))
        self.last = zeroed(RowLinear(dim, 2 * dim))
        self.carry: Carry | None = None
        if config.copies:
            self.carry = Carry(config.channels, config.fine, config.patch, dim, config.brush)
            self.still = RowLinear(config.channels * cell, dim, bias=False)
            self.since = RowLinear(config.frame_size, dim, bias=False)
        else:
            self.out = zeroed(RowLinear(dim, config.channels * cell))
        self.look = nn.Linear(config.address_size, config.pairs[0], bias=False)
        with torch.no_grad():  # an address begins with the unit vector along the ray
            self.look.weight.zero_()
            for pair in range(config.pairs[0]):
                self.look.weight[pair, pair % 3] = LOOKS * 2.0 ** (pair // 3)
        name_rows(self)

    @property
    def matrices(self) -> list[nn.Parameter]:
        """Of the blocks, and the kernels between the first and the last convolutions."""
        parts = [self.blocks] if self.carry is None else [self.blocks, *self.carry.inner]
        return [weight for part in parts for name, weight in part.named_parameters() if name.endswith("weight")]

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
        level = clean.new_zeros(rows, frames)
        self._check(clean, level, cache.frames, conditions)
        with using(memory):
            new = self._seen(clean, level, conditions, cache).blocks
        if past is not None:
            new = [(after(a, c), after(b, d)) for (a, b), (c, d) in zip(past.blocks, new, strict=True)]
        return Cache(rows, cache.frames + frames, cache.version, Past(new, Last.of(clean, level, conditions)))

    def denoise(
        self, cache: Cache, noisy: Tensor, level: Tensor, conditions: Conditions, memory: LowRank | None = None
    ) -> Denoised:
        """Denoises frames [R * N, T, C, h, w] that follow the cache."""
        check_memory(cache, memory)
        check_rows(cache, noisy, conditions)
        past: Past | None = cache.content
        last = Last.nothing(noisy, conditions) if past is None else past.last.repeat(len(noisy))
        return self._answer(noisy, level, conditions, cache, last, 0, memory)

    def ready(self, cache: Cache, conditions: Conditions, memory: LowRank | None = None) -> Conditions:
        """Where anything is carried: knowing what from, and what it would show if all stood still."""
        past: Past | None = cache.content
        if self.carry is None or past is None:
            return conditions
        last = past.last.repeat(len(conditions.frame))
        return replace(conditions, ready=self._ready(self.carry, last, conditions, memory))

    def forward(
        self, latents: Tensor, level: Tensor, conditions: Conditions, memory: LowRank | None = None
    ) -> Denoised:
        """A whole window at once, past frames at level 0: what training does. Of the past the answer is 0."""
        first = int((level == 0).cumprod(1).sum(1).min()) if level.numel() else 0
        nothing = Cache(len(latents), 0, version_of(memory), None)
        return self._answer(latents, level, conditions, nothing, Last.of(latents, level, conditions), first, memory)

    def _answer(
        self,
        latents: Tensor,
        level: Tensor,
        conditions: Conditions,
        cache: Cache,
        last: Last,
        first: int,
        memory: LowRank | None,
    ) -> Denoised:
        """For frames from `first` on; 0 before."""
        self._check(latents, level, cache.frames, conditions)
        new = conditions[first:] if first else conditions
        parts: tuple[Tensor, ...] = ()
        ready = None if self.carry is None else new.ready or self._ready(self.carry, last, new, memory)
        if memory is not None and ready is not None and ready.heard is not None:
            memory = replace(memory, heard=ready.heard)
        with using(memory):
            if self.carry is None or ready is None:
                seen = self._seen(latents, level, conditions, cache)
                hidden = norm(seen.tokens)
                answer = pictures(self.out(self._told(hidden, seen, first)), self.config.grid, self.config.patch)
            else:
                seen = self._seen(latents, level, conditions, cache, self._since(ready.still, last, new))
                hidden = norm(seen.tokens)
                known, told = seen.known[:, first:], self._told(hidden, seen, first)
                answer, parts = self.carry(told, known, latents[:, first:], ready.sources, ready.still)
        return Denoised(_later(answer, first), hidden.mean(2), tuple(_later(part, first) for part in parts))

    def _ready(self, carry: Carry, last: Last, new: Conditions, memory: LowRank | None) -> Ready:
        """From the last clean frame, and from kept ones that show new ones better. Rows that have none hear nothing of
        a memory that keeps any: nobody has been there."""
        if memory is None or memory.album is None:
            kept, heard = None, None
        else:
            kept = memory.album.nearest(new.cameras, last)
            heard = kept.given.reshape(len(new.frame), -1).amax(1)
        sources = carry.sources(last, new.cameras, kept)
        return Ready(sources, carry.still(sources), heard)

    def _since(self, still: Still, last: Last, new: Conditions) -> tuple[Tensor, Tensor]:
        """What new frames are told of the last clean one: for each token [R, T, n, D] what it would see if all stood
        still, for each frame [R, T, D] what is otherwise than then."""
        changed = (new.frame - last.told[:, None]) * last.given[:, None, None]
        return self.still(patches(still.latents * still.inside, self.config.patch)), self.since(changed)

    def _seen(
        self,
        latents: Tensor,
        level: Tensor,
        conditions: Conditions,
        cache: Cache,
        since: tuple[Tensor, Tensor] | None = None,
    ) -> _Seen:
        """What the blocks make of frames after the cache; `since` is told to the last ones of them."""
        config, past = self.config, cache.content
        rows, frames = latents.shape[:2]
        x = self.embed(patches(latents, config.patch)) + self.place + self.happens(conditions.frame)[:, :, None]
        address = patches(conditions.address.to(x.dtype), 1)
        x = x + self.address(address)
        known = self.level(waves(level, config.dim)) + self.frame(conditions.frame)
        if since is not None:
            still, change = (_later(part, frames - part.shape[1]) for part in since)
            x, known = x + still + change[:, :, None], known + change
        modulation = self.modulate(F.silu(known)).reshape(rows, frames, 6, config.dim)
        turn, hidden = self._turns(address, cache.frames), unseen(cache.frames, frames, config.tokens, x)
        kept: list[KeysValues] = []
        for number, block in enumerate(self.blocks):
            x, keys_values = block(x, modulation, turn, None if past is None else past.blocks[number], hidden)
            kept.append(keys_values)
        return _Seen(x, known, kept)

    def _told(self, hidden: Tensor, seen: _Seen, first: int) -> Tensor:
        """[R, T - first, n, D]: hidden tokens as the answer reads them."""
        shift, scale = self.last(F.silu(seen.known[:, first:]))[:, :, None].chunk(2, -1)
        told: Tensor = hidden[:, first:] * (1 + scale) + shift
        return told

    def _turns(self, address: Tensor, before: int) -> Tensor:
        """Of addresses [R, T, n, F]: [R, 1, T * n, 2, d / 2] cosines and sines that keys and queries turn by."""
        config, frames = self.config, address.shape[1]
        with torch.autocast(address.device.type, enabled=False):  # an angle has no small errors
            view = self.look(address)
        rates = torch.linspace(0, -math.log(64.0), config.pairs[1], device=address.device, dtype=address.dtype).exp()
        time = torch.arange(before, before + frames, device=address.device, dtype=address.dtype)[:, None, None] * rates
        angles = torch.cat([view, time.expand(*view.shape[:3], -1)], -1).flatten(1, 2)[:, None]
        return torch.stack([angles.cos(), angles.sin()], -2)

    def _check(self, latents: Tensor, level: Tensor, before: int, conditions: Conditions) -> None:
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


def _later(x: Tensor, first: int) -> Tensor:
    """[R, T, ...] with `first` frames of zeros before it."""
    return F.pad(x, (0, 0) * (x.ndim - 2) + (first, 0))
