"""The slow-fast loop (the paper's algorithm 1b): slow weights learn to read what fast learning writes.

A step: episodes, the rows of one batch, are remembered chunk by chunk while the slow weights stay as they are. Each
chunk leaves a lesson: the frames before it, the true chunk, and the memory from before it was seen. Then the slow
weights learn from the lessons while the memories stay as they are. Beyond the paper the start of all memories and the
pace of each of their tensors may be learned too, by how lessons turn out, or through the steps that wrote them.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.again import seen_again
from sfvgen_planner.learning.latents import LatentWindow
from sfvgen_planner.learning.run import Run, RunConfig, Step
from sfvgen_planner.memory import DEFAULT, Memory, MemoryConfig, Seen, remember, save, start
from sfvgen_planner.memory.adam import Tensors, Trained
from sfvgen_planner.memory.value import B, low_rank
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.diffusion import masked_loss
from sfvgen_planner.world.dropout import DropRates, drop
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.layout import Layout
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.schedule import Draw, draw_levels

SPEED = 20.0
"""Of a learned pace: its logarithm moves by so many times the rate."""


class Source(Protocol):
    """Where episodes come from: a `LatentSet`, or a made-up world."""

    @property
    def body(self) -> str:
        """Whose episodes they are."""

    @property
    def camera(self) -> str | None:
        """Whose eyes they are seen with; None where nobody knows the poses."""

    def windows(self, length: int) -> NDArray[np.int64]:
        """[episodes] how many windows of this length each has."""

    def sample(self, rng: np.random.Generator, count: int, length: int) -> LatentWindow:
        """`count` windows."""


@dataclass(frozen=True)
class LoopConfig:
    """What a step of the loop looks at."""

    memory: MemoryConfig = DEFAULT
    """how episodes are remembered; variant "off": slow learning alone, on the same frames"""
    rows: int = 8
    """episodes at once"""
    past: int = 8
    chunks: int = 6
    """of an episode, after its first `past` frames"""
    lessons: int | None = None
    """of each row that slow weights learn from, drawn anew in each step; None: all, as published"""
    again: bool = False
    """lessons in which a place is seen again that has left the window are taken first"""
    empty: float = 0.25
    """share of rows that learn without any memory, or the slow weights alone are ruined"""
    levels: Draw = "stratified"
    """of noise in lessons; "high": where content can only come from a memory"""
    order: Literal["first", "second"] = "first"
    """"second": gradients go through the steps that wrote a memory"""
    start: bool = False
    """is the memories' start learned"""
    pace: bool = False
    """is the pace of each tensor of a memory learned"""
    drop: DropRates = field(default_factory=DropRates)

    def __post_init__(self) -> None:
        whole = min(self.rows, self.past, self.chunks, self.lessons or 1) >= 1
        if not whole or not 0 <= self.empty <= 1 or self.order not in ("first", "second"):
            raise BadOption(f"{self}", "rows, a past, chunks, and a share from 0 to 1", "See LoopConfig.")
        if self.order == "second" and self.memory.optimiser == "adam":
            raise BadOption("second order through Adam's steps", "sgd or muon", "Its first steps have no slope.")

    @property
    def frames(self) -> int:
        """Of an episode."""
        return self.past + self.chunks * FRAMES_PER_CHUNK


@dataclass(frozen=True)
class Episodes:
    """R rows of an outer step: a function of its key."""

    latents: Tensor
    """float [R, T, C, h, w]"""
    facts: Facts
    seeds: Tensor
    """int64 [R]: of what is drawn while remembering"""
    lessons: Tensor
    """int64 [R, L]: which lessons of each row count"""
    empty: Tensor
    """bool [R]: rows without memory"""
    level: Tensor
    """float [R * L, past + 8]"""
    noise: Tensor
    """float [R * L, past + 8, C, h, w]"""
    drawing: int
    """seed of what is withheld"""


@dataclass(frozen=True)
class Lesson:
    """An entry of the paper's D_s, of R rows at once."""

    window: Seen
    """X_i, the past, and the true X_{i+1}"""
    memory: Memory
    """Theta_i: before X_{i+1} was seen"""


