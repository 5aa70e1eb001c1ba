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
from sfvgen_planner.world.sight import Between, places, unknown

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


@dataclass(frozen=True)
class Look:
    """An earlier frame of each of R rows, as it is looked up from T new ones."""

    picture: Tensor
    """[R, F, H, W]: its latents, unfolded"""
    between: Between
    given: Tensor
    """[R]: 1 where there is one, else 0"""

    def up(self, nearness: Tensor) -> tuple[Tensor, Tensor]:
        """Of pixels so near [R, T, H, W]: where they are in its picture [R, T, H, W, 2], and are they [R, T, H, W]."""
        there = self.between.at(nearness)
        return there, (there.abs() <= 1).all(-1).to(there.dtype) * self.given[:, None, None, None]


@dataclass(frozen=True)
class Sources:
    """What new frames [R, T] are carried from: whatever their noise, the same."""

    last: Look
    kept: Look | None
    """of K of the R * T frames, one of each its own"""
    chosen: Tensor
    """int64 [K]: which"""


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

    def sources(self, last: Last, cameras: Tensor, kept: Shown | None = None) -> Sources:
        """Looked up from new frames as cameras [R, T, 8] see them; kept ones, if any, are of R * T rows."""
        with torch.autocast(cameras.device.type, enabled=False):  # a place has no small errors
            look, chosen = self._look(last, cameras), cameras.new_zeros(0, dtype=torch.int64)
            if kept is not None:
                chosen = kept.given.nonzero()[:, 0]
            if kept is None or not len(chosen):
                return Sources(look, None, chosen)
            some = Shown(kept.latents[chosen], kept.camera[chosen], kept.given[chosen])
            return Sources(look, self._look(some, cameras.flatten(0, 1)[chosen][:, None]), chosen)

    def still(self, sources: Sources) -> Still:
        """If all stood still, far away."""
        with torch.autocast(sources.last.picture.device.type, enabled=False):
            near = torch.zeros_like(sources.last.between.ray[..., 0])
            there, inside = sources.last.up(near)
            return self._completed(_taken(sources.last.picture, there), inside, sources, near)

    def _look(self, shown: Shown, cameras: Tensor) -> Look:
        """From cameras [R, T, 8]."""
        picture = self._unfolded(shown.latents)
        return Look(picture, Between.of(cameras, shown.camera, picture), shown.given)

    def _completed(self, carried: Tensor, inside: Tensor, sources: Sources, near: Tensor) -> Still:
        """Pictures [R, T, F, H, W] of which so much [R, T, H, W] was in the last one; kept ones show the rest, so near,
        and whatever they show alike: that was really seen."""
        kept, chosen = sources.kept, sources.chosen
        if kept is None:
            return Still(self._folded(carried), self._share(inside))
        there, seen = kept.up(near.flatten(0, 1)[chosen][:, None])
        again, before = _taken(kept.picture, there)[:, 0], carried.flatten(0, 1)[chosen]
        seen, within = seen[:, 0], inside.flatten(0, 1)[chosen]
        only = seen * (1 - within)
        carried = _put(carried, chosen, torch.where(only[:, None] > 0, again, before))
        whole = self._folded(carried)
        mine, again = whole.flatten(0, 1)[chosen], self._folded(torch.where(seen[:, None] > 0, again, before)[None])[0]
        differ = F.max_pool2d((again - mine).square().mean(1, keepdim=True), 3, 1, 1)
        alike = torch.exp(-differ / ALIKE) * self._share(seen[None])[0]
        latents = _put(whole, chosen, alike * again + (1 - alike) * mine)
        return Still(latents, self._share(_put(inside, chosen, within + only)))

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
        sources: Sources,
        still: Still,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Of tokens [R, T, n, D], what is known of each frame [R, T, D] and noisy [R, T, C, h, w]: clean latents
        [R, T, C, h, w], and the two answers that they are mixed of: carried and drawn."""
        frames = noisy.shape[:2]
        told = self._spaced(tokens, noisy.shape[-1])
        scale, move = self.told(known).flatten(0, 1)[..., None, None].chunk(2, 1)
        beside = [part.flatten(0, 1).to(told) for part in (noisy, still.latents, still.inside)]
        looked = self.look(_channels_last(torch.cat([told, *beside], 1))) * (1 + scale) + move
        looked = self.look_on(F.silu(looked))
        maps = F.pixel_shuffle(self.maps(looked).to(noisy.dtype), self.fine)
        maps = maps.reshape(*frames, *maps.shape[1:])
        carried = self._carried(maps, sources)
        beside = [part.flatten(0, 1).to(told) for part in (carried.latents, carried.inside)]
        answer = self.out(self.draw_on(F.silu(self.draw(_channels_last(torch.cat([looked, *beside], 1))))))
        drawn, keep = answer.to(noisy.dtype).reshape(*frames, *answer.shape[1:]).chunk(2, 2)
        keep = keep.sigmoid() * sources.last.given.reshape(-1, 1, 1, 1, 1)
        return keep * carried.latents + (1 - keep) * drawn, (carried.latents, drawn)

    def _spaced(self, tokens: Tensor, width: int) -> Tensor:
        """[R, T, n, D] -> [R * T, W, h, w]"""
        across = width // self.patch
        told = self.up(tokens).reshape(tokens.shape[0] * tokens.shape[1], -1, across, self.up.out_features)
        return F.pixel_shuffle(told.permute(0, 3, 1, 2), self.patch)

    def _carried(self, maps: Tensor, sources: Sources) -> Still:
        """By maps [R, T, 4, H, W]."""
        near, across, down, moves = maps.unbind(2)
        with torch.autocast(maps.device.type, enabled=False):  # a place has no small errors
            nearness, picture = F.softplus(near), sources.last.picture
            there, inside = sources.last.up(nearness)
            world = _taken(picture, there)
            body = _taken(picture, there + REACH * torch.stack([across, down], -1))
            share = moves.sigmoid()[:, :, None]
            return self._completed(share * body + (1 - share) * world, inside, sources, nearness)

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


def _put(frames: Tensor, chosen: Tensor, new: Tensor) -> Tensor:
    """Frames [R, T, ...] with new ones [K, ...] in the places int64 [K] of R * T."""
    return frames.flatten(0, 1).index_copy(0, chosen, new).reshape(frames.shape)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
