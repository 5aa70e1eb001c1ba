"""Fast learning: a window is remembered by a few steps on low-rank factors; slow weights are never written.

Every row draws its own noise, keyed by its seed and age, so a row learns the same in any company.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfvgen_planner.memory.adam import WAYS, Tensors, Trained, step
from sfvgen_planner.memory.config import MemoryConfig
from sfvgen_planner.memory.elsewhere import elsewhere
from sfvgen_planner.memory.guard import bounded, sizes
from sfvgen_planner.memory.keeping import keep
from sfvgen_planner.memory.start import check_fits
from sfvgen_planner.memory.value import Memory, low_rank
from sfvgen_planner.memory.window import Seen, check_seen
from sfvgen_planner.world.diffusion import masked_loss
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.noise import keyed_noise, split
from sfvgen_planner.world.schedule import draw_levels

READ = ("original", "jump")
"""Variants written as they are read: after a clean past, with all told."""
JUMPS = 0.75
"""Of the draws of an update, where there is more than one window."""


def remember(
    world: WorldModel, memory: Memory, window: Seen, earlier: Sequence[Seen] = (), *, through: bool = False
) -> Memory:
    """The memory with a window remembered; rows whose guard strikes, or of weight 0, are as they were.

    earlier: windows of the same episodes, oldest first, for replay; where a row was in another episode then, its
    weight there is 0. Windows of another length or past are passed over.
    through: what was a function of something (a learned start or pace) stays one; for the loop of second order.
    """
    config = memory.config
    check_fits(world, memory)
    check_seen(window, memory.rows, world.shape)
    # Whoever calls may be planning, without gradients; what is kept must not be inference tensors.
    with torch.inference_mode(False):
        if memory.album is not None:
            memory = replace(memory, album=keep(world, memory.album, window))
        if config.variant == "off":
            return memory
        now = cropped(window, config)
        history = [old for one in earlier if (old := _fitting(one, now, memory, world))]
        if config.beyond:
            begun = memory.trained.steps > 0
            now = now.weighed(begun | elsewhere([*history, now], world.encoder.layout, config.beyond))
            if not (now.weights > 0).any():
                return memory
        trained, draw = memory.trained, drawn(memory, now, history)
        part = (1 + trained.steps // config.updates).double() ** -config.fade
        bound = sizes(world.denoiser, trained.weights) if config.bound < float("inf") else None
        for update in range(config.updates):
            shown, weights = _shown([*history, now], draw.pick[:, update], draw.after[:, update])
            gradients = _gradients(world, trained.weights, config, shown, draw, update, through)
            rate, way = config.rate_at(update) * part * weights.double(), WAYS[config.optimiser]
            trained = step(
                trained,
                gradients,
                rate,
                clip=config.clip,
                start=memory.start,
                anchor=config.anchor,
                way=way,
                pace=memory.pace,
            )
            if bound is not None:
                short = replace(trained, weights=bounded(trained.weights, bound, config.bound))
                trained = short.where(rate > 0, trained)
        if config.rise < float("inf"):
            trained = _guarded(world, config, now, draw, memory.trained, trained)
        return replace(memory, trained=trained)


@dataclass(frozen=True)
class Draw:
    """All that is drawn for a window: updates and, at the end, what is held back from them."""

    level: Tensor
    """float [M, updates + 1, draws]"""
    pick: Tensor
    """int64 [M, updates, draws]: whose new frames"""
    after: Tensor
    """int64 [M, updates, draws]: after whose past"""
    keys: Tensor
    """int64 [M * draws]"""
    first: Tensor
    """int64 [M * draws]"""

    def noise(self, update: int, like: Tensor) -> Tensor:
        """[M * draws, T, C, h, w]."""
        channels, height, width = like.shape[2:]
        return keyed_noise(
            self.keys, self.first, like.shape[1], (channels, height, width), step=update, dtype=like.dtype
        )


def drawn(memory: Memory, window: Seen, history: Sequence[Seen] = ()) -> Draw:
    """A function of each row's seed and age, and of how many earlier windows it has."""
    config, device = memory.config, window.latents.device
    keys = split(memory.seeds, config.draws + 1)
    levels, picks, afters = [], [], []
    for row, (key, age) in enumerate(zip(keys[:, -1].tolist(), memory.trained.steps.tolist(), strict=True)):
        draw = torch.Generator().manual_seed((key + age) % 2**63)
        learned = draw_levels(config.levels, (config.updates * config.draws,), draw)
        held = draw_levels(config.levels, (config.draws,), draw)
        levels.append(torch.cat([learned, held]).reshape(config.updates + 1, config.draws))
        own = [number for number, one in enumerate(history) if one.weights[row] > 0]
        pick, known = _picks(config, len(own), draw), torch.tensor([*own, len(history)])
        picks.append(known[pick])
        afters.append(known[_afters(config, pick, len(known), draw)])
    first = memory.trained.steps * window.frames
    return Draw(
        torch.stack(levels).to(device, window.latents.dtype),
        torch.stack(picks),
        torch.stack(afters),
        keys[:, :-1].flatten(),
        first.repeat_interleave(config.draws),
    )


