"""How dreams go on: rows enter, chunks open, frames are made, chunks close, memories are written. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from sfvgen_envs.dream.basis import Dream, feature_size, shown_of
from sfvgen_envs.dream.remembering import begun, factors, fresh, written
from sfvgen_envs.dream.starts import Start
from sfvgen_envs.dream.state import DreamState, Part, Shown, Told, facts_of, facts_placed, placed
from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory import Memory, Seen
from sfvgen_planner.types import FRAMES_PER_CHUNK, POSE_CAMERA
from sfvgen_planner.world.ahead import Sighting
from sfvgen_planner.world.detail import Detail
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.lowrank import LowRank
from sfvgen_planner.world.sight import unknown
from sfvgen_planner.world.stepping import Chunk, Piece, Stepped, step
from sfvgen_planner.world.wanting import apart, wanted


@dataclass(frozen=True)
class Made:
    """T new frames of B rows; rows that did not move hold anything."""

    latents: Tensor
    """[B, T, C, h, w]"""
    pose: Tensor
    """[B, T, P]"""
    features: Tensor
    """[B, T, D]"""
    reward: Tensor
    success: Tensor
    terminated: Tensor
    doubt: Tensor
    """[B, T] each; success and end are probabilities"""


def nothing(dream: Dream, rows: int) -> DreamState:
    """No row has begun."""
    world, device = dream.world, dream.device
    poses = torch.zeros(rows, dream.kept, dream.imitated.pose.shape[0], device=device)
    poses[..., 3] = 1
    zeros = torch.zeros(rows, dtype=torch.int64, device=device)
    blank = torch.zeros(rows, *world.shape, dtype=dream.dtype, device=device)
    asked = None
    if dream.config.asks:
        asked = torch.zeros(rows, 2, poses.shape[-1] - POSE_CAMERA, dtype=dream.dtype, device=device)
    detail = None
    if "pixels" in dream.config.observe:
        black = torch.zeros(rows, *dream.imitated.picture, 3, dtype=torch.uint8, device=device)
        detail = Detail(black, black)
    return DreamState(
        world=dream.identity,
        latents=torch.zeros(rows, dream.kept, *world.shape, dtype=dream.dtype, device=device),
        facts=dream.facts(poses),
        sighting=Sighting(blank[:, None], unknown(zeros.to(dream.dtype))),
        length=zeros,
        parts=(),
        seeds=zeros,
        elapsed=zeros,
        chunks=zeros,
        over=torch.ones(rows, dtype=torch.bool, device=device),
        lasting=torch.ones(rows, dtype=dream.dtype, device=device),
        memory=fresh(dream, rows),
        asked=asked,
        detail=detail,
        shown=shown_of(dream, blank, poses[:, 0], asked=asked, detail=detail),
        told=Told(np.full(rows, "", object)),
        random=(),
    )


def entered(
    dream: Dream, state: DreamState, rows: Tensor, starts: Sequence[Start], seeds: Tensor, memory: Memory | None = None
) -> DreamState:
    """New episodes begin in these rows (int64 [K]), with noise keyed by seeds int64 [K]; `memory`, of K rows, is what
    they remember already. No other row changes."""
    gone = torch.zeros_like(state.over).index_fill(0, rows, True)
    lasting = state.lasting.masked_fill(gone, 1.0)
    state = replace(state.without(gone), over=state.over & ~gone, lasting=lasting)
    state = replace(state, seeds=placed(state.seeds, rows, seeds))
    elapsed = torch.tensor([start.elapsed for start in starts], device=rows.device)
    zero = torch.zeros_like(rows)
    state = replace(state, elapsed=placed(state.elapsed, rows, elapsed), chunks=placed(state.chunks, rows, zero))
    told = state.told.put(rows.tolist(), [one.instruction for one in starts], [one.goal for one in starts])
    state = replace(state, told=told, memory=begun(state, rows, gone, seeds, memory))
    if state.asked is not None:
        state = replace(state, asked=placed(state.asked, rows, _asked(dream, starts)))
    # Starts of one length are encoded together.
    for frames in sorted({len(start.pixels) for start in starts}):
        some = [number for number, start in enumerate(starts) if len(start.pixels) == frames]
        state = _told_past(dream, state, rows[some], [starts[number] for number in some])
    return state


def _asked(dream: Dream, starts: Sequence[Start]) -> Tensor:
    """[K, 2, S]: what the starts' goals show."""
    goals = [start.goal for start in starts if start.goal is not None]
    if len(goals) < len(starts):
        raise BadOption(
            f"a goal to be seen in {dream.imitated.name!r}, where an episode began without",
            "episodes that begin with a goal's picture",
            "Leave goal out of observe, and reward='learned'.",
        )
    return wanted(dream.world, dream.imitated.name, torch.from_numpy(np.stack(goals)))


