"""Things as a planner asks for them: by name, in a picture that was seen or in a dream."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import Context
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.habits import said
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.things import Found


def find(world: WorldModel, body: str, context: Context, names: Sequence[str], camera: str | None = "fixed") -> Found:
    """Where K things stand, by the last pictures of B episodes: [B, K]."""
    device = next(world.parameters()).device
    pictures, poses = (torch.as_tensor(one, device=device)[:, -1] for one in (context.pixels, context.poses))
    return look_for(world, body, world.codec.encode(pictures), poses, names, camera)


@torch.no_grad()
def look_for(
    world: WorldModel, body: str, latents: Tensor, poses: Tensor, names: Sequence[str], camera: str | None = "fixed"
) -> Found:
    """The same by clean latents [R, C, h, w], seen or dreamt, and their poses [R, P]: [R, K]."""
    layout = world.encoder.layout
    check_known(world, body)
    like = next(world.things.parameters())
    facts = Facts.of_poses(poses[:, None].to(like), layout, body, camera)
    senses = world.pose_head.moved(facts)[0][:, 0]
    words = said(world.encoder.text, list(names)).to(like).expand(len(poses), -1, -1)
    cameras = world.encoder.cameras(facts)[:, 0]
    found: Found = world.things(latents.to(like), cameras, senses, facts.embodiment, words)
    return found


@torch.no_grad()
def look_back(world: WorldModel, body: str, latents: Tensor, cameras: Tensor, names: Sequence[str]) -> Found:
    """The same by clean latents [R, C, h, w] that were kept, and cameras [R, 8]: what the body felt is not known."""
    check_known(world, body)
    like = next(world.things.parameters())
    words = said(world.encoder.text, list(names)).to(like).expand(len(latents), -1, -1)
    embodiment = torch.full((len(latents),), world.encoder.layout.index(body), device=like.device)
    senses = like.new_zeros(len(latents), world.things.feel.in_features)
    found: Found = world.things(latents.to(like), cameras.to(like), senses, embodiment, words)
    return found


def check_known(world: WorldModel, body: str) -> None:
    """Has this world learned to find things around this body?"""
    if not bool(world.things.known[world.encoder.layout.index(body)]):
        hint = "Train it: sfvgen train init=<world> learn=things."
        raise BadOption(f"things around {body!r}", "a body around whom this world has learned to find them", hint)
