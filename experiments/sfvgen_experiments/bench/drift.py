"""How far do foreseen poses drift? `sfvgen bench drift`: after 8 and 64 frames, on held-out episodes.

A world foresees where the camera and the senses will be before it denoises anything, and where it looks is the address
under which memories are found. It is told the true actions, or the words for them, and foresees chunk by chunk as in a
dream; beside it stand two who know no actions: one stands still, one goes on as before.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_planner.data import Dataset
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.data.episode_file import read_track
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.bodies import camera_of
from sfvgen_planner.metrics.statistics import Interval, mean_interval
from sfvgen_planner.types import Window
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.pose import drift, going_on
from sfvgen_planner.world.pose_head import foresee_on

FRAMES = (8, 64)
MEASURES = ("metres", "degrees", "senses")
Ints = NDArray[np.int64]


def main(
    world: str | None = None,
    data: tuple[str, ...] = (),
    windows: int = 4,
    threads: int = 2,
    out: str = "outputs/bench/drift.json",
) -> dict[str, Any]:
    """Prints means over episodes with 95 % intervals, writes JSON, returns it."""
    torch.set_num_threads(threads)
    if not data:
        raise BadOption("no data", "data=[folder,...] of the test split", "Record some: sfvgen collect split=test.")
    model, rows = WorldModel.from_pretrained(world), {}
    print(f"{'after':22}{'':16}" + "".join(f"{name:>18}" for name in MEASURES) + f"{'episodes':>10}")
    for folder in data:
        dataset, name = held_out(folder), Path(folder).name
        rows[name] = {str(frames): drifts(model, dataset, frames, windows) for frames in FRAMES}
        for frames, arms in rows[name].items():
            for arm, found in (arms or {}).items():
                cells = "".join(f"{_cell(found[measure]):>18}" for measure in MEASURES)
                print(f"{f'{name}, {frames}':22}{arm:16}{cells}{found['metres'].n:>10}", flush=True)
    result = {"world": world, "windows_per_episode": windows, "rows": rows}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(Path(out), json.dumps(result, indent=2, default=vars).encode())
    return result


def held_out(folder: str) -> Dataset:
    """A data set of the test split alone."""
    dataset = Dataset(folder)
    splits = {str(card.get("split")) for card in dataset.cards}
    if splits != {"test"}:
        raise BadOption(f"{folder} of split {sorted(splits)}", "the test split alone", "Held out means held out.")
    return dataset


def drifts(world: WorldModel, dataset: Dataset, frames: int, each: int) -> dict[str, dict[str, Interval]] | None:
    """By arm and measure: means over episodes of what is off after so many frames; None where no episode is as long."""
    past, card = world.config.past, dataset.cards[0]
    if (found := windows_of(dataset, past + frames, each)) is None:
        return None
    window, whose = found
    facts = Facts.of_window(window, world.encoder.layout, str(card["task"]), camera_of(card))
    everywhere = torch.ones(facts.rows, dtype=torch.bool)
    known, new = facts[:past].withhold(actions=everywhere, texts=everywhere), facts[past:]
    last = known.poses[:, -1:]
    arms = {
        "told actions": foreseen(world, known, new.withhold(texts=everywhere)),
        "told words": foreseen(world, known, new.withhold(actions=everywhere)),
        "stands still": last.expand_as(new.poses),
        "goes on": going_on(known.poses, frames),
    }
    senses = world.encoder.layout[str(card["task"])].pose_size
    answers: dict[str, dict[str, Interval]] = {}
    for arm, poses in arms.items():
        (off,) = drift(poses[..., :senses], new.poses[..., :senses], (frames,))
        answers[arm] = {measure: _over_episodes(getattr(off, measure), whose) for measure in MEASURES}
    return answers


def windows_of(dataset: Dataset, length: int, each: int) -> tuple[Window, Ints] | None:
    """`each` windows of every episode as long, spread evenly over it, without pictures; and whose each is [B]."""
    rows: list[tuple[Any, Any, tuple[str, ...], int, int]] = []
    for number in range(len(dataset)):
        poses, did, said = read_track(dataset.path(number))
        room = len(poses) - length + 1
        actions, phrases = np.concatenate([np.zeros_like(did[:1]), did]), ("", *said)
        for start in sorted({int((i + 0.5) / each * room) for i in range(each)}) if room > 0 else ():
            part = slice(start, start + length)
            rows.append((poses[part], actions[part], phrases[part], start, number))
    if not rows:
        return None
    tracks, acted, spoken, starts, whose = zip(*rows, strict=True)
    nothing = np.empty(0, np.uint8)
    return Window(nothing, np.stack(tracks), np.stack(acted), spoken, np.array(starts)), np.array(whose)


@torch.no_grad()
def foreseen(world: WorldModel, known: Facts, new: Facts) -> Tensor:
    """Poses [R, T, P]: those of a dream."""
    return foresee_on(world.encoder, world.pose_head, known, new, world.config.past).poses


def _over_episodes(values: Tensor, whose: Ints) -> Interval:
    """Windows of one episode have much in common: their mean is one value."""
    found = values.numpy()
    return mean_interval([found[whose == episode].mean() for episode in np.unique(whose)])


def _cell(interval: Interval) -> str:
    return f"{interval.mean:.3f} ±{(interval.high - interval.low) / 2:.3f}"
