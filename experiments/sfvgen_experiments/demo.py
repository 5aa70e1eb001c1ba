"""`sfvgen demo`: a planner at work in the learned world, and every task with its expert, on one page of videos."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import sfvgen_envs
from sfvgen_envs.scene import Length
from sfvgen_experiments import demo_page
from sfvgen_experiments.collect import Collect, record
from sfvgen_experiments.plan import PlanConfig
from sfvgen_experiments.plan import main as plan
from sfvgen_planner.data import Dataset, write_picture, write_video
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.data.video import read_video
from sfvgen_planner.types import Episode

SHEET_COLUMNS, SHEET_SCALE, GAP = 8, 2, 4
ERRAND: dict[str, Any] = {"objective": "errand", "budget": "medium", "horizon": 4, "every": 1}
LEARNED: dict[str, dict[str, Any]] = {
    "reach": {"objective": "posture", "horizon": 8, "every": 2},
    "push_cube": ERRAND,
    "cube_return": {**ERRAND, "memory": "album"},
    "route_return": {"objective": "retrace", "led": "habits", "memory": "album"},
}
"""How planners of some tasks do best in the learned world."""


@dataclass(frozen=True)
class Demo:
    """Options of `sfvgen demo`."""

    planned: tuple[str, ...] = tuple(sfvgen_envs.TASKS)
    world: str | None = None
    tasks: tuple[str, ...] = tuple(sfvgen_envs.TASKS)
    episodes: int = 4
    length: Length = "medium"
    size: int = 64
    scale: int = 4
    workers: int = 2
    seed: int = 0
    out: str = "outputs/demo"


def main(config: Demo) -> None:
    """Records, plans, draws, writes the page, and prints where it is."""
    out = Path(config.out)
    asked = [_collection(config, task) for task in config.tasks]
    chapters, sheet = [], []
    print(f"{'task':<14}{'episodes':>9}{'solved':>8}{'steps':>7}{'waypoint distance':>19}")
    for collection in asked:
        dataset = record(collection)
        chapter = demo_page.Chapter(collection.task, _about(collection.task), tuple(_clips(config, dataset, out)))
        chapters.append(chapter)
        sheet.append(_strip(dataset))
        print(_row(chapter))
    _write_sheet(sheet, out / "sheet.png")
    films = [_film(config, task) for task in config.planned]
    page = out / "index.html"
    write_bytes(page, demo_page.render(films, chapters, dataset.description.frame_rate, config.size).encode())
    print(f"\nOpen in a browser: {page.resolve().as_uri()}")


def _film(config: Demo, task: str) -> demo_page.Film:
    """An episode of a planner."""
    out = Path(config.out)
    print(f"\na planner in the {'true simulator' if config.world == 'oracle' else 'learned world'}:")
    asked = PlanConfig(
        task,
        episodes=1,
        world=config.world,
        size=config.size,
        threads=max(1, config.workers),
        seed=config.seed,
        out=str(out / "plan" / task),
        **({"budget": "tiny"} | ({} if config.world == "oracle" else LEARNED.get(task, {}))),
    )
    (played,) = plan(asked)["episodes"]
    video = Path(played["video"])
    frames = read_video(video)
    write_picture(video.with_suffix(".png"), frames[len(frames) // 2])
    return demo_page.Film(
        task,
        video=video.relative_to(out).as_posix(),
        poster=video.with_suffix(".png").relative_to(out).as_posix(),
        steps=played["steps"],
        success=played["success"],
        waypoint_distance=played["waypoint_distance"],
        seconds=played["seconds_per_replan"],
    )


def _collection(config: Demo, task: str) -> Collect:
    return Collect(
        task=task,
        episodes=config.episodes,
        length=config.length,
        size=config.size,
        workers=config.workers,
        seed=config.seed,
        compression="gzip",
        out=str(Path(config.out) / "data" / task),
    )


def _clips(config: Demo, dataset: Dataset, out: Path) -> Iterator[demo_page.Clip]:
    """Writes each episode's video and poster. ffmpeg is a process of its own, so threads keep all cores at work."""
    (out / "videos").mkdir(parents=True, exist_ok=True)
    fps, count = dataset.description.frame_rate, min(config.episodes, len(dataset))

    def clip(position: int) -> demo_page.Clip:
        episode = dataset[position]
        stem = f"videos/{episode.card['task']}_{position:02d}"
        frames = _larger(episode.pixels, config.scale)
        write_video(out / f"{stem}.mp4", frames, fps)
        write_picture(out / f"{stem}.png", frames[0])
        return _clip(episode, stem)

    with ThreadPoolExecutor(max(1, config.workers)) as pool:
        found = pool.map(clip, range(count))
        yield from tqdm(found, total=count, unit="video", desc="videos", disable=None, leave=False)


def _clip(episode: Episode, stem: str) -> demo_page.Clip:
    return demo_page.Clip(
        video=f"{stem}.mp4",
        poster=f"{stem}.png",
        steps=len(episode),
        success=bool(np.any(episode.success)),
        waypoint_distance=float(episode.card["waypoint_distance"]),
        instructions=_changes(episode.instructions),
        phrases=_changes(episode.phrases),
    )


def _changes(texts: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    """Where a text begins to differ from the one before."""
    return tuple((step, text) for step, text in enumerate(texts) if step == 0 or text != texts[step - 1])


def _about(task: str) -> str:
    """The first paragraph of what the task's class says of itself."""
    entry = gym.spec(sfvgen_envs.TASKS[task]).entry_point
    module, name = str(entry).split(":")
    told = getdoc(getattr(import_module(module), name)) or ""
    return " ".join(told.split("\n\n")[0].split())


def _row(chapter: demo_page.Chapter) -> str:
    clips = chapter.clips
    solved = f"{sum(clip.success for clip in clips)}/{len(clips)}"
    steps = float(np.mean([clip.steps for clip in clips]))
    distance = float(np.mean([clip.waypoint_distance for clip in clips]))
    return f"{chapter.task:<14}{len(clips):>9}{solved:>8}{steps:>7.0f}{distance:>17.3f} m"


def _larger(frames: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    return frames.repeat(scale, axis=1).repeat(scale, axis=2)


def _strip(dataset: Dataset) -> NDArray[np.uint8]:
    """Frames of the first episode, side by side from its first to its last."""
    pixels = dataset[0].pixels
    chosen = np.linspace(0, len(pixels) - 1, SHEET_COLUMNS).round().astype(int)
    frames = _larger(pixels[chosen], SHEET_SCALE)
    return np.concatenate(
        [np.pad(frame, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for frame in frames], axis=1
    )


def _write_sheet(strips: list[NDArray[np.uint8]], path: Path) -> None:
    write_picture(path, np.concatenate(strips)[:-GAP, :-GAP])
