"""Small worlds and episodes for the tests of the data room. Run as a script it collects until it is done or killed."""

import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_planner.data import Description, DiscreteActions, VectorActions, record_episode
from sfvgen_planner.types import Episode


def described(**changes: Any) -> Description:
    """A small data set's description."""
    settings: dict[str, Any] = {
        "name": "fake-v0",
        "task": "Fake",
        "picture": (6, 5),
        "actions": VectorActions((-1.0, -1.0), (1.0, 1.0)),
        "pose_size": 7,
    }
    return Description(**{**settings, **changes})


def random_episode(seed: int, steps: int = 20, *, discrete: bool = False, h: int = 6, w: int = 5) -> Episode:
    """Every array filled at random; equal seeds, equal episodes."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, 4, steps) if discrete else rng.uniform(-1, 1, (steps, 2)).astype(np.float32)
    return Episode(
        pixels=rng.integers(0, 256, (steps + 1, h, w, 3), dtype=np.uint8),
        poses=rng.normal(size=(steps + 1, 7)).astype(np.float32),
        actions=actions,
        rewards=rng.normal(size=steps).astype(np.float32),
        terminated=np.arange(steps) == steps - 1,
        truncated=np.zeros(steps, bool),
        success=rng.random(steps) > 0.9,
        instructions=tuple(f"bring the {('red', 'grüne', '赤い')[t % 3]} cube" for t in range(steps)),
        phrases=tuple(f"move {t // 8}" for t in range(steps)),
        card={"seed": seed, "task": "Fake", "behaviour": "expert" if seed % 2 else "random", "split": "train"},
    )


def assert_same(left: Episode, right: Episode) -> None:
    """Bit for bit, types included."""
    for name in ("pixels", "poses", "actions", "rewards", "terminated", "truncated", "success"):
        a, b = np.asarray(getattr(left, name)), np.asarray(getattr(right, name))
        assert a.dtype == b.dtype, name
        assert a.shape == b.shape, name
        assert a.tobytes() == b.tobytes(), name
    assert (left.instructions, left.phrases, left.card) == (right.instructions, right.phrases, right.card)


class FakeSpace:
    """A Box of two numbers, or 4 ids."""

    def __init__(self, discrete: bool) -> None:
        self.rng = np.random.default_rng(0)
        if discrete:
            self.n, self.shape = 4, ()
        else:
            self.low, self.high, self.shape = np.full(2, -1.0, np.float32), np.ones(2, np.float32), (2,)

    def seed(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def sample(self) -> Any:
        if not self.shape:
            return self.rng.integers(self.n)
        return self.rng.uniform(self.low, self.high).astype(np.float32)


class FakeEnv:
    """A dot that goes where it is told; it ends after `length` steps and reuses its arrays, as some environments do."""

    metadata = {"render_fps": 10}  # noqa: RUF012

    def __init__(self, length: int = 20, discrete: bool = False) -> None:
        self.length = length
        self.action_space = FakeSpace(discrete)
        self.pixels = np.zeros((6, 5, 3), np.uint8)
        self.pose = np.zeros(7, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.rng = np.random.default_rng(seed)
        self.time = 0
        return self._see(), {"instruction": "goal 0"}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        done = self.time == self.length
        info = {"instruction": f"goal {self.time}", "success": done}
        return self._see(), float(np.sum(action)), done, False, info

    def _see(self) -> dict[str, Any]:
        self.pixels[:] = self.rng.integers(0, 256, self.pixels.shape)
        self.pose[:] = self.time
        return {"pixels": self.pixels, "pose": self.pose}

    def render(self) -> Any:
        return np.repeat(np.repeat(self.pixels, 2, 0), 2, 1)


@dataclass(frozen=True)
class MakeRecord:
    """What a worker is given: episodes of a fake environment, some numbers of which go wrong."""

    seconds: float = 0.0
    fails: int = -1
    dies: int = -1

    def __call__(self) -> Any:
        env = FakeEnv()

        def record(number: int) -> Episode:
            time.sleep(self.seconds)
            if number == self.fails:
                raise ValueError("the robot fell over")
            if number == self.dies:
                import os

                os._exit(3)
            rng = np.random.default_rng(number)
            return record_episode(env, lambda obs, info: rng.uniform(-1, 1, 2).astype(np.float32), seed=number)

        return record


def discrete_actions() -> DiscreteActions:
    """Four ids."""
    return DiscreteActions(4)


if __name__ == "__main__":
    from sfvgen_experiments.collecting import collect

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
    folder, total, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    collect(range(total), folder, workers, MakeRecord(0.002), lambda progress: print(progress.done, flush=True))
