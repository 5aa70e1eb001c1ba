"""Does a memory recall places of a real task? `sfvgen bench memory`: held-out episodes, by how old a view is.

The first frames of every episode are seen and remembered, chunk by chunk; the next ones are dreamt. A view that comes
back is one whose camera looked almost so before. Each dream is dreamt without memory, with the episode's own, and with
another episode's: what survives that swap is style, not recall. Of cubes it is told whether they are dreamt where they
are, beside what the codec leaves of the true frames.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from sfvgen_envs.table import Colour
from sfvgen_experiments.bench import cubes
from sfvgen_experiments.bench.drift import held_out
from sfvgen_experiments.bench.report import cell
from sfvgen_experiments.dream_figures import CEILING, sharpness_of
from sfvgen_experiments.dream_strips import picture
from sfvgen_experiments.looped import Looped
from sfvgen_experiments.memory_options import MemoryOptions
from sfvgen_planner.data import Dataset, Windows
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.data.sheet import write_picture
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.bodies import camera_of
from sfvgen_planner.learning.remembering import Watched, remember_all
from sfvgen_planner.memory import Memory, MemoryConfig
from sfvgen_planner.memory.rows import take
from sfvgen_planner.metrics.quality import psnr
from sfvgen_planner.metrics.statistics import Interval, mean_interval
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.pose import metres_between, radians_between
from sfvgen_planner.world.sampler import SamplerConfig

AGES = {"seen 40 frames ago or more": (40, 10**6), "seen 8 to 39 frames ago": (8, 39), "never seen": (-1, -1)}
UNSEEN = {"unseen for 40 frames or more": (40, 10**6), "unseen for 8 to 39 frames": (8, 39)}
CODEC = "codec"
ARMS = {"off": "no memory", "own": "own memory", "other": "another episode's", CODEC: "the codec of the true frames"}
NEAR, TURNED = 0.1, 0.25
"""As far from it, in the body's lengths, and turned by as much of the angle of view, a camera still sees most of it."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """E episodes: what was seen and what is to be dreamt, as latents and facts."""

    latents: Tensor
    """[E, K + F, C, h, w]"""
    facts: Facts
    pixels: NDArray[np.uint8]
    """[E, F, H, W, 3]: what came"""
    ages: NDArray[np.int64]
    """[E, F]: how many frames ago a view was seen last, -1: never"""
    seen: int
    """K"""
    colours: tuple[tuple[Colour, ...], ...]
    """of each episode's cubes"""
    cube_ages: tuple[NDArray[np.int64], ...]
    """[cubes, F] of each episode: for how many frames a cube has not been seen, see `cubes.ages_of_cubes`"""


def main(
    world: str | None = None,
    data: tuple[str, ...] = (),
    presets: tuple[str, ...] = ("default",),
    episodes: int = 12,
    seen: int = 120,
    dreamt: int = 48,
    every: int = 1,
    steps: int = 1,
    threads: int = 2,
    variant: str | None = None,
    modules: tuple[str, ...] | None = None,
    rank: int | None = None,
    rate: float | None = None,
    updates: int | None = None,
    draws: int | None = None,
    strength: float | None = None,
    kept: int | None = None,
    pictures: int = 1,
    out: str = "outputs/bench/memory.json",
) -> dict[str, Any]:
    """Prints gains in dB with 95 % intervals over episodes, writes JSON, returns it."""
    other = {
        "variant": variant,
        "modules": modules,
        "rank": rank,
        "rate": rate,
        "updates": updates,
        "draws": draws,
        "strength": strength,
        "kept": kept,
    }
    torch.set_num_threads(threads)
    hows = {preset: MemoryOptions(preset, **other).how for preset in presets}  # type: ignore[arg-type]
    if not data or seen % FRAMES_PER_CHUNK or dreamt % FRAMES_PER_CHUNK or min(seen, dreamt) < 16 or every < 1:
        raise BadOption(
            f"{len(data)} data sets, {seen} frames seen, {dreamt} dreamt, every {every}",
            "data=[folder,...] of the test split, and whole chunks of 8, two or more",
            "Record some: sfvgen collect split=test.",
        )
    looped, rows = Looped.of(world), {}
    for folder in data:
        told = read(looped.world, held_out(folder), episodes, seen, dreamt)
        views = {"what came": told.pixels}
        for preset, how in hows.items():
            name = f"{Path(folder).name}, {preset}"
            rows[name], frames = measure(looped, told, how, every, SamplerConfig(steps))
            views |= {"no memory": frames["off"], f"memory {preset}": frames["own"]}
            print(shown(name, rows[name]), flush=True)
        if pictures:
            write_picture(Path(out).with_name(f"memory-{Path(folder).name}.png"), picture(views, pictures))
    result = {
        "world": world or "shipped",
        "asked": {"seen": seen, "dreamt": dreamt, "every": every, "steps": steps, **other},
        "rows": rows,
    }
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    plain = json.dumps(result, indent=2, default=vars)
    write_bytes(Path(out), plain.encode())
    return dict(json.loads(plain))


