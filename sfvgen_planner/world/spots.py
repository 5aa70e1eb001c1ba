"""Where things are in a picture."""

import torch
from torch import Tensor, nn

SPOTS, SAID = 16, 4
"""How many places in a picture are looked up, and how many numbers say what is there."""


class Spots(nn.Module):
    """Where some things are in a picture, and what is there: places are learned from far fewer scenes than by layers
    that must learn each place anew."""

    grid: Tensor

    def __init__(self, channels: int, height: int, width: int, dim: int, brush: int = 32) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(channels, brush, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(brush, brush, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(brush, brush, 3, padding=1),
            nn.SiLU(),
        )
        self.where = nn.Conv2d(brush, SPOTS, 1)
        self.what = nn.Conv2d(brush, SAID, 1)
        self.tell = nn.Linear(SPOTS * (2 + SAID), dim)
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("grid", torch.stack([x, y], -1).flatten(0, 1), persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """[R, T, C, h, w] -> [R, T, D]"""
        looked = self.look(latents.flatten(0, 1))
        share = self.where(looked).flatten(2).softmax(-1)
        found = torch.cat([share @ self.grid, share @ self.what(looked).flatten(2).mT], -1)
        told: Tensor = self.tell(found.flatten(1)).reshape(*latents.shape[:2], -1)
        return told


def fine_maps(channels: int, said: int, fine: int, brush: int = 32) -> nn.Sequential:
    """Of pictures [R, C, h, w]: `said` numbers for every spot, `fine` of them each way for a latent."""
    return nn.Sequential(
        nn.Conv2d(channels, brush, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(brush, brush, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(brush, 2 * brush, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(2 * brush, said * fine * fine, 1),
        nn.PixelShuffle(fine),
    )
