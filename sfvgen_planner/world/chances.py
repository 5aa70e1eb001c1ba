"""A number told as chances of many: what is to be expected where something large and rare may happen.

Squared error lets one crash shout down a hundred ordinary steps; an error that does not, forgets the crash. Chances do
neither: they are learned by cross-entropy, and their mean is the answer. The numbers are dense around 0 and far apart
where they are large.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

COUNT = 129
WIDEST, FINE = 9.0, 8.0
"""The numbers are sinh(x) / FINE for x evenly spread up to WIDEST: .02 apart around 0, and up to 506."""
SURE = 1.0


def near_zero() -> Tensor:
    """[COUNT] logits to begin with: 0 to be expected, and hardly anything far from it."""
    return -SURE * _spread(torch.zeros(())).abs()


def mean_of(logits: Tensor) -> Tensor:
    """[..., COUNT] -> [...]: the number to be expected."""
    numbers: Tensor = _spread(logits).sinh() / FINE
    return (logits.softmax(-1) * numbers).sum(-1)


def surprise(logits: Tensor, numbers: Tensor) -> Tensor:
    """[...]: cross-entropy of numbers [...], each shared by the two that it lies between so that their mean is it."""
    spread = _spread(logits)
    steps = (torch.asinh(numbers * FINE).clamp(-WIDEST, WIDEST) + WIDEST) / (2 * WIDEST) * (COUNT - 1)
    below = steps.floor().clamp(max=COUNT - 2).long()
    low, high = spread[below].sinh(), spread[below + 1].sinh()
    share = ((numbers * FINE - low) / (high - low)).clamp(0, 1)
    chances = F.one_hot(below, COUNT) * (1 - share)[..., None] + F.one_hot(below + 1, COUNT) * share[..., None]
    return -(chances * logits.log_softmax(-1)).sum(-1)


def _spread(like: Tensor) -> Tensor:
    return torch.linspace(-WIDEST, WIDEST, COUNT, device=like.device, dtype=like.dtype)
