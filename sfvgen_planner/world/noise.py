"""Noise that is a function of its key: (row seed, frame, step) and nothing else.

No generator is advanced, so a row's noise knows nothing of its neighbours, of the batch's size or of what was drawn
before; rows of one seed share their noise. The numbers are those of Philox 4x32-10 (Salmon et al., "Parallel random
numbers: as easy as 1, 2, 3", 2011) through Box and Muller's map.
"""

import math

import torch
from torch import Tensor

from sfvgen_planner.errors import BadOption

Words = tuple[Tensor, Tensor, Tensor, Tensor]

_WORD = 0xFFFFFFFF
_MULTIPLY = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
# The counter's last word says what the numbers are for, so that no seed is ever made of a frame's noise.
_NOISE, _SEED = 0, 1


def philox(counter: Words, key: tuple[Tensor, Tensor]) -> Words:
    """Philox 4x32-10: 32-bit words in int64 tensors whose shapes broadcast."""
    a, b, c, d = counter
    first, second = key
    for turn in range(_ROUNDS):
        # Only the low 32 bits of a word count; they are cut out here, where high ones would do harm. The product
        # of two words fills all 64 bits: as a signed number it wraps, and its bits are right.
        p, q = (a & _WORD) * _MULTIPLY[0], (c & _WORD) * _MULTIPLY[1]
        a, c = (q >> 32) ^ (first + turn * _WEYL[0]) ^ b, (p >> 32) ^ (second + turn * _WEYL[1]) ^ d
        b, d = q, p
    return a & _WORD, b & _WORD, c & _WORD, d & _WORD


def keyed_noise(
    seeds: Tensor, first: Tensor, frames: int, shape: tuple[int, int, int], *, step: int = 0, dtype: torch.dtype
) -> Tensor:
    """Normal noise [R, T, C, h, w] on the device of `seeds`.

    seeds: int64 [R], one a row; first: int64 [R], which frame of its episode each row begins with; frames: T;
    shape: (C, h, w); step: 0 for the noise sampling starts from, 1, 2, ... for what it adds on its way.
    """
    _check(seeds, first, frames, shape, step)
    numbers = math.prod(shape)
    rows, device = seeds.shape[0], seeds.device
    frame = first[:, None, None] + torch.arange(frames, device=device)[None, :, None]
    block = torch.arange((numbers + 3) // 4, device=device)
    words = philox((block, frame, torch.full_like(block[:1], step), torch.full_like(block[:1], _NOISE)), _key(seeds))
    noise = torch.empty(rows, frames, block.numel(), 4, dtype=dtype, device=device)
    for pair in (0, 2):
        # In double precision devices differ by less than rounding to single forgives.
        radius = (words[pair].double() + 1).mul_(2.0**-32).log_().mul_(-2).sqrt_()
        angle = words[pair + 1].double().mul_(2.0**-32 * 2 * math.pi)
        noise[..., pair] = angle.cos() * radius
        noise[..., pair + 1] = angle.sin_() * radius
    return noise.flatten(2)[..., :numbers].reshape(rows, frames, *shape)


def split(seeds: Tensor, count: int) -> Tensor:
    """`count` new seeds of each seed, int64 [R, count]: for candidates, draws or chunks that shall not share noise."""
    index = torch.arange(count, device=seeds.device)[None, :]
    zero = torch.zeros_like(index)
    first, second = (key[..., 0] for key in _key(seeds))
    low, high, _, _ = philox((index, zero, zero, zero + _SEED), (first, second))
    return low | (high << 32)


def _key(seeds: Tensor) -> tuple[Tensor, Tensor]:
    """The two words of each seed, [R, 1, 1]."""
    return (seeds & _WORD)[:, None, None], ((seeds >> 32) & _WORD)[:, None, None]


def _check(seeds: Tensor, first: Tensor, frames: int, shape: tuple[int, int, int], step: int) -> None:
    if seeds.ndim != 1 or first.shape != seeds.shape or {seeds.dtype, first.dtype} != {torch.int64}:
        raise BadOption(
            f"seeds {seeds.dtype} {list(seeds.shape)} and first frames {first.dtype} {list(first.shape)}",
            "int64 [R] both",
            "Give each row a seed and the number of its first frame.",
        )
    if frames < 0 or min(shape) < 1 or step < 0:
        raise BadOption(
            f"{frames} frames of {shape} at step {step}", "counts that are not negative", "Check the noise's shape."
        )
