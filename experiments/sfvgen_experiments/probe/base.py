"""The slow world of the panorama: trained once, kept on disk, the same for every arm.

It learns all that arms will ask of it: to go on from a few frames, to draw windows that are wholly noise (as fast
learning will), to look back over a long past, and to use frames that a bank handed it.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from sfvgen_experiments.probe.panorama import CHANNELS, LAYOUT, SIDE, Panorama, sometimes
from sfvgen_planner.learning.run import Run, RunConfig, Step
from sfvgen_planner.learning.slow import averaged
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.address import AddressConfig
from sfvgen_planner.world.causal import CausalConfig
from sfvgen_planner.world.codec import CodecConfig, KLCodec
from sfvgen_planner.world.diffusion import CLEAN, masked_loss
from sfvgen_planner.world.dropout import DropRates, drop
from sfvgen_planner.world.encoder import ConditionEncoder, EncoderConfig
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldConfig, WorldModel
from sfvgen_planner.world.schedule import draw_levels

PAST, LONGEST = 4, 64
DIM, DEPTH, STEPS = 96, 4, 3500
RUN = RunConfig(STEPS, 0.002, precision="bf16", average=0.995, checkpoint_seconds=60.0)
ROWS = 16
"""of a step of short windows; long ones have as many frames together"""
SHARES = {"plain": 0.6, "noise": 0.15, "long": 0.15, "bank": 0.1}
LONG = (12, 20, 28, 36, 44)
"""frames of a long past"""
TOLD = DropRates(action=0.1, text=1.0, pose=0.15, past=0.0, wholly=0.0)
UNTOLD = DropRates(action=1.0, text=1.0, pose=0.3, past=0.0, wholly=0.0)


def fresh(seed: int, dim: int, depth: int) -> WorldModel:
    """An untrained world; its codec is never asked."""
    encoder = ConditionEncoder.fresh(
        EncoderConfig(64, AddressConfig(origin=(0, 0))), LAYOUT, None, (), torch.Generator().manual_seed(seed)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = CausalConfig(
            CHANNELS, SIDE, SIDE, encoder.width, encoder.address_features, dim=dim, depth=depth, heads=2, window=LONGEST
        )
        codec = KLCodec.fresh(CodecConfig(channels=CHANNELS, fold=2, widths=(8,), groups=4))
        return WorldModel(WorldConfig("causal", sizes, CLEAN, PAST), codec, encoder)


def trained(
    folder: Path, run: RunConfig, dim: int, depth: int, listen: Callable[[Step], None] = lambda step: None
) -> WorldModel:
    """The base of these settings: from `folder`, or trained into it; a killed training goes on."""
    if (folder / "world" / "world.json").exists():
        return WorldModel.from_pretrained(folder / "world")
    world = fresh(run.seed, dim, depth)
    running = Run(Base(world), run, folder, run.accelerator(), world.denoiser.matrices)
    running.train(lambda model, step, process: model((run.seed, step, process)), listen)
    mean = averaged(running, world)
    mean.save_pretrained(folder / "world")
    return mean


def panorama_base(folder: Path) -> WorldModel:
    """The base that figures are published of, kept in `folder/base`; with a progress bar where it has to be trained."""
    with tqdm(total=STEPS, desc="base", unit="step", disable=(folder / "base" / "world").exists()) as bar:

        def hear(step: Step) -> None:
            bar.update(step.number - bar.n)

        return trained(folder / "base", RUN, DIM, DEPTH, hear)


class Base(nn.Module):
    """The base's loss at a key (seed, step, process)."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__()
        self.world = world

    def forward(self, key: tuple[int, ...]) -> tuple[Tensor, dict[str, float]]:
        """Scalar loss, and what it was of."""
        rng = np.random.default_rng(list(key))
        draw = torch.Generator().manual_seed(int(rng.integers(2**63)))
        kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        latents, truth, past = windows(kind, rng)
        facts = drop(truth, UNTOLD if past == 0 else TOLD, draw, past)
        level = torch.zeros(latents.shape[:2])
        level[:, past:] = draw_levels("stratified", (len(latents),), draw)[:, None]
        noise, process = torch.randn(latents.shape, generator=draw), self.world.config.process
        with torch.autocast("cpu", enabled=False):  # a direction in half precision means nothing
            conditions = self.world.conditions(facts)
        answer = self.world.denoiser(process.noised(latents, noise, level), level, conditions)
        loss = masked_loss(answer.output.float(), process.target(latents, noise, level), level > 0).mean()
        return loss, {kind: float(loss.detach())}


def windows(kind: str, rng: np.random.Generator) -> tuple[Tensor, Facts, int]:
    """Latents [R, T, C, h, w], facts and past of one kind of step."""
    past = int(rng.choice(LONG)) if kind in ("long", "bank") else 0 if kind == "noise" else PAST
    frames = PAST + FRAMES_PER_CHUNK if kind == "noise" else past + FRAMES_PER_CHUNK
    rows = ROWS if kind in ("plain", "noise") else max(1, ROWS * (PAST + FRAMES_PER_CHUNK) // frames)
    rows = ROWS if kind == "bank" else rows
    seen = Panorama(sometimes(0.3 if kind in ("plain", "noise") else 1.0)).sample(rng, rows, frames)
    facts = Facts.of_window(seen.window, LAYOUT, seen.body, seen.camera)
    if kind != "bank":
        return seen.latents, facts, past
    index = banked(facts.poses, past)
    return picked(seen.latents, index), picked_facts(facts, index), 2 * PAST


def banked(poses: Tensor, past: int) -> Tensor:
    """int64 [R, 2 * PAST + new]: a bank's frames, the last ones and the new ones of poses [R, T, 7].

    The bank is asked for the earlier frames that look most nearly where new frames, evenly chosen, will look.
    """
    rows, frames = poses.shape[:2]
    yaw = 2 * torch.atan2(poses[..., 5], poses[..., 3])
    asked = torch.linspace(past, frames - 1, PAST).round().long()
    apart = (yaw[:, :, None] - yaw[:, None]).cos()[:, asked, : past - PAST]
    bank = apart.argmax(2).sort(1).values
    return torch.cat([bank, torch.arange(past - PAST, frames).expand(rows, -1)], 1)


def picked(values: Tensor, index: Tensor) -> Tensor:
    """[R, T, ...] -> [R, K, ...]."""
    return values[torch.arange(len(values))[:, None], index]


def picked_facts(facts: Facts, index: Tensor) -> Facts:
    """The same of what is known."""
    names = ("vectors", "vectors_known", "ids", "poses", "poses_known")
    texts = tuple(tuple(row[i] for i in chosen) for row, chosen in zip(facts.texts, index.tolist(), strict=True))
    return replace(facts, **{name: picked(getattr(facts, name), index) for name in names}, texts=texts)