def draw_episodes(sources: Sequence[Source], layout: Layout, config: LoopConfig, key: Sequence[int]) -> Episodes:
    """The batch of a key (seed, step, process): a function of nothing else."""
    rng = np.random.default_rng(list(key))
    shares = rng.multinomial(config.rows, [1 / len(sources)] * len(sources))
    parts = [one.sample(rng, int(n), config.frames) for one, n in zip(sources, shares, strict=True) if n]
    facts = Facts.stack([Facts.of_window(part.window, layout, part.body, part.camera) for part in parts])
    latents = torch.cat([part.latents for part in parts])
    draw = torch.Generator().manual_seed(int(rng.integers(2**63)))
    order = torch.rand(config.rows, config.chunks, generator=draw)
    if config.again:  # whatever was drawn only decides between equals
        order = order - 2 * seen_again(facts, layout, config.past)
    lessons = order.argsort(1)[:, : config.lessons]
    rows, window = lessons.numel(), config.past + FRAMES_PER_CHUNK
    level = torch.zeros(rows, window)
    level[:, config.past :] = draw_levels(config.levels, (rows,), draw)[:, None]
    return Episodes(
        latents,
        facts,
        torch.from_numpy(rng.integers(2**63, size=config.rows)),
        lessons,
        torch.rand(config.rows, generator=draw) < config.empty,
        level,
        torch.randn(rows, window, *latents.shape[2:], generator=draw),
        int(rng.integers(2**63)),
    )


def lessons_of(
    world: WorldModel, memory: Memory, latents: Tensor, facts: Facts, past: int, *, through: bool = False
) -> list[Lesson]:
    """The inner loop: fast learning along each row's episode, chunk by chunk. Slow weights are not written."""
    found: list[Lesson] = []
    for first in range(0, latents.shape[1] - past, FRAMES_PER_CHUNK):
        frames = slice(first, first + past + FRAMES_PER_CHUNK)
        if found:
            *earlier, last = (lesson.window for lesson in found)
            memory = remember(world, memory, last, earlier, through=through)
        found.append(Lesson(Seen(latents[:, frames], facts[frames], past), memory))
    return found


class SlowFast(nn.Module):
    """The loop's loss as a module's forward. Of the world the denoiser learns; who reads poses and actions does not."""

    def __init__(self, world: WorldModel, config: LoopConfig) -> None:
        super().__init__()
        self.world, self.config = world.requires_grad_(False), config
        world.denoiser.requires_grad_(True)
        first = start(world, config.memory, 1).start
        self.theta = nn.ParameterDict(
            {_key(name): nn.Parameter(value.clone(), requires_grad=config.start) for name, value in first.items()}
        )
        self.speed = nn.ParameterDict(
            {_key(name): nn.Parameter(value.new_zeros(()), requires_grad=config.pace) for name, value in first.items()}
        )
        self.names = tuple(first)

    def begun(self, rows: int, seeds: Tensor) -> Memory:
        """Memories at the start, functions of what is learned of it."""
        memory = start(self.world, self.config.memory, rows, seeds=seeds)
        first = {name: self.theta[_key(name)] for name in self.names}
        pace = {name: (SPEED * self.speed[_key(name)]).exp() for name in self.names}
        repeated = {name: value.repeat(rows, *[1] * (value.ndim - 1)) for name, value in first.items()}
        return replace(memory, trained=Trained.fresh(repeated), start=first, pace=pace)

    def forward(self, episodes: Episodes) -> tuple[Tensor, dict[str, float]]:
        """Scalar loss; the loss of rows with and without memory."""
        config, through = self.config, self.config.order == "second"
        begun = self.begun(len(episodes.latents), episodes.seeds)
        inner = begun if through else frozen(begun)
        found = lessons_of(self.world, inner, episodes.latents, episodes.facts, config.past, through=through)
        memories = [lesson.memory.told for lesson in found]
        if not through and (config.start or config.pace):
            memories = [self._attached(begun, one) for one in memories]
        loss = self._outer(episodes, [lesson.window for lesson in found], memories)
        each, empty = loss.detach(), episodes.empty[:, None].expand_as(episodes.lessons).flatten()
        parts = {"with_memory": each[~empty], "without_memory": each[empty]}
        return loss.mean(), {name: float(part.mean()) for name, part in parts.items() if len(part)}

    def _attached(self, begun: Memory, written: Tensors) -> dict[str, Tensor]:
        """The same numbers, as functions of start and pace: what was written stays, from wherever it begins, and is
        as long as the pace makes it."""
        pace, found = begun.pace or {}, {}
        for name, value in written.items():
            way = value.detach() - begun.start[name].detach()
            found[name] = begun.start[name] + way * (pace[name] / pace[name].detach())
        return found

    def _outer(self, episodes: Episodes, windows: list[Seen], memories: list[Tensors]) -> Tensor:
        """[R * L]: the conditional loss of the chosen lessons, each under its memory."""
        row, which = torch.arange(len(episodes.latents))[:, None], episodes.lessons
        past, process = self.config.past, self.world.config.process
        latents = torch.stack([one.latents for one in windows])[which, row].flatten(0, 1)
        weights = {}
        for name in self.names:
            chosen = torch.stack([one[name] for one in memories])[which, row]
            if name.endswith(B):
                chosen = chosen.masked_fill(episodes.empty.reshape(-1, 1, 1, 1), 0)
            weights[name] = chosen.flatten(0, 1)
        facts = Facts.stack(
            [windows[i].row(number).facts for number, chosen in enumerate(which.tolist()) for i in chosen]
        )
        facts = drop(facts, self.config.drop, torch.Generator().manual_seed(episodes.drawing), past)
        with torch.autocast(latents.device.type, enabled=False):  # a direction in half precision means nothing
            conditions = self.world.conditions(facts)
        noisy = process.noised(latents, episodes.noise, episodes.level)
        factors = low_rank(weights, "lesson", self.config.memory.operator)
        answer = self.world.denoiser(noisy, episodes.level, conditions, factors)
        target, new = process.target(latents, episodes.noise, episodes.level), episodes.level > 0
        # What is copied teaches nothing about drawing, so the drawing is asked for as well.
        parts = [masked_loss(output.float(), target, new) for output in (answer.output, answer.drawn)]
        return torch.stack(parts).mean(0)


