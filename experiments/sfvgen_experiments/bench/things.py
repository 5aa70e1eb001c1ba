"""How well does a world tell where things stand? `sfvgen bench things`: on held-out recordings that say it themselves.

Things are told apart by kind (the last word of their name) and state: lying, lifted, in the box, or hidden. Frames of
one episode have much in common, so an episode's median error is one value. Beside it stands who always answers with
the middle of the places where such a thing was in these recordings.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfvgen_envs.cube_return import HALF
from sfvgen_envs.table import CUBE
from sfvgen_experiments.bench.drift import held_out
from sfvgen_planner.data import Dataset
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.bodies import camera_of
from sfvgen_planner.learning.things import VISIBLE
from sfvgen_planner.metrics.statistics import Interval, mean_interval
from sfvgen_planner.types import Episode, Things
from sfvgen_planner.world.finding import look_for
from sfvgen_planner.world.model import WorldModel

Floats = NDArray[np.float64]
CLOSE = 0.025
"""Metres within which a fingertip is at a thing, as tasks count it."""
ABSENT = "not there"
LIFTED = CUBE + 0.02
"""Height of a cube's middle above which it no longer lies."""


@dataclass(frozen=True)
class Told:
    """Of things of one kind and state: means over episodes. What is not there is nowhere, so it has no errors."""

    off: Interval | None
    """an episode's median error, cm"""
    middle: Interval | None
    """of who always answers the same, cm"""
    close: Interval | None
    """share of frames with an error of 2.5 cm at most"""
    doubted: Interval | None
    """root mean square of errors in doubts: 1 if doubts are right"""
    seen: Interval
    """share of frames of which it is told that they show it"""

    def to_json(self) -> dict[str, Any]:
        """As it goes into a results file."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value and value.to_json() for name, value in values.items()}


@dataclass(frozen=True)
class Reading:
    """F frames of one thing in one episode."""

    off: Floats
    """[F] metres"""
    middle: Floats
    """[F] metres from where such things are in the mean"""
    doubted: Floats
    """[F, 3] errors in doubts"""
    seen: NDArray[np.bool_]
    """[F]"""


def main(
    world: str | None = None,
    data: tuple[str, ...] = (),
    every: int = 4,
    threads: int = 2,
    out: str = "outputs/bench/things.json",
) -> dict[str, Any]:
    """Prints means over episodes with 95 % intervals, writes JSON, returns it."""
    torch.set_num_threads(threads)
    if not data or every < 1:
        hint = "Record some: sfvgen collect split=test."
        raise BadOption(f"{len(data)} data sets, every={every}", "data=[folder,...] of the test split, every=1", hint)
    model, rows = WorldModel.from_pretrained(world), {}
    heads = ("off, cm", "middle, cm", "within 2.5 cm", "off in doubts", "told seen")
    print(f"{'':34}" + "".join(f"{head:>16}" for head in heads) + f"{'episodes':>10}")
    for folder in data:
        dataset, name = held_out(folder), Path(folder).name
        rows[name] = measured(model, dataset, every)
        for state, told in rows[name].items():
            cells = "".join(f"{cell(getattr(told, field.name)):>16}" for field in fields(Told))
            print(f"{f'{name}: {state}':34}{cells}{told.seen.n:>10}", flush=True)
    plain = {name: {state: told.to_json() for state, told in found.items()} for name, found in rows.items()}
    result = {"world": world, "every": every, "rows": plain}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(Path(out), json.dumps(result, indent=2).encode())
    return result


def measured(world: WorldModel, dataset: Dataset, every: int) -> dict[str, Told]:
    """By kind and state; what is not there at all has no place, and is only told seen or not."""
    episodes = [dataset[number] for number in range(len(dataset))]
    known = [one.things for one in episodes]
    if any(things is None for things in known):
        raise BadOption(
            f"{dataset.root}, which does not tell where things stand", "recordings of the arm", "Record anew."
        )
    told = [things for things in known if things is not None]
    names = sorted({name for things in told for name in things.names})
    middles = middles_of(told)
    readings: dict[str, list[Reading]] = defaultdict(list)
    for episode in episodes:
        for state, reading in read(world, episode, names, middles, every).items():
            readings[state].append(reading)
    return {state: summary(readings[state], state == ABSENT) for state in sorted(readings)}


def read(
    world: WorldModel, episode: Episode, names: Sequence[str], middles: Mapping[str, Floats], every: int
) -> dict[str, Reading]:
    """Of one episode, by kind and state."""
    things, card, frames = episode.things, episode.card, slice(0, None, every)
    latents = world.codec.encode(torch.from_numpy(np.ascontiguousarray(episode.pixels[frames])))
    poses = torch.from_numpy(np.ascontiguousarray(episode.poses[frames]))
    found = look_for(world, str(card["task"]), latents, poses, names, camera_of(card))
    place, doubt = found.place.double().numpy(), found.doubt.double().numpy()
    parts: dict[str, list[Reading]] = defaultdict(list)
    for k, name in enumerate(names):
        seen = (found.seen[:, k] > 0).numpy()
        if things is None or name not in things.names:
            nowhere = np.full((len(seen), 3), np.nan)
            parts[ABSENT].append(Reading(nowhere[:, 0], nowhere[:, 0], nowhere, seen))
            continue
        number = things.names.index(name)
        true = things.places[frames, number].astype(np.float64)
        off, far = place[:, k] - true, np.linalg.norm(middles[kind_of(name)] - true, axis=-1)
        whole = Reading(np.linalg.norm(off, axis=-1), far, off / doubt[:, k], seen)
        states = states_of(things, number)[frames]
        for state in np.unique(states):
            parts[f"{kind_of(name)}, {state}"].append(taken(whole, states == state))
    return {state: joined(many) for state, many in parts.items()}


def taken(reading: Reading, chosen: NDArray[np.bool_]) -> Reading:
    """Some of its frames."""
    return Reading(*(getattr(reading, field.name)[chosen] for field in fields(Reading)))


def joined(readings: Sequence[Reading]) -> Reading:
    """All of their frames."""
    return Reading(*(np.concatenate([getattr(one, field.name) for one in readings]) for field in fields(Reading)))


def kind_of(name: str) -> str:
    """Of "the red cube": cube."""
    return name.split()[-1]


def middles_of(told: list[Things]) -> dict[str, Floats]:
    """[3] by kind: the mean over all frames."""
    places: dict[str, list[Floats]] = defaultdict(list)
    for things in told:
        for number, name in enumerate(things.names):
            places[kind_of(name)].append(things.places[:, number].astype(np.float64))
    return {kind: np.concatenate(some).mean(0) for kind, some in places.items()}


def states_of(things: Things, number: int) -> NDArray[np.str_]:
    """[T+1] of one thing: hidden, or how it can be seen."""
    place = things.places[:, number]
    states = np.full(len(place), "lying", dtype="<U10")
    if kind_of(things.names[number]) == "ball":
        states[:] = "hanging"
    elif kind_of(things.names[number]) == "box":
        states[:] = "standing"
    elif "the box" in things.names:
        box = things.places[:, things.names.index("the box")]
        states[(np.abs(place - box)[:, :2] < HALF).all(1)] = "in the box"
    if kind_of(things.names[number]) == "cube":
        states[place[:, 2] > LIFTED] = "lifted"
    states[things.shown[:, number] < VISIBLE] = "hidden"
    return states


def summary(readings: list[Reading], absent: bool) -> Told:
    """A value an episode."""
    seen = mean_interval([one.seen.mean() for one in readings])
    if absent:
        return Told(None, None, None, None, seen)
    return Told(
        mean_interval([100 * np.median(one.off) for one in readings]),
        mean_interval([100 * np.median(one.middle) for one in readings]),
        mean_interval([(one.off <= CLOSE).mean() for one in readings]),
        mean_interval([np.sqrt(np.square(one.doubted).mean()) for one in readings]),
        seen,
    )


def cell(interval: Interval | None) -> str:
    """As it is printed."""
    return "-" if interval is None else f"{interval.mean:.2f} ±{(interval.high - interval.low) / 2:.2f}"
