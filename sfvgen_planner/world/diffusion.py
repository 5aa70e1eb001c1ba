"""What noise does to latents, what the network is asked for, and the masked loss on its answer.

At level l a latent is z = a x + s n (x clean, n noise), and the network is asked for o = c x + d n. Whatever a, s, c
and d are, two equations give x and n back: all that samplers need to know.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.world.schedule import CURVES, Curve, log_alpha_bar

Predict = Literal["epsilon", "v", "flow", "clean"]
PREDICTS = ("epsilon", "v", "flow", "clean")


@dataclass(frozen=True)
class Process:
    """How signal fades with the level, and what is predicted."""

    curve: Curve = "straight"
    """"straight": a = 1 - l, s = l (rectified flow); otherwise a^2 + s^2 = 1, see `schedule.log_alpha_bar`"""
    predict: Predict = "flow"
    """"epsilon": n; "v": a n - s x; "flow": n - x; "clean": x"""
    beta_start: float = 0.00085
    beta_end: float = 0.012
    train_steps: int = 1000
    """levels in the table of a curve with betas; between them its logarithm is linear"""

    def __post_init__(self) -> None:
        for name, known in ((self.curve, CURVES), (self.predict, PREDICTS)):
            if name not in known:
                raise UnknownName(f"diffusion of kind {name!r}", "a known one", closest(name, known))
        if self.curve == "straight" and self.predict == "epsilon":
            raise BadOption(
                "epsilon on the straight curve", "another target", "Pure noise says nothing of x: use flow."
            )
        if not 0 < self.beta_start <= self.beta_end < 1 or self.train_steps < 1:
            raise BadOption(
                f"betas {self.beta_start} to {self.beta_end} in {self.train_steps} steps",
                "0 < beta_start <= beta_end < 1 and at least one step",
                "ModelScopeT2V has .00085 to .012 in 1000.",
            )

    def noised(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """z [R, T, C, h, w] of clean latents and noise of that shape, each frame at its level [R, T]."""
        a, s = self.signal(level, clean)
        _check_alike(clean, noise)
        return a * clean + s * noise

    def target(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """o [R, T, C, h, w]: what the network should answer at `level` [R, T]."""
        c, d = self._asked(*self.signal(level, clean))
        _check_alike(clean, noise)
        return c * clean + d * noise

    def to_clean(self, noisy: Tensor, output: Tensor, level: Tensor) -> Tensor:
        """x [R, T, C, h, w] by the network's answer."""
        a, s = self.signal(level, noisy)
        _check_alike(noisy, output)
        c, d = self._asked(a, s)
        return (d * noisy - s * output) / (a * d - s * c)

    def to_noise(self, noisy: Tensor, output: Tensor, level: Tensor) -> Tensor:
        """n [R, T, C, h, w] by the network's answer."""
        a, s = self.signal(level, noisy)
        _check_alike(noisy, output)
        c, d = self._asked(a, s)
        return (a * output - c * noisy) / (a * d - s * c)

    def min_snr(self, level: Tensor, gamma: float = 5.0) -> Tensor:
        """Loss weights [R, T] that make the loss one of x weighted by min(a^2 / s^2, gamma) (Hang et al., 2023)."""
        a, s = self._signal(level)
        c, d = self._asked(a, s)
        return torch.minimum(a.square(), gamma * s.square()) / (a * d - s * c).square()

    def signal(self, level: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """a and s at `level` [R, T], shaped and typed to multiply `like` [R, T, ...]."""
        if not level.is_floating_point() or level.shape != like.shape[:2]:
            raise BadOption(
                f"levels {level.dtype} {list(level.shape)} for latents {list(like.shape)}",
                "one float for each row and frame, [R, T]",
                "Expand the levels.",
            )
        shape = (*level.shape, *[1] * (like.ndim - 2))
        a, s = self._signal(level)
        return a.to(like.dtype).reshape(shape), s.to(like.dtype).reshape(shape)

    def _signal(self, level: Tensor) -> tuple[Tensor, Tensor]:
        if self.curve == "straight":
            return 1 - level, level
        place = level * self.train_steps
        below = place.floor().clamp(0, self.train_steps - 1)
        table = _table(self, level.device, level.dtype)
        low, high = table[below.long()], table[below.long() + 1]
        log = low + (place - below) * (high - low)
        return (log / 2).exp(), (-torch.expm1(log)).sqrt()

    def _asked(self, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """c and d."""
        if self.predict in ("epsilon", "clean"):
            noise = float(self.predict == "epsilon")
            return torch.full_like(a, 1 - noise), torch.full_like(a, noise)
        return (-s, a) if self.predict == "v" else (-torch.ones_like(a), torch.ones_like(a))


PAPER = Process("linear", "epsilon")
FLOW = Process("straight", "flow")
V = Process("cosine", "v")
CLEAN = Process("straight", "clean")
PROCESSES = {"paper": PAPER, "flow": FLOW, "v": V, "clean": CLEAN}


def new_frames(past: Tensor, frames: int) -> Tensor:
    """Which of T frames are to be generated, bool [R, T], where row r begins with past[r] clean ones."""
    return torch.arange(frames, device=past.device)[None, :] >= past[:, None]


def masked_loss(output: Tensor, target: Tensor, new: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error of each row's new frames, [R]; 0 for a row that has none.

    output, target: [R, T, C, h, w]; new: bool [R, T], False where a clean past frame stands; weight: [R, T] multiplies
    each frame's error (the mean is still over the frames, so weights are best about 1 on average).
    """
    _check_alike(output, target)
    if new.dtype != torch.bool or new.shape != output.shape[:2] or (weight is not None and weight.shape != new.shape):
        raise BadOption(
            f"a mask {new.dtype} {list(new.shape)}, weights {None if weight is None else list(weight.shape)} for "
            f"latents {list(output.shape)}",
            "a bool mask and weights of [R, T]",
            "Make the mask with new_frames.",
        )
    # Left out, not multiplied by zero: what a network says of past frames may be anything, and nothing learns from it.
    error = torch.where(new[(...,) + (None,) * (output.ndim - 2)], output - target, 0).square().flatten(2).mean(2)
    error = error if weight is None else error * weight
    return error.sum(1) / new.sum(1).clamp(min=1)


@lru_cache(maxsize=16)
def _table(process: Process, device: torch.device, dtype: torch.dtype) -> Tensor:
    # Made outside of any inference mode, because training may be the next to use it.
    with torch.inference_mode(False):
        log = log_alpha_bar(process.curve, process.beta_start, process.beta_end, process.train_steps)
        return log.to(device, dtype)


def _check_alike(one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape:
        raise BadOption(f"tensors {list(one.shape)} and {list(other.shape)}", "one shape", "Nothing is broadcast.")
