"""A tiny random world, and latents of made-up episodes, for tests of what is built on worlds."""

from pathlib import Path

import numpy as np
import torch

from sfvgen_planner.data import Dataset, Description, VectorActions
from sfvgen_planner.types import Episode
from sfvgen_planner.world.address import AddressConfig
from sfvgen_planner.world.causal import CausalConfig
from sfvgen_planner.world.codec import CodecConfig, KLCodec
from sfvgen_planner.world.diffusion import PROCESSES
from sfvgen_planner.world.encoder import ConditionEncoder, EncoderConfig
from sfvgen_planner.world.layout import Embodiment, Layout
from sfvgen_planner.world.model import WorldConfig, WorldModel
from sfvgen_planner.world.text import TextConfig
from sfvgen_planner.world.unet3d import UNet3DConfig

PHRASES = ("go left", "go right")
BODY = Embodiment(
    "toy", size=2, low=(-1.0, -1.0), high=(1.0, 1.0), phrases=PHRASES, pose_size=9, cameras={"fixed": 40.0}
)


def tiny_world(kind: str = "causal", seed: int = 0, process: str = "flow", body: Embodiment = BODY) -> WorldModel:
    """Random in every weight, also where a fresh world starts from zero. Pictures are 16 x 16, latents 4 x 4."""
    torch.manual_seed(seed)
    codec = KLCodec.fresh(CodecConfig(channels=4, fold=2, widths=(8, 16), groups=4))
    draw = torch.Generator().manual_seed(seed)
    text = TextConfig(width=16, layers=1, heads=2, longest=8)
    encoder = ConditionEncoder.fresh(EncoderConfig(16, AddressConfig()), Layout((body,)), text, (), draw)
    told = (4, 4, 4, encoder.width, encoder.address_features)
    sizes: CausalConfig | UNet3DConfig = CausalConfig(
        *told, dim=32, depth=2, heads=2, window=20, copies=process == "clean"
    )
    if kind == "unet3d":
        sizes = UNet3DConfig(
            *told, 16, 4, block_out_channels=(8, 16), cross_attention_size=8, attention_head_dim=4, norm_num_groups=4
        )
    world = WorldModel(WorldConfig(kind, sizes, PROCESSES[process]), codec, encoder).eval()  # type: ignore[arg-type]
    torch.manual_seed(seed)  # whatever heads there are, this is the same denoiser
    for parameter in world.denoiser.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return world


def toy_set(folder: Path, episodes: int = 3, steps: int = 30) -> Dataset:
    """Episodes of a square that goes where the action says."""
    description = Description(
        "toy/square-v0",
        "toy",
        picture=(16, 16),
        actions=VectorActions.of((-1.0, -1.0), (1.0, 1.0)),
        pose_size=9,
        phrases=PHRASES,
    )
    with Dataset.create(folder, description) as dataset:
        for number in range(episodes):
            dataset.append(toy_episode(number, steps))
    return Dataset(folder)


def toy_episode(number: int, steps: int) -> Episode:
    """One of them."""
    rng = np.random.default_rng(number)
    actions = rng.uniform(-1, 1, (steps, 2)).astype(np.float32)
    places = np.clip(6 + np.cumsum(np.concatenate([np.zeros((1, 2)), actions]), axis=0), 0, 12)
    pixels = np.full((steps + 1, 16, 16, 3), 40, np.uint8)
    for frame, (x, y) in zip(pixels, places.round().astype(int), strict=True):
        frame[y : y + 4, x : x + 4] = (200, 60, 60)
    poses = np.zeros((steps + 1, 9), np.float32)
    poses[:, 3] = 1
    poses[:, 7:] = places
    done = np.arange(steps) == steps - 1
    phrases = tuple(PHRASES[int(actions[8 * (i // 8), 0] > 0)] for i in range(steps))
    card = {"task": "toy", "camera": "fixed", "split": "train"}
    rewards = actions.sum(1)
    return Episode(pixels, poses, actions, rewards, done, ~done & False, done, ("go",) * steps, phrases, card)
