"""What is handed out of a dream: observations and infos as Gymnasium's vector environments have them."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_envs.dream.basis import Dream, feature_size
from sfvgen_envs.dream.state import Shown, Told
from sfvgen_planner.types import POSE_CAMERA

Mask = NDArray[np.bool_]
Out = Callable[[Tensor], Any]
"""A tensor as the user wants it: numpy, or itself."""


def observation_space(dream: Dream) -> spaces.Dict:
    """Of one row."""
    known = {
        "pixels": spaces.Box(0, 255, (*dream.imitated.picture, 3), np.uint8),
        "pose": dream.imitated.pose,
        "features": spaces.Box(-np.inf, np.inf, (feature_size(dream.world),), np.float32),
        "goal": spaces.Box(-np.inf, np.inf, (dream.imitated.pose.shape[0] - POSE_CAMERA,), np.float32),
    }
    return spaces.Dict({key: known[key] for key in dream.config.observe})


def observation(shown: Shown, out: Out) -> dict[str, Any]:
    """By key, what there is."""
    found = ((field.name, getattr(shown, field.name)) for field in fields(Shown))
    return {key: out(value) for key, value in found if value is not None}


def info(told: Told, predicted: Mapping[str, Tensor], mask: Mask, out: Out) -> dict[str, Any]:
    """An array a key, and under `_key` of which rows it holds; `predicted` are tensors [B, ...]."""
    found: dict[str, Any] = {"instruction": told.instruction.copy(), "_instruction": mask.copy()}
    if told.goal is not None and told.shows is not None:
        found["goal"], found["_goal"] = told.goal.copy(), mask & told.shows
    for key, value in predicted.items():
        found[key], found[f"_{key}"] = out(value.float()), mask.copy()
    return found


def unpredicted(rows: int, doubts: bool, device: torch.device) -> dict[str, Tensor]:
    """Before the first step nothing is."""
    zeros = torch.zeros(rows, device=device)
    return {"success_predicted": zeros} | ({"uncertainty": zeros} if doubts else {})


def final(observed: Mapping[str, Any], told: Mapping[str, Any], done: Mask) -> dict[str, Any]:
    """What SAME_STEP keeps of the episodes that end: `final_obs`, row by row, and `final_info`."""
    last = np.full(len(done), None, object)
    for row in np.flatnonzero(done):
        last[row] = {key: value[row] for key, value in observed.items()}
    kept = {key: value & done if key.startswith("_") else value for key, value in told.items()}
    return {"final_obs": last, "_final_obs": done.copy(), "final_info": kept, "_final_info": done.copy()}
