"""What a planner is to want, as a user writes it."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from sfvgen_agents.doing import on_errand
from sfvgen_agents.minds import Mind
from sfvgen_agents.retracing import FACING, astray
from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.metrics.judge_file import load_judge
from sfvgen_planner.planning import Goal
from sfvgen_planner.planning.objectives import (
    Custom,
    Effort,
    GoalImage,
    GoalPose,
    GoalPosture,
    GoalText,
    Reward,
    Roughness,
    Success,
    Term,
    Uncertainty,
    latents_of,
)
from sfvgen_planner.types import Rollout
from sfvgen_planner.world.likeness import Likeness


def objective_of(text: str, mind: Mind, clip: str | None = None) -> Term:
    """What a user writes, e.g. "reward + 2*goal - 0.1*effort". `clip`: a CLIP model's folder, for "text"."""
    terms: dict[str, Callable[[], Term]] = {
        "reward": Reward,
        "success": Success,
        "effort": Effort,
        "roughness": Roughness,
        "uncertainty": Uncertainty,
        "goal": lambda: GoalImage(_from(mind, "goal_latents")),
        "posture": lambda: GoalPosture(_from(mind, "apart")),
        "retrace": lambda: Custom(_retraced, looks=False),
        "errand": lambda: Custom(on_errand, looks=False),
        "place": lambda: _as_judged(mind),
        "text": lambda: GoalText(_alike(mind, clip)),
    }
    squeezed = text.replace(" ", "")
    parts = re.findall(r"([+-]?)(?:(\d+\.?\d*|\.\d+)\*)?([a-z]+)", squeezed)
    if not parts or "".join(f"{sign}{weight}{'*' if weight else ''}{name}" for sign, weight, name in parts) != squeezed:
        raise BadOption(f"the objective {text!r}", "a sum such as reward+2*goal-0.1*effort", "Quote spaces.")
    for _, _, name in parts:
        if name not in terms:
            raise UnknownName(f"objective {name!r}", f"some of {list(terms)}", closest(name, list(terms)))
    weighted = [float(f"{sign}{weight or 1}") * terms[name]() for sign, weight, name in parts]
    total: Term = weighted[0]
    for term in weighted[1:]:
        total = total + term
    return total


def _retraced(rollout: Rollout, goal: Goal) -> Any:
    """[B, N]: minus the metres to the places that lead back, and what it is worth to face them, where one is to go back
    and knows them."""
    if goal.pose is None:
        return np.zeros(rollout.poses.shape[:2])
    return GoalPose()(rollout, goal) - FACING * astray(np.asarray(goal.pose), np.asarray(rollout.poses)[:, :, -1])


def _as_judged(mind: Mind) -> Term:
    """Near the goal's picture as the shipped judge sees places; it is shown pictures as clips that stand still."""
    judge, decode = load_judge().judge, _from(mind, "decoded")
    frames = 2 * judge.config.stride

    @torch.no_grad()
    def place(pictures: torch.Tensor) -> torch.Tensor:
        return judge(pictures[:, None].expand(-1, frames, -1, -1, -1)).place

    def ahead(rollout: Rollout) -> torch.Tensor:
        last = decode(latents_of(rollout)[:, :, -1:])
        return place(last.flatten(0, 2)).reshape(*last.shape[:3], -1)

    return GoalImage(lambda image: place(torch.as_tensor(image)), ahead)


def _alike(mind: Mind, clip: str | None) -> Callable[[Rollout, tuple[str, ...]], Any]:
    """How a rollout's last pictures are as sentences say: [B, N, 1]."""
    if clip is None:
        raise BadOption("the objective text", "a CLIP model to read it", "Say clip=<folder>.")
    likeness, decode = Likeness.from_pretrained(clip), _from(mind, "decoded")

    def alike(rollout: Rollout, texts: tuple[str, ...]) -> Any:
        return likeness(decode(latents_of(rollout)[:, :, -1:]), texts)

    return alike


def _from(mind: Mind, name: str) -> Any:
    found = getattr(mind, name, None)
    if found is None:
        raise BadOption(f"pictures in a {type(mind).__name__}", "a learned world", "Use reward instead.")
    return found
