"""The address: where in the episode's world each latent patch looks, as Fourier features. It is the key of memory.

A camera looks along -z with y up and x to the right (MuJoCo's convention); a pose is position (3) and quaternion
w x y z (4), relative to the episode's start. Letters: R rows, T frames, h w height and width of the latents, F numbers.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_planner.errors import BadOption


@dataclass(frozen=True)
class AddressConfig:
    """Octaves k of the features sin and cos(2^k pi x), first to last, both included."""

    direction: tuple[int, int] = (0, 4)
    """of the unit vector along the ray: the last has a period of 1/8, about two patches of an 8 x 8 grid"""
    origin: tuple[int, int] = (-3, 3)
    """of the camera's place in units of the embodiment's length: from 16 lengths to a quarter"""

    def __post_init__(self) -> None:
        for first, last in (self.direction, self.origin):
            if first > last:
                raise BadOption(f"octaves {first} to {last}", "first <= last", "Swap them.")

    @property
    def features(self) -> int:
        """F."""
        return 3 + 6 * sum(last - first + 1 for first, last in (self.direction, self.origin))


def pinhole(fovy: Tensor, h: int, w: int) -> Tensor:
    """Unit vectors [*fovy, h, w, 3] through the middles of square patches, in the camera's frame; row 0 on top."""
    top = torch.tan(torch.deg2rad(fovy) / 2)[..., None, None]
    y, x = torch.meshgrid(
        torch.arange(h, device=fovy.device, dtype=fovy.dtype) + 0.5,
        torch.arange(w, device=fovy.device, dtype=fovy.dtype) + 0.5,
        indexing="ij",
    )
    right, up = (2 * x - w) / h * top, (h - 2 * y) / h * top
    return torch.nn.functional.normalize(torch.stack([right, up, -torch.ones_like(right)], -1), dim=-1)


def rotation(quaternion: Tensor) -> Tensor:
    """[..., 3, 3] of w x y z [..., 4], of any length but 0; q and -q give the same, bit for bit."""
    w, x, y, z = quaternion.unbind(-1)
    s = 2 / quaternion.square().sum(-1)
    rows = [
        1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y),
        s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x),
        s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(*w.shape, 3, 3)


def stilled(poses: Tensor, known: Tensor) -> Tensor:
    """Poses [..., P] with the start's where nobody knows them [...]: anything may stand there, even NaN."""
    still = torch.zeros_like(poses)
    still[..., 3] = 1
    return torch.where(known[..., None], poses, still)


def rays(poses: Tensor, fovy: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    """Origins [R, T, 3] and unit directions [R, T, h, w, 3] for poses [R, T, >= 7] and fovy [R]."""
    turn = rotation(poses[..., 3:7])
    return poses[..., :3], torch.einsum("rtij,rhwj->rthwi", turn, pinhole(fovy, h, w))


def fourier(x: Tensor, octaves: tuple[int, int]) -> Tensor:
    """[..., D] -> [..., 2 D K]: sin, then cos, of every octave of every number."""
    first, last = octaves
    waves = math.pi * 2.0 ** torch.arange(first, last + 1, device=x.device, dtype=x.dtype)
    angles = (x[..., None] * waves).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], -1)


def address(
    config: AddressConfig, poses: Tensor, known: Tensor, fovy: Tensor, length: Tensor, size: tuple[int, int]
) -> Tensor:
    """[R, T, F, h, w] for poses [R, T, >= 7], known [R, T], fovy [R] in degrees, length [R]; zeros where unknown."""
    h, w = size
    origin, direction = rays(stilled(poses, known), fovy, h, w)
    place = fourier(origin / length[:, None, None], config.origin)
    place = place[:, :, None, None].expand(*direction.shape[:4], -1)
    features = torch.cat([direction, fourier(direction, config.direction), place], -1)
    return (features * known[:, :, None, None, None]).permute(0, 1, 4, 2, 3)
