"""`sfvgen import`: another environment, or a folder of videos, as a data set."""

import re
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
from tqdm import tqdm

from sfvgen_planner.data import Dataset, import_env, import_videos
from sfvgen_planner.errors import BadOption, UnknownName, closest


@dataclass(frozen=True)
class Import:
    """Options of `sfvgen import`."""

    out: str
    env: str | None = None
    episodes: int = 10
    max_steps: int | None = None
    seed: int = 0
    videos: str | None = None
    texts: str | None = None
    fps: float = 8.0
    size: int = 64
    name: str | None = None

    def __post_init__(self) -> None:
        if (self.env is None) == (self.videos is None):
            raise BadOption("both of env and videos, or none", "one of them", "Set env=<id> or videos=<folder>.")
        if self.videos is not None and self.texts is None:
            raise BadOption("videos without texts", "texts=<file.jsonl>", "Say in it what happens in which frames.")

    @property
    def title(self) -> str:
        """A name Minari accepts."""
        plain = re.sub(r"[^A-Za-z0-9]+", "-", re.sub(r"-v\d+$", "", self.env or Path(str(self.videos)).name))
        return self.name or f"imported/{plain.strip('-').lower() or 'videos'}-v0"


def main(config: Import) -> None:
    """Imports with a progress bar and says what there is."""
    with tqdm(unit="episode", disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        size = (config.size, config.size)
        if config.env is not None:
            env = _make(config.env)
            dataset: Dataset = import_env(
                env,
                config.out,
                config.episodes,
                name=config.title,
                size=size,
                seed=config.seed,
                max_steps=config.max_steps,
                on_progress=show,
            )
            env.close()
        else:
            videos, texts = str(config.videos), str(config.texts)
            dataset = import_videos(
                videos, texts, config.out, name=config.title, size=size, fps=config.fps, on_progress=show
            )
    steps = sum(entry.steps for entry in dataset.entries)
    print(f"{config.out}: {len(dataset)} episodes, {steps} steps")
    print(f"Look at it: sfvgen inspect data={config.out}")


def _make(name: str) -> gym.Env[object, object]:
    """The environment, or an error in our words."""
    try:
        env = gym.make(name, render_mode="rgb_array")
        _try_drawing(env, name)
        return env
    except gym.error.DependencyNotInstalled as error:
        raise BadOption(f"env={name}", "an environment whose packages are installed", str(error)) from error
    except (gym.error.Error, ImportError) as error:
        known = tuple(gym.registry)
        raise UnknownName(f"env {name!r} ({error})", "an id that gymnasium.make knows", closest(name, known)) from error


def _try_drawing(env: gym.Env[object, object], name: str) -> None:
    """Speaks up before there is a folder; what a missing GL library raises differs between libraries."""
    env.reset(seed=0)
    try:
        env.render()
    except Exception as error:
        raise BadOption(
            f"env={name}, which cannot draw here ({error})",
            "an environment that renders rgb_array",
            "MuJoCo's own draw with OpenGL: apt install libosmesa6, and set MUJOCO_GL=osmesa.",
        ) from error
