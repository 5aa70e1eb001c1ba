"""The codec: frames <-> latents. Frame by frame, so that a video grows in latent space without ever being decoded."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sfvgen_planner.errors import BadImageSize, BadOption

LINEAR = "linear.safetensors"
FIRST_LOG_VARIANCE = -8.0
NUDGE = 0.1
"""by how much a latent is changed to see what it does to pixels"""


class Codec(Protocol):
    """Frames uint8 [..., h, w, 3] <-> latents float [..., C, h', w'] of about unit variance."""

    channels: int
    shrink: int
    """pixels of a latent's side"""

    def encode(self, pixels: Tensor) -> Tensor:
        """The latents' mean: encoding draws no noise."""

    def decode(self, latents: Tensor) -> Tensor:
        """Frames uint8."""


@dataclass(frozen=True)
class CodecConfig:
    """A small `AutoencoderKL` over `fold` x `fold` pixels folded into channels (cheap on a CPU, nothing lost).

    With one width, latents have the folded picture's size, and the network only learns what the best linear code (the
    folded pixels' principal components) leaves undone.
    """

    channels: int = 16
    fold: int = 4
    widths: tuple[int, ...] = (64,)
    layers: int = 1
    groups: int = 8


class Linear(nn.Module):
    """The best linear code of folded pixels: its answers are added to the network's."""

    def __init__(self, folded: int, channels: int) -> None:
        super().__init__()
        self.encode, self.decode = nn.Conv2d(folded, channels, 1), nn.Conv2d(channels, folded, 1)

    @torch.no_grad()
    def fit(self, folded: Tensor) -> None:
        """Principal components of unit variance, of folded pixels [B, F, h, w]."""
        points = folded.movedim(1, -1).flatten(0, 2).double()
        middle = points.mean(0)
        _, spread, axes = torch.linalg.svd(points - middle, full_matrices=False)
        channels = self.encode.out_channels
        axes = axes[:channels] * torch.where(axes[:channels].sum(1) < 0, -1.0, 1.0)[:, None]
        size = (spread[:channels] / len(points) ** 0.5).clamp(min=1e-6)
        unit = axes / size[:, None]
        coded = {"weight": unit[..., None, None], "bias": -unit @ middle}
        drawn = {"weight": (axes.T * size)[..., None, None], "bias": middle}
        self.encode.load_state_dict(coded)
        self.decode.load_state_dict(drawn)


