"""Pictures cut into tokens, and back."""

from torch import Tensor


def patches(x: Tensor, patch: int) -> Tensor:
    """[R, T, C, h, w] -> [R, T, n, C * patch * patch]."""
    rows, frames, channels, height, width = x.shape
    x = x.reshape(rows, frames, channels, height // patch, patch, width // patch, patch)
    return x.permute(0, 1, 3, 5, 2, 4, 6).reshape(rows, frames, -1, channels * patch * patch)


def pictures(x: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """[R, T, n, C * patch * patch] -> [R, T, C, h, w] for any C; `grid`: tokens down and across."""
    rows, frames = x.shape[:2]
    x = x.reshape(rows, frames, *grid, -1, patch, patch)
    return x.permute(0, 1, 4, 2, 5, 3, 6).reshape(rows, frames, -1, grid[0] * patch, grid[1] * patch)
