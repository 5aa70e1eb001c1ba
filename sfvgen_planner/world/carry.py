"""From tokens to new frames: what was seen last is carried to where it is now, the rest is drawn.

Still things follow from geometry: cameras say how the picture turns, a learned nearness how it shifts. What moves by
itself is carried by a learned shift of its own. That happens at the resolution of pixels, into which the linear part
of a codec unfolds latents and from which it folds them back. Every new frame looks at the last clean one alone, so
frame k is still a function of frames up to k.

Where an episode's frames are kept (`album.py`), what was not in the last picture is carried from the kept one that was
taken nearest to where the new frames are.
"""

from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.world.album import Shown
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.lowrank import RowConv2d, RowLinear
from sfvgen_planner.world.sight import places, shift, unknown

KEEP = 1.0
"""A new network carries more than it draws (the logit of how much)."""
FAR = -4.0
"""A new network takes everything to be far away (before softplus, in 1 / lengths)."""
ALIKE = 2.0
"""Mean squared difference of latents that are taken to show the same."""
REACH = 0.25
"""Of half a picture: the unit of shifts."""
Layer = TypeVar("Layer", bound=RowLinear | RowConv2d)


@dataclass(frozen=True)
class Last(Shown):
    """The last clean frame of each of R rows; zeros where there is none."""

    told: Tensor
    """[R, E]: what was known of it"""

    @staticmethod
    def of(latents: Tensor, level: Tensor, conditions: Conditions) -> "Last":
        """The last of the clean frames that windows [R, T, C, h, w] begin with, by their levels [R, T]."""
        count = (level == 0).cumprod(1).sum(1)
        row, place = torch.arange(len(latents), device=latents.device), (count - 1).clamp(min=0)
        given = (count > 0).to(latents.dtype)
        shown, told = latents[row, place] * given[:, None, None, None], conditions.frame[row, place] * given[:, None]
        return Last(shown, conditions.cameras[row, place], given, told)

    @staticmethod
    def nothing(latents: Tensor, conditions: Conditions) -> "Last":
        """For rows like these that have none."""
        none = latents.new_zeros(len(latents))
        return Last(torch.zeros_like(latents[:, 0]), unknown(none), none, torch.zeros_like(conditions.frame[:, 0]))

    def repeat(self, rows: int) -> "Last":
        """For `rows` rows, each of these as often as the other."""
        times = rows // len(self.latents)
        parts = (self.latents, self.camera, self.given, self.told)
        return Last(*(part.repeat_interleave(times, 0) for part in parts))


@dataclass(frozen=True)
class Still:
    """What new frames would show if all stood still, far away."""

    latents: Tensor
    """[R, T, C, h, w]"""
    inside: Tensor
    """[R, T, 1, h, w]: how much of it was in some picture"""


