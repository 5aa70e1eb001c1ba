"""How cameras move: steps in the camera's own frame, their composition, errors and statistics.

A pose [..., P] is position (3), quaternion w x y z (4) and senses. A step [..., 6] is a way (3) and a rotation vector
(3), both in the frame of the camera before the step, so that it says the same whatever the heading.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import POSE_CAMERA
from sfvgen_planner.world.address import rotation
from sfvgen_planner.world.layout import LEAST, Motion


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton's product [..., 4]: first b's turn, then a's."""
    w, x, y, z = a.unbind(-1)
    s, i, j, k = b.unbind(-1)
    parts = (
        w * s - x * i - y * j - z * k,
        w * i + x * s + y * k - z * j,
        w * j - x * k + y * s + z * i,
        w * k + x * j - y * i + z * s,
    )
    return torch.stack(parts, -1)


def conjugate(quaternion: Tensor) -> Tensor:
    """The turn back, of a unit quaternion."""
    return quaternion * quaternion.new_tensor([1.0, -1.0, -1.0, -1.0])


def unit(quaternion: Tensor) -> Tensor:
    """Of length 1 and with w >= 0: one of the two that mean the same turn."""
    return F.normalize(torch.where(quaternion[..., :1] < 0, -quaternion, quaternion), dim=-1)


def turned_by(vector: Tensor) -> Tensor:
    """Unit quaternion [..., 4] of a rotation vector [..., 3]."""
    half = vector.norm(dim=-1, keepdim=True) / 2
    return torch.cat([half.cos(), torch.sinc(half / torch.pi) * vector / 2], -1)


def turn_of(quaternion: Tensor) -> Tensor:
    """Rotation vector [..., 3] of a unit quaternion, at most pi long."""
    q = unit(quaternion)
    sine = _length(q[..., 1:])[..., None]
    return q[..., 1:] * (2 * torch.atan2(sine, q[..., :1]) / sine)


def compose(pose: Tensor, step: Tensor, senses: Tensor) -> Tensor:
    """The pose after a step [..., 6], with new senses [..., P - 7]. A step of 0 stays where it is."""
    way = (rotation(pose[..., 3:7]) @ step[..., :3, None])[..., 0]
    turn = unit(multiply(pose[..., 3:7], turned_by(step[..., 3:])))
    return torch.cat([pose[..., :3] + way, turn, senses], -1)


def step_between(before: Tensor, after: Tensor) -> Tensor:
    """[..., 6] such that compose(before, step) is `after`."""
    way = (rotation(before[..., 3:7]).transpose(-1, -2) @ (after[..., :3] - before[..., :3])[..., None])[..., 0]
    return torch.cat([way, turn_of(multiply(conjugate(unit(before[..., 3:7])), after[..., 3:7]))], -1)


def metres_between(a: Tensor, b: Tensor) -> Tensor:
    """[...] between two cameras."""
    return _length(a[..., :3] - b[..., :3])


def radians_between(a: Tensor, b: Tensor) -> Tensor:
    """[...] of the shortest turn from one camera to the other: the geodesic angle."""
    q = multiply(conjugate(unit(a[..., 3:7])), unit(b[..., 3:7]))
    return 2 * torch.atan2(_length(q[..., 1:]), q[..., 0].abs())


def _length(vector: Tensor) -> Tensor:
    # Its gradient at 0 is 0, not NaN.
    return (vector.square().sum(-1) + 1e-16).sqrt()


@dataclass(frozen=True)
class Drift:
    """How far foreseen poses [..., T, P] are from the truth after so many frames, [...] each."""

    frames: int
    metres: Tensor
    degrees: Tensor
    senses: Tensor
    """root mean square, as they come; 0 where there are none"""


def drift(predicted: Tensor, truth: Tensor, frames: Sequence[int] = (8, 64)) -> tuple[Drift, ...]:
    """Of poses [..., T, P], after each of `frames` that fits into T."""
    if predicted.shape != truth.shape:
        raise BadOption(f"poses {list(predicted.shape)} and {list(truth.shape)}", "one shape", "Cut the longer one.")
    out = []
    for count in frames:
        if 1 <= count <= predicted.shape[-2]:
            a, b = predicted[..., count - 1, :].double(), truth[..., count - 1, :].double()
            off = (a - b)[..., POSE_CAMERA:].square()
            senses = off.sum(-1).div(max(1, off.shape[-1])).sqrt()
            out.append(Drift(count, metres_between(a, b), radians_between(a, b).rad2deg(), senses))
    return tuple(out)


def going_on(past: Tensor, frames: int) -> Tensor:
    """Poses [..., T, P] after `past` [..., Tp >= 2, P] if its last step is taken again and again: a yardstick."""
    before, pose = past[..., -2, :], past[..., -1, :]
    step, change = step_between(before, pose), (pose - before)[..., POSE_CAMERA:]
    out = []
    for _ in range(frames):
        pose = compose(pose, step, pose[..., POSE_CAMERA:] + change)
        out.append(pose)
    return torch.stack(out, -2)


def measure_motion(episodes: Sequence[Any]) -> Motion:
    """The units of a body from poses [T + 1, P] of some of its episodes (numpy or torch)."""
    poses = [torch.as_tensor(one, dtype=torch.float64) for one in episodes]
    steps = torch.cat([step_between(one[:-1], one[1:]) for one in poses])
    if not len(steps):
        raise BadOption(f"{len(poses)} episodes without a step", "two poses or more", "Give longer episodes.")
    senses = torch.cat([one[:, POSE_CAMERA:] for one in poses])
    changes = torch.cat([one[1:, POSE_CAMERA:] - one[:-1, POSE_CAMERA:] for one in poses])

    def least(values: Tensor) -> list[float]:
        return [float(value) for value in values.clamp(min=LEAST)]

    metres, radians = (least(part.square().sum(-1).mean().sqrt()[None])[0] for part in (steps[:, :3], steps[:, 3:]))
    return Motion(
        metres,
        radians,
        tuple(senses.mean(0).tolist()),
        tuple(least((senses - senses.mean(0)).square().mean(0).sqrt())),
        tuple(least(changes.square().mean(0).sqrt())),
    )
