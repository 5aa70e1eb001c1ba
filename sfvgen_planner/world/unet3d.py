"""The paper's denoiser: clean past and noisy new frames go through one video UNet together.

The network is diffusers' `UNet3DConditionModel`. It repeats time and text over all frames, so what belongs to single
frames (action, rays, noise level) enters beside the latents, as input channels whose weights start at zero: weights
of ModelScopeT2V then still compute what they were trained to. Time is not masked: the past sees the new frames, and
a later action leaks into earlier ones (`leak.py` measures it).
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet3DConditionModel
from torch import Tensor, nn

from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.denoiser import Cache, Denoised, check_memory, check_rows
from sfvgen_planner.world.lowrank import LowRank, name_rows, using, version_of


@dataclass(frozen=True)
class UNet3DConfig:
    """Sizes; `frame_size`, `address_size` and `text_size` are the conditions' E, F and X."""

    channels: int = 8
    height: int = 8
    width: int = 8
    frame_size: int = 64
    address_size: int = 72
    text_size: int = 64
    frame_channels: int = 8
    """a frame's condition is projected to so many input channels, alike at every place"""
    block_out_channels: tuple[int, ...] = (64, 128)
    layers_per_block: int = 1
    cross_attention_size: int = 64
    attention_head_dim: int = 16
    norm_num_groups: int = 32
    dropout: float = 0.0
    """in the temporal convolutions; diffusers' own is 0.1, drawn from torch's global generator"""
    window: int = 32
    chunk: int = FRAMES_PER_CHUNK
    """room that `append` leaves for the next new frames"""
    timesteps: int = 1000
    """S: level 1 is the UNet's timestep S - 1, level 0 its 0"""
    whole_timesteps: bool = False
    """level (t + 1) / S is exactly timestep t of a discrete process, as published weights were trained"""

    def __post_init__(self) -> None:
        odd = [c for c in self.block_out_channels if c % self.norm_num_groups or c % self.attention_head_dim]
        if odd or not self.block_out_channels:
            raise BadOption(
                f"block_out_channels {self.block_out_channels}",
                f"multiples of norm_num_groups {self.norm_num_groups} and attention_head_dim {self.attention_head_dim}",
                "Adjust sizes.",
            )
        if not 0 < self.chunk <= self.window:
            raise BadOption(f"a chunk of {self.chunk} frames", f"1 to {self.window}, the window", "Adjust `chunk`.")


@dataclass(frozen=True)
class Past:
    """What a cache of this denoiser holds: nothing is computed ahead."""

    latents: Tensor
    """[R, T, C, h, w]"""
    conditions: Conditions


