"""The paper's four tables, made again for our tasks: `sfvgen bench tables`.

Each part is a benchmark of its own, asked once and kept under a name that tells what was asked of which weights, so a
run that was killed goes on. The tables and the bars are read off what the parts wrote.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import torch

from sfvgen_experiments.bench import memory_cost, plan
from sfvgen_experiments.tables.bars import verdicts
from sfvgen_experiments.tables.made import made
from sfvgen_experiments.tables.page import page
from sfvgen_experiments.tables.parts import AFTER, CHOICES, COST, MEMORIES, PARTS, WAYS, WINDOWS, Asked, Found
from sfvgen_experiments.thinking import weights_of
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.memory import DEFAULT
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

CHUNKS = 26
"""Of an episode that are dreamt, on both ways together; as many are seen."""


def main(
    world: str | None = None,
    loop: str | None = None,
    data: tuple[str, ...] = (),
    parts: tuple[str, ...] = PARTS,
    windows: int = 200,
    episodes: int = 12,
    planned: int = 30,
    repeats: int = 7,
    threads: int = 2,
    out: str = "outputs/bench/tables",
) -> dict[str, Any]:
    """Prints the cost, then four tables beside the published ones and the bars; writes JSON and HTML, returns the
    JSON."""
    for name in parts:
        if name not in PARTS:
            raise UnknownName(f"part {name!r}", f"one of {list(PARTS)}", closest(name, PARTS))
    if min(windows, episodes, planned) < 2 or min(repeats, threads) < 1:
        raise BadOption(f"{windows} windows, {episodes} episodes, {planned} planned", "two or more", "Means want them.")
    torch.set_num_threads(threads)
    asked = Asked(world, loop, data, windows, episodes, planned, repeats, threads)
    tasks = asked.tasks(parts)
    kept = {name: _kept(Path(out), name, told) for name, (told, _) in tasks.items()}
    print(cost(asked, [name for name, path in kept.items() if not path.is_file()]), flush=True)
    found = {}
    for name, (options, bench) in tasks.items():
        if not kept[name].is_file():
            kept[name].parent.mkdir(parents=True, exist_ok=True)
            target = Path(out) / "plans" if bench is plan.main else kept[name].with_suffix(".unfinished")
            result = bench(**options, out=str(target))
            write_bytes(kept[name], json.dumps(result, indent=1, default=_plain).encode())
            if bench is not plan.main:
                target.unlink()
        found[name] = json.loads(kept[name].read_text())
    tables, bars = made(found), verdicts(found)
    print("\n".join([*(table.text() for table in tables), "", *bars]))
    about = f"World {weights_of(world)}; {episodes} episodes of a way, {planned} of a task. Means with 95 % intervals."
    write_bytes(Path(out) / "tables.html", page(tables, bars, about).encode())
    result = {"asked": vars(asked), "found": found, "bars": bars}
    write_bytes(Path(out) / "tables.json", json.dumps(result, indent=1).encode())
    return result


def cost(asked: Asked, missing: Sequence[str]) -> str:
    """Minutes of what is not there yet, by one chunk dreamt and one remembered; plans tell their own before they
    begin."""
    if not missing:
        return "everything is there already"
    model = WorldModel.from_pretrained(asked.world)
    one = memory_cost.Asked.of(model)
    chunk = _seconds(lambda: model.dream(*one.told(), SamplerConfig(1)))
    write = _seconds(one.write(DEFAULT))
    chunks = CHUNKS * asked.episodes
    ways = chunks * (chunk * (len(CHOICES) + 2 * len(MEMORIES)) + write * len(MEMORIES))
    sums = {
        WINDOWS: len(asked.data) * (asked.windows * 2 + 2 * 8 * 50) * chunk,
        WAYS: ways,
        WAYS + AFTER: chunks * (3 * chunk + write),
        COST: 2 * (asked.repeats + 1) * (2 * 3 * 2 * 50 * chunk + write),
    }
    lines = [f"  {name:<24}{sums[name] / 60:>8.1f}" for name in missing if name in sums]
    return "\n".join(["minutes, about (plans tell their own):", *lines])


def _kept(out: Path, name: str, options: Found) -> Path:
    """Where a part lies: its name tells what was asked of which weights."""
    worlds = options.get("worlds", (options.get("world"),))
    asked = json.dumps([options, [weights_of(world) for world in worlds]], sort_keys=True)
    return out / "parts" / f"{name.replace(' ', '_')}-{crc32(asked.encode()):08x}.json"


def _seconds(way: Callable[[], object]) -> float:
    way()
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


def _plain(value: Any) -> Any:
    return value.to_json() if hasattr(value, "to_json") else vars(value)