def read(world: WorldModel, dataset: Dataset, episodes: int, seen: int, dreamt: int) -> Told:
    """The first frames of as many episodes as are long enough."""
    windows = Windows(dataset, seen + dreamt, stride=10**6)
    window = windows.batch(np.arange(min(episodes, len(windows))))
    if len(window.start) < 2:
        raise BadOption(f"{len(window.start)} episodes of {seen + dreamt} frames", "two", "Record more or longer ones.")
    card = dataset.cards[0]
    body, camera = str(card["task"]), camera_of(card)
    facts = Facts.of_window(window, world.encoder.layout, body, camera)
    latents = torch.cat([world.codec.encode(torch.from_numpy(np.asarray(one)))[None] for one in window.pixels])
    length = world.encoder.layout[body].length
    ages = ages_of(facts.poses, seen, float(facts.fovy[0]), length)
    long = [card for card, one in zip(dataset.cards, dataset.entries, strict=True) if one.steps + 1 >= seen + dreamt]
    colours = tuple(cubes.colours_of(card) for card in long[: facts.rows])
    old = tuple(
        cubes.ages_of_cubes(pixels[:seen], pixels[seen:], mine, world.config.past)
        for pixels, mine in zip(window.pixels, colours, strict=True)
    )
    return Told(latents, facts, np.asarray(window.pixels[:, seen:]), ages, seen, colours, old)


def ages_of(poses: Tensor, seen: int, fovy: float, length: float) -> NDArray[np.int64]:
    """[E, F] of poses [E, K + F, P], the first `seen` = K of them seen."""
    before, now = poses[:, None, :seen], poses[:, seen:, None]
    near = metres_between(now, before) <= NEAR * length
    turned = radians_between(now, before) <= TURNED * np.deg2rad(fovy)
    when = torch.arange(seen, device=poses.device)
    last = torch.where(near & turned, when, -1).amax(-1)
    age = torch.arange(seen, poses.shape[1], device=poses.device) - last
    return np.asarray(torch.where(last >= 0, age, -1).numpy())


def measure(
    looped: Looped, told: Told, how: MemoryConfig, every: int, sampler: SamplerConfig
) -> tuple[dict[str, Any], dict[str, NDArray[np.uint8]]]:
    """By kind of poses and by age: PSNR without memory, gains with the own and with another's memory. And the dreams
    under true poses."""
    world, memory = looped.world, remembered(looped, told, how, every)
    others = take(memory, torch.arange(memory.rows).roll(1))
    figures: dict[str, Any] = {"bytes_an_episode": 2 * memory.numbers}
    frames: dict[str, NDArray[np.uint8]] = {}
    coded = np.concatenate([world.codec.decode(one[None]).numpy() for one in told.latents[:, told.seen :]])
    for kind, foreseen in (("foreseen poses", True), ("true poses", False)):
        frames = {
            name: dream(world, told, used, sampler, foreseen)
            for name, used in (("off", None), ("own", memory), ("other", others))
        }
        decibels = {name: psnr(told.pixels, one).double().clamp(max=CEILING).numpy() for name, one in frames.items()}
        figures[kind] = {
            age: gains(decibels, (told.ages >= low) & (told.ages <= high)) for age, (low, high) in AGES.items()
        }
        figures[kind]["cubes"] = {
            band: {
                arm: cubes.places(told.pixels, one, told.colours, told.cube_ages, span)
                for arm, one in {**frames, CODEC: coded}.items()
            }
            for band, span in UNSEEN.items()
        }
        figures[kind]["sharpness"] = {name: sharpness_of(told.pixels, one) for name, one in frames.items()}
    return figures, frames


def remembered(looped: Looped, told: Told, how: MemoryConfig, every: int) -> Memory:
    """After every so manieth chunk of what was seen: its window with the past before it, and earlier ones replayed."""
    rows = len(told.latents)
    seen = Watched(told.latents[:, : told.seen], told.facts[: told.seen], torch.full((rows,), told.seen))
    windows = seen.windows(looped.world.config.past, every)
    with tqdm(total=len(windows), desc="remembering", unit="chunk") as bar:
        return remember_all(looped.world, looped.begin(how, rows), windows, lambda chunk: bar.update())


@torch.no_grad()
def dream(
    world: WorldModel, told: Told, memory: Memory | None, sampler: SamplerConfig, foreseen: bool
) -> NDArray[np.uint8]:
    """[E, F, H, W, 3] what follows, told true actions and no words."""
    begin = told.seen - world.config.past
    everywhere = torch.ones(len(told.latents), dtype=torch.bool)
    known = told.facts[begin : told.seen].withhold(actions=everywhere, texts=everywhere)
    new = told.facts[told.seen :].withhold(texts=everywhere)
    made = world.dream(
        told.latents[:, begin : told.seen],
        known,
        new,
        torch.arange(len(told.latents)),
        sampler,
        None if memory is None else memory.factors,
        told.seen,
        foreseen,
    )
    return np.concatenate([world.codec.decode(one[None]).numpy() for one in made.latents])


def gains(decibels: dict[str, Floats], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Means over the episodes that have such frames, each episode counting once."""
    some = [row for row in range(len(chosen)) if chosen[row].any()]
    if not some:
        return {"episodes": 0}

    def over(values: Floats) -> Interval:
        return mean_interval([values[row][chosen[row]].mean() for row in some])

    off, own, other = (decibels[name] for name in ("off", "own", "other"))
    return {"episodes": len(some), "off": over(off), "own": over(own - off), "other": over(other - off)}


def shown(name: str, figures: dict[str, Any]) -> str:
    """A block of lines."""
    lines = [f"{name:34}{'no memory, dB':>18}{'own, gain':>18}{'swapped, gain':>18}{'episodes':>10}"]
    for kind in ("foreseen poses", "true poses"):
        for age in AGES:
            row = figures[kind][age]
            cells = [cell(row[arm], 2) if row["episodes"] else "-" for arm in ("off", "own", "other")]
            lines.append(f"  {f'{kind}, {age}':44}" + "".join(f"{one:>16}" for one in cells) + f"{row['episodes']:>6}")
        for band, found in figures[kind]["cubes"].items():
            if found["off"]["episodes"]:
                lines += cubes.shown({ARMS[arm]: row for arm, row in found.items()}, f"{band}, {kind}")
    return "\n".join(lines)
