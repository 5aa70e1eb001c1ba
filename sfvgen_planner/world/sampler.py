"""From noise to clean latents: samplers are functions, and know a network only as `denoise`.

One step serves every process: at the level it came from, the network's answer gives x and n; at the next level they
make the next latent. On the paper's process that is DDIM, on the straight curve it is Euler's method.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Literal

import torch
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.diffusion import Process
from sfvgen_planner.world.schedule import leading, trailing

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(noisy [R, T, C, h, w], level [R, T]) -> output [R, T, C, h, w]"""

Fresh = Callable[[int], Tensor]
"""step i = 1, 2, ... -> the noise [R, T, C, h, w] that sampling adds in it; see `keyed_noise`"""


@dataclass(frozen=True)
class SamplerConfig:
    """How noise becomes video."""

    steps: int = 4
    spacing: Literal["trailing", "leading"] = "trailing"
    """trailing: begins at level 1; leading: as DDIM's authors have it, begins a little below"""
    shift: float = 1.0
    """trailing only: above 1, more of the steps are near noise"""
    eta: float = 0.0
    """0: nothing is added on the way; 1: as much as DDPM adds"""
    guidance: float = 1.0
    """above 1, every step asks a second time, told no actions and no words, and goes so many times as far from there"""

    def __post_init__(self) -> None:
        if self.spacing not in ("trailing", "leading") or not 0 <= self.eta <= 1 or not 1 <= self.guidance < inf:
            raise BadOption(
                f"sampling with spacing {self.spacing!r}, eta {self.eta}, guidance {self.guidance}",
                "trailing or leading, eta 0 to 1, guidance 1 or more",
                "Choose another.",
            )

    def levels(self, process: Process) -> Tensor:
        """float64 [steps + 1], from noise down to 0."""
        if self.spacing == "leading":
            return leading(self.steps, process.train_steps)
        return trailing(self.steps, self.shift)


PAPER_SAMPLER = SamplerConfig(steps=50, spacing="leading")
"""DDIM-50"""


def sample(
    denoise: Denoise,
    noise: Tensor,
    levels: Tensor,
    process: Process,
    *,
    eta: float = 0.0,
    fresh: Fresh | None = None,
) -> Tensor:
    """Clean latents [R, T, C, h, w] from noise of that shape, over falling `levels` [S+1], the last of them 0.

    eta: 0 adds nothing on the way, 1 as much as DDPM; `fresh` is asked only where it is above 0.
    """
    visited = _falling(levels)
    if eta and fresh is None:
        raise BadOption(f"eta {eta} without fresh noise", "a function of the step", "Pass `fresh`.")
    # Levels are never as coarse as half-precision latents may be.
    dtype = torch.promote_types(noise.dtype, torch.float32)
    latents = noise
    for index, pair in enumerate(pairwise(visited)):
        level, after = (torch.full(noise.shape[:2], x, dtype=dtype, device=noise.device) for x in pair)
        output = denoise(latents, level)
        clean, rest = process.to_clean(latents, output, level), process.to_noise(latents, output, level)
        added = fresh(index + 1) if fresh is not None and eta else None
        latents = step(clean, rest, level, after, process, eta, added)
    return latents


def step(
    clean: Tensor,
    noise: Tensor,
    level: Tensor,
    after: Tensor,
    process: Process,
    eta: float = 0.0,
    fresh: Tensor | None = None,
) -> Tensor:
    """From `level` down to `after` [R, T]: the x and n seen there, [R, T, C, h, w], make the next latents.

    With eta above 0 the share sigma of the noise is replaced by `fresh` (DDIM's equation 16, for any a and s).
    """
    a, s = process.signal(after, clean)
    if not eta or fresh is None:
        return a * clean + s * noise
    if fresh.shape != noise.shape:
        raise BadOption(f"fresh noise {list(fresh.shape)}", f"{list(noise.shape)}", "Give each row and frame its own.")
    a_from, s_from = process.signal(level, clean)
    sigma = eta * s * (1 - (a_from * s / (a * s_from)).square()).clamp(min=0).sqrt()
    return a * clean + (s.square() - sigma.square()).clamp(min=0).sqrt() * noise + sigma * fresh


def guided(conditional: Denoise, unconditional: Denoise, scale: float) -> Denoise:
    """Classifier-free guidance: a `denoise` that calls both. Scale 1 is the conditional one itself, 0 the other.

    Outputs are mixed; for a given latent x and n are affine in them, so this is the same mix of x and of n.
    """
    if scale == 1:
        return conditional
    if scale == 0:
        return unconditional

    def denoise(noisy: Tensor, level: Tensor) -> Tensor:
        without = unconditional(noisy, level)
        return without + scale * (conditional(noisy, level) - without)

    return denoise


def _falling(levels: Tensor) -> list[float]:
    visited: list[float] = levels.flatten().tolist()
    falls = all(here > there for here, there in pairwise(visited))
    if levels.ndim != 1 or len(visited) < 2 or not falls or visited[0] > 1 or visited[-1] != 0:
        raise BadOption(
            f"levels {[round(x, 4) for x in visited[:8]]}",
            "[S+1], strictly falling from at most 1 to 0",
            "Use `trailing` or `leading`.",
        )
    return visited
