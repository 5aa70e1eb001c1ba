"""Foreseen poses: what the camera and the senses will be, before a frame is denoised. Truth replaces it afterwards."""

from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.errors import BadCheckpoint, BadOption
from sfvgen_planner.types import FRAMES_PER_CHUNK, POSE_CAMERA
from sfvgen_planner.world import weights
from sfvgen_planner.world.address import stilled
from sfvgen_planner.world.encoder import ConditionEncoder
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.layout import Layout
from sfvgen_planner.world.pose import compose, metres_between, radians_between, step_between, turn_of

VERSION = 1
PAN = 16.0
"""How many frames' motion a camera on a tripod turns in all, about: the unit of how far it has turned."""


RIDGE = 1e-4
"""Of straight ways, for numbers of about 1."""


@dataclass(frozen=True)
class PoseConfig:
    """Sizes."""

    condition: int = 128
    """E of the condition encoder"""
    width: int = 192


class PoseHead(nn.Module):
    """A straight way from the last step, senses and action to the next, each body's own, and a recurrent model of what
    that leaves undone. It watches the past steps go by, then goes on with its own.

    Frame k is a function of the past and of what happens into frames up to k. It is told steps and senses, not where
    the camera is: turn or move the whole world, and what it foresees turns and moves along. Only a camera on a tripod
    is told how far it has turned since the episode began: with the last step that is the phase of a pan.
    What keeps it from drifting is training on long goings-on (8, then 24, then 64 frames), tripod or not.
    """

    units: Tensor
    mean: Tensor
    spread: Tensor
    change: Tensor
    tripod: Tensor

    def __init__(self, config: PoseConfig, layout: Layout) -> None:
        super().__init__()
        self.config, self.layout = config, layout
        senses = layout.pose_size - POSE_CAMERA
        self.read = nn.Linear(6 + 1 + senses + config.condition, config.width)
        self.cell = nn.GRUCell(config.width, config.width)
        self.think = nn.Sequential(nn.Linear(config.width, config.width), nn.SiLU())
        self.move = nn.Linear(config.width, 6 + senses)
        self.aim = nn.Linear(3, config.width, bias=False)
        felt = 6 + 1 + senses + layout.action_size
        self.straight = nn.Parameter(torch.zeros(len(layout.embodiments), felt, 6 + senses))
        self.first = nn.Parameter(torch.zeros(config.width))
        self._set_units()

    def _set_units(self) -> None:
        """Each body's units; a padded sense has spread 1 and never changes."""
        bodies = self.layout.embodiments
        senses = self.layout.pose_size - POSE_CAMERA
        units, mean = torch.ones(len(bodies), 6), torch.zeros(len(bodies), senses)
        spread, change = torch.ones(len(bodies), senses), torch.zeros(len(bodies), senses)
        for row, body in enumerate(bodies):
            motion, own = body.motion, body.senses
            units[row] = torch.tensor([motion.metres] * 3 + [motion.radians] * 3)
            change[row, :own] = 1.0
            if motion.mean:
                mean[row, :own], spread[row, :own] = torch.tensor(motion.mean), torch.tensor(motion.spread)
                change[row, :own] = torch.tensor(motion.step)
        tripod = torch.tensor([[float(body.on_tripod)] for body in bodies])
        told = {"units": units, "mean": mean, "spread": spread, "change": change, "tripod": tripod}
        for name, value in told.items():
            self.register_buffer(name, value, persistent=False)

    @torch.no_grad()
    def begin(self, truth: Facts, done: Tensor) -> None:
        """Before training: the straight ways that fit facts [R, T] and actions done [R, T, A] best.

        Only of bodies that have none yet: what was learned stays.
        """
        poses = stilled(truth.poses, truth.poses_known).double()
        known = truth.poses_known[:, :-2] & truth.poses_known[:, 1:-1] & truth.poses_known[:, 2:]
        steps = step_between(poses[:, :-1], poses[:, 1:])
        for number in sorted(set(truth.embodiment.tolist())):
            mine = known & (truth.embodiment == number)[:, None]
            if self.straight[number].any() or not mine.any():
                continue
            body = torch.full((int(mine.sum()),), number, device=poses.device)
            here, there = poses[:, 1:-1][mine], poses[:, 2:][mine]
            felt = self._feel(steps[:, :-1][mine], torch.ones_like(here[:, :1]), here, body)
            given = torch.cat([felt, done[:, 2:][mine].double()], -1)
            moved = (there - here)[:, POSE_CAMERA:] / self.change[body].where(self.change[body] > 0, 1.0)
            wanted = torch.cat([steps[:, 1:][mine] / self.units[body], moved * (self.change[body] > 0)], -1)
            even = RIDGE * len(given) * torch.eye(given.shape[1], dtype=given.dtype, device=given.device)
            self.straight[number] = torch.linalg.solve(given.T @ given + even, given.T @ wanted)

    def forward(
        self,
        past: Facts,
        before: Tensor,
        happens: Tensor,
        done: Tensor | None = None,
    ) -> Tensor:
        """Poses [R * N, T, P] of the frames after `past` (R rows of Tp >= 1 frames).

        `before` [R, Tp, E] is told of the past, `happens` [R * N, T, E] of the new frames (N candidates a row), both
        by `ConditionEncoder.tell`; `done` [R * N, T, A] are the new frames' actions by `ConditionEncoder.units`. Where
        the last pose is unknown, the answer means nothing: see `foresee`.
        """
        candidates = self._check(past, before, happens)
        # Not a view: that would ask for gradients where nobody wants any.
        body, state = past.embodiment, before.new_zeros(past.rows, 1) + self.first
        known = past.poses_known
        poses = stilled(past.poses, known)
        step, seen = before.new_zeros(past.rows, 6), before.new_zeros(past.rows, 1)
        for k in range(1, past.frames):
            felt = self._feel(step, seen, poses[:, k - 1], body)
            state = self._advance(state, felt, poses[:, k - 1], body, before[:, k])
            both = (known[:, k] & known[:, k - 1])[:, None]
            step = torch.where(both, step_between(poses[:, k - 1], poses[:, k]), 0.0)
            seen = both.to(step.dtype)
        pose = poses[:, -1]
        state, step, seen, pose, body = (
            value.repeat_interleave(candidates, 0) for value in (state, step, seen, pose, body)
        )
        if done is None:
            done = pose.new_zeros(*happens.shape[:2], self.layout.action_size)
        straight, out = self.straight[body], []
        for k in range(happens.shape[1]):
            felt = self._feel(step, seen, pose, body)
            state = self._advance(state, felt, pose, body, happens[:, k])
            going = (torch.cat([felt, done[:, k]], -1)[:, None] @ straight)[:, 0]
            told = self.move(self.think(state)) + going
            step = told[:, :6] * self.units[body]
            senses = pose[:, POSE_CAMERA:] + told[:, 6:] * self.change[body]
            pose, seen = compose(pose, step, senses), torch.ones_like(seen)
            out.append(pose)
        return torch.stack(out, 1)

    def _feel(self, step: Tensor, seen: Tensor, pose: Tensor, body: Tensor) -> Tensor:
        """What moved last [..., 6], whether that is known [..., 1], and what is felt, in the body's units."""
        senses = (pose[..., POSE_CAMERA:] - self.mean[body]) / self.spread[body]
        return torch.cat([step / self.units[body], seen, senses], -1)

    @property
    def moved_size(self) -> int:
        """M of `moved`."""
        return 6 + 1 + 2 * (self.layout.pose_size - POSE_CAMERA)

    def senses(self, poses: Tensor, number: int) -> Tensor:
        """[..., P] of body `number` -> [..., P - 7]: its own senses in its units."""
        felt = poses[..., POSE_CAMERA:]
        own = slice(felt.shape[-1])
        return (felt - self.mean[number, own]) / self.spread[number, own]

    def moved(self, facts: Facts) -> tuple[Tensor, Tensor]:
        """Of facts [R, 1 + T] in the body's units: senses [R, 1 + T, S]; for all but the first frame the camera's step
        into it, 1 where it is known, the senses, and how they changed, together [R, T, M]."""
        body, known = facts.embodiment[:, None], facts.poses_known
        poses = stilled(facts.poses, known)
        both = (known[:, 1:] & known[:, :-1])[..., None]
        step = torch.where(both, step_between(poses[:, :-1], poses[:, 1:]), 0.0)
        felt = self._feel(step, both.to(step.dtype), poses[:, 1:], body)
        unit = self.change[body]
        changed = (poses[:, 1:] - poses[:, :-1])[..., POSE_CAMERA:] / unit.where(unit > 0, 1.0) * (both & (unit > 0))
        senses = (poses[..., POSE_CAMERA:] - self.mean[body]) / self.spread[body]
        return senses * known[..., None], torch.cat([felt, changed], -1)

    def _advance(self, state: Tensor, felt: Tensor, pose: Tensor, body: Tensor, happens: Tensor) -> Tensor:
        """One frame more of the recurrent state."""
        turned = turn_of(pose[:, 3:7]) / (PAN * self.units[body][:, 3:]) * self.tripod[body]
        told: Tensor = self.cell(self.read(torch.cat([felt, happens], -1)) + self.aim(turned), state)
        return told

    def grown(self, layout: Layout) -> "PoseHead":
        """For a layout with more bodies at its end, of more senses perhaps: what was known moves as before."""
        self.layout.check_growth(layout)
        new = PoseHead(self.config, layout).to(self.move.weight)
        bodies, done = len(self.straight), self.layout.action_size
        felt, more = self.straight.shape[1] - done, new.straight.shape[1] - layout.action_size
        moved = self.move.out_features
        columns = [*range(felt), *range(more, more + self.config.condition)]
        with torch.no_grad():
            new.read.weight[:, columns] = self.read.weight
            new.straight[:bodies, :felt, :moved] = self.straight[:, :felt]
            new.straight[:bodies, more : more + done, :moved] = self.straight[:, felt:]
            new.move.weight[:moved] = self.move.weight
            new.move.bias[:moved] = self.move.bias
        grew = ("read.weight", "straight", "move.weight", "move.bias")
        new.load_state_dict(
            {name: value for name, value in self.state_dict().items() if name not in grew}, strict=False
        )
        return new

    def save_pretrained(self, folder: Path | str) -> None:
        """config.json and model.safetensors; the layout lies with the condition encoder."""
        weights.save(folder, VERSION, asdict(self.config), self.state_dict())

    @classmethod
    def from_pretrained(cls, folder: Path | str, layout: Layout) -> "PoseHead":
        """Back from a folder."""
        config = weights.read_config(folder, VERSION)
        try:
            head = cls(PoseConfig(**config), layout)
        except TypeError as error:
            raise BadCheckpoint(f"{folder}, whose config is odd ({error})", "a pose head", weights.HINT) from error
        weights.load(head, folder, set(head.state_dict()))
        return head

    def _check(self, past: Facts, before: Tensor, happens: Tensor) -> int:
        rows = int(happens.shape[0])
        if not past.frames or happens.shape[1] < 1 or rows % past.rows or before.shape[:2] != past.poses.shape[:2]:
            raise BadOption(
                f"{past.rows} rows of {past.frames} past frames, told {list(before.shape)}, new {list(happens.shape)}",
                "[R, Tp, E] and [R * N, T, E], with a past and a future",
                "Tell the encoder of the past first.",
            )
        if past.poses.shape[2] != self.layout.pose_size:
            raise BadOption(
                f"poses of {past.poses.shape[2]}", f"{self.layout.pose_size}", "Use this world's own layout."
            )
        return rows // past.rows


