"""Several memories as one: the weighted sum of what they add to the weights, sum_i w_i B_i A_i.

Where all share their A, that is the weighted sum of their B. A moves while an episode is remembered, though, so two
memories of one world mostly differ in it: then the sum has up to the sum of their ranks. It is kept exactly, as
factors stacked to that rank, or, where a rank is asked for, as the nearest product of that rank (Eckart and Young).
Kernels (`hyperzzw`) are summed exactly in the same way; no product is nearest to theirs. Frames that are kept are put
into one album, the heaviest part's last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite

import torch
from torch import Tensor

from sfvgen_planner.errors import BadMemory
from sfvgen_planner.memory.adam import Tensors, Trained
from sfvgen_planner.memory.keeping import joined
from sfvgen_planner.memory.value import A, B, Memory, low_rank

Pair = tuple[Tensor, Tensor]
"""A and B of L layers of one shape."""


def merge(parts: Sequence[Memory], weights: Sequence[float], rank: int | None = None) -> Memory:
    """A memory of one row that begins with the weighted sum; one part of weight 1 is that part, bit for bit.

    `rank`: of the result, if it has to be below the sum of the parts'; for a memory to stand where its parts stood,
    their own.
    """
    _check(parts, weights, rank)
    one = parts[0]
    if len(parts) == 1 and weights[0] == 1 and one.config.rank <= (rank or one.config.rank):
        return begun_with(one, one.told)
    layers, share = _by_shape(parts), torch.tensor(weights, dtype=torch.float64, device=one.seeds.device)
    shared = all(bool((downs == downs[:, :1]).all()) for downs, _ in layers.values())
    found: dict[str, Tensor] = {}
    for names, (downs, ups) in layers.items():
        down, up = _summed(downs, ups, share) if shared else _stacked(downs, ups, share)
        if rank is not None and down.shape[1] > rank:
            if one.config.operator != "lowrank":
                raise BadMemory(
                    f"hyperzzw memories to be merged to rank {rank}", f"{down.shape[1]}, or none", "Recall one."
                )
            short, up = _nearest(down.flatten(2).double(), up, rank)
            down = short.reshape(len(names), rank, *down.shape[2:])
        for name, a, b in zip(names, down.to(downs.dtype), up.to(ups.dtype), strict=True):
            found |= {name + A: a[None].contiguous(), name + B: b[None].contiguous()}
    begun = begun_with(one, {name: found[name] for name in one.start})
    albums = [
        part.album for _, part in sorted(zip(weights, parts, strict=True), key=lambda pair: pair[0]) if part.album
    ]
    return replace(begun, album=joined(albums) if albums else None)


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


def _by_shape(parts: Sequence[Memory]) -> dict[tuple[str, ...], Pair]:
    """A [L, k, r, ...] and B [L, k, out, r] of all layers of one shape, by their names: k memories in a few steps."""
    split = [low_rank(part.told, "") for part in parts]
    alike: dict[object, list[str]] = {}
    for name, down in split[0].down.items():
        alike.setdefault((down.shape, split[0].up[name].shape), []).append(name)
    return {
        tuple(names): (
            torch.cat([torch.stack([part.down[name] for name in names]) for part in split], 1),
            torch.cat([torch.stack([part.up[name] for name in names]) for part in split], 1),
        )
        for names in alike.values()
    }


def _summed(downs: Tensor, ups: Tensor, share: Tensor) -> Pair:
    return downs[:, 0], (ups.double() * share[:, None, None]).sum(1)


def _stacked(downs: Tensor, ups: Tensor, share: Tensor) -> Pair:
    return downs.flatten(1, 2), (ups.double() * share[:, None, None]).transpose(1, 2).flatten(2)


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