def _told_past(dream: Dream, state: DreamState, rows: Tensor, starts: Sequence[Start]) -> DreamState:
    """Histories of these rows are the starts' frames, and they are what is shown."""
    device, past = dream.device, dream.world.config.past
    pixels = torch.from_numpy(np.stack([start.pixels[-past:] for start in starts])).to(device)
    poses = torch.from_numpy(np.stack([start.poses[-past:] for start in starts])).to(device)
    latents, facts = dream.world.codec.encode(pixels).to(dream.dtype), dream.facts(poses)
    piece, length = Piece(latents, facts), torch.full_like(rows, pixels.shape[1])
    state = _filed(replace(state, length=placed(state.length, rows, torch.zeros_like(rows))), rows, piece)
    sighting = state.sighting.put(rows, dream.world.sighted(latents, facts))
    state, features = replace(state, length=placed(state.length, rows, length), sighting=sighting), None
    if "features" in dream.config.observe:
        features = _looked_at(dream, piece, factors(state, rows))
    if state.detail is not None:
        detail = Detail(pixels[:, -1], dream.world.codec.decode(latents[:, -1]))
        state = replace(state, detail=state.detail.put(rows, detail))
    return _showing(dream, state, rows, latents[:, -1], poses[:, -1], features)


def _showing(
    dream: Dream, state: DreamState, rows: Tensor, latents: Tensor, poses: Tensor, features: Tensor | None
) -> DreamState:
    """These rows now show frames [K, ...]."""
    asked = None if state.asked is None else state.asked[rows]
    detail = None if state.detail is None else state.detail.rows(rows)
    return replace(state, shown=state.shown.put(rows, shown_of(dream, latents, poses, features, asked, detail)))


@torch.no_grad()
def _looked_at(dream: Dream, piece: Piece, memory: LowRank | None) -> Tensor:
    """Features [K, D] of the last of some real frames, looked at once more after all of them."""
    world, last = dream.world, slice(piece.frames - 1, None)
    cache = world.denoiser.prefill(piece.latents, world.conditions(piece.facts), memory)
    clean = piece.latents.new_zeros(piece.rows, 1)
    told = world.conditions(piece.facts[last])
    features: Tensor = world.denoiser.denoise(cache, piece.latents[:, last], clean, told, memory).features
    return features[:, 0]


def nearer(dream: Dream, before: DreamState, made: Made) -> Made:
    """The same frames, but what rewards them is how much nearer the body came to what its goal asks."""
    if before.asked is None:
        return made
    rows, frames = made.reward.shape
    size = dream.imitated.pose.shape[0]
    poses = torch.cat([before.poses[:, None], made.pose], 1)[..., :size].flatten(0, 1)
    asked = before.asked.repeat_interleave(1 + frames, 0)
    gaps = apart(dream.world, dream.imitated.name, asked, poses).reshape(rows, 1 + frames)
    return replace(made, reward=gaps[:, :-1] - gaps[:, 1:])


def frames_shown(dream: Dream, state: DreamState, made: Made) -> Shown:
    """What is observed of all frames made, [B, T, ...] each."""
    rows, frames = made.reward.shape
    asked = None if state.asked is None else state.asked.repeat_interleave(frames, 0)
    detail = None if state.detail is None else state.detail.repeat(frames)
    latents, poses, features = (one.flatten(0, 1) for one in (made.latents, made.pose, made.features))
    flat = shown_of(dream, latents, poses, features, asked, detail)
    values = (getattr(flat, field.name) for field in fields(Shown))
    return Shown(*(None if value is None else value.unflatten(0, (rows, frames)) for value in values))


def last_shown(dream: Dream, state: DreamState, rows: Tensor, made: Made) -> DreamState:
    """These rows now show the last frame made."""
    return _showing(dream, state, rows, made.latents[rows, -1], made.pose[rows, -1], made.features[rows, -1])