def foresee(encoder: ConditionEncoder, head: PoseHead, past: Facts, new: Facts) -> Facts:
    """`new` (R * N rows) with the poses that its actions or texts will lead to from `past` (R rows).

    Where the last pose is unknown, so are these, and stand still.
    """
    poses = head(past, encoder.tell(past)[0], encoder.tell(new)[0], encoder.units(new))
    known = past.poses_known[:, -1:].repeat_interleave(new.rows // past.rows, 0).expand(new.rows, new.frames)
    return new.with_poses(stilled(poses, known), known)


def foresee_on(encoder: ConditionEncoder, head: PoseHead, past: Facts, new: Facts, keep: int) -> Facts:
    """The same for any number of frames: chunk by chunk, each from the last `keep` frames before it, as in a dream."""
    parts: list[Facts] = []
    for start in range(0, new.frames, FRAMES_PER_CHUNK):
        parts.append(foresee(encoder, head, past, new[start : start + FRAMES_PER_CHUNK]))
        past = Facts.join(past.repeat(new.rows // past.rows), parts[-1])[-keep:]
    return reduce(Facts.join, parts)


def pose_loss(head: PoseHead, predicted: Tensor, truth: Facts) -> Tensor:
    """Scalar: errors of place, geodesic angle and senses in units of one frame's motion; mean over known frames.

    Rows that could not know better because their past was unknown are the caller's to withhold.
    Huber's, as errors add up along a chunk and its last frames would drown the first ones.
    """
    body, known = truth.embodiment, truth.poses_known
    units = head.units[body][:, None]
    # Where the truth is unknown it may hold anything, and 0 times NaN is NaN.
    target = torch.where(known[..., None], truth.poses, predicted.detach())
    metres = _huber(metres_between(predicted, target) / units[..., 0])
    turned = _huber(radians_between(predicted, target) / units[..., 3])
    change = head.change[body][:, None]
    felt = change > 0
    off = (predicted - target)[..., POSE_CAMERA:] / change.masked_fill(~felt, 1.0)
    senses = (_huber(off) * felt).sum(-1) / felt.sum(-1).clamp(min=1)
    error = (metres + turned + senses) * known
    return error.sum() / known.sum().clamp(min=1)


def _huber(error: Tensor) -> Tensor:
    return F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none")