def _picks(config: MemoryConfig, earlier: int, draw: torch.Generator) -> Tensor:
    """int64 [updates, draws]: which of so many earlier windows, or the window itself, which is the last."""
    shape = (config.updates, config.draws if config.mixed else 1)
    anyone = torch.randint(earlier + 1, shape, generator=draw).expand(-1, config.draws)
    if config.variant in ("global", "jump"):
        return anyone
    old = torch.randint(max(earlier, 1), shape, generator=draw)
    turn = (torch.arange(1, old.numel() + 1) % max(config.replay, 1) == 0).reshape(shape)
    return torch.where(turn & (config.replay > 0) & (earlier > 0), old, earlier).expand(-1, config.draws)


def _afters(config: MemoryConfig, pick: Tensor, windows: int, draw: torch.Generator) -> Tensor:
    """int64 [updates, draws]: whose past; its own, but of "jump", where most draws have any other window's."""
    if config.variant != "jump" or windows == 1:
        return pick
    other = (pick + torch.randint(1, windows, pick.shape, generator=draw)) % windows
    return torch.where(torch.arange(config.draws) < max(1, int(config.draws * JUMPS)), other, pick)


def _shown(windows: Sequence[Seen], pick: Tensor, after: Tensor) -> tuple[Seen, Tensor]:
    """Of each row the windows it picked [M, draws], as M or M * draws rows, and what its update weighs [M]."""
    last, both = windows[-1], torch.stack([pick, after], -1)
    if bool((both == len(windows) - 1).all()):
        return last, last.weights
    alike = bool((both == both[:, :1]).all())
    chosen = Seen.stack(
        [
            windows[new].row(row) if new == past else windows[new].row(row).behind(windows[past].row(row))
            for row, picked in enumerate((both[:, :1] if alike else both).tolist())
            for new, past in picked
        ]
    )
    # A row that sits out now does so whatever it saw before.
    return chosen, torch.where(last.weights > 0, chosen.weights.reshape(len(pick), -1).mean(1), 0)


def cropped(window: Seen, config: MemoryConfig) -> Seen:
    """The frames a variant looks at, and what it is told of them."""
    if config.variant in ("frame", "jump") and window.past:
        window = window.after(window.past - 1)
    facts, everywhere = window.facts, torch.ones_like(window.facts.named)
    if config.variant not in READ:
        facts = facts.withhold(actions=everywhere, texts=everywhere)
    if not config.address:
        facts = facts.withhold(poses=everywhere)
    # Rows that sit out may be anything, even not finite; nothing of them must reach the arithmetic.
    there = (window.weights > 0).reshape(-1, 1, 1, 1, 1)
    return replace(window, latents=torch.where(there, window.latents.detach(), 0), facts=facts)


def _fitting(old: Seen, now: Seen, memory: Memory, world: WorldModel) -> Seen | None:
    check_seen(old, memory.rows, world.shape)
    old = cropped(old, memory.config)
    return old if (old.frames, old.past) == (now.frames, now.past) else None


def losses(
    world: WorldModel, weights: Tensors, config: MemoryConfig, window: Seen, noise: Tensor, level: Tensor
) -> Tensor:
    """[M]: each row's loss under its factors, over D draws: noise [M * D, T, C, h, w], level [M, D]. The window has
    M rows, or M * D.

    Past frames are noised like the new ones and count like them, but in the variants "original" and "jump".
    """
    draws, past = level.shape[1], window.past if config.variant in READ else 0
    each = level.numel() // window.rows
    with torch.no_grad():
        conditions = world.conditions(window.facts).repeat(each)
    clean = window.latents.repeat_interleave(each, 0)
    levels = level.reshape(-1, 1).repeat(1, window.frames)
    levels[:, :past] = 0
    process, new = world.config.process, (levels > 0)
    factors = low_rank(weights, "in training", config.operator)
    answer = world.denoiser(process.noised(clean, noise, levels), levels, conditions, factors)
    target = process.target(clean, noise, levels)
    # Without a past nothing is copied; with one, a copy would teach nothing.
    loss = masked_loss(answer.drawn, target, new)
    if config.variant == "jump":  # but what a dream shows is the mix, which is not to get worse
        loss = (loss + masked_loss(answer.output, target, new)) / 2
    return loss.reshape(-1, draws).mean(1)


def _gradients(
    world: WorldModel, weights: Tensors, config: MemoryConfig, window: Seen, draw: Draw, update: int, through: bool
) -> Tensors:
    """Of the sum over rows: one backward gives each row its own, because no row's loss knows another's factors."""
    with torch.enable_grad():
        leaves = {
            name: value if through and value.requires_grad else value.detach().clone().requires_grad_()
            for name, value in weights.items()
        }
        noise = draw.noise(update, window.latents)
        total = losses(world, leaves, config, window, noise, draw.level[:, update]).sum()
        slopes = torch.autograd.grad(total, list(leaves.values()), create_graph=through)
        return dict(zip(leaves, slopes, strict=True))


@torch.no_grad()
def _guarded(
    world: WorldModel, config: MemoryConfig, window: Seen, draw: Draw, before: Trained, after: Trained
) -> Trained:
    """Rows for which the window became harder, on noise they have not learned from, forget it again."""
    noise, level = draw.noise(config.updates, window.latents), draw.level[:, -1]
    was, now = (losses(world, one.weights, config, window, noise, level) for one in (before, after))
    return after.where(now.isfinite() & (now <= was * (1 + config.rise)), before)
