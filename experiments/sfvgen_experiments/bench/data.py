"""How fast windows are read from a data set, and episodes written to it, on one core.

python -m sfvgen_experiments.bench.data
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sfvgen_planner.data import Dataset, Description, VectorActions, Windows
from sfvgen_planner.types import Episode

EPISODES, STEPS, SIDE, FRAMES, BATCH = 100, 200, 64, 16, 64


def main() -> dict[str, Any]:
    """Medians of 9 rounds, for both compressions; the figure per CPU second does not mind a busy machine."""
    rng = np.random.default_rng(0)
    episodes = [moving_boxes(rng) for _ in range(10)]
    figures: dict[str, Any] = {}
    for compression in ("none", "gzip"):
        with tempfile.TemporaryDirectory() as folder:
            figures[compression] = _measured(Path(folder) / "bench-v0", episodes, compression)
        print(compression, figures[compression], flush=True)
    return figures


def moving_boxes(rng: np.random.Generator) -> Episode:
    """Flat boxes wander over a shaded, grainy floor under a drifting camera: about as compressible as a rendering."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    floor = np.stack([120 + 80 * y, 100 + 60 * x, 140 - 50 * y], -1) + rng.integers(-3, 4, (SIDE, SIDE, 1))
    places, speeds = rng.random((6, 2)), rng.normal(size=(6, 2)) * 0.01
    sides, colours = rng.uniform(0.05, 0.2, 6), rng.integers(30, 255, (6, 3))
    pixels = np.empty((STEPS + 1, SIDE, SIDE, 3), np.uint8)
    for t in range(STEPS + 1):
        frame = np.roll(floor, t, 1)
        for place, speed, side, colour in zip(places, speeds, sides, colours, strict=True):
            px, py = (place + speed * t) % 1
            inside = (np.abs(x - px) < side) & (np.abs(y - py) < side)
            frame[inside] = colour * (1 - 0.5 * y[inside, None])
        pixels[t] = np.clip(frame, 0, 255)
    nothing = np.zeros(STEPS, bool)
    return Episode(
        pixels=pixels,
        poses=rng.normal(size=(STEPS + 1, 7)).astype(np.float32),
        actions=rng.uniform(-1, 1, (STEPS, 4)).astype(np.float32),
        rewards=np.zeros(STEPS, np.float32),
        terminated=nothing,
        truncated=nothing,
        success=nothing,
        instructions=("bring the red cube home",) * STEPS,
        phrases=("move left",) * STEPS,
    )


def _measured(root: Path, episodes: list[Episode], compression: Literal["none", "gzip"]) -> dict[str, float]:
    description = Description(
        name="bench-v0",
        task="Bench",
        picture=(SIDE, SIDE),
        actions=VectorActions((-1.0,) * 4, (1.0,) * 4),
        compression=compression,
    )
    began = time.perf_counter()
    with Dataset.create(root, description) as dataset:
        for number in range(EPISODES):
            dataset.append(episodes[number % len(episodes)])
    written = EPISODES * (STEPS + 1) / (time.perf_counter() - began)
    began = time.perf_counter()
    windows = Windows(Dataset(root), FRAMES)
    opened = time.perf_counter() - began
    rng = np.random.default_rng(0)
    rates, own_rates = [], []
    for _ in range(9):
        began, own_began = time.perf_counter(), time.process_time()
        for _ in range(10):
            windows.sample(rng, BATCH)
        rates.append(10 * BATCH / (time.perf_counter() - began))
        own_rates.append(10 * BATCH / (time.process_time() - own_began))
    size = sum(entry.size for entry in dataset.entries) / EPISODES
    return {
        "windows_per_s": round(statistics.median(rates)),
        "windows_per_cpu_s": round(statistics.median(own_rates)),
        "frames_written_per_s": round(written),
        "mb_per_episode": round(size / 1e6, 2),
        "open_ms": round(opened * 1e3, 1),
    }


if __name__ == "__main__":
    main()
