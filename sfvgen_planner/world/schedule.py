"""Noise levels as tensors: how signal fades with them, which ones training draws, which ones sampling visits.

A level is a float in [0, 1], 0 clean and 1 noise. Timestep t of a discrete process of S steps is level (t + 1) / S:
level 0 stands before its first step, so that a clean frame is clean and not almost so.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from sfvgen_planner.errors import BadOption, UnknownName, closest

Curve = Literal["linear", "scaled_linear", "cosine", "straight"]
CURVES = ("linear", "scaled_linear", "cosine", "straight")
Draw = Literal["uniform", "stratified", "leaning", "high"]
DRAWS = ("uniform", "stratified", "leaning", "high")

_HIGH_SPAN = 0.6
_MAX_BETA = 0.999


def log_alpha_bar(curve: Curve, start: float, end: float, steps: int) -> Tensor:
    """log of the share of signal power at each of steps + 1 levels, float64 [S+1]; the first is 0.

    curve: "linear" (DDPM's betas from `start` to `end`), "scaled_linear" (linear in their roots, as latent diffusion
    has it), "cosine" (Nichol and Dhariwal, betas capped at .999; `start` and `end` say nothing).
    """
    betas: Tensor
    if curve == "linear":
        betas = torch.linspace(start, end, steps, dtype=torch.float64, device="cpu")
    elif curve == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64, device="cpu").square()
    elif curve == "cosine":
        angle = (torch.linspace(0, 1, steps + 1, dtype=torch.float64, device="cpu") + 0.008) / 1.008 * math.pi / 2
        alpha_bar = angle.cos().square()
        betas = (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=_MAX_BETA)
    else:
        raise UnknownName(f"curve {curve!r}", "one with betas", closest(curve, CURVES[:3]))
    return torch.cat([betas.new_zeros(1), torch.log1p(-betas).cumsum(0)])


def draw_levels(how: Draw, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Training levels in (0, 1], float32 `shape` = [R] or [R, T], on the generator's device.

    "uniform": independent. "stratified": along R one in each of R equal parts, in random order, column by column.
    "leaning": 1 - u^2: every level, but most of them near noise, where a few steps of sampling decide what is seen.
    "high": 1 - .6 u^2 of stratified u: near noise, where content can only come from what is remembered.
    """
    if how not in DRAWS:
        raise UnknownName(f"levels drawn {how!r}", "a known way", closest(how, DRAWS))
    device = generator.device
    u = torch.rand(shape, generator=generator, device=device)
    if how != "uniform":
        order = torch.rand(shape, generator=generator, device=device).argsort(0)
        u = (order + u) / shape[0]
    u = u.clamp(max=1 - 2**-24)
    return {"leaning": 1 - u.square(), "high": 1 - _HIGH_SPAN * u.square()}.get(how, 1 - u)


def trailing(steps: int, shift: float = 1.0) -> Tensor:
    """Levels from 1 down to 0, float64 [steps + 1] on the CPU, evenly spaced where `shift` is 1.

    shift: above 1 spends more of the steps near noise, l -> shift l / (1 + (shift - 1) l).
    """
    _check_steps(steps, steps)
    if not shift > 0:
        raise BadOption(f"shift {shift}", "a positive number", "1 shifts nothing.")
    levels = torch.linspace(1, 0, steps + 1, dtype=torch.float64, device="cpu")
    return shift * levels / (1 + (shift - 1) * levels)


def leading(steps: int, of: int = 1000) -> Tensor:
    """The levels DDIM's authors visit: timesteps (S - 1) * k, ..., k, 0 of `of`, then 0; float64 [steps + 1]."""
    _check_steps(steps, of)
    visited = torch.arange(steps - 1, -1, -1, dtype=torch.float64, device="cpu") * (of // steps) + 1
    return torch.cat([visited / of, visited.new_zeros(1)])


def _check_steps(steps: int, most: int) -> None:
    if not 1 <= steps <= most:
        raise BadOption(f"{steps} sampling steps", f"1 to {most}" if most >= 1 else "at least 1", "Change `steps`.")