class UNet3DDenoiser(nn.Module):
    """See the module's docstring; implements `Denoiser`."""

    def __init__(self, config: UNet3DConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = _unet(config)
        # The UNet's last layer stands outside it, so that what it reads can be handed to the heads: no second
        # forward to maintain, no hook.
        self.conv_out = self.unet.conv_out
        self.unet.conv_out = nn.Identity()
        self.frame_in = nn.Linear(config.frame_size, config.frame_channels)
        same = config.text_size == config.cross_attention_size
        self.text_in = nn.Identity() if same else nn.Linear(config.text_size, config.cross_attention_size)
        self.no_text = nn.Parameter(torch.zeros(1, config.cross_attention_size))
        with torch.no_grad():
            self.unet.conv_in.weight[:, config.channels :] = 0
        name_rows(self)

    @property
    def feature_size(self) -> int:
        """D of `Denoised.features`."""
        return self.config.block_out_channels[0]

    @property
    def matrices(self) -> list[nn.Parameter]:
        """Of its transformers."""
        return [one for name, one in self.unet.named_parameters() if "transformer_blocks" in name and one.ndim == 2]

    def prefill(self, context: Tensor, conditions: Conditions, memory: LowRank | None = None) -> Cache:
        """Keeps clean latents [R, T, C, h, w]."""
        self._check(context, conditions)
        rows, frames = int(context.shape[0]), int(context.shape[1])
        self._check_room(frames, 1)
        return Cache(rows, frames, version_of(memory), Past(context, conditions))

    def ready(self, cache: Cache, conditions: Conditions, memory: LowRank | None = None) -> Conditions:
        """Nothing that does not depend on the noise is worth keeping."""
        return conditions

    def append(self, cache: Cache, clean: Tensor, conditions: Conditions, memory: LowRank | None = None) -> Cache:
        """Adds finished frames [R * N, T, C, h, w]; the oldest give way to the next chunk."""
        check_memory(cache, memory)
        latents, told = self._join(cache, clean, conditions)
        first = max(0, int(latents.shape[1]) - (self.config.window - self.config.chunk))
        past = Past(latents[:, first:], told[first:])
        return Cache(int(clean.shape[0]), past.conditions.frames, cache.version, past)

    def denoise(
        self, cache: Cache, noisy: Tensor, level: Tensor, conditions: Conditions, memory: LowRank | None = None
    ) -> Denoised:
        """Denoises frames [R * N, T, C, h, w] that follow the cache, one level a row. The past is not predicted."""
        check_memory(cache, memory)
        latents, told = self._join(cache, noisy, conditions)
        if tuple(level.shape) != tuple(noisy.shape[:2]) or not bool((level == level[:, :1]).all()):
            raise BadOption(
                f"levels of shape {list(level.shape)} for latents {list(noisy.shape)}",
                "[R, T], equal over a row's new frames",
                "This denoiser knows one noise level a row; use `causal` for one a frame.",
            )
        clean = level.new_zeros(level.shape[0], cache.frames)
        whole = self(latents, torch.cat([clean, level], 1), told, memory)
        return Denoised(whole.output[:, cache.frames :], whole.features[:, cache.frames :])

    def forward(
        self, latents: Tensor, level: Tensor, conditions: Conditions, memory: LowRank | None = None
    ) -> Denoised:
        """A whole window [R, T, C, h, w] at once, each frame at level [R, T] 0 (past) or at its row's one level."""
        self._check(latents, conditions)
        rows, frames = int(latents.shape[0]), int(latents.shape[1])
        self._check_room(0, frames)
        row_level = self._check_level(level, rows, frames)
        if memory is not None and rows % memory.rows:
            # Frames are folded into the rows inside, where this would pass unseen.
            raise BadOption(f"{rows} rows under {memory.rows} memories", "a multiple of the memories", "Repeat rows.")
        whole = (row_level * self.config.timesteps).round().sub(1).clamp(min=0)
        steps = whole if self.config.whole_timesteps else row_level * (self.config.timesteps - 1)
        with using(memory):
            text = self.no_text.expand(rows, -1, -1) if conditions.text is None else self.text_in(conditions.text)
            hidden = self.unet(self._input(latents, level, conditions), steps, text).sample.transpose(1, 2)
            output = self.conv_out(hidden.flatten(0, 1)).unflatten(0, (rows, frames))
        return Denoised(output, hidden.mean((-2, -1)))

    def _input(self, latents: Tensor, level: Tensor, conditions: Conditions) -> Tensor:
        """[R, C + F + frame_channels + 1, T, h, w]: each latent pixel, where it looks, what happens, the noise."""
        everywhere = torch.cat([self.frame_in(conditions.frame), level[..., None].to(latents.dtype)], -1)
        everywhere = everywhere[..., None, None].expand(*everywhere.shape, *latents.shape[-2:])
        return torch.cat([latents, conditions.address, everywhere], 2).transpose(1, 2)

    def _join(self, cache: Cache, new: Tensor, conditions: Conditions) -> tuple[Tensor, Conditions]:
        """Each candidate's row of the past, with its new frames behind it."""
        self._check(new, conditions)
        candidates = check_rows(cache, new, conditions)
        past: Past = cache.content
        self._check_room(0, int(new.shape[1]))
        latents = torch.cat([past.latents.repeat_interleave(candidates, 0), new], 1)
        return latents, Conditions.join(past.conditions.repeat(candidates), conditions)

    def _check(self, latents: Tensor, conditions: Conditions) -> None:
        config, dtype = self.config, self.conv_out.weight.dtype
        rows, frames = latents.shape[:2]
        text, place = conditions.text, (config.height, config.width)
        fits = (
            tuple(latents.shape) == (rows, frames, config.channels, *place)
            and tuple(conditions.frame.shape) == (rows, frames, config.frame_size)
            and tuple(conditions.address.shape) == (rows, frames, config.address_size, *place)
            and (text is None or (text.ndim == 3 and (text.shape[0], text.shape[2]) == (rows, config.text_size)))
        )
        told = [conditions.frame, conditions.address] + ([] if text is None else [text])
        if not fits or any(x.dtype != dtype for x in [latents, *told]):
            given = ", ".join(f"{list(x.shape)} {x.dtype}" for x in [latents, *told])
            raise BadOption(
                f"latents and conditions {given}",
                f"{dtype} [R, T, {config.channels}, {config.height}, {config.width}], [R, T, {config.frame_size}], "
                f"[R, T, {config.address_size}, {config.height}, {config.width}], [R, L, {config.text_size}] or None",
                "Encode pictures and conditions with this world's own encoders.",
            )

    def _check_room(self, past: int, new: int) -> None:
        if past + new > self.config.window or new < 1:
            raise BadOption(
                f"{past} past and {new} new frames", f"1 to {self.config.window} together", "Prefill fewer frames."
            )

    def _check_level(self, level: Tensor, rows: int, frames: int) -> Tensor:
        """[R]: the one level of each row."""
        if tuple(level.shape) == (rows, frames):
            row = level.amax(1)
            if bool((((level == 0) | (level == row[:, None])) & (level >= 0) & (level <= 1)).all()):
                return row
        raise BadOption(
            f"levels of shape {list(level.shape)} for {rows} rows x {frames} frames",
            "[R, T] in 0 to 1, each frame at 0 or at its row's one level",
            "This denoiser knows one noise level a row; use `causal` for one a frame.",
        )


def _unet(config: UNet3DConfig) -> Any:
    deeper = len(config.block_out_channels) - 1
    unet = UNet3DConditionModel(
        sample_size=(config.height, config.width),
        in_channels=config.channels + config.address_size + config.frame_channels + 1,
        out_channels=config.channels,
        down_block_types=("CrossAttnDownBlock3D",) * deeper + ("DownBlock3D",),
        up_block_types=("UpBlock3D",) + ("CrossAttnUpBlock3D",) * deeper,
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        cross_attention_dim=config.cross_attention_size,
        attention_head_dim=config.attention_head_dim,
        norm_num_groups=config.norm_num_groups,
    )
    for module in unet.modules():
        if isinstance(module, nn.Dropout):
            module.p = config.dropout
    return unet
