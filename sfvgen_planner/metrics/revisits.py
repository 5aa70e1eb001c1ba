"""Coming back to a place: which frames do, and whether the video looks there as it did at first (SRC)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import POSE_CAMERA


def view_codes(poses: Any, position_scale: float) -> Any:
    """[..., 12] numbers whose Euclidean distance says how different two camera poses [..., P] are.

    Position over `position_scale`, then the rotation matrix: blind to a quaternion's sign, and half a turn is 2 (as
    Frobenius distances are halved by sqrt 2).
    """
    camera = np.asarray(poses, np.float64)[..., :POSE_CAMERA]
    if camera.shape[-1] != POSE_CAMERA or position_scale <= 0:
        raise BadOption(
            f"poses of {camera.shape[-1]} numbers, scale {position_scale}", "7 or more, above 0", "See types.Episode."
        )
    w, x, y, z = np.moveaxis(camera[..., 3:], -1, 0)
    rotation = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return np.concatenate([camera[..., :3] / position_scale, np.stack(rotation, -1) / np.sqrt(2)], -1)


def revisits(codes: Any, near: float, far: float) -> list[tuple[int, int]]:
    """(first visit, later visit) for every frame of [T, D] that comes within `near` of an earlier one.

    In between the path must have been more than `far` away: lingering is no return. The first visit is the nearest
    frame of the earliest stay that qualifies.
    """
    codes = np.asarray(codes, np.float64)
    if codes.ndim != 2 or not 0 <= near <= far:
        raise BadOption(f"codes {list(codes.shape)}, {near} and {far}", "[T, D], 0 <= near <= far", "See view_codes.")
    pairs = []
    for later in range(len(codes)):
        away = np.linalg.norm(codes[:later] - codes[later], axis=1)
        left = np.flatnonzero(away > far)
        early = np.flatnonzero(away[: left[-1]] <= near) if len(left) else left
        if len(early):
            stay = early[: _run(early)]
            pairs.append((int(stay[np.argmin(away[stay])]), later))
    return pairs


def scene_revisit_consistency(features: Tensor, pairs: Sequence[tuple[int, int]]) -> float:
    """Mean cosine similarity of features [T, D] between first and later visits: 1 if a place never changes its looks.

    The paper prints 100 times this, of ResNet-18 features.
    """
    if features.ndim != 2 or not len(pairs):
        raise BadOption(f"features {list(features.shape)}, {len(pairs)} pairs", "[T, D], 1 or more", "See revisits.")
    index = torch.tensor(pairs, device=features.device)
    if int(index.min()) < 0 or int(index.max()) >= len(features):
        raise BadOption(
            f"a visit at frame {int(index.max())}", f"0 to {len(features) - 1}", "Use frames of this video."
        )
    both = features.double()[index]
    return float(cosine_similarity(both[:, 0], both[:, 1], dim=1).mean())


def _run(frames: Any) -> int:
    """How many of the increasing `frames` follow each other without a gap."""
    gaps = np.flatnonzero(np.diff(frames) > 1)
    return int(gaps[0]) + 1 if len(gaps) else len(frames)
