"""Which frames of an episode are kept beside its factors: few, and taken from places far apart."""

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor

from sfvgen_planner.memory.window import Seen
from sfvgen_planner.world.album import Album
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sight import strain, unknown

EVERY = 4
"""Of so many new frames the last is looked at: a camera does not get far between two."""
SAME = 0.02
"""With less strain a picture shows the same as another."""


def blank(world: WorldModel, rows: int, frames: int) -> Album:
    """Of episodes that begin: nothing is kept yet."""
    one = next(world.denoiser.parameters()).detach()
    given = one.new_zeros(rows, frames)
    return Album(one.new_zeros(rows, frames, *world.shape), unknown(given), given)


@torch.no_grad()
def begun(world: WorldModel, album: Album, first: Seen) -> Album:
    """With the one frame that episodes begin with, which is no window's; rows of weight 0 are as they were."""
    cameras = world.encoder.cameras(first.facts).to(album.cameras)
    return with_frame(album, first.latents[:, 0], cameras[:, 0]).where(first.weights > 0, album)


@torch.no_grad()
def keep(world: WorldModel, album: Album, window: Seen) -> Album:
    """With some of a window's new frames; rows of weight 0 are as they were."""
    cameras, more = world.encoder.cameras(window.facts).to(album.cameras), album
    for frame in range(window.past + EVERY - 1, window.frames, EVERY):
        more = with_frame(more, window.latents[:, frame], cameras[:, frame])
    return more.where(window.weights > 0, album)


def with_frame(album: Album, latents: Tensor, camera: Tensor) -> Album:
    """With a frame of each row's at its end, latents [M, C, h, w] as camera [M, 8] sees them, unless the newest shows
    the same already; instead of an older one that does, or, without room, of one that others can do without. The oldest
    stays: it shows how all was before anything was done."""
    size, row = album.given.shape[1], torch.arange(album.rows, device=album.given.device)
    strained = strain(camera[:, None], album.cameras).masked_fill(album.given == 0, inf)
    newest = (album.given.sum(1).long() - 1).clamp(min=0)
    least, same = torch.cat([torch.full_like(strained[:, :1], inf), strained[:, 1:]], 1).min(1)
    full = (album.given[:, -1] > 0) & (least >= SAME)
    gone = torch.where(least < SAME, same, size - 1)
    if full.any():
        gone = torch.where(full, spare(album), gone)
    order = torch.arange(size, device=row.device).expand(len(row), -1)
    order = (order + (order >= gone[:, None])).clamp(max=size - 1)
    kept = album.each(lambda value: value[row[:, None], order])
    kept.given[:, -1] = 0
    end = kept.given.sum(1).long()
    for mine, new in ((kept.latents, latents), (kept.cameras, camera), (kept.given, torch.ones_like(least))):
        mine[row, end] = new.to(mine)
    return kept.where(strained[row, newest] >= SAME, album)


def joined(albums: Sequence[Album]) -> Album:
    """One of the first's size, with frames of all, each of one row; where two show the same, the later one's."""
    whole = albums[0]
    for other in albums[1:]:
        for latents, camera in zip(*other.frames(0), strict=True):
            whole = with_frame(whole, latents[None], camera[None])
    return whole


def spare(album: Album) -> Tensor:
    """int64 [M]: the older one of the two frames of which one shows the other with the least strain; but never the oldest
    of all, where there are more."""
    rows, frames = album.given.shape
    now, then = album.cameras.flatten(0, 1)[:, None], album.cameras.repeat_interleave(frames, 0)
    strained = strain(now, then).reshape(rows, frames, frames)
    itself = torch.eye(frames, dtype=torch.bool, device=strained.device)
    pair = strained.masked_fill(itself, inf).flatten(1).argmin(1)
    one, other = pair // frames, pair % frames
    older = torch.minimum(one, other)
    return torch.where(older == 0, torch.maximum(one, other), older)
