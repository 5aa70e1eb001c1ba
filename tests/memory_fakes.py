"""Windows to be remembered, of made-up latents."""

from dataclasses import replace

import torch
from torch import Tensor
from world_fakes import tiny_world

from sfvgen_planner.memory import MemoryConfig, Seen, remember, start
from sfvgen_planner.memory.remember import cropped, drawn, losses
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel

SMALL = MemoryConfig(rank=3, updates=3, draws=2)
UNET = replace(SMALL, modules=(r"unet\.(down_blocks\.0|mid_block)\..*(attn1\.to_q|ff\.net\.2|s\.0\.conv1|conv2\.3)",))


def config_for(kind: str) -> MemoryConfig:
    """A few layers of every kind that the denoiser has."""
    return SMALL if kind == "causal" else UNET


def world_of(kind: str = "causal", process: str = "flow") -> WorldModel:
    """In double precision, so that equal means equal."""
    return tiny_world(kind, process=process).double()


def seen(world: WorldModel, rows: int, frames: int = 6, seed: int = 0, past: int = 2) -> Seen:
    """Random rows; row r of any number of rows is the same."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.stack([torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(rows)])

    poses = torch.zeros(rows, frames, 9, dtype=torch.float64)
    poses[..., 3] = 1
    latents, poses[..., :3], vectors = normal(frames, *world.shape), normal(frames, 3), normal(frames, 2)
    facts = Facts.of_poses(poses, world.encoder.layout, "toy", "fixed")
    told = replace(facts, vectors=vectors.float(), vectors_known=torch.ones_like(vectors, dtype=torch.bool))
    dtype = next(world.denoiser.parameters()).dtype
    told = replace(told, poses=told.poses.to(dtype), vectors=told.vectors.to(dtype), fovy=told.fovy.to(dtype))
    return Seen(latents.to(dtype), told, past)


def rows_of(window: Seen, rows: slice) -> Seen:
    """Some of the rows."""
    return Seen.stack([window.row(row) for row in range(window.rows)[rows]])


def before_and_after(world: WorldModel, config: MemoryConfig) -> tuple[Tensor, Tensor]:
    """Losses of a chunk on the noise it is remembered by: [2] each."""
    window, memory = seen(world, 2), start(world, config, 2)
    after = remember(world, memory, window)
    now, draw = cropped(window, config), drawn(memory, window)
    noise = draw.noise(0, window.latents)
    was, less = (losses(world, one.trained.weights, config, now, noise, draw.level[:, 0]) for one in (memory, after))
    return was, less
