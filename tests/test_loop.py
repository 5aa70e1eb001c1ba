"""Algorithm 1b: what lessons hold, who learns from them and who does not, and that a killed loop goes on."""

from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from world_fakes import tiny_world, toy_set

from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.again import seen_again
from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.learning.loop import (
    Episodes,
    Lesson,
    LoopConfig,
    SlowFast,
    draw_episodes,
    lessons_of,
    train_loop,
)
from sfvgen_planner.learning.run import RunConfig, Step
from sfvgen_planner.memory import MemoryConfig, Seen, load, remember, start
from sfvgen_planner.memory.start import identity
from sfvgen_planner.types import FRAMES_PER_CHUNK
from sfvgen_planner.world.dropout import DropRates
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.model import WorldModel

MEMORY = MemoryConfig(
    modules=(r"blocks\.\d+\.v",), rank=2, updates=1, draws=1, rate=0.05, clip=inf, bound=inf, rise=inf
)
NOTHING = DropRates(action=0.0, text=0.0, pose=0.0, past=0.0, wholly=0.0)
CONFIG = LoopConfig(MEMORY, rows=3, past=4, chunks=3, drop=NOTHING)
RUN = RunConfig(steps=4, rate=0.001, warmup=1, average=0.5)


@pytest.fixture
def latents(tmp_path: Path) -> LatentSet:
    return LatentSet(toy_set(tmp_path / "toy", episodes=2, steps=40), tiny_world().codec, tmp_path / "latents")


def world_of() -> WorldModel:
    return tiny_world(process="clean").double()


def episodes(source: LatentSet, world: WorldModel, config: LoopConfig = CONFIG, step: int = 0) -> Episodes:
    """In double precision, so that equal means equal."""
    drawn = draw_episodes([source], world.encoder.layout, config, (0, step, 0))
    facts = drawn.facts
    told = {name: getattr(facts, name).double() for name in ("vectors", "poses", "fovy")}
    tensors = {name: getattr(drawn, name).double() for name in ("latents", "level", "noise")}
    return replace(drawn, facts=replace(facts, **told), **tensors)


def lessons(world: WorldModel, drawn: Episodes, config: LoopConfig = CONFIG) -> list[Lesson]:
    begun = start(world, config.memory, config.rows, seeds=drawn.seeds)
    return lessons_of(world, begun, drawn.latents, drawn.facts, config.past)


def outer(world: WorldModel, drawn: Episodes, config: LoopConfig) -> tuple[SlowFast, Tensor]:
    model = SlowFast(world, config).double()
    return model, model(drawn)[0]


def test_lessons_hold_the_past_the_true_chunk_and_the_memory_from_before_it(latents: LatentSet) -> None:
    world = world_of()
    drawn = episodes(latents, world)
    found = lessons(world, drawn)
    assert len(found) == CONFIG.chunks
    memory, windows = start(world, MEMORY, 3, seeds=drawn.seeds), []
    for number, lesson in enumerate(found):
        first = number * FRAMES_PER_CHUNK
        frames = slice(first, first + CONFIG.past + FRAMES_PER_CHUNK)
        assert torch.equal(lesson.window.latents, drawn.latents[:, frames])
        assert torch.equal(lesson.window.facts.poses, drawn.facts.poses[:, frames])
        assert lesson.window.past == CONFIG.past
        assert lesson.memory.version == memory.version  # before: its own chunk is not in it
        memory = remember(world, memory, lesson.window, windows)
        windows.append(lesson.window)
        assert lesson.memory.version != memory.version


