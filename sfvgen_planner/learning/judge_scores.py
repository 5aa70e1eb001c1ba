"""What a judge knows of episodes it has never seen: actions, phrases, places."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.judge_batches import JudgeBatch, Places, Scenes
from sfvgen_planner.metrics.adherence import explained
from sfvgen_planner.metrics.judge import Judge, Verdict
from sfvgen_planner.metrics.judge_reading import PlaceFeatures, look

LIKELY = 12
"""Places of an episode among which one is looked for."""


@dataclass(frozen=True)
class JudgeScores:
    """Of one task's test episodes; None where there is nothing to know."""

    task: str
    episodes: int
    """drawn, perhaps some twice"""
    phrase_accuracy: float | None
    """per frame, among the task's own phrases"""
    phrase_chance: float | None
    """of whoever always says the commonest"""
    action_r2: float | None
    place_recall: float | None
    """how often the nearest of the places that could be is the right one"""
    place_chance: float | None
    """of whoever guesses among them"""


def is_test(card: dict[str, object]) -> bool:
    """Is this episode for measuring?"""
    return card.get("split") == "test"


def score_judge(
    judge: Judge, datasets: Sequence[Dataset], *, frames: int = 16, episodes: int = 50, seed: int = 0
) -> list[JudgeScores]:
    """One row for each data set with test episodes."""
    having = [dataset for dataset in datasets if any(is_test(card) for card in dataset.cards)]
    if not having:
        raise BadOption("data sets without a test episode", "episodes to measure on", "Collect some: split=test")
    return [
        _score(judge, Scenes(dataset, judge.layout, Places(), is_test), frames, episodes, seed) for dataset in having
    ]


def _score(judge: Judge, scenes: Scenes, frames: int, episodes: int, seed: int) -> JudgeScores:
    rng = np.random.default_rng(seed)
    batches = [scenes.draw(rng, frames, LIKELY) for _ in range(episodes)]
    seen = [(batch, look(judge, batch.clips)) for batch in batches]
    frame = PlaceFeatures(judge)
    found = [_places(frame(batch.clips[:, frames // 2]), batch) for batch in batches]
    hits, guesses = (np.concatenate([pair[i] for pair in found]) for i in range(2))
    return JudgeScores(
        scenes.task,
        episodes,
        *_phrases(judge, scenes.task, seen),
        _actions(judge, scenes.task, seen),
        float(hits.mean()) if len(hits) else None,
        float(guesses.mean()) if len(guesses) else None,
    )


def _phrases(judge: Judge, task: str, seen: list[tuple[JudgeBatch, Verdict]]) -> tuple[float | None, float | None]:
    ids = torch.cat([batch.phrases[batch.phrases >= 0] for batch, _ in seen])
    if not len(ids):
        return None, None
    own = judge.layout.phrase_ids(task)
    logits = torch.cat([verdict.phrases[batch.phrases >= 0] for batch, verdict in seen])
    said = torch.tensor(own)[logits[:, own].argmax(1)]
    return float((said == ids).float().mean()), float(ids.bincount().max() / len(ids))


def _actions(judge: Judge, task: str, seen: list[tuple[JudgeBatch, Verdict]]) -> float | None:
    part = judge.layout.part(task)
    if part.stop == part.start:
        return None
    told = torch.cat([batch.actions[:, 1:, part] for batch, _ in seen])
    return explained(torch.cat([verdict.actions[:, 1:, part] for _, verdict in seen]), told)


def _places(place: Tensor, batch: JudgeBatch) -> tuple[list[bool], list[float]]:
    """For each first of a pair: is its partner nearer than every second that is surely elsewhere? And the guess."""
    hits, guesses = [], []
    alike = place[0::2] @ place[1::2].T
    elsewhere = batch.elsewhere[0::2, 1::2]
    for row in range(len(alike)):
        others = alike[row][elsewhere[row]]
        if len(others):
            hits.append(bool(alike[row, row] > others.max()))
            guesses.append(1 / (1 + len(others)))
    return hits, guesses
