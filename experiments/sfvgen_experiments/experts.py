"""Who acted at which step of recorded episodes, and what is to be learned of those who knew how."""

from collections.abc import Mapping
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvgen_agents.behaviours import EXPERT, turns
from sfvgen_experiments.collect import BEHAVIOURS, seeds_of
from sfvgen_planner.data import Dataset
from sfvgen_planner.data.episode_file import read_instructions
from sfvgen_planner.learning.habits import Practised
from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.world.codec import KLCodec

OTHERS = 2
"""Beside the expert, in mixed behaviour: noise and phrases."""


def able(card: Mapping[str, Any], steps: int) -> NDArray[np.bool_]:
    """[T] which of an episode's steps were taken by somebody who knew how.

    Noise, phrases and ways to nowhere teach no habits. In mixed behaviour the expert takes turns with these, which hang
    on the card's seeds alone. Everybody else is somebody's choice to learn from: experts, policies, own recordings.
    """
    behaviour = card.get("behaviour")
    if behaviour != "mixed":
        return np.full(steps, behaviour not in BEHAVIOURS)
    _, seed, _ = seeds_of(card["collect"]["seed"], card["number"])
    who = (whose == EXPERT for whose, long in turns(np.random.default_rng(seed), OTHERS) for _ in repeat(None, long))
    return np.fromiter(islice(who, steps), bool, steps)


def of_experts(dataset: Dataset, codec: KLCodec, folder: Path, most: int | None) -> Practised:
    """Of the first `most` episodes of a data set, those in which somebody knew how; encoded in `folder`."""
    entries = dataset.entries[:most]
    knew = [able(entry.card, entry.steps) for entry in entries]
    chosen = [number for number, one in enumerate(knew) if one.any()]
    latents = LatentSet(dataset, codec, folder, only=chosen)
    told = [read_instructions(dataset.path(number)) for number in chosen]
    return Practised(latents, told, [knew[number] for number in chosen])