def test_the_inner_loop_writes_no_slow_weight_and_the_outer_no_memory(latents: LatentSet) -> None:
    world = world_of()
    drawn, before = episodes(latents, world), identity(world)
    found = lessons(world, drawn)
    assert identity(world) == before
    assert all(parameter.grad is None for parameter in world.parameters())
    versions = [lesson.memory.version for lesson in found]
    model, loss = outer(world, drawn, CONFIG)
    loss.backward()
    assert [Lesson(one.window, replace(one.memory)).memory.version for one in found] == versions
    assert all(p.grad is None for p in [*model.theta.values(), *model.speed.values()])
    moved = {name for name, p in model.world.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved
    assert all(name.startswith("denoiser.") for name in moved)


def test_slow_weights_learn_as_if_memories_were_constants(latents: LatentSet) -> None:
    """The gradient of the published form: no path leads through how a memory was written."""
    world = world_of()
    drawn = episodes(latents, world)
    model, loss = outer(world, drawn, CONFIG)
    weight = world.denoiser.blocks[0].v.weight
    (slope,) = torch.autograd.grad(loss, weight)
    constants = [dict(lesson.memory.trained.weights) for lesson in lessons(world, drawn)]
    windows = [lesson.window for lesson in lessons(world, drawn)]
    way = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)).double()

    def at(by: float) -> float:
        with torch.no_grad():
            weight.add_(by * way)
            value = float(model._outer(drawn, windows, constants).mean())  # type: ignore[arg-type]
            weight.sub_(by * way)
        return value

    assert float((slope * way).sum()) == pytest.approx((at(1e-5) - at(-1e-5)) / 2e-5, rel=1e-3)


def test_rows_without_memory_learn_what_the_slow_model_alone_would(latents: LatentSet) -> None:
    drawn = episodes(latents, world_of())
    none = replace(drawn, empty=torch.ones(3, dtype=torch.bool))
    off = replace(CONFIG, memory=replace(MEMORY, variant="off"))
    alone = outer(world_of(), none, CONFIG)[1]
    assert float(alone.detach()) == pytest.approx(float(outer(world_of(), drawn, off)[1].detach()), rel=1e-12)
    all_remember = replace(drawn, empty=torch.zeros(3, dtype=torch.bool))
    assert float(alone.detach()) != pytest.approx(float(outer(world_of(), all_remember, CONFIG)[1].detach()), rel=1e-6)


@pytest.mark.parametrize("order", ["first", "second"])
def test_start_and_pace_learn_by_how_lessons_turn_out(latents: LatentSet, order: str) -> None:
    """Second order: finite differences of everything. First order: of a start that moves along with what was written
    from it, and of a pace that makes it longer."""
    memory = replace(MEMORY, optimiser="sgd", rate=2.0)
    config = replace(CONFIG, memory=memory, order=order, start=True, pace=True, empty=0.0)  # type: ignore[arg-type]
    world = world_of()
    drawn = episodes(latents, world, config)
    model = SlowFast(world, config).double()
    draw = torch.Generator().manual_seed(0)
    for value in model.theta.values():
        value.data += 0.1 * torch.randn(value.shape, generator=draw).double()
    key = "blocks/0/v/lora_B"
    model(drawn)[0].backward()
    found = [lesson.memory.trained.weights for lesson in lessons_from(model, drawn)]
    windows = [lesson.window for lesson in lessons_from(model, drawn)]
    name, written = key.replace("/", "."), model.theta[key].detach().clone()

    def loss(start_by: float, pace_by: float) -> float:
        with torch.no_grad():
            if order == "second":
                model.theta[key].add_(start_by)
                model.speed[key].add_(pace_by / 20.0)
                value = float(model(drawn)[0].detach())
                model.theta[key].sub_(start_by)
                model.speed[key].sub_(pace_by / 20.0)
                return value
            longer = float(np.exp(pace_by))
            moved = [{**one, name: written + start_by + longer * (one[name] - written)} for one in found]
            return float(model._outer(drawn, windows, moved).mean())  # type: ignore[arg-type]

    by = 5e-4  # smaller ones are lost in rounding
    for slope, ends in (
        (model.theta[key].grad.sum(), (loss(by, 0), loss(-by, 0))),
        (model.speed[key].grad / 20.0, (loss(0, by), loss(0, -by))),
    ):
        assert float(slope) == pytest.approx((ends[0] - ends[1]) / (2 * by), rel=5e-3, abs=1e-10)
        assert slope != 0


def lessons_from(model: SlowFast, drawn: Episodes) -> list[Lesson]:
    with torch.no_grad():
        begun = model.begun(len(drawn.latents), drawn.seeds)
    return lessons_of(model.world, begun, drawn.latents, drawn.facts, model.config.past)


