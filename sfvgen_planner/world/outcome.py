"""What is read off a dream besides its pictures: reward, success, the end.

A reward is earned between two frames, so the head sees where things were and where they are now.
"""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.world.ahead import Ahead, Sighting
from sfvgen_planner.world.chances import COUNT, mean_of, near_zero, surprise
from sfvgen_planner.world.encoder import ConditionEncoder
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.pose_head import PoseHead
from sfvgen_planner.world.spots import Spots

THINGS = 4
"""How many places in the room the body may come closer to."""
CLOSER = 3.0
"""How much more a change of distance counts at first than a distance."""
UNUSUAL = 0.3
"""Weight of what is learned of unusual rewards."""
STILL = 0.002
"""Lengths, or parts of a turn, that an eye moves less by where it stands still."""
SOFT = 1e-4
"""Added to squared distances: where two places meet, a distance has no slope."""


@dataclass(frozen=True)
class Judged:
    """Per frame, [..., T]."""

    reward: Tensor
    """in the task's own units"""
    success: Tensor
    """probability"""
    terminated: Tensor
    """probability"""


@dataclass(frozen=True)
class Evidence:
    """What outcomes of T frames are read off; pictures and senses begin with the frame before the first of them."""

    latents: Tensor
    """[R, 1 + T, C, h, w]"""
    senses: Tensor
    """[R, 1 + T, S] in the body's units"""
    moved: Tensor
    """[R, T, M]: how the body moved into each frame"""
    features: Tensor
    """[R, T, D]: the denoiser's under the memory, for pictures cannot know a hidden place"""
    frame: Tensor
    """[R, T, E]: what the denoiser was told of each frame"""
    embodiment: Tensor
    """int64 [R]"""
    sighting: Sighting
    """what was really seen; it may have pictures of later frames too, and the last one serves all after it"""
    cameras: Tensor
    """[R, 1 + T, 8]"""
    roams: Tensor
    """bool [R]: does the eye travel"""

    @property
    def places(self) -> Tensor:
        """[R, 1 .. 1 + T, C, h, w]: pictures that tell where things are. What was seen stays where it was while the eye
        stands still, and a dream may lose it; an eye that moved saw it elsewhere, and then there is nothing newer than
        the frame before these."""
        picture, camera = self.sighting.picture, self.sighting.camera
        if picture is self.latents:
            return picture
        moved = (self.cameras[:, 0] - camera)[:, :7].abs().amax(1) > STILL
        return torch.where(moved[:, None, None, None, None], self.latents[:, :1], picture)

    @staticmethod
    def of(
        encoder: ConditionEncoder,
        head: PoseHead,
        before: Tensor,
        known: Facts,
        clean: Tensor,
        facts: Facts,
        features: Tensor,
        frame: Tensor,
        sighting: Sighting | None = None,
    ) -> "Evidence":
        """Of frames `clean` [R, T, C, h, w]; `before` and `known` are of the frame before them, [R, 1, ...], or of
        none: then nothing moved into the first one. Unless `sighting` tells, the frame before was the last one seen."""
        if known.frames == 0:
            before, known = clean[:, :1], facts[:1]
        whole, latents = Facts.join(known, facts), torch.cat([before, clean], 1)
        (senses, moved), cameras = head.moved(whole), encoder.cameras(whole)
        seen = Sighting(before, cameras[:, 0]) if sighting is None else sighting
        roams = (head.tripod[facts.embodiment, 0] == 0) & (cameras[..., 7] > 0).all(1)
        return Evidence(latents, senses, moved, features, frame, facts.embodiment, seen, cameras, roams)


def _errors(told: Tensor, rewards: Tensor, success: Tensor, terminated: Tensor) -> Tensor:
    """[R, T], of logits [R, T, 3 + COUNT]: Huber's error of the reward in its unit, in which a rare bonus does not
    shout; the chances of what that leaves out, a crash in a hundred steps; and two cross-entropies."""
    usual, solved, ended = told[..., :3].unbind(-1)
    rare = surprise(told[..., 3:], rewards - usual.detach())
    yes = success.to(told.dtype), terminated.to(told.dtype)
    return _huber(usual, rewards) + UNUSUAL * rare + _binary(solved, yes[0]) + _binary(ended, yes[1])


_huber = partial(F.smooth_l1_loss, reduction="none")
_binary = partial(F.binary_cross_entropy_with_logits, reduction="none")


def _last(dim: int) -> nn.Linear:
    """Logits of an outcome, to begin with of nothing unusual."""
    last = nn.Linear(dim, 3 + COUNT)
    with torch.no_grad():
        last.weight[3:] = 0
        last.bias[3:] = near_zero()
    return last


