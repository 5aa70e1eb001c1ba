"""`sfvgen train`: the slow world on data sets; `sfvgen train-codec`: the codec it sees through. Both resume."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import gymnasium as gym
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from sfvgen_envs.task import Task
from sfvgen_experiments.experts import of_experts
from sfvgen_experiments.samples import Samples
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.bodies import body_of, camera_of, layout_of
from sfvgen_planner.learning.codec import train_codec
from sfvgen_planner.learning.habits import train_habits
from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.learning.run import RunConfig, Step
from sfvgen_planner.learning.slow import train_world
from sfvgen_planner.learning.slow_batches import Learn, SlowConfig
from sfvgen_planner.learning.things import Surveyed, train_things
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.causal import CausalConfig
from sfvgen_planner.world.codec import CodecConfig, KLCodec
from sfvgen_planner.world.diffusion import PROCESSES
from sfvgen_planner.world.encoder import ConditionEncoder, EncoderConfig
from sfvgen_planner.world.layout import Layout
from sfvgen_planner.world.model import WorldConfig, WorldModel
from sfvgen_planner.world.text import TextConfig
from sfvgen_planner.world.unet3d import UNet3DConfig

LOG_EVERY = 20
Part = Literal["all", "denoiser", "heads", "outcomes", "poses", "habits", "things"]
HABITS = 8
"""Steps of experts, or pictures of things, for each window that others look at."""


@dataclass(frozen=True)
class TrainCodec:
    """Options of `sfvgen train-codec`."""

    data: tuple[str, ...] = ()
    out: str = "outputs/codec"
    steps: int = 6000
    batch: int = 32
    rate: float = 2e-3
    channels: int = 16
    seed: int = 0
    threads: int = 2
    checkpoint_seconds: float = 120.0


@dataclass(frozen=True)
class Train:
    """Options of `sfvgen train`."""

    data: tuple[str, ...] = ()
    episodes: int | None = None
    codec: str = "outputs/codec"
    init: str | None = None
    learn: Part = "all"
    out: str = "outputs/world"
    latents: str | None = None
    kind: Literal["causal", "unet3d"] = "causal"
    process: str = "clean"
    steps: int = 10_000
    batch: int = 16
    rate: float = 2e-3
    dim: int = 128
    depth: int = 5
    patch: int = 4
    widths: tuple[int, ...] = (64, 128)
    seed: int = 0
    threads: int = 2
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_seconds: float = 300.0
    samples: int = 4


def main_codec(config: TrainCodec) -> None:
    """Trains the codec, with a progress bar."""
    torch.set_num_threads(config.threads)
    run = RunConfig(
        config.steps, config.rate, seed=config.seed, average=0.995, checkpoint_seconds=config.checkpoint_seconds
    )
    with listening(Path(config.out), config.steps, config.batch, ("psnr",)) as bar:
        train_codec(
            _sets(config.data),
            Path(config.out),
            CodecConfig(channels=config.channels),
            run,
            batch=config.batch,
            listen=bar.hear,
        )


def main(config: Train) -> None:
    """Trains the world, with a progress bar."""
    torch.set_num_threads(config.threads)
    folder, datasets = Path(config.out), _sets(config.data)
    torch.manual_seed(config.seed)
    world = start(config, datasets)
    if config.learn in ("habits", "things"):
        learn_alone(config, world, datasets)
        return
    latents = [
        LatentSet(one, world.codec, Path(config.latents or folder / "latents"), config.episodes)
        for one in tqdm(datasets, desc="latents", unit="set")
    ]
    samples = Samples.of(world, datasets, config.samples) if config.samples else None
    run = RunConfig(
        config.steps,
        config.rate,
        seed=config.seed,
        checkpoint_seconds=config.checkpoint_seconds,
        precision=config.precision,
    )
    frames = config.batch * FRAMES_PER_CHUNK
    with listening(folder, config.steps, frames, ("diffusion", "pose", "outcome", "ahead", "inverse")) as bar:

        def show(mean: WorldModel) -> None:
            if samples is not None and bar.number:
                mean.to(next(world.parameters()).device)
                samples.write(mean, folder / "samples" / f"step_{bar.number:06d}.mp4")

        train_world(
            world,
            latents,
            folder,
            run,
            looked_at(config),
            listen=bar.hear,
            saved=show,
        )


def learn_alone(config: Train, world: WorldModel, datasets: Sequence[Dataset]) -> None:
    """Trains the habits, on steps that experts took, or the reading of things, where recordings tell of them."""
    folder, rows, every = Path(config.out), HABITS * config.batch, config.checkpoint_seconds
    place, listed = Path(config.latents or folder / "latents"), tqdm(datasets, desc="latents", unit="set")
    run = RunConfig(config.steps, config.rate, decay=0.02, average=0.99, seed=config.seed, checkpoint_seconds=every)
    with listening(folder, config.steps, rows, (config.learn,)) as bar:
        if config.learn == "habits":
            lived = [of_experts(one, world.codec, place, config.episodes) for one in listed]
            train_habits(world, lived, folder, run, rows, listen=bar.hear)
        else:
            told = [Surveyed.of(one, world.codec, place, config.episodes) for one in listed]
            train_things(world, told, folder, run, rows, listen=bar.hear)


def looked_at(config: Train) -> SlowConfig:
    """Parts that learn alone look at more in a step, and at nothing that they do not need."""
    batch, learn = config.batch, cast(Learn, config.learn)
    if learn == "heads":
        return SlowConfig(batch, learn=learn, ways=1, lived=8 * batch, stances=32 * batch)
    if learn == "outcomes":
        return SlowConfig(batch, learn=learn, ways=1, lived=8 * batch, stances=1)
    if learn == "ahead":
        return SlowConfig(1, learn=learn, ways=1, lived=1, ahead=4 * batch, stances=1)
    if learn == "poses":
        return SlowConfig(1, learn=learn, ways=4 * batch, lived=1, stances=1)
    if learn == "denoiser":
        return SlowConfig(batch, learn=learn, ways=1, lived=1, stances=1)
    return SlowConfig(batch, learn=learn)


def start(config: Train, datasets: Sequence[Dataset]) -> WorldModel:
    """A fresh world for these data sets, or `init` grown by the bodies it does not know."""
    bodies = [body_of(one, cameras_of(one)) for one in datasets]
    if config.init is not None:
        old = WorldModel.from_pretrained(config.init)
        world = old.grown(layout_of(bodies, old.encoder.layout.embodiments))
    else:
        codec = KLCodec.from_pretrained(config.codec)
        world = fresh(config, layout_of(bodies), codec, datasets[0].description.picture)
    if world.encoder.text is not None:  # a sentence too long is told now, not at the step that draws it
        world.encoder.text.ids(["", *(phrase for body in bodies for phrase in body.phrases)])
    height, width = (side * world.codec.shrink for side in world.shape[1:])
    for one in datasets:
        if one.description.picture != (height, width):
            raise BadOption(
                f"{one.root} with pictures of {one.description.picture}",
                f"({height}, {width}), as this world sees",
                "Record or import the set with another size.",
            )
    return world


def fresh(config: Train, layout: Layout, codec: KLCodec, picture: tuple[int, int]) -> WorldModel:
    """An untrained world."""
    if config.process not in PROCESSES:
        raise BadOption(f"process={config.process}", f"one of {list(PROCESSES)}", "See the options.")
    process = PROCESSES[config.process]
    draw = torch.Generator().manual_seed(config.seed)
    encoder = ConditionEncoder.fresh(EncoderConfig(), layout, TextConfig(width=64, layers=2), (), draw)
    height, width = picture[0] // codec.shrink, picture[1] // codec.shrink
    sizes = (codec.channels, height, width, encoder.width, encoder.address_features)
    denoiser: CausalConfig | UNet3DConfig
    if config.kind == "causal":
        denoiser = CausalConfig(
            *sizes,
            patch=config.patch,
            dim=config.dim,
            depth=config.depth,
            heads=max(1, config.dim // 64),
            copies=process.predict == "clean",
            fine=1 if codec.linear is None else codec.fold,
        )
    else:
        denoiser = UNet3DConfig(*sizes, text_size=encoder.text_width or 0, block_out_channels=config.widths)
    return WorldModel(WorldConfig(config.kind, denoiser, process), codec, encoder)


def cameras_of(dataset: Dataset) -> dict[str, float]:
    """A set's camera and its degrees, asked of the task, the one place that says it; none where poses are unknown."""
    camera, task = camera_of(dataset.cards[0]), dataset.description.task
    if camera is None:
        return {}
    try:
        env = gym.make(f"sfvgen_envs:{task}", camera=camera).unwrapped
    except gym.error.Error as error:
        hint = 'Say "poses": "unknown" in the cards of other data, as `sfvgen import` does.'
        raise BadOption(f"{dataset.root} of task {task!r} ({error})", "a task of sfvgen_envs", hint) from error
    if not isinstance(env, Task):
        raise BadOption(f"task {task!r}", "one of sfvgen_envs", "Train on recorded tasks.")
    env.reset(seed=0)
    return {camera: float(env.model.camera("eye").fovy[0])}


