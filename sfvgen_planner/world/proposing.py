"""Habits as a planner takes them: candidates for the beginning of its search."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import Context
from sfvgen_planner.world.habits import Habits, said
from sfvgen_planner.world.model import WorldModel

Floats = NDArray[np.float64]


@torch.no_grad()
def habits_of(world: WorldModel, body: str, context: Context, texts: tuple[str, ...] | None = None) -> Habits:
    """How B episodes may go on, told what they look like now and, where somebody says it, what is wanted in words."""
    layout, device = world.encoder.layout, next(world.parameters()).device
    number, rows = layout.index(body), len(context.poses)
    if not bool(world.habits.known[number]):
        hint = "Train them: sfvgen train init=<world> learn=habits."
        raise BadOption(f"habits of {body!r}", "a body whose habits this world has learned", hint)
    pictures, poses = (torch.as_tensor(one, device=device)[:, -1] for one in (context.pixels, context.poses))
    latents = world.codec.encode(pictures[:, None])[:, 0]
    felt = world.pose_head.senses(poses.to(latents), number)
    senses = torch.nn.functional.pad(felt, (0, layout.pose_size - poses.shape[-1]))
    words = said(world.encoder.text, [""] * rows if texts is None else list(texts))
    told: Habits = world.habits(latents, senses, torch.full((rows,), number, device=device), words.to(latents))
    return told


def drawn(habits: Habits, chosen: Floats, strayed: Floats, low: Floats, high: Floats) -> Floats:
    """[B, N, H, A] in the body's own units: the likeliest way as it is, then ways as often as they are likely, strayed
    from as far as is doubted.

    `chosen` [B, N - 1] from 0 to 1 and `strayed` [B, N - 1, A] standard normal are what is drawn. A doubt is mostly
    about where something is, so a candidate strays to one side all along.
    """
    chance, actions, doubt = map(_plain, (habits.chance, habits.actions, habits.doubt))
    rows, steps = np.arange(len(chance))[:, None], np.exp(chance).cumsum(1)
    ways = (chosen[..., None] * steps[:, None, -1:] >= steps[:, None]).sum(-1).clip(max=chance.shape[1] - 1)
    ways = np.concatenate([chance.argmax(1)[:, None], ways], 1)
    astray = np.concatenate([np.zeros((len(chance), 1, len(low))), strayed], 1)
    own = (..., slice(len(low)))
    values = actions[own][rows, ways] + doubt[own][rows, ways] * astray[:, :, None]
    return np.asarray(low + (np.clip(values, -1, 1) + 1) / 2 * (high - low))


def _plain(value: Tensor) -> Floats:
    return value.double().cpu().numpy()