def frozen(memory: Memory) -> Memory:
    """The same numbers, functions of nothing."""
    fresh = memory.trained.each(torch.Tensor.detach)
    first = {name: value.detach() for name, value in memory.start.items()}
    pace = None if memory.pace is None else {name: value.detach() for name, value in memory.pace.items()}
    return replace(memory, trained=fresh, start=first, pace=pace)


def train_loop(
    world: WorldModel,
    sources: Sequence[Source],
    folder: Path,
    run: RunConfig,
    config: LoopConfig,
    *,
    listen: Callable[[Step], None] = lambda step: None,
    saved: Callable[[WorldModel, Memory], None] = lambda world, memory: None,
) -> tuple[WorldModel, Memory]:
    """Trains; at every checkpoint the averaged world is in `folder/world`, its memories' start in `folder/start`."""
    if not any(one.windows(config.frames).any() for one in sources):
        raise BadOption(f"no episode of {config.frames} frames", "one at least", "Ask for fewer chunks.")
    accelerator = run.accelerator()
    running = Run(SlowFast(world, config), run, folder, accelerator, world.denoiser.matrices)

    def loss(model: nn.Module, step: int, process: int) -> tuple[Tensor, dict[str, float]]:
        episodes = draw_episodes(sources, world.encoder.layout, config, (run.seed, step, process))
        moved = {name: value.to(accelerator.device) for name, value in vars(episodes).items() if name != "drawing"}
        answer: tuple[Tensor, dict[str, float]] = model(replace(episodes, **moved))
        return answer

    def keep() -> None:
        if accelerator.is_main_process:
            mean, memory = averaged(running)
            mean.save_pretrained(folder / "world")
            save(memory, folder / "start")
            saved(mean, memory)

    running.train(loss, listen, keep)
    return averaged(running)


@torch.no_grad()
def averaged(running: Run) -> tuple[WorldModel, Memory]:
    """The moving average of all that is learned: a world, and where its memories begin (one row)."""
    mean: Any = deepcopy(running.plain).cpu()
    mean.load_state_dict({name: value.cpu() for name, value in running.average.items()})
    mean.eval()
    return mean.world, frozen(mean.begun(1, torch.zeros(1, dtype=torch.int64)))


def _key(name: str) -> str:
    """PyTorch has no dots in names of parameters."""
    return name.replace(".", "/")
