"""Does a world get better from night to night? `sfvgen bench rounds`: collect, remember, consolidate, again and again.

Each round records new episodes, remembers them in a bank, and lets what the bank remembers sink into the slow weights
where that proves good. Before the first round and after each one the slow weights alone are asked about episodes that
are in no bank, of this task and of the others, always on the same windows, levels and noise.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfvgen_envs.scene import Length
from sfvgen_experiments import consolidating
from sfvgen_experiments.banking import Add, add
from sfvgen_experiments.bench.report import cell, percent
from sfvgen_experiments.checks.picture import plot
from sfvgen_experiments.collect import Collect, record
from sfvgen_experiments.consolidating import Consolidate
from sfvgen_experiments.slow_fast import to_learn_from
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.consolidate import Held, held_out, slow_losses
from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.metrics.statistics import Interval, bootstrap_interval
from sfvgen_planner.world.model import WorldModel

APART = 1000
"""Between the seeds of two rounds' episodes."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rounds:
    """Options of `sfvgen bench rounds`."""

    task: str = "route_return"
    camera: str = "fixed"
    length: Length = "medium"
    variation: dict[str, Any] | None = None
    rounds: int = 5
    each: int = 8
    held: int = 8
    others: tuple[str, ...] = ()
    replay: int = 20
    world: str | None = None
    preset: str = "default"
    updates: int | None = None
    draws: int | None = None
    steps: int = 20
    learning_rate: float = 0.0003
    rows: int = 8
    chunks: int = 6
    seed: int = 0
    threads: int = 2
    out: str = "outputs/bench/rounds"

    def __post_init__(self) -> None:
        if min(self.rounds, self.each, self.steps) < 1 or self.held < 2:
            given = f"{self.rounds} rounds of {self.each} episodes and {self.steps} steps, {self.held} held out"
            raise BadOption(given, "1 or more of each, 2 held out", "Raise them.")


def main(config: Rounds) -> dict[str, Any]:
    """Prints a line a round, writes JSON and a picture after each, returns the JSON; a killed run goes on."""
    torch.set_num_threads(config.threads)
    out, world = Path(config.out), WorldModel.from_pretrained(config.world)
    asked = questions(world, config, out)
    first = {name: slow_losses(world, held) for name, held in asked.items()}
    rows: list[dict[str, Any]] = [_row(first, first, "as it was")]
    print(_told(0, rows[0]), flush=True)
    folder = config.world
    for number in range(1, config.rounds + 1):
        place = out / f"round-{number}"
        verdict = night(config, folder, place, number)
        folder = str(place / "world")
        now = {name: slow_losses(WorldModel.from_pretrained(folder), held) for name, held in asked.items()}
        rows.append(_row(first, now, verdict["reason"]))
        print(_told(number, rows[-1]), flush=True)
        _write(config, out, rows)
    return _write(config, out, rows)


def night(config: Rounds, world: str | None, place: Path, number: int) -> dict[str, Any]:
    """One round; what became of it. `place/world` is the world to go on with."""
    verdict = place / "verdict.json"
    if not verdict.is_file():
        many = config.each + config.held
        record(_collect(config, place / "data", many, config.seed + APART * number))
        how = {"preset": config.preset, "updates": config.updates, "draws": config.draws}
        alike = {"bank": str(place / "bank"), "world": world, "threads": config.threads}
        add(Add(data=(str(place / "data"),), episodes=config.each, rows=config.each, **how, **alike))  # type: ignore[arg-type]
        consolidating.main(
            Consolidate(
                config.task,
                others=config.others,
                replay=config.replay,
                out=str(place),
                latents=str(place.parent / "latents"),
                steps=config.steps,
                learning_rate=config.learning_rate,
                rows=config.rows,
                chunks=config.chunks,
                held=config.held,
                seed=config.seed + number,
                **alike,  # type: ignore[arg-type]
            )
        )
    return dict(json.loads(verdict.read_text()))


def questions(world: WorldModel, config: Rounds, out: Path) -> dict[str, Held]:
    """By data set: what no round learns from. Of the others it is their last episodes, as for a verdict."""
    own = record(_collect(config, out / "held", config.held, config.seed))
    sets = {config.task: LatentSet(own, world.codec, out / "latents")}
    for folder in config.others:
        dataset = to_learn_from(folder)
        last = range(max(1, len(dataset) - config.held), len(dataset))
        sets[f"{Path(folder).name} (before)"] = LatentSet(dataset, world.codec, out / "latents", only=last)
    past, layout = world.config.past, world.encoder.layout
    return {name: held_out(one, layout, past, seed=config.seed) for name, one in sets.items()}


def _collect(config: Rounds, folder: Path, episodes: int, seed: int) -> Collect:
    return Collect(
        config.task,
        episodes,
        "mixed",
        length=config.length,
        camera=config.camera,
        seed=seed,
        variation=config.variation,
        out=str(folder),
    )


def _row(before: Mapping[str, Floats], now: Mapping[str, Floats], reason: str) -> dict[str, Any]:
    """By which share each loss differs from the beginning's, over episodes."""
    shares = {
        name: bootstrap_interval(
            lambda some, old=old, new=now[name]: float(new[some].sum() / old[some].sum()) - 1,  # type: ignore[misc]
            len(old),
        )
        for name, old in before.items()
    }
    return {"reason": reason, "loss": shares}


def _told(number: int, row: dict[str, Any]) -> str:
    told = "  ".join(f"{name} {cell(percent(share), 1)} %" for name, share in row["loss"].items())
    return f"round {number}: {told}; {row['reason']}"


def _write(config: Rounds, out: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(rows[0]["loss"])
    series = {name: [percent(row["loss"][name]) for row in rows] for name in names[:4]}
    labels = ["before", *(str(number) for number in range(1, len(rows)))]
    title = f"loss of the slow weights alone on held-out episodes, % more than before; {config.task}, {config.camera}"
    plot(out / "rounds.png", title, labels, series, joined=True)
    result = {"asked": asdict(config), "rows": rows}
    plain = json.dumps(result, indent=1, default=Interval.to_json)
    write_bytes(out / "rounds.json", plain.encode())
    return dict(json.loads(plain))
