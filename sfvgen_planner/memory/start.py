"""Where memories begin, and whether one belongs to a world."""

import re
from math import prod, sqrt

import torch
from torch import Tensor, nn

from sfvgen_planner.errors import BadMemory
from sfvgen_planner.memory.adam import Tensors, Trained
from sfvgen_planner.memory.config import KINDS, MemoryConfig
from sfvgen_planner.memory.keeping import blank
from sfvgen_planner.memory.value import Memory, digest, low_rank, named
from sfvgen_planner.world import hyperzzw
from sfvgen_planner.world.hyperzzw import PLACED, coordinates
from sfvgen_planner.world.lowrank import LowRank, RowConv2d, RowConv3d, RowLinear
from sfvgen_planner.world.model import WorldModel


def start(
    world: WorldModel,
    config: MemoryConfig,
    rows: int,
    theta0: LowRank | None = None,
    seeds: Tensor | None = None,
    pace: Tensors | None = None,
) -> Memory:
    """Memories of `rows` episodes that begin; B = 0 changes nothing, a learned `theta0` (of one row) may.

    All rows share their A: slow weights then meet every memory in the same coordinates.
    """
    one = next(world.denoiser.parameters())
    if rows < 1 or (seeds is not None and (seeds.dtype != torch.int64 or tuple(seeds.shape) != (rows,))):
        raise BadMemory(f"{rows} rows and seeds {seeds}", "one row or more, seeds int64 [rows]", "Leave seeds out.")
    first = named(theta0) if theta0 is not None else _fresh(world, config)
    if any(value.shape[0] != 1 for value in first.values()):
        raise BadMemory("a start of several rows", "one, which all rows begin with", "Choose one row.")
    first = {name: value.detach().to(one.device, one.dtype) for name, value in first.items()}
    check_layers(world, first, config)
    repeated = {name: value.repeat(rows, *[1] * (value.ndim - 1)) for name, value in first.items()}
    keys = torch.zeros(rows, dtype=torch.int64) if seeds is None else seeds
    if pace is not None and (pace.keys() != first.keys() or any(value.numel() != 1 for value in pace.values())):
        raise BadMemory(f"a pace for {len(pace)} tensors", f"a number for each of {len(first)}", "Use its own start.")
    if config.kept and getattr(world.denoiser, "carry", None) is None:
        raise BadMemory(
            f"{config.kept} frames kept for a {world.config.kind!r} denoiser that carries nothing",
            "a causal one that predicts clean latents",
            "Choose a preset without frames.",
        )
    album = blank(world, rows, config.kept) if config.kept else None
    return Memory(Trained.fresh(repeated), first, keys.to(one.device), config, identity(world), pace, album)


def layers(world: WorldModel, patterns: tuple[str, ...]) -> dict[str, nn.Module]:
    """Row layers of the denoiser whose whole name is matched by a kind or pattern."""
    known = row_layers(world)
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in known if re.fullmatch(KINDS.get(pattern, pattern), name)}
        if not found:
            raise BadMemory(
                f"modules {pattern!r}, which match nothing in a {world.config.kind!r} denoiser",
                f"{', '.join(KINDS)} or a pattern of whole names such as {next(iter(known))!r}",
                "Change `modules`.",
            )
        chosen |= found
    return {name: layer for name, layer in known.items() if name in chosen}


def row_layers(world: WorldModel) -> dict[str, nn.Module]:
    """All layers that can be remembered into."""
    kinds = RowLinear | RowConv2d | RowConv3d
    return {name: layer for name, layer in world.denoiser.named_modules() if isinstance(layer, kinds)}


def identity(world: WorldModel) -> str:
    """Of a denoiser's slow weights, the same in single and double precision."""
    return digest({name: value.float() for name, value in world.denoiser.state_dict().items()})


def check_layers(world: WorldModel, factors: Tensors, config: MemoryConfig) -> None:
    """Factors [M, ...] must have a layer each, of its sizes, and the config's rank."""
    known = row_layers(world)
    split = low_rank(factors, "")
    for name, down in split.down.items():
        if name not in known:
            raise BadMemory(f"a memory of layer {name!r}", "layers of this denoiser", "It is of another architecture.")
        up, wanted = split.up[name], shapes(world, name, known[name], config)
        if [list(down.shape[1:]), list(up.shape[1:])] != [*wanted]:
            raise BadMemory(
                f"factors {list(down.shape[1:])} and {list(up.shape[1:])} for layer {name!r}",
                f"{wanted[0]} and {wanted[1]}",
                "It is of another architecture or rank.",
            )


def check_fits(world: WorldModel, memory: Memory) -> None:
    """A memory belongs to the weights it was written beside."""
    check_layers(world, memory.trained.weights, memory.config)
    if memory.world != (here := identity(world)):
        raise BadMemory(
            f"a memory of world {memory.world}", f"one of this world, {here}", "Remember again, from start()."
        )


def shapes(world: WorldModel, name: str, layer: nn.Module, config: MemoryConfig) -> tuple[list[int], list[int]]:
    """Of a row's A and B for a layer."""
    weight = next(layer.parameters())
    if config.operator == "lowrank":
        return [config.rank, *weight.shape[1:]], [weight.shape[0], config.rank]
    if world.config.kind != "causal" or not re.fullmatch(PLACED, name):
        raise BadMemory(
            f"hyperzzw in layer {name!r} of a {world.config.kind!r} denoiser",
            "layers of a causal one whose every input stands in some place",
            "Remember into attention, mlp or brush.",
        )
    return [config.rank, coordinates(world.encoder.config.address)], [weight.shape[1], config.rank]


def _fresh(world: WorldModel, config: MemoryConfig) -> dict[str, Tensor]:
    """A as PEFT draws it (uniform, by what it reads), of one seed; B zero."""
    draw = torch.Generator().manual_seed(config.seed)
    down, up = {}, {}
    for name, layer in layers(world, config.modules).items():
        first, last = shapes(world, name, layer, config)
        reach = (1 if config.operator == "lowrank" else hyperzzw.SPREAD) / sqrt(prod(first[1:]))
        down[name] = (torch.rand((1, *first), generator=draw) * 2 - 1) * reach
        up[name] = torch.zeros(1, *last)
    return named(LowRank(down, up, ""))
