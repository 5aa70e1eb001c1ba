"""A learned world as a planner takes it: `imagine`, and going on with what was imagined."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import Actions, Context, Rollout
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.lowrank import LowRank
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.pose_head import foresee_on
from sfvgen_planner.world.sampler import SamplerConfig


@dataclass(frozen=True)
class Dreaming:
    """A world under a memory that does not change any more."""

    world: WorldModel
    factors: LowRank | None
    body: str
    camera: str | None
    sampler: SamplerConfig
    seeds: Tensor
    """int64 [B]"""

    def __call__(self, context: Context, actions: Actions) -> Rollout:
        """`world.imagine_with`, in latents."""
        imagine = self.world.imagine_with(
            self.factors, body=self.body, camera=self.camera, sampler=self.sampler, seeds=self.seeds, pixels=False
        )
        return imagine(context, actions)

    @torch.no_grad()
    def resume(self, context: Context, begun: Rollout, actions: Actions) -> Rollout:
        """The frames after those of `begun`, [B, N] each: what one dream of both would have gone on with."""
        if begun.latents is None or begun.actions is None:
            raise BadOption(
                "a rollout without latents or actions", "one of this world, from a planner", "Dream it first."
            )
        world, layout = self.world, self.world.encoder.layout
        device, keep = begun.latents.device, world.config.past
        rows, count, first = begun.latents.shape[:3]
        pictures, poses = (torch.as_tensor(one, device=device) for one in (context.pixels, context.poses))
        before = Facts.of_poses(poses, layout, self.body, self.camera).repeat(count)
        done = Facts.of_actions(begun.actions, layout, self.body, self.camera).to(device)
        foreseen = torch.as_tensor(begun.poses, device=device, dtype=torch.float32).flatten(0, 1)
        pad = (0, layout.pose_size - foreseen.shape[-1])
        known = Facts.join(before, done.with_poses(torch.nn.functional.pad(foreseen, pad)))[-keep:]
        seen = world.codec.encode(pictures).repeat_interleave(count, 0)
        past = torch.cat([seen, begun.latents.flatten(0, 1)], 1)[:, -keep:]
        new = Facts.of_actions(actions, layout, self.body, self.camera).to(device)
        keys = self.seeds.to(device).repeat_interleave(count)
        sighting = world.sighted(seen, before)
        dreamt = world.dream(past, known, new, keys, self.sampler, self.factors, int(first), sighting=sighting)

        def parted(value: Tensor) -> Tensor:
            return value.reshape(rows, count, *value.shape[1:])

        return Rollout(
            poses=parted(dreamt.facts.poses[..., : layout[self.body].pose_size]),
            rewards=parted(dreamt.judged.reward),
            success=parted(dreamt.judged.success),
            terminated=parted(dreamt.judged.terminated),
            latents=parted(dreamt.latents),
        )


@dataclass(frozen=True)
class Foreseeing:
    """The same world with its eyes closed: where the body and its camera will be, which a dream begins with. Nothing is
    drawn, and nothing is paid."""

    world: WorldModel
    body: str
    camera: str | None

    @torch.no_grad()
    def __call__(self, context: Context, actions: Actions) -> Rollout:
        """Poses, and zeros."""
        world, layout = self.world, self.world.encoder.layout
        device = next(world.parameters()).device
        poses = torch.as_tensor(context.poses, device=device)[:, -world.config.past :]
        rows, count = int(actions.values.shape[0]), int(actions.values.shape[1])
        known = Facts.of_poses(poses, layout, self.body, self.camera)
        new = Facts.of_actions(actions, layout, self.body, self.camera).to(device)
        found = foresee_on(world.encoder, world.pose_head, known, new, world.config.past).poses
        found = found[..., : layout[self.body].pose_size]
        found = found.reshape(rows, count, *found.shape[1:])
        nothing = found.new_zeros(found.shape[:3])
        return Rollout(found, nothing, nothing, nothing)
