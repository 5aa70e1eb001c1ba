"""Which action made two frames differ."""

import torch
from torch import Tensor, nn


class InverseDynamics(nn.Module):
    """Two consecutive frames -> the action between them."""

    def __init__(self, channels: int, height: int, width: int, action_size: int, bodies: int, dim: int = 128) -> None:
        super().__init__()
        self.body = nn.Embedding(bodies, dim)
        self.look = nn.Sequential(
            nn.Conv2d(2 * channels, 32, 3, stride=2, padding=1), nn.SiLU(), nn.Conv2d(32, 16, 3, padding=1)
        )
        self.join = nn.Linear(16 * -(-height // 2) * -(-width // 2), dim)
        self.tell = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, action_size))

    def forward(self, before: Tensor, after: Tensor, embodiment: Tensor) -> Tensor:
        """Clean latents [R, T, C, h, w] twice, bodies int64 [R] -> actions [R, T, A]."""
        rows, frames = before.shape[:2]
        pairs = torch.cat([before, after - before], 2).flatten(0, 1)
        hidden = self.join(self.look(pairs).flatten(1)).reshape(rows, frames, -1) + self.body(embodiment)[:, None]
        actions: Tensor = self.tell(hidden)
        return actions