class Carry(nn.Module):
    """See the module's docstring."""

    spread: Tensor
    gather: Tensor

    def __init__(self, channels: int, fine: int, patch: int, dim: int, width: int) -> None:
        """Latents of `channels`, unfolded `fine` times; tokens of `dim` for `patch` x `patch` of them."""
        super().__init__()
        self.fine, self.patch = fine, patch
        pixel = 3 * fine**2 if fine > 1 else channels
        self.register_buffer("spread", torch.eye(pixel, channels), persistent=False)
        self.register_buffer("gather", torch.eye(channels, pixel), persistent=False)
        self.up = RowLinear(dim, width * patch**2)
        self.told = zeroed(RowLinear(dim, 2 * width))
        self.look = RowConv2d(width + 2 * channels + 1, width, 3, padding=1)
        self.look_on = Residual(width)
        self.maps = zeroed(RowConv2d(width, 4 * fine**2, 1))
        self.draw = RowConv2d(width + channels + 1, width, 3, padding=1)
        self.draw_on = Residual(width)
        self.out = zeroed(RowConv2d(width, 2 * channels, 1))
        for layer, first, value in ((self.maps, slice(fine**2), FAR), (self.out, slice(channels, None), KEEP)):
            if layer.bias is not None:
                layer.bias.data[first] = value

    @property
    def inner(self) -> list[nn.Module]:
        """What neither reads tokens nor answers."""
        return [self.look, self.look_on, self.draw, self.draw_on]

    def see_through(self, spread: Tensor) -> None:
        """Sets how latents unfold into pixels: [3 * fine * fine, C]."""
        self.spread.copy_(spread)
        self.gather.copy_(torch.linalg.pinv(spread.double()))

    def still(self, last: Last, cameras: Tensor, kept: Shown | None = None) -> Still:
        """As cameras [R, T, 8] would see the last frame, and kept ones, of R * T rows, where it ends."""
        with torch.autocast(cameras.device.type, enabled=False):  # a place has no small errors
            picture = self._unfolded(last.latents)
            far = picture.new_zeros(*cameras.shape[:2], *picture.shape[-2:])
            there = places(picture) + shift(cameras, last.camera, far)
            return self._completed(_taken(picture, there), _within(there, last), kept, cameras, far)

    def _completed(self, carried: Tensor, inside: Tensor, kept: Shown | None, cameras: Tensor, near: Tensor) -> Still:
        """Pictures [R, T, F, H, W] of which so much [R, T, H, W] was in the last one; kept ones show the rest, so near,
        and whatever they show alike: that was really seen."""
        if kept is None:
            return Still(self._folded(carried), self._share(inside))
        picture, now = self._unfolded(kept.latents), cameras.flatten(0, 1)[:, None]
        there = places(picture) + shift(now, kept.camera, near.flatten(0, 1)[:, None])
        seen, again = _within(there, kept).reshape(near.shape), _taken(picture, there).reshape(carried.shape)
        only = seen * (1 - inside)
        whole, again = (self._folded(torch.where(one[:, :, None] > 0, again, carried)) for one in (only, seen))
        differ = F.max_pool2d((again - whole).square().mean(2), 3, 1, 1)[:, :, None]
        alike = torch.exp(-differ / ALIKE) * self._share(seen)
        return Still(alike * again + (1 - alike) * whole, self._share(inside + only))

    def worn(self, latents: Tensor, way: Tensor) -> Tensor:
        """Latents [R, T, C, h, w] carried by `way` [R, 2] pixels and back again: as soft as those of a dream.

        Nothing is lost where the way is 0.
        """
        picture = self._unfolded(latents.flatten(0, 1))
        pixels = torch.tensor([picture.shape[-1], picture.shape[-2]], device=way.device, dtype=way.dtype)
        moved = (2 * way / pixels).repeat_interleave(latents.shape[1], 0)[:, None, None, None]
        for there in (moved, -moved):
            picture = _taken(picture, places(picture) + there)[:, 0]
        worn = self._folded(picture.reshape(*latents.shape[:2], *picture.shape[1:]))
        return torch.where((way != 0).any(-1)[:, None, None, None, None], worn, latents)

    def forward(
        self,
        tokens: Tensor,
        known: Tensor,
        noisy: Tensor,
        still: Still,
        last: Last,
        cameras: Tensor,
        kept: Shown | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Of tokens [R, T, n, D], what is known of each frame [R, T, D], noisy [R, T, C, h, w] and cameras [R, T, 8]:
        clean latents [R, T, C, h, w], and the two answers that they are mixed of: carried and drawn."""
        frames = noisy.shape[:2]
        told = self._spaced(tokens, noisy.shape[-1])
        scale, move = self.told(known).flatten(0, 1)[..., None, None].chunk(2, 1)
        beside = [part.flatten(0, 1).to(told) for part in (noisy, still.latents, still.inside)]
        looked = self.look(_channels_last(torch.cat([told, *beside], 1))) * (1 + scale) + move
        looked = self.look_on(F.silu(looked))
        maps = F.pixel_shuffle(self.maps(looked).to(noisy.dtype), self.fine)
        maps = maps.reshape(*frames, *maps.shape[1:])
        carried = self._carried(maps, last, cameras, kept)
        beside = [part.flatten(0, 1).to(told) for part in (carried.latents, carried.inside)]
        answer = self.out(self.draw_on(F.silu(self.draw(_channels_last(torch.cat([looked, *beside], 1))))))
        drawn, keep = answer.to(noisy.dtype).reshape(*frames, *answer.shape[1:]).chunk(2, 2)
        keep = keep.sigmoid() * last.given.reshape(-1, 1, 1, 1, 1)
        return keep * carried.latents + (1 - keep) * drawn, (carried.latents, drawn)

    def _spaced(self, tokens: Tensor, width: int) -> Tensor:
        """[R, T, n, D] -> [R * T, W, h, w]"""
        across = width // self.patch
        told = self.up(tokens).reshape(tokens.shape[0] * tokens.shape[1], -1, across, self.up.out_features)
        return F.pixel_shuffle(told.permute(0, 3, 1, 2), self.patch)

    def _carried(self, maps: Tensor, last: Last, cameras: Tensor, kept: Shown | None) -> Still:
        """By maps [R, T, 4, H, W]."""
        near, across, down, moves = maps.unbind(2)
        with torch.autocast(cameras.device.type, enabled=False):  # a place has no small errors
            picture, nearness = self._unfolded(last.latents), F.softplus(near)
            there = places(picture) + shift(cameras, last.camera, nearness)
            world = _taken(picture, there)
            body = _taken(picture, there + REACH * torch.stack([across, down], -1))
            share = moves.sigmoid()[:, :, None]
            carried = share * body + (1 - share) * world
            return self._completed(carried, _within(there, last), kept, cameras, nearness)

    def _share(self, pixels: Tensor) -> Tensor:
        """[R, T, H, W] -> [R, T, 1, h, w]"""
        return F.avg_pool2d(pixels, self.fine)[:, :, None]

    def _unfolded(self, latents: Tensor) -> Tensor:
        """[R, C, h, w] -> [R, F, H, W]"""
        return F.pixel_shuffle(torch.einsum("fc,rchw->rfhw", self.spread, latents), self.fine)

    def _folded(self, pictures: Tensor) -> Tensor:
        """[R, T, F, H, W] -> [R, T, C, h, w]"""
        return torch.einsum("cf,rtfhw->rtchw", self.gather, F.pixel_unshuffle(pictures, self.fine))


class Residual(nn.Module):
    """Two convolutions that begin as nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = (RowConv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.two.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, W, h, w] -> the same."""
        changed: Tensor = self.two(F.silu(self.one(x)))
        return x + changed


def zeroed(layer: Layer) -> Layer:
    """With weights that answer 0."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _taken(picture: Tensor, there: Tensor) -> Tensor:
    """[R, T, F, H, W] of pictures [R, F, H, W] at places [R, T, H, W, 2]; beyond the edge there is more of the edge."""
    # What is seen of a moving camera is resampled chunk after chunk: between four pixels alone it would soon be a blur.
    taken = F.grid_sample(picture, there.flatten(1, 2), "bicubic", padding_mode="border", align_corners=False)
    rows, frames, height, width, _ = there.shape
    return taken.reshape(rows, -1, frames, height, width).transpose(1, 2)


def _within(there: Tensor, frame: Shown) -> Tensor:
    """[R, T, H, W]: 1 for places [R, T, H, W, 2] that were in a frame's picture, else 0."""
    return (there.abs() <= 1).all(-1).to(there.dtype) * frame.given[:, None, None, None]


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
