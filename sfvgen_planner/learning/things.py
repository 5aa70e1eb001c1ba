"""Learning where things stand that words name, from recordings in which somebody wrote it down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sfvgen_planner.data.dataset import Dataset
from sfvgen_planner.data.episode_file import read_things
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.learning.run import Run, RunConfig, Step
from sfvgen_planner.learning.slow import trained
from sfvgen_planner.types import Things
from sfvgen_planner.world.codec import KLCodec
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.habits import said
from sfvgen_planner.world.layout import Layout
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.things import shown_at

ASKED = 4
"""Names asked of a picture: two of things that are there, one of any in this data set, one of any at all."""
VISIBLE = 2
"""Pixels by which a thing is seen."""
GRAIN = 0.05
"""By which latents are disturbed: what was dreamt is read as well."""


UNFELT = 0.25
"""Share of pictures of which nobody knows what the body felt then, as of those that are kept."""
SAME = 0.01
"""Metres by which cameras may differ that first stand in one place: worlds are shipped in half precision."""


@dataclass(frozen=True)
class Surveyed:
    """Episodes of one data set in which somebody wrote down where things stood."""

    latents: LatentSet
    things: Sequence[Things]
    """of each episode"""

    @classmethod
    def of(cls, dataset: Dataset, codec: KLCodec, folder: Path, most: int | None = None) -> "Surveyed":
        """Of the first `most` episodes of a data set; encoded in `folder`."""
        number = len(dataset) if most is None else min(most, len(dataset))
        told = [read_things(dataset.path(position)) for position in range(number)]
        chosen = [position for position, one in enumerate(told) if one is not None and one.names]
        things = [one for one in told if one is not None and one.names]
        return cls(LatentSet(dataset, codec, folder, only=chosen), things)

    @property
    def names(self) -> set[str]:
        """Of all things in it."""
        return {name for one in self.things for name in one.names}

    def sample(self, rng: np.random.Generator, count: int, layout: Layout, names: Sequence[str]) -> "Survey":
        """Pictures, each episode as likely as any other: its scene is what there is to learn. `names` are those of all
        things, of which some are asked that are not there."""
        episodes = rng.integers(len(self.things), size=count)
        frames = [int(rng.integers(len(self.things[episode].places))) for episode in episodes]
        own = sorted(self.names)
        asked = [
            [*rng.choice(self.things[episode].names, ASKED - 2), rng.choice(own), rng.choice(names)]
            for episode in episodes
        ]
        return self.read(list(zip(episodes.tolist(), frames, strict=True)), asked, layout)

    def read(self, places: Sequence[tuple[int, int]], asked: Sequence[Sequence[str]], layout: Layout) -> "Survey":
        """Pictures at (episode, frame), with the names asked of each, as many of one as of another."""
        rows, named = len(asked), len(asked[0])
        place = np.zeros((rows, named, 3), np.float32)
        there, shown = np.zeros((rows, named), bool), np.zeros((rows, named), bool)
        for row, (episode, frame) in enumerate(places):
            things = self.things[episode]
            for k, name in enumerate(asked[row]):
                if name in things.names:
                    number = things.names.index(name)
                    place[row, k], there[row, k] = things.places[frame, number], True
                    shown[row, k] = things.shown[frame, number] >= VISIBLE
        episodes = [(self.latents.episodes[episode], frame) for episode, frame in places]
        latents, poses = (
            torch.from_numpy(np.stack([one[name][frame] for one, frame in episodes])).float()
            for name in ("latents", "poses")
        )
        facts = Facts.of_poses(poses[:, None], layout, self.latents.body, self.latents.camera)
        texts = tuple(str(name) for row in asked for name in row)
        return Survey(latents, facts, texts, *(torch.from_numpy(one) for one in (place, there, shown)))


@dataclass(frozen=True)
class Survey:
    """R pictures of which K things are asked each."""

    latents: Tensor
    """float [R, C, h, w]"""
    facts: Facts
    """[R, 1]: how they were seen"""
    texts: tuple[str, ...]
    """R * K names"""
    place: Tensor
    """float [R, K, 3]"""
    there: Tensor
    """bool [R, K]"""
    shown: Tensor
    """bool [R, K]"""

    @staticmethod
    def joined(parts: Sequence["Survey"]) -> "Survey":
        """The rows of several, of whatever bodies."""
        latents, place, there, shown = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("latents", "place", "there", "shown")
        )
        texts = tuple(text for part in parts for text in part.texts)
        return Survey(latents, Facts.stack([part.facts for part in parts]), texts, place, there, shown)

    def to(self, device: torch.device) -> "Survey":
        """The same elsewhere."""
        moved = (getattr(self, name).to(device) for name in ("latents", "place", "there", "shown"))
        latents, place, there, shown = moved
        return Survey(latents, self.facts.to(device), self.texts, place, there, shown)


class ThingLoss(nn.Module):
    """The loss as a module's forward, so that every process' gradients meet."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__()
        self.world = world

    def forward(self, survey: Survey, grain: Tensor, felt: Tensor) -> Tensor:
        """Scalar. `grain` [R, C, h, w] disturbs latents; of what the body felt only `felt`, bool [R], is told."""
        world, facts = self.world, survey.facts
        senses = world.pose_head.moved(facts)[0][:, 0] * felt[:, None]
        words = said(world.encoder.text, list(survey.texts)).reshape(*survey.there.shape, -1).to(grain)
        cameras = world.encoder.cameras(facts)[:, 0]
        found = world.things(survey.latents + grain, cameras, senses, facts.embodiment, words)
        height, width = world.shape[1:]
        spots = shown_at(survey.place, cameras, world.things.eye[facts.embodiment], width / height)
        loss: Tensor = world.things.loss(found, spots, survey.place, survey.there, survey.shown)
        return loss


