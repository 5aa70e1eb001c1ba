"""What a goal's picture asks of a body: how much each of its senses is still off from how it stands in the picture.

A policy is shown this instead of the picture: a handful of numbers that fall to zero as the goal comes near.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.posture import Posture


@torch.no_grad()
def wanted(world: WorldModel, body: str, pictures: Tensor) -> Tensor:
    """[R, 2, S]: the senses that pictures of goals uint8 [R, h, w, 3] show, in the body's units, and how much each may
    be off."""
    layout, like = world.encoder.layout, next(world.posture.parameters())
    bodies = torch.full((len(pictures),), layout.index(body), device=like.device)
    latents = world.codec.encode(pictures[:, None].to(like.device)).to(like.dtype)
    told = world.posture(latents, bodies)
    return torch.cat([told.senses, told.doubt], 1)[..., : layout[body].senses]


@torch.no_grad()
def missing(world: WorldModel, body: str, asked: Tensor, poses: Tensor) -> Tensor:
    """[R, S]: what poses [R, P] lack of what is asked [R, 2, S], in the body's units."""
    return asked[:, 0] - world.pose_head.senses(poses.to(asked), world.encoder.layout.index(body))


def apart(world: WorldModel, body: str, asked: Tensor, poses: Tensor) -> Tensor:
    """[R]: the same as a distance, in which a sense counts as much as it was read surely."""
    senses = world.pose_head.senses(poses.to(asked), world.encoder.layout.index(body))
    return posture_of(asked).apart(senses) / asked[:, 1].square().reciprocal().mean(-1).sqrt()


def posture_of(asked: Tensor) -> Posture:
    """What is asked [R, 2, S], of one frame."""
    return Posture(asked[:, :1], asked[:, 1:])


class GoalSense:
    """What is missing, for whoever lives one episode step by step; a picture is read once, until another is shown."""

    def __init__(self, world: WorldModel, body: str) -> None:
        self.world, self.body = world, body
        self._picture: NDArray[np.uint8] | None = None
        self._asked = torch.zeros(0)

    @property
    def size(self) -> int:
        """S."""
        return self.world.encoder.layout[self.body].senses

    def __call__(self, picture: NDArray[np.uint8], pose: NDArray[np.float32]) -> NDArray[np.float32]:
        """A goal's picture uint8 [h, w, 3] and a pose [P] -> float32 [S]."""
        if self._picture is None or not np.array_equal(picture, self._picture):
            self._picture = picture.copy()
            self._asked = wanted(self.world, self.body, torch.from_numpy(self._picture)[None])
        here = torch.from_numpy(np.asarray(pose))[None].to(self._asked)
        return missing(self.world, self.body, self._asked, here)[0].float().cpu().numpy()
