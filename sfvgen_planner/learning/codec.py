"""Trains the codec on frames of data sets."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sfvgen_planner.data.dataset import Dataset
from sfvgen_planner.data.windows import Windows
from sfvgen_planner.learning.run import Run, RunConfig, Step
from sfvgen_planner.world.codec import CodecConfig, KLCodec

DETAIL = 8.0
"""How much more a pixel counts that differs from its surroundings: a small cube is a handful of them."""
KL = 1e-6


class Frames:
    """Single frames of several data sets, each set as likely as any other; a function of the generator alone."""

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self._windows = [Windows(dataset, 1) for dataset in datasets]

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
        """uint8 [count, h, w, 3]."""
        shares = rng.multinomial(count, [1 / len(self._windows)] * len(self._windows))
        parts = [
            windows.sample(rng, int(n)).pixels[:, 0] for windows, n in zip(self._windows, shares, strict=True) if n
        ]
        return np.concatenate(parts)


class Autoencoder(nn.Module):
    """The loss as a module's forward, so that every process' gradients meet."""

    def __init__(self, codec: KLCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, pixels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Frames uint8 [B, h, w, 3], noise [B, C, h', w'] -> loss, mean squared error of colours in [0, 1]."""
        x = self.codec.unit(pixels)
        latents, posterior = self.codec.posterior(x)
        y = self.codec.pictured(latents + posterior.std * noise)
        error = F.pixel_shuffle(y - x, self.codec.fold)
        return weighted(
            error, F.pixel_shuffle(x, self.codec.fold)
        ) + KL * posterior.kl().mean(), error.square().mean() / 4


def weighted(error: Tensor, picture: Tensor) -> Tensor:
    """Absolute plus squared error, where details count more; both [B, 3, h, w]."""
    around = F.avg_pool2d(picture, 9, 1, 4, count_include_pad=False)
    weight = 1 + DETAIL * (picture - around).abs().mean(1, keepdim=True)
    return (weight * (error.abs() + 2 * error.square())).mean() / weight.mean()


def train_codec(
    datasets: Sequence[Dataset],
    folder: Path,
    config: CodecConfig,
    run: RunConfig,
    *,
    batch: int = 32,
    listen: Callable[[Step], None] = lambda step: None,
) -> KLCodec:
    """Trains, saves to `folder` whenever there is a checkpoint, and returns the averaged codec."""
    torch.manual_seed(run.seed)
    codec = KLCodec.fresh(config)
    frames = Frames(datasets)
    codec.begin(torch.from_numpy(frames.sample(np.random.default_rng([run.seed, 2]), 512)))
    accelerator = run.accelerator()
    running = Run(Autoencoder(codec), run, folder, accelerator)

    def loss(model: nn.Module, step: int, process: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([run.seed, step, process])
        pixels = torch.from_numpy(frames.sample(rng, batch))
        side = [int(size) // codec.shrink for size in pixels.shape[1:3]]
        draw = torch.Generator().manual_seed(int(rng.integers(2**63)))
        noise = torch.randn(batch, codec.channels, *side, generator=draw)
        value, squared = model(pixels.to(accelerator.device), noise.to(accelerator.device))
        return value, {"psnr": -10 * float(squared.detach().log10())}

    def saved() -> None:
        if accelerator.is_main_process:
            average(running, config, frames, run.seed).save_pretrained(folder)

    running.train(loss, listen, saved)
    return average(running, config, frames, run.seed)


def average(running: Run, config: CodecConfig, frames: Frames, seed: int) -> KLCodec:
    """The averaged weights as a codec, its latents' statistics measured."""
    codec = KLCodec.fresh(config)
    weights = {name.removeprefix("codec."): value.cpu() for name, value in running.average.items()}
    codec.load_state_dict(weights)
    codec.measure(torch.from_numpy(frames.sample(np.random.default_rng([seed, 1]), 512)))
    return codec.eval()