def test_a_killed_loop_goes_on_as_if_nothing_had_happened(latents: LatentSet, tmp_path: Path) -> None:
    config = replace(CONFIG, start=True, pace=True, memory=replace(MEMORY, optimiser="muon"))
    run = replace(RUN, checkpoint_seconds=0.0)

    def killed(step: Step) -> None:
        if step.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_loop(tiny_world(process="clean"), [latents], tmp_path / "b", run, config, listen=killed)
    whole, again = (
        train_loop(tiny_world(process="clean"), [latents], tmp_path / name, run, config) for name in ("a", "b")
    )
    assert identity(whole[0]) == identity(again[0])
    assert all(torch.equal(value, again[1].start[name]) for name, value in whole[1].start.items())
    assert whole[1].pace == again[1].pace


def test_a_loop_leaves_a_world_and_where_its_memories_begin(latents: LatentSet, tmp_path: Path) -> None:
    config = replace(CONFIG, start=True, pace=True)
    heard: list[dict[str, float]] = []
    before = tiny_world(process="clean")
    kept = {name: value.clone() for name, value in before.state_dict().items()}
    world, memory = train_loop(before, [latents], tmp_path, RUN, config, listen=lambda step: heard.append(step.figures))
    back = WorldModel.from_pretrained(tmp_path / "world")
    assert identity(back) == identity(world) != identity(tiny_world(process="clean"))
    learned = load(back, tmp_path / "start")
    assert learned.version == memory.version
    assert learned.pace is not None
    assert any(float(value) != 1 for value in learned.pace.values())
    assert {"with_memory", "gradient"} <= heard[0].keys()
    others = {name for name in kept if not name.startswith("denoiser.")}
    assert all(torch.equal(world.state_dict()[name], kept[name]) for name in others)


def test_where_a_place_is_seen_again_only_a_memory_helps() -> None:
    """A camera turns away by a field of view and back; before one that stands still nothing ever leaves."""
    world = tiny_world()
    layout, past = world.encoder.layout, 4
    yaw = torch.cat([torch.arange(20.0), torch.arange(19.0, 3.0, -1.0)]) * np.deg2rad(40 / 8)
    poses = torch.zeros(2, 36, 9)
    poses[..., 3] = 1
    poses[0, :, 3], poses[0, :, 5] = (yaw / 2).cos(), (yaw / 2).sin()
    again = seen_again(Facts.of_poses(poses, layout, "toy", "fixed"), layout, past)
    assert again.shape == (2, 4)
    assert again[0, :2].tolist() == [0, 0]
    assert again[0, 3] == 7 / 8  # the first of them is still nearly what the window shows
    assert again[1].tolist() == [0, 0, 0, 0]
    unknown = Facts.of_poses(poses, layout, "toy", "fixed").withhold(poses=torch.ones(2, dtype=torch.bool))
    assert seen_again(unknown, layout, past).sum() == 0


def test_lessons_are_drawn_anew_and_those_seen_again_come_first(latents: LatentSet) -> None:
    world, some = world_of(), replace(CONFIG, lessons=1)
    drawn = [draw_episodes([latents], world.encoder.layout, some, (0, step, 0)).lessons for step in range(12)]
    assert all(one.shape == (3, 1) for one in drawn)
    assert torch.cat(drawn).unique().tolist() == [0, 1, 2]
    every = draw_episodes([latents], world.encoder.layout, CONFIG, (0, 0, 0)).lessons
    assert every.sort(1).values.tolist() == [[0, 1, 2]] * 3


def test_bad_options_and_short_episodes_are_refused(latents: LatentSet, tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="slope"):
        LoopConfig(memory=replace(MEMORY, optimiser="adam"), order="second")
    with pytest.raises(BadOption, match="share"):
        LoopConfig(empty=2)
    with pytest.raises(BadOption, match="no episode of 84 frames"):
        train_loop(tiny_world(), [latents], tmp_path, RUN, replace(CONFIG, chunks=10))


def test_a_window_is_what_memory_takes(latents: LatentSet) -> None:
    world = world_of()
    drawn = episodes(latents, world)
    assert all(isinstance(lesson.window, Seen) and lesson.window.rows == 3 for lesson in lessons(world, drawn))
