"""A stand-in for DIAMOND's design, to measure speed beside: a U-Net in pixel space, four past frames in its channels.

Euler steps on the whole picture, no latents, no cache, and every frame anew. Its reward and end come from another
network in the original; here they cost nothing. Weights do not matter for time, so they are random.
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

CONTEXT, STEPS = 4, 3


@dataclass(frozen=True)
class PixelUNetConfig:
    """Sizes; the levels are as in DIAMOND, all of one width."""

    width: int = 48
    levels: int = 4
    depth: int = 2
    action_size: int = 4


class PixelUNet(nn.Module):
    """Denoises the next frame, given the last four."""

    def __init__(self, config: PixelUNetConfig) -> None:
        super().__init__()
        self.unet: Any = UNet2DModel(
            sample_size=64,
            in_channels=3 * (CONTEXT + 1),
            out_channels=3,
            layers_per_block=config.depth,
            block_out_channels=(config.width,) * config.levels,
            down_block_types=("DownBlock2D",) * config.levels,
            up_block_types=("UpBlock2D",) * config.levels,
            norm_num_groups=8,
            class_embed_type="identity",
        )
        self.act = nn.Linear(CONTEXT * config.action_size, 4 * config.width)

    @torch.no_grad()
    def step(self, past: Tensor, actions: Tensor) -> Tensor:
        """The frame [B, 3, h, w] after `past` [B, 4, 3, h, w] and actions [B, 4, A]."""
        told, frames = self.act(actions.flatten(1)), past.flatten(1, 2)
        noisy = torch.randn_like(past[:, 0])
        for level in torch.linspace(1, 0, STEPS + 1)[:-1]:
            flow = self.unet(torch.cat([noisy, frames], 1), level * 1000, class_labels=told).sample
            noisy = noisy - flow / STEPS
        return noisy


def pixel_unet_of(parameters: int, action_size: int) -> PixelUNet:
    """The one whose number of parameters is nearest to this."""
    made = (PixelUNet(PixelUNetConfig(width, action_size=action_size)) for width in range(16, 129, 8))
    return min(made, key=lambda one: abs(size(one) - parameters)).eval()


def size(module: nn.Module) -> int:
    """Its parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