def advanced(dream: Dream, state: DreamState, happens: Facts, rows: Tensor, writes: bool) -> tuple[DreamState, Made]:
    """T more frames of these rows (int64 [K]), of which `happens` [B, T] tells what leads into them.

    Frames are made together as far as a chunk goes. Memories are written at chunk boundaries, if at all.
    """
    frames, made = happens.frames, _empty(dream, state.rows, happens.frames)
    waiting = torch.zeros_like(state.over).index_fill(0, rows, True)
    for part in state.parts:
        waiting[part.living] = False
    queue = [(part, 0) for part in (*state.parts, *_opened(dream, state, waiting.nonzero()[:, 0], 0))]
    still: list[Part] = []
    while queue:
        part, at = queue.pop(0)
        count = min(frames - at, FRAMES_PER_CHUNK - part.chunk.frames)
        told = facts_of(happens[at : at + count], part.rows)
        chunk, stepped = step(dream.world, part.chunk, told, dream.config.sampler, 1 + dream.config.doubts)
        part = replace(part, chunk=chunk)
        made = _noted(made, part, stepped, at)
        if chunk.frames < FRAMES_PER_CHUNK:
            still.append(part)
            continue
        state = _closed(dream, state, part, writes)
        if at + count < frames:
            queue += [(one, at + count) for one in _opened(dream, state, part.living, at + count)]
    elapsed = state.elapsed.index_add(0, rows, torch.full_like(rows, frames))
    return replace(state, parts=tuple(still), elapsed=elapsed), made


def _empty(dream: Dream, rows: int, frames: int) -> Made:
    world, like = dream.world, torch.empty(0, dtype=dream.dtype, device=dream.device)
    shapes = (world.shape, (world.encoder.layout.pose_size,), (feature_size(world),), (), (), (), ())
    return Made(*(like.new_zeros(rows, frames, *shape) for shape in shapes))


def _noted(made: Made, part: Part, stepped: Stepped, at: int) -> Made:
    """Frames of a part's living rows, from frame `at` on."""
    rows, alive, span = part.living, part.alive, slice(at, at + stepped.facts.frames)
    judged, doubt = stepped.judged, stepped.doubt
    found = {
        "latents": stepped.latents,
        "pose": stepped.facts.poses,
        "features": stepped.features,
        "reward": judged.reward,
        "success": judged.success,
        "terminated": judged.terminated,
        "doubt": torch.zeros_like(judged.reward) if doubt is None else doubt,
    }
    for name, value in found.items():
        getattr(made, name)[rows, span] = value[alive].to(made.latents.dtype)
    return made


def _opened(dream: Dream, state: DreamState, rows: Tensor, ahead: int) -> list[Part]:
    """New chunks for rows (int64 [K]) that are in none, after `ahead` frames that their clock does not count yet."""
    length = state.length[rows].clamp(max=dream.world.config.past)
    return [_part(state, rows[length == past], past, ahead) for past in sorted(set(length.tolist()))]


def _part(state: DreamState, rows: Tensor, past: int, ahead: int) -> Part:
    known = Piece(state.latents[rows, -past:], facts_of(state.facts[-past:], rows))
    first, memory = state.elapsed[rows] + ahead + 1, factors(state, rows)
    chunk = Chunk(known, state.seeds[rows], first, state.sighting.rows(rows), memory)
    return Part(rows, torch.ones_like(rows, dtype=torch.bool), chunk)


def _filed(state: DreamState, rows: Tensor, piece: Piece) -> DreamState:
    """History with T more frames of these rows."""
    kept, frames = state.latents.shape[1], piece.frames
    latents = torch.cat([state.latents[rows], piece.latents], 1)[:, -kept:]
    facts = Facts.join(facts_of(state.facts, rows), piece.facts)[-kept:]
    length = (state.length[rows] + frames).clamp(max=kept)
    return replace(
        state,
        latents=placed(state.latents, rows, latents),
        facts=facts_placed(state.facts, rows, facts),
        length=placed(state.length, rows, length),
    )


def _closed(dream: Dream, state: DreamState, part: Part, writes: bool) -> DreamState:
    """A finished chunk goes into the history, and, where it is time, into memory."""
    rows, chunk, past = part.living, part.chunk, part.chunk.past.frames
    alive = part.alive.nonzero()[:, 0]
    latents, facts = chunk.latents[alive], facts_of(chunk.known, alive)
    state = _filed(state, rows, Piece(latents[:, past:], facts[past:]))
    state = replace(state, chunks=state.chunks.index_add(0, rows, torch.ones_like(rows)))
    if not writes or state.memory is None:
        return state
    due = state.chunks[rows] % dream.config.every == 0
    if not bool(due.any()):
        return state
    some = due.nonzero()[:, 0]
    trust = latents.new_full((len(some),), dream.config.trust)
    window = Seen(latents[some], facts_of(facts, some), past, trust)
    return written(dream, state, rows[some], window)
