"""Is a place dreamt as it was when one comes back? `sfvgen bench revisit`: scripted ways, against the simulator.

The way out is seen and, by the arms that have a memory, remembered; the way back is dreamt in one go, told the true
actions. Every arm is compared with the truth, and with the dream without memory, by how long ago a view was seen last.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sfvgen_experiments.dream_strips import picture
from sfvgen_experiments.revisit.arms import ARMS, VISITS, Course, check_arms, imagined, under
from sfvgen_experiments.revisit.figures import measure, shown
from sfvgen_experiments.revisit.visits import BEFORE, recalled
from sfvgen_experiments.revisit.ways import WAYS, record
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.data.sheet import write_picture
from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory import PRESETS
from sfvgen_planner.metrics.judge_file import load_judge
from sfvgen_planner.metrics.judge_reading import PlaceFeatures
from sfvgen_planner.metrics.statistics import Interval
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig


def main(
    world: str | None = None,
    ways: tuple[str, ...] = WAYS,
    arms: tuple[str, ...] = ARMS,
    episodes: int = 12,
    first: int = 0,
    seen: int = 104,
    dreamt: int = 104,
    steps: int = 1,
    foreseen: bool = False,
    judge: str | None = None,
    threads: int = 2,
    pictures: int = 1,
    out: str = "outputs/bench/revisit.json",
) -> dict[str, Any]:
    """Prints gains with 95 % intervals over episodes, writes JSON after every way, returns it."""
    torch.set_num_threads(threads)
    check_arms(arms)
    if seen % FRAMES_PER_CHUNK or dreamt % FRAMES_PER_CHUNK or min(seen, dreamt) < 48 or episodes < 2 or not ways:
        raise BadOption(
            f"{len(ways)} ways, {episodes} episodes, {seen} frames seen, {dreamt} dreamt",
            "ways, two episodes or more, and whole chunks of 8, 48 frames or more each way",
            "See the defaults.",
        )
    model = WorldModel.from_pretrained(world)
    size = int(model.codec.decode(torch.zeros(1, *model.shape)).shape[1])
    extract = None if judge == "" else PlaceFeatures(load_judge(judge).judge)
    rows: dict[str, Any] = {}
    for way in ways:

        def course(which: str) -> Course:
            return Course.of(model, record(which, range(first, first + episodes), seen, dreamt, size))

        now, told, sampler = course(way), {}, SamplerConfig(steps)
        with tqdm(desc=way, unit="chunk") as bar:
            made = imagined(model, now, arms, sampler, foreseen, lambda chunk, bar=bar: bar.update())  # type: ignore[misc]
            for visit in [one for one in arms if one in VISITS and way in BEFORE]:
                how, before = PRESETS[VISITS[visit]], course(BEFORE[way])
                memory, right = recalled(model, before, now, how, lambda chunk, bar=bar: bar.update())  # type: ignore[misc]
                made |= under(model, now, visit, memory, sampler, foreseen)
                told = {"visited by": BEFORE[way], "recalled the right scene": right}
        if pictures:
            views = {"what came": now.trip.pixels[:, now.trip.seen :], **made}
            write_picture(Path(out).with_name(f"revisit-{way}.png"), picture(views, pictures))
        rows[way] = {"seen": now.trip.seen, **told, **measure(now, made, extract)}
        print(shown(way, rows[way]), flush=True)
        asked = {"episodes": episodes, "first": first, "steps": steps, "foreseen": foreseen}
        _write(Path(out), {"world": world or "shipped", "judge": extract and extract.identity, **asked, "rows": rows})
    return dict(json.loads(Path(out).read_text()))


def _write(path: Path, result: dict[str, Any]) -> None:
    def plain(value: Any) -> Any:
        return value.to_json() if isinstance(value, Interval) else vars(value)

    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(result, indent=2, default=plain).encode())
