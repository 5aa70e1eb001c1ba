"""Three small bodies and a world that hears of them, for the tests of conditions."""

import numpy as np
import torch

from sfvgen_planner.types import Window
from sfvgen_planner.world.encoder import ConditionEncoder, EncoderConfig
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.layout import Embodiment, Layout
from sfvgen_planner.world.text import TextConfig

ARM = Embodiment(
    "arm",
    size=4,
    low=(-1.0,) * 4,
    high=(1.0,) * 4,
    phrases=("wait", "move left", "move right"),
    pose_size=9,
    cameras={"fixed": 38.0, "sweep": 24.0},
)
CAR = Embodiment(
    "car", size=2, low=(-1.0, 0.0), high=(1.0, 4.0), phrases=("turn left",), cameras={"eye": 80.0}, length=10.0
)
GAME = Embodiment("game", "discrete", size=5, first=1)
LAYOUT = Layout((ARM, CAR, GAME))
SENTENCES = ("put the red cube into the box", "drive on", "grüne Würfel")
SMALL = TextConfig(width=16, layers=1, heads=2, longest=20, merges=40)


def encoder(layout: Layout = LAYOUT, *, seed: int = 0, words: bool = True) -> ConditionEncoder:
    """A fresh one whose learned nulls are not 0."""
    generator = torch.Generator().manual_seed(seed)
    made = ConditionEncoder.fresh(EncoderConfig(width=12), layout, SMALL if words else None, SENTENCES, generator)
    with torch.no_grad():
        for null in (made.no_action, made.no_text):
            null.normal_(generator=generator)
    return made.eval()


def poses(rng: np.random.Generator, *shape: int, size: int = 7) -> np.ndarray:
    """Random ones."""
    values = rng.normal(size=(*shape, size)).astype(np.float32)
    values[..., 3:7] /= np.linalg.norm(values[..., 3:7], axis=-1, keepdims=True)
    return values


def window(rng: np.random.Generator, rows: int = 3, frames: int = 16, body: Embodiment = ARM) -> Window:
    """Random windows of one body, none of which begins an episode."""
    if body.kind == "vector":
        unit = rng.random((rows, frames, body.size))
        actions = (np.array(body.low) + unit * (np.array(body.high) - np.array(body.low))).astype(np.float32)
    else:
        actions = rng.integers(body.first, body.first + body.size, (rows, frames))
    said = body.phrases or ("",)
    phrases = tuple(tuple(said[(row + t // 8) % len(said)] for t in range(frames)) for row in range(rows))
    pixels = np.zeros((rows, frames, 4, 4, 3), np.uint8)
    return Window(pixels, poses(rng, rows, frames, size=body.pose_size), actions, phrases, np.full(rows, 5))


def facts(seed: int = 0, rows: int = 3, frames: int = 16) -> Facts:
    """Arm, car and game, `rows` of each, in one batch."""
    rng = np.random.default_rng(seed)
    bodies = ((ARM, "sweep"), (CAR, "eye"), (GAME, None))
    return Facts.stack(
        [Facts.of_window(window(rng, rows, frames, body), LAYOUT, body.name, camera) for body, camera in bodies]
    )
