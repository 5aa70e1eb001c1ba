"""How quick is a large bank? `sfvgen bench bank`: opening, recalling and keeping, with so many memories in it.

The memories are made up, but of the world's own layers and of the default size; so are their views. Medians count, by
the clock and of the processor alone: what else a machine does, and its disk, are in the first and not in the second.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory import DEFAULT, Bank, Card, Memory, View, start, view_of
from sfvgen_planner.memory.adam import Trained
from sfvgen_planner.memory.bank import INDEX
from sfvgen_planner.world.model import WorldModel

Times = NDArray[np.float64]
"""[2] milliseconds by the clock, and of the processor"""


def main(
    world: str | None = None,
    memories: int = 10000,
    k: tuple[int, ...] = (1, 2, 4),
    repeats: int = 50,
    threads: int = 1,
    out: str = "outputs/bench/bank.json",
) -> dict[str, Any]:
    """Prints medians in milliseconds, writes JSON, returns it."""
    if not k or min(*k, repeats, threads) < 1 or memories < max(k):
        raise BadOption(
            f"{memories} memories, k={list(k)}, {repeats} repeats", "1 or more, k among them", "Raise them."
        )
    torch.set_num_threads(threads)
    model, rng = WorldModel.from_pretrained(world), np.random.default_rng(0)
    task = model.encoder.layout.embodiments[0].name
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=Path(out).parent) as folder:
        bank = Bank.begun(folder, model)
        begun = start(model, DEFAULT, 1)
        added = [_keep(bank, begun, task, rng) for _ in tqdm(range(memories), unit="memory", mininterval=5)]
        figures = {"keep one": np.median(added, 0), **_openings(Path(folder), model)}
        bank = Bank(folder, model)
        some = rng.choice([*bank.entries], repeats)
        size, pose = model.codec.decode(torch.zeros(1, *model.shape)).shape[1:], np.eye(1, 7, 3)[0]
        picture = rng.integers(0, 256, size, dtype=np.uint8)
        figures["look at a picture"] = _median(lambda: view_of(model, task, picture, pose), repeats)
        figures["recall, the first time"] = _timed(lambda: bank.recall(bank.entry(some[0]).card.view))
        for one in k:
            asked = iter([_near(bank.entry(name).card.view, rng) for name in (some[0], *some)])
            figures[f"recall {one}"] = _median(lambda one=one, asked=asked: bank.recall(next(asked), one), repeats)  # type: ignore[misc]
        bytes_each = sum(path.stat().st_size for path in Path(folder).glob(f"memories/{some[0]}/*"))
    told = {"world": world or "shipped", "memories": memories, "threads": threads, "bytes a memory": bytes_each}
    plain = {name: {"clock": float(clock), "processor": float(own)} for name, (clock, own) in figures.items()}
    print(f"{'milliseconds':28}{'by the clock':>14}{'processor':>14}")
    for name, found in plain.items():
        print(f"{name:28}{found['clock']:>14.2f}{found['processor']:>14.2f}")
    result = {**told, "milliseconds": plain}
    write_bytes(Path(out), json.dumps(result, indent=2).encode())
    return result


def _keep(bank: Bank, begun: Memory, task: str, rng: np.random.Generator) -> Times:
    """Of keeping a memory."""
    view, memory = View(task, rng.normal(size=268).astype(np.float16)), _made_up(begun, rng)
    return _timed(lambda: bank.add(memory, Card(view, 240, 0.5, "made up")))


def _made_up(begun: Memory, rng: np.random.Generator) -> Memory:
    draw = torch.Generator().manual_seed(int(rng.integers(2**63)))
    values = {name: value + 0.05 * torch.randn(value.shape, generator=draw) for name, value in begun.start.items()}
    return replace(begun, trained=Trained.fresh(values))


def _near(view: View, rng: np.random.Generator) -> View:
    """Not quite the same place, so that several memories count."""
    return View(view.task, (view.numbers + rng.normal(size=len(view.numbers))).astype(np.float16))


def _openings(root: Path, world: WorldModel) -> dict[str, Times]:
    """With the index, and without: after a kill it is made again."""
    (root / INDEX).unlink(missing_ok=True)
    lost = _timed(lambda: Bank(root))
    return {
        "open, index lost": lost,
        "open": _median(lambda: Bank(root), 5),
        "open with a world": _median(lambda: Bank(root, world), 5),
    }


def _median(what: Callable[[], object], repeats: int) -> Times:
    what()
    return np.asarray(np.median([_timed(what) for _ in range(repeats)], 0))


def _timed(what: Callable[[], object]) -> Times:
    clock, own = time.perf_counter(), time.process_time()
    what()
    return 1e3 * np.array([time.perf_counter() - clock, time.process_time() - own])