def train_things(
    world: WorldModel,
    sets: Sequence[Surveyed],
    folder: Path,
    run: RunConfig,
    rows: int,
    *,
    listen: Callable[[Step], None] = lambda step: None,
    saved: Callable[[WorldModel], None] = lambda world: None,
) -> WorldModel:
    """Trains the reading of things alone, off `rows` pictures at a time; at every checkpoint the averaged world is in
    `folder/world` and handed to `saved`."""
    told = [one for one in sets if one.things]
    if not told:
        raise BadOption("data that do not tell where things stand", "recordings that do", "Record some of the arm.")
    accelerator, layout = run.accelerator(), world.encoder.layout
    begin(world, told)
    names = sorted(set().union(*(one.names for one in told)))
    running = Run(ThingLoss(world), run, folder, accelerator)

    def loss(model: nn.Module, step: int, process: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([run.seed, step, process])
        counts = rng.multinomial(rows, [1 / len(told)] * len(told))
        parts = [one.sample(rng, int(n), layout, names) for one, n in zip(told, counts, strict=True) if n]
        survey = Survey.joined(parts).to(accelerator.device)
        grain = torch.from_numpy(GRAIN * rng.standard_normal(survey.latents.shape)).to(survey.latents)
        felt = torch.from_numpy(rng.random(rows) >= UNFELT).to(accelerator.device)
        value: Tensor = model(survey, grain, felt)
        return value, {"things": float(value.detach())}

    return trained(running, world, folder, loss, listen, saved)


def begin(world: WorldModel, sets: Sequence[Surveyed]) -> None:
    """Only the reading of things learns, each body's from where its camera first stands."""
    things = world.things
    for one in sets:
        number = world.encoder.layout.index(one.latents.body)
        eyes = torch.from_numpy(np.stack([each.eye for each in one.things])).to(things.eye)
        mine = things.eye[number] if things.known[number] else eyes[0]
        if (apart := float((eyes - mine).abs().max())) > SAME:
            given = f"recordings of {one.latents.body!r} whose cameras first stand {apart:.3f} apart"
            raise BadOption(given, "one place to begin from", "Learn from those of one place.")
        things.known[number], things.eye[number] = True, mine
    world.requires_grad_(False)
    world.things.requires_grad_(True)
