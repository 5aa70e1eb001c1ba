"""How fast is the dream as an environment? `sfvgen bench dream`.

Steps a second of the whole `DreamVectorEnv.step` (actions in, pictures, rewards and ends out), at several numbers of
rows: without memory, and with one that every row writes after every so many chunks. Beside it a stand-in of DIAMOND's
design with as many parameters as the denoiser, given its best: pictures alone, no reward, no end, no environment.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfvgen_envs.dream import DreamConfig, DreamState, DreamVectorEnv
from sfvgen_experiments.bench.pixel_unet import CONTEXT, pixel_unet_of, size
from sfvgen_experiments.bench.report import cell
from sfvgen_experiments.bench.timing import in_turns
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory import DEFAULT, MemoryConfig
from sfvgen_planner.metrics.statistics import Interval, bootstrap_interval
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

OFF, STAND_IN = "no memory", "stand-in"
WANTED, EXTRA = 20.0, 0.3
NEVER = 1 - 1e-9
"""No episode is to end while it is timed."""


def main(
    world: str | None = None,
    task: str = "reach",
    rows: tuple[int, ...] = (1, 8, 32),
    denoise: int = 1,
    every: tuple[int, ...] = (1, 2, 4),
    updates: int = 1,
    draws: int = 1,
    repeats: int = 5,
    threads: int = 2,
    device: str = "cpu",
    out: str = "outputs/bench/dream.json",
) -> dict[str, Any]:
    """Prints a line an arm for each number of rows, writes JSON, returns it."""
    if not rows or min(*rows, *every, denoise, updates, draws, repeats, threads) < 1:
        raise BadOption(f"rows={list(rows)} every={list(every)} repeats={repeats}", "1 or more", "Raise them.")
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = WorldModel.from_pretrained(world).to(device)
    # Most tasks' cameras stand still; what writing costs is asked here, not whether there is anything to write.
    memory = replace(DEFAULT, updates=updates, draws=draws, rise=float("inf"), beyond=0.0)
    print(
        f"{'rows':>5} {'arm':18}{'steps a second':>16}{'ms a row':>10}{'times the stand-in':>24}{'extra':>20}",
        flush=True,
    )
    found = []
    for count in rows:
        found += measured(model, task, count, denoise, memory, every, repeats)
    result = {
        "world": world,
        "task": task,
        "asked": {"denoise": denoise, "updates": updates, "draws": draws, "repeats": repeats, "threads": threads},
        "parameters": {"denoiser": size(model.denoiser), STAND_IN: size(pixel_unet_of(size(model.denoiser), 4))},
        "rows": found,
    }
    print("\n".join(bars(found)))
    write_bytes(Path(out), json.dumps(result, indent=2).encode())
    return result


def measured(
    model: WorldModel,
    task: str,
    rows: int,
    denoise: int,
    memory: MemoryConfig,
    every: tuple[int, ...],
    repeats: int,
) -> list[dict[str, Any]]:
    """All arms in turns, at one number of rows; seconds are those of one step of all rows."""
    sampler = SamplerConfig(denoise)
    arms = {OFF: DreamConfig(sampler=sampler, threshold=NEVER)}
    for chunks in every:
        arms[f"every {chunks} chunks"] = DreamConfig(sampler=sampler, threshold=NEVER, memory=memory, every=chunks)
    # So many steps that each arm writes as often as it would in the long run.
    length = FRAMES_PER_CHUNK * int(np.lcm.reduce(every)) if every else FRAMES_PER_CHUNK
    ways = [stepping(model, task, rows, config, length) for config in arms.values()]
    drawn = stand_in(model, rows)
    in_turns(1, drawn)
    taken = in_turns(repeats, *ways, drawn) / np.array([*[length] * len(ways), 1])
    off, other = taken[:, 0], taken[:, -1]
    found = []
    for column, arm in enumerate((*arms, STAND_IN)):
        mine = taken[:, column]
        row: dict[str, Any] = {"rows": rows, "arm": arm, "steps_per_second": rows / float(np.median(mine))}
        row["ms_per_row"] = 1000 / row["steps_per_second"]
        row["times_the_stand_in"] = _median(other / mine).to_json()
        row["extra"] = _median(mine / off - 1).to_json() if arm not in (OFF, STAND_IN) else None
        found.append(row)
        times = "" if arm == STAND_IN else cell(_median(other / mine), 1)
        extra = "" if row["extra"] is None else cell(_median(100 * (mine / off - 1)), 0) + " %"
        print(
            f"{rows:>5} {arm:18}{row['steps_per_second']:>16.1f}{row['ms_per_row']:>10.2f}{times:>24}{extra:>20}",
            flush=True,
        )
    return found


def stepping(model: WorldModel, task: str, rows: int, config: DreamConfig, length: int) -> Callable[[], DreamState]:
    """So many steps of random actions, always from the same moment of the same episodes: their second chunk."""
    env = DreamVectorEnv(task, rows, world=model, config=config, length="long")
    env.reset(seed=0)
    draw = np.random.default_rng(0)
    way: NDArray[np.float32] = draw.uniform(-1, 1, (length, *env.action_space.shape)).astype(np.float32)  # type: ignore[misc]
    for action in way[:FRAMES_PER_CHUNK]:
        env.step(action)
    begun = env.snapshot()

    def steps() -> DreamState:
        env.restore(begun)
        for action in way:
            env.step(action)
        return env.state

    return steps


def stand_in(model: WorldModel, rows: int) -> Callable[[], None]:
    """One frame of each row."""
    device, action_size = next(model.parameters()).device, 4
    unet = pixel_unet_of(size(model.denoiser), action_size).to(device)
    past = torch.randn(rows, CONTEXT, 3, 64, 64, device=device)
    actions = torch.zeros(rows, CONTEXT, action_size, device=device)

    def step() -> None:
        unet.step(past, actions)[0, 0, 0, 0].item()

    return step


def bars(found: list[dict[str, Any]]) -> list[str]:
    """What was wanted, and whether it was met."""
    by = {(row["rows"], row["arm"]): row for row in found}
    most, least = max(row["rows"] for row in found), min(row["rows"] for row in found)
    lines = []
    times = by[most, OFF]["times_the_stand_in"]["mean"]
    lines.append(
        f"{times:.1f} times the stand-in at {most} rows without memory; {WANTED:.0f} wanted: {_met(times >= WANTED)}"
    )
    costs = [by[count, OFF]["ms_per_row"] for count in (least, most)]
    lines.append(
        f"{costs[1]:.2f} ms a row at {most} rows, {costs[0]:.2f} at {least}; no more wanted: "
        f"{_met(costs[1] <= costs[0])}"
    )
    if (row := by.get((most, "every 4 chunks"))) is not None:
        extra = row["extra"]["mean"]
        lines.append(
            f"one writing every 4 chunks costs {extra:.0%} more; {EXTRA:.0%} at most wanted: {_met(extra <= EXTRA)}"
        )
    return lines


def _met(met: bool) -> str:
    return "met" if met else "NOT MET"


def _median(values: NDArray[np.float64]) -> Interval:
    return bootstrap_interval(lambda some: float(np.median(values[some])), len(values))


if __name__ == "__main__":
    main()
