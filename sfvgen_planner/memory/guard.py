"""How large a memory may become beside the weights it adds to."""

import torch
from torch import Tensor, nn

from sfvgen_planner.memory.adam import Tensors, along
from sfvgen_planner.memory.value import A, B


def sizes(denoiser: nn.Module, weights: Tensors) -> Tensors:
    """||W|| of each remembered layer, by name."""
    names = [name.removesuffix(A) for name in weights if name.endswith(A)]
    return {name: denoiser.get_parameter(f"{name}.weight").detach().norm() for name in names}


def shares(weights: Tensors, size: Tensors) -> Tensors:
    """||B A|| / ||W|| [M] of each layer; the product is never made: its square is tr(B'B AA')."""
    found = {}
    for name, norm in size.items():
        down, up = weights[name + A].flatten(2), weights[name + B]
        square = ((up.mT @ up) * (down @ down.mT)).sum((1, 2)).clamp(min=0)
        found[name] = square.sqrt() / norm
    return found


def bounded(weights: Tensors, size: Tensors, most: float) -> dict[str, Tensor]:
    """With B shortened where a layer's share is above `most`."""
    kept = dict(weights)
    for name, share in shares(weights, size).items():
        shorter = torch.where(share > most, most / share, 1)
        kept[name + B] = kept[name + B] * along(shorter, kept[name + B])
    return kept