class OutcomeHead(nn.Module):
    """See the module's docstring."""

    scale: Tensor
    told: tuple[int, int]
    """D and E"""

    def __init__(
        self, latents: tuple[int, int, int], senses: int, moved: int, features: int, frame: int, bodies: int
    ) -> None:
        """Sizes of latents (C, h, w), and S, M, D, E of the evidence."""
        super().__init__()
        self.told, dim = (features, frame), 128
        self.body = nn.Embedding(bodies, dim)
        self.look = Spots(*latents, dim)
        self.feel = nn.Linear(senses, dim, bias=False)
        self.think = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())
        self.read = nn.Linear(moved + features + frame, dim)
        self.tell = nn.Sequential(nn.Linear(3 * dim, dim), nn.SiLU(), _last(dim))
        self.near = Near(senses, dim, bodies)
        self.ahead = Ahead(latents, senses, bodies, _last(dim))
        self.register_buffer("scale", torch.zeros(bodies))

    @torch.no_grad()
    def begin(self, rewards: Tensor, embodiment: Tensor) -> None:
        """The unit of each body's rewards [R, T], which is their mean size; of bodies that have none yet."""
        for number in sorted(set(embodiment.tolist())):
            if self.scale[number] == 0:
                self.scale[number] = rewards[embodiment == number].abs().mean()

    def logits(self, seen: Evidence) -> Tensor:
        """[R, T, 3 + COUNT]: the usual reward, success, termination; then chances of what is unusual about it."""
        told, near = self._told(seen)
        told = torch.cat([told[..., :3] + near, told[..., 3:]], -1)
        asked = self.ahead.asked(seen.sighting, seen.cameras[:, 1:], seen.embodiment) & seen.roams[:, None]
        return torch.where(asked[..., None], self._waiting(seen), told) if bool(asked.any()) else told

    def _waiting(self, seen: Evidence) -> Tensor:
        """[R, T, 3 + COUNT]: of what waits where a travelling eye will be."""
        told: Tensor = self.ahead(seen.sighting, seen.cameras, seen.senses, seen.embodiment)
        return told

    def _told(self, seen: Evidence) -> tuple[Tensor, Tensor]:
        """[R, T, 3 + COUNT] and [R, T, 3]: of all evidence, and what is near tells of the first three."""
        look = self.look(seen.latents)
        each = self.think(look + self.feel(seen.senses))
        others = self.read(torch.cat([seen.moved, seen.features, seen.frame], -1)) + self.body(seen.embodiment)[:, None]
        told: Tensor = self.tell(torch.cat([each[:, 1:], each[:, 1:] - each[:, :-1], others], -1))
        places = seen.places
        places = look if places is seen.latents else self.look(places)
        near: Tensor = self.near(places, seen.senses, seen.embodiment)
        return told, near

    def forward(self, seen: Evidence) -> Judged:
        """The outcomes themselves."""
        logits = self.logits(seen)
        usual, success, terminated = logits[..., :3].unbind(-1)
        reward = usual + mean_of(logits[..., 3:])
        return Judged(reward * self._unit(seen.embodiment), success.sigmoid(), terminated.sigmoid())

    def loss(self, seen: Evidence, rewards: Tensor, success: Tensor, terminated: Tensor, weight: Tensor) -> Tensor:
        """Scalar, of outcomes [R, T] whose rows count by weight [R].

        What is near is to tell of the reward what it can alone: coming closer and going away again is worth nothing
        there, and all else, which may praise whoever circles swiftly, has but the rest to tell.
        """
        told, near = self._told(seen)
        rewards = rewards / self._unit(seen.embodiment)
        both = torch.cat([told[..., :1] + near[..., :1].detach(), told[..., 1:3] + near[..., 1:], told[..., 3:]], -1)
        each = _huber(near[..., 0], rewards) + _errors(both, rewards, success, terminated)
        return (each * weight[:, None]).mean()

    def loss_ahead(
        self, seen: Evidence, rewards: Tensor, success: Tensor, terminated: Tensor, weight: Tensor
    ) -> Tensor:
        """The same of what is told of travelling eyes."""
        each = _errors(self._waiting(seen), rewards / self._unit(seen.embodiment), success, terminated)
        return (each * weight[:, None]).mean()

    def _unit(self, embodiment: Tensor) -> Tensor:
        """[R, 1]"""
        unit = self.scale[embodiment][:, None]
        return torch.where(unit > 0, unit, 1.0)


class Near(nn.Module):
    """How far the body is from things, and how much closer it came: few numbers, so that a way to a place is judged
    right wherever that place is.

    Places are read off the last picture that was seen: a dream draws what is small anew for every candidate.
    """

    def __init__(self, senses: int, dim: int, bodies: int) -> None:
        super().__init__()
        self.things = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 3 * THINGS))
        self.here = nn.Linear(senses, 3 * THINGS)
        self.body = nn.Embedding(bodies, 2 * THINGS * 3)
        nn.init.zeros_(self.body.weight)

    def forward(self, look: Tensor, senses: Tensor, embodiment: Tensor) -> Tensor:
        """Pictures [R, 1 .. 1 + T, D] as `Spots` told them, senses [R, 1 + T, S] -> [R, T, 3]."""
        frames = senses.shape[1] - 1
        last = torch.arange(frames, device=senses.device).clamp(max=look.shape[1] - 1)
        things, here = (part.unflatten(-1, (THINGS, 3)) for part in (self.things(look)[:, last], self.here(senses)))
        before, now = ((things - place).square().sum(-1).add(SOFT).sqrt() for place in (here[:, :-1], here[:, 1:]))
        worth = self.body(embodiment).unflatten(-1, (2 * THINGS, 3))
        told: Tensor = torch.cat([now, CLOSER * (before - now)], -1) @ worth
        return told