class KLCodec(nn.Module):
    """`AutoencoderKL` of diffusers with its latents' statistics beside it."""

    mean: Tensor
    std: Tensor

    def __init__(self, vae: AutoencoderKL, fold: int = 1, linear: Linear | None = None) -> None:
        super().__init__()
        self.vae, self.fold, self.linear = vae, fold, linear
        self.channels = int(vae.config.latent_channels)
        self.shrink = fold * 2 ** (len(vae.config.block_out_channels) - 1)
        self.register_buffer("mean", torch.zeros(self.channels, 1, 1))
        self.register_buffer("std", torch.ones(self.channels, 1, 1))

    @staticmethod
    def fresh(config: CodecConfig) -> "KLCodec":
        """An untrained one."""
        folded, depth = 3 * config.fold**2, len(config.widths)
        vae = AutoencoderKL(
            in_channels=folded,
            out_channels=folded,
            down_block_types=("DownEncoderBlock2D",) * depth,
            up_block_types=("UpDecoderBlock2D",) * depth,
            block_out_channels=config.widths,
            layers_per_block=config.layers,
            latent_channels=config.channels,
            norm_num_groups=config.groups,
            mid_block_add_attention=False,
        )
        return KLCodec(vae, config.fold, Linear(folded, config.channels) if depth == 1 else None)

    def begin(self, pixels: Tensor) -> None:
        """Before training: the linear code of frames uint8 [B, h, w, 3] alone, hardly any noise on it."""
        if self.linear is None:
            return
        self.linear.fit(self.unit(pixels))
        with torch.no_grad():
            for layer in (self.vae.quant_conv, self.vae.decoder.conv_out):
                layer.weight.zero_()
                layer.bias.zero_()
            self.vae.quant_conv.bias[self.channels :] = FIRST_LOG_VARIANCE

    def unfolding(self, fine: int) -> Tensor:
        """[3 * fine * fine, C]: how folded pixels change with normalised latents, by the linear code."""
        if self.linear is None or self.fold != fine:
            raise BadOption(
                f"a codec that folds {self.fold} pixels, {'with' if self.linear else 'without'} a linear code",
                f"a linear code of {fine}",
                "Set CausalConfig(fine=) to the codec's fold, or to 1.",
            )
        return self.linear.decode.weight.detach()[:, :, 0, 0] * self.std.flatten()

    def posterior(self, folded: Tensor) -> tuple[Tensor, Any]:
        """Latents [B, C, h', w'] before normalisation, and the distribution that the network sees around its part."""
        told = self.vae.encode(folded).latent_dist
        return told.mean if self.linear is None else told.mean + self.linear.encode(folded), told

    def pictured(self, latents: Tensor) -> Tensor:
        """Back to folded pixels [B, 3 * fold * fold, h / fold, w / fold]."""
        drawn: Tensor = self.vae.decode(latents).sample
        return drawn if self.linear is None else drawn + self.linear.decode(latents)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Frames uint8 [..., h, w, 3] -> normalised latents [..., C, h', w']."""
        flat = self.unit(pixels.reshape(-1, *pixels.shape[-3:]))
        latents = (self.posterior(flat)[0] - self.mean) / self.std
        return latents.reshape(*pixels.shape[:-3], *latents.shape[1:])

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents [..., C, h', w'] -> frames uint8 [..., h, w, 3]."""
        flat = latents.reshape(-1, *latents.shape[-3:]) * self.std + self.mean
        pictures = F.pixel_shuffle(self.pictured(flat), self.fold)
        pixels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
        return pixels.reshape(*latents.shape[:-3], *pixels.shape[1:])

    def unit(self, pixels: Tensor) -> Tensor:
        """Frames uint8 [B, h, w, 3] -> [B, 3 * fold * fold, h / fold, w / fold] in [-1, 1]."""
        if pixels.dtype != torch.uint8 or pixels.shape[-1] != 3 or pixels.shape[1] % self.shrink:
            raise BadImageSize(
                f"{pixels.dtype} frames of shape {list(pixels.shape)}",
                f"uint8 [..., h, w, 3] with sides a multiple of {self.shrink}",
                "Resize the pictures.",
            )
        dtype = next(self.vae.parameters()).dtype
        folded: Tensor = F.pixel_unshuffle(pixels.permute(0, 3, 1, 2).to(dtype) / 127.5 - 1, self.fold)
        return folded

    @torch.no_grad()
    def measure(self, pixels: Tensor, batch: int = 64) -> None:
        """Sets the latents' statistics from frames [B, h, w, 3]: variance 1 on average, more where more is seen of it.

        With variance 1 everywhere, fine detail would count as much as what the picture shows, and a world that is
        trained on latents would spend itself on it; counted by pixels alone it would be a blur. This is between.
        """
        self.mean.zero_()
        self.std.fill_(1.0)
        latents = torch.cat([self.encode(part) for part in torch.split(pixels, batch)])
        spread = latents.std((0, 2, 3)).clamp_min(1e-6)
        share = (spread * self._seen(latents[:batch])).sqrt()
        share = share / share.square().mean().sqrt()
        self.mean.copy_(latents.mean((0, 2, 3))[:, None, None])
        self.std.copy_((spread / share)[:, None, None])

    def _seen(self, latents: Tensor) -> Tensor:
        """[C] by how much pixels change, root mean square, when a channel of latents [B, C, h', w'] does by 1."""
        draw = torch.Generator().manual_seed(0)
        still = self.pictured(latents)
        changes = []
        for channel in range(self.channels):
            moved = latents.clone()
            step = NUDGE * torch.randn(moved[:, channel].shape, generator=draw)
            moved[:, channel] += step.to(moved)
            changes.append((self.pictured(moved) - still).square().mean().sqrt() / NUDGE)
        return torch.stack(changes).clamp_min(1e-6)

    def save_pretrained(self, folder: Path | str) -> None:
        """`vae/` in diffusers' own format, `codec.json` and the linear code beside it."""
        folder = Path(folder)
        self.vae.save_pretrained(folder / "vae")
        config = folder / "vae" / "config.json"
        told = json.loads(config.read_text())
        told.pop("_name_or_path", None)  # where it was loaded from is nobody's business
        config.write_text(json.dumps(told, indent=2))
        if self.linear is not None:
            save_file(self.linear.state_dict(), folder / LINEAR)
        facts = {"fold": self.fold, "mean": self.mean.flatten().tolist(), "std": self.std.flatten().tolist()}
        (folder / "codec.json").write_text(json.dumps(facts))

    @staticmethod
    def from_pretrained(folder: Path | str) -> "KLCodec":
        """A folder of ours, or any pretrained `AutoencoderKL` by path (its scaling factor is its statistics)."""
        folder = Path(folder)
        if not (folder / "codec.json").exists():
            codec = KLCodec(AutoencoderKL.from_pretrained(folder, local_files_only=True))
            codec.mean.fill_(float(codec.vae.config.shift_factor or 0.0))
            codec.std.fill_(1.0 / float(codec.vae.config.scaling_factor))
            return codec.eval()
        facts = json.loads((folder / "codec.json").read_text())
        vae, linear = AutoencoderKL.from_pretrained(folder / "vae", local_files_only=True), None
        if (folder / LINEAR).exists():
            linear = Linear(int(vae.config.in_channels), int(vae.config.latent_channels))
            linear.load_state_dict(load_file(folder / LINEAR))
        codec = KLCodec(vae.float(), facts["fold"], linear)
        codec.mean.copy_(torch.tensor(facts["mean"]).reshape(codec.mean.shape))
        codec.std.copy_(torch.tensor(facts["std"]).reshape(codec.std.shape))
        return codec.eval()


class IdentityCodec:
    """Pixels as latents, for tests."""

    channels = 3
    shrink = 1

    def encode(self, pixels: Tensor) -> Tensor:
        """uint8 [..., h, w, 3] -> [..., 3, h, w] in [-1, 1]."""
        return pixels.movedim(-1, -3).float() / 127.5 - 1

    def decode(self, latents: Tensor) -> Tensor:
        """Back, exactly."""
        return ((latents.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1)
