"""Several memories as one: the weighted sum of what they add to the weights, sum_i w_i B_i A_i.

Where all share their A, that is the weighted sum of their B. A moves while an episode is remembered, though, so two
memories of one world mostly differ in it: then the sum has up to the sum of their ranks. It is kept exactly, as
factors stacked to that rank, or, where a rank is asked for, as the nearest product of that rank (Eckart and Young).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite

import torch
from torch import Tensor

from sfvgen_planner.errors import BadMemory
from sfvgen_planner.memory.adam import Tensors, Trained
from sfvgen_planner.memory.value import A, B, Memory, low_rank

Pair = tuple[Tensor, Tensor]
"""A [n, ...] and B [out, n] of one layer."""


def merge(parts: Sequence[Memory], weights: Sequence[float], rank: int | None = None) -> Memory:
    """A memory of one row that begins with the weighted sum; one part of weight 1 is that part, bit for bit.

    `rank`: of the result, if it has to be below the sum of the parts'; for a memory to stand where its parts stood,
    their own.
    """
    _check(parts, weights, rank)
    one, split = parts[0], [low_rank(part.trained.weights, "") for part in parts]
    if len(parts) == 1 and weights[0] == 1 and one.config.rank <= (rank or one.config.rank):
        return begun_with(one, one.trained.weights)
    shared = all(_alike(part.down, split[0].down) for part in split)
    join = _summed if shared else _stacked
    pairs = {name: join([(part.down[name][0], part.up[name][0]) for part in split], weights) for name in split[0].down}
    if rank is not None:
        pairs = _shortened(pairs, rank)
    return begun_with(
        one,
        {name + end: pair[which][None] for name, pair in pairs.items() for which, end in enumerate((A, B))},
    )


def begun_with(like: Memory, first: Tensors) -> Memory:
    """A memory that begins with these factors, of one row, to be written on as `like` is."""
    rank = next(int(value.shape[1]) for name, value in first.items() if name.endswith(A))
    seeds, config = torch.zeros_like(like.seeds[:1]), replace(like.config, rank=rank)
    return replace(like, trained=Trained.fresh(first), start=first, seeds=seeds, config=config)


def _check(parts: Sequence[Memory], weights: Sequence[float], rank: int | None) -> None:
    if not parts or len(parts) != len(weights) or not all(isfinite(weight) for weight in weights):
        raise BadMemory(
            f"{len(parts)} memories and weights {list(weights)}", "as many finite weights, one or more", "Weigh each."
        )
    ranks = sorted({part.config.rank for part in parts})
    if len(ranks) > 1:
        raise BadMemory(f"memories of ranks {ranks}", "one rank", "Merge those of each rank apart.")
    if any(part.rows != 1 for part in parts):
        raise BadMemory(f"memories of {[p.rows for p in parts]} rows", "one row each", "Take memory[i : i + 1].")
    kinds = {(part.world, part.config, tuple(sorted(part.start))) for part in parts}
    if len(kinds) > 1 or not all(_alike(part.pace or {}, parts[0].pace or {}) for part in parts):
        raise BadMemory("memories of different worlds, configs or paces", "one of each", "Keep them apart.")
    if rank is not None and rank < 1:
        raise BadMemory(f"rank {rank}", "1 or more", "Leave it out for the exact sum.")


def _alike(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _summed(pairs: Sequence[Pair], weights: Sequence[float]) -> Pair:
    ups = torch.stack([up.double() * weight for (_, up), weight in zip(pairs, weights, strict=True)])
    return pairs[0][0], ups.sum(0).to(pairs[0][1].dtype)


def _stacked(pairs: Sequence[Pair], weights: Sequence[float]) -> Pair:
    up = torch.cat([up * weight for (_, up), weight in zip(pairs, weights, strict=True)], 1)
    return torch.cat([down for down, _ in pairs]), up


def _shortened(pairs: Mapping[str, Pair], rank: int) -> dict[str, Pair]:
    """To `rank`, all layers of one shape at once; what is no longer than that stays as it is."""
    found, shapes = dict(pairs), {name: (down.shape, up.shape) for name, (down, up) in pairs.items()}
    for shape in set(shapes.values()):
        if shape[0][0] <= rank:
            continue
        names = [name for name in pairs if shapes[name] == shape]
        downs, ups = (torch.stack([pairs[name][which] for name in names]) for which in range(2))
        short = _nearest(downs.flatten(2).double(), ups.double(), rank)
        for name, down, up in zip(names, *short, strict=True):
            found[name] = down.reshape(rank, *shape[0][1:]).to(downs.dtype), up.to(ups.dtype)
    return found


def _nearest(down: Tensor, up: Tensor, rank: int) -> Pair:
    """[L, n, in] and [L, out, n] to the nearest product of `rank`. By Gram matrices of n x n: a layer is much wider.

    All of A's directions stay of one length, as long as they were on average: one of length 0 could never be written.
    """
    gram = down @ down.mT
    least = 1e-12 * gram.diagonal(dim1=1, dim2=2).amax(1)  # two A may be one and the same
    corner = torch.linalg.cholesky(gram + torch.diag_embed(least[:, None].expand(gram.shape[:2])))
    plain = torch.linalg.solve_triangular(corner, down, upper=False)  # rows of length 1, at right angles
    whole = up @ corner  # so that whole @ plain is up @ down
    _, ways = torch.linalg.eigh(whole.mT @ whole)
    ways = ways[..., -rank:]
    length = down.square().sum(-1).mean(-1).sqrt()[:, None, None]
    return ways.mT @ plain * length, whole @ ways / length