class Bar:
    """A progress bar with loss, frames/s and time left, and TensorBoard beside it."""

    def __init__(self, folder: Path, steps: int, frames: int, shown: tuple[str, ...]) -> None:
        self.frames, self.shown = frames, shown
        self.writer = SummaryWriter(str(folder / "tensorboard"))
        self.bar = tqdm(total=steps, unit="step", smoothing=0.05)
        self.means: dict[str, float] = {}
        self.began, self.first, self.number = time.monotonic(), -1, 0

    def hear(self, step: Step) -> None:
        """After every step."""
        self.number = step.number
        if self.first < 0:
            self.first = step.number - 1
            self.bar.update(self.first)
        for name, value in {"loss": step.loss, **step.figures}.items():
            if value == value:
                self.means[name] = 0.98 * self.means.get(name, value) + 0.02 * value
        self.bar.update(1)
        if step.number % LOG_EVERY == 0:
            pace = self.frames * (step.number - self.first) / (time.monotonic() - self.began)
            told = {name: f"{self.means[name]:.3f}" for name in ("loss", *self.shown) if name in self.means}
            self.bar.set_postfix({**told, "frames/s": f"{pace:.0f}", "skipped": step.skipped})
            for name, value in {**self.means, "rate": step.rate, "frames_per_second": pace}.items():
                self.writer.add_scalar(name, value, step.number)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        self.writer.close()


def listening(folder: Path, steps: int, frames: int, shown: tuple[str, ...]) -> Bar:
    """A bar for a run in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return Bar(folder, steps, frames, shown)


def _sets(paths: Sequence[str]) -> list[Dataset]:
    if not paths:
        raise BadOption("no data", "data=[folder,folder,...]", "Record some first: sfvgen collect.")
    datasets = [Dataset(path) for path in paths]
    for one in datasets:
        if any(card.get("split") == "test" for card in one.cards):
            raise BadOption(f"{one.root} of the test split", "data to learn from", "It is for measuring only.")
    return datasets
