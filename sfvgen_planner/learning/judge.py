"""Training the judge on real episodes: which action, which phrase, and which place of the scene."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.judge_batches import JudgeBatch, Places, Scenes, joined, layout_of, spread_of, stilled
from sfvgen_planner.learning.run import Run, RunConfig, Step
from sfvgen_planner.metrics.judge import Judge, JudgeConfig, Verdict
from sfvgen_planner.metrics.judge_file import FACTS, save_judge


@dataclass(frozen=True)
class JudgeTraining:
    """What a judge is shown, and what counts how much."""

    frames: tuple[int, ...] = (8, 8, 8, 16)
    """lengths of clips, drawn evenly"""
    clips: int = 24
    """in a batch, each of any episode: for actions and phrases"""
    episodes: int = 2
    """in a batch, each with several `pairs` of clips: for places, which are soon learned"""
    pairs: int = 3
    temperature: float = 0.1
    """of the contrast between places"""
    phrase_weight: float = 0.3
    place_weight: float = 0.3
    """where actions, each in units of its own variance, have 1"""
    network: JudgeConfig = field(default_factory=JudgeConfig)
    places: Places = field(default_factory=Places)

    def __post_init__(self) -> None:
        least = min(self.clips, self.episodes, self.pairs, self.temperature, len(self.frames))
        if least <= 0 or min(self.phrase_weight, self.place_weight) < 0:
            raise BadOption(f"{self}", "numbers above 0", "Set them.")

    @property
    def batch_frames(self) -> int:
        """Frames looked at in a step, on average."""
        return (self.clips + 2 * self.episodes * self.pairs) * sum(self.frames) // len(self.frames)


def train_judge(
    datasets: Sequence[Dataset],
    folder: Path,
    config: JudgeTraining,
    run: RunConfig,
    *,
    listen: Callable[[Step], None] = lambda step: None,
) -> Judge:
    """A judge of all tasks in these data sets, without their test episodes; saved to `folder` once it is finished.

    A killed run goes on; a finished judge is never trained over.
    """
    if (folder / FACTS).exists():
        raise BadOption(f"{folder}, which holds a judge", "a new folder", "Figures of two judges cannot be compared.")
    scenes = _scenes(datasets, config)
    judge = fresh_judge(datasets, config, run.seed)
    spread = spread_of(scenes, judge.layout)
    accelerator = Accelerator()
    running = Run(judge, run, folder, accelerator)

    def loss(model: nn.Module, step: int, process: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([run.seed, step, process])
        batch = draw(scenes, config, rng)
        verdict = model(changed(batch.clips, rng).to(accelerator.device))
        action, phrase, place = judge_losses(verdict, batch, spread, config.temperature)
        figures = {"action": float(action.detach()), "phrase": float(phrase.detach()), "place": float(place.detach())}
        return action + config.phrase_weight * phrase + config.place_weight * place, figures

    running.train(loss, listen)
    finished = fresh_judge(datasets, config, run.seed)
    finished.load_state_dict({name: value.cpu() for name, value in running.average.items()})
    if accelerator.is_main_process:
        card = {"training": asdict(config), "run": asdict(run), "data": [_told(dataset) for dataset in datasets]}
        save_judge(finished, folder, card)
    return finished.eval().requires_grad_(False)


def is_train(card: dict[str, object]) -> bool:
    """May the judge learn from this episode? Never from the test split."""
    return card.get("split") != "test"


def fresh_judge(datasets: Sequence[Dataset], config: JudgeTraining, seed: int) -> Judge:
    """Untrained; equal seeds, equal judges, and the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Judge(config.network, layout_of(datasets))


def draw(scenes: Sequence[Scenes], config: JudgeTraining, rng: np.random.Generator) -> JudgeBatch:
    """One batch: pairs first, then clips; tasks as often as each other, however many data sets or episodes each has."""
    frames = int(rng.choice(config.frames))
    tasks = sorted({scene.task for scene in scenes})

    def any_scene() -> Scenes:
        task = tasks[int(rng.integers(len(tasks)))]
        own = [scene for scene in scenes if scene.task == task]
        return own[int(rng.integers(len(own)))]

    paired = [stilled(any_scene().draw(rng, frames, config.pairs), rng) for _ in range(config.episodes)]
    return joined([*paired, *(any_scene().one(rng, frames) for _ in range(config.clips))])


def changed(clips: Tensor, rng: np.random.Generator) -> Tensor:
    """Every second clip is lit a little otherwise, so that a place is more than its exact colours.

    No blur and no noise: a judge of dreams must keep an eye for both.
    """
    made = clips.float() / 255
    gain = torch.from_numpy(rng.uniform(0.9, 1.1, (len(clips) // 2, 1, 1, 1, 3))).float()
    shift = torch.from_numpy(rng.uniform(-0.05, 0.05, (len(clips) // 2, 1, 1, 1, 1))).float()
    made[1::2] = (made[1::2] * gain + shift).clamp(0, 1)
    return made


def judge_losses(
    verdict: Verdict, batch: JudgeBatch, spread: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Of actions (squared error over variance), phrases (cross-entropy), places (contrast); 0 where none is known."""
    told = batch.actions.to(verdict.actions.device)
    known = ~told.isnan()
    off = (verdict.actions[known] - told[known]).square() / spread.to(told.device).expand_as(told)[known]
    action = off.mean() if bool(known.any()) else verdict.actions.sum() * 0
    ids = batch.phrases.to(verdict.phrases.device)
    phrase = (
        F.cross_entropy(verdict.phrases[ids >= 0], ids[ids >= 0])
        if bool((ids >= 0).any())
        else verdict.phrases.sum() * 0
    )
    return action, phrase, place_loss(verdict.place, batch.elsewhere, temperature)


def place_loss(place: Tensor, elsewhere: Tensor, temperature: float) -> Tensor:
    """Each row against its partner (2 i with 2 i + 1) and the rows surely elsewhere in the same episode: InfoNCE."""
    elsewhere = elsewhere.to(place.device)
    rows = elsewhere.any(1).nonzero()[:, 0]
    if not len(rows):
        return place.sum() * 0
    each, partners = torch.arange(len(rows), device=place.device), rows ^ 1
    alike = place[rows] @ place.T / temperature
    partner = alike[each, partners]
    others = alike.masked_fill(~elsewhere[rows], -math.inf)
    others[each, partners] = partner
    return (torch.logsumexp(others, 1) - partner).mean()


def _scenes(datasets: Sequence[Dataset], config: JudgeTraining) -> list[Scenes]:
    layout, size = layout_of(datasets), config.network.size
    for dataset in datasets:
        if dataset.description.picture != (size, size):
            raise BadOption(
                f"{dataset.root} of {dataset.description.picture} pixels", f"{size}x{size}", "Set network.size."
            )
    having = [dataset for dataset in datasets if any(is_train(card) for card in dataset.cards)]
    if not having:
        raise BadOption(f"{len(datasets)} data sets, none with a train episode", "episodes to learn from", "Add data.")
    return [Scenes(dataset, layout, config.places, is_train) for dataset in having]


def _told(dataset: Dataset) -> dict[str, object]:
    return {"task": dataset.description.task, "train_episodes": sum(is_train(card) for card in dataset.cards)}
