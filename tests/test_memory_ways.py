"""Other ways to take a memory's steps: at learned paces, kept with it, and to be differentiated through."""

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import torch
from memory_fakes import SMALL, seen, world_of
from torch import Tensor

from sfvgen_planner.errors import BadMemory, BadOption, UnknownName
from sfvgen_planner.memory import PRESETS, Memory, MemoryConfig, load, remember, save, start
from sfvgen_planner.memory.adam import Trained
from sfvgen_planner.memory.remember import drawn

FREE = replace(SMALL, clip=inf, bound=inf, rise=inf, replay=0)


def pace_of(memory: Memory, size: float) -> dict[str, Tensor]:
    return {name: torch.tensor(size, dtype=torch.float64) for name in memory.start}


@pytest.mark.parametrize("optimiser", ["sgd", "muon", "adam"])
def test_half_the_pace_is_half_the_rate(optimiser: str) -> None:
    config = replace(FREE, optimiser=optimiser, updates=1, rate=0.01)  # type: ignore[arg-type]
    world = world_of()
    window, begun = seen(world, 2), start(world, config, 2)
    slow = remember(world, replace(begun, pace=pace_of(begun, 0.5)), window)
    other = remember(world, replace(begun, config=replace(config, rate=0.005)), window)
    for name, value in slow.trained.weights.items():
        torch.testing.assert_close(value, other.trained.weights[name], rtol=1e-9, atol=1e-12)


def test_a_pace_is_saved_and_goes_on(tmp_path: Path) -> None:
    world = world_of()
    begun = start(world, FREE, 1)
    begun = start(world, FREE, 1, pace=pace_of(begun, 0.5))
    window = seen(world, 1)
    once = remember(world, begun, window)
    save(once, tmp_path)
    back = load(world, tmp_path)
    assert back.pace is not None
    assert remember(world, back, window).version == remember(world, once, window).version
    assert remember(world, replace(back, pace=None), window).version != remember(world, once, window).version


def test_a_pace_for_other_tensors_and_an_unknown_optimiser_are_refused() -> None:
    world = world_of()
    with pytest.raises(BadMemory, match="a number for each"):
        start(world, FREE, 1, pace={"a": torch.tensor(1.0)})
    with pytest.raises(UnknownName, match="muon"):
        MemoryConfig(optimiser="mion")  # type: ignore[arg-type]


def test_memories_of_different_paces_are_not_stacked() -> None:
    world = world_of()
    begun = start(world, FREE, 1)
    with pytest.raises(BadMemory, match="different"):
        Memory.stack([begun, replace(begun, pace=pace_of(begun, 0.5))])


@pytest.mark.parametrize("optimiser", ["sgd", "muon"])
def test_gradients_go_through_the_steps(optimiser: str) -> None:
    """What a start's A does to what is written, against finite differences."""
    config = replace(FREE, optimiser=optimiser, updates=2, rate=0.05, modules=(r"blocks\.0\.(v|up)",))  # type: ignore[arg-type]
    world = world_of()
    window, begun = seen(world, 1), start(world, config, 1)
    name = "blocks.0.v.lora_A"
    way = torch.randn(begun.start[name].shape, generator=torch.Generator().manual_seed(0)).double()

    def written(by: Tensor) -> Tensor:
        first = {**begun.start, name: begun.start[name] + by * way}
        first = {key: value.requires_grad_() if not value.requires_grad else value for key, value in first.items()}
        memory = replace(begun, trained=Trained.fresh(first), start=first)
        after = remember(world, memory, window, through=True)
        return torch.stack([value.square().sum() for key, value in after.trained.weights.items() if "B" in key]).sum()

    at = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(written(at), at)
    more, less = (float(written(torch.tensor(by, dtype=torch.float64)).detach()) for by in (1e-5, -1e-5))
    assert float(slope) == pytest.approx((more - less) / 2e-5, rel=1e-4)
    assert slope != 0


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_preset_can_be_written(preset: str) -> None:
    world = world_of(process="clean")
    window = seen(world, 1)
    begun = start(world, replace(PRESETS[preset], draws=1, updates=2), 1)
    after = remember(world, begun, window, [window])
    assert after.version != begun.version
    assert int(after.trained.steps) == (0 if PRESETS[preset].variant == "off" else 2)


def test_mixed_replay_is_in_every_update_and_pure_replay_in_every_other() -> None:
    world, now = world_of(), 3
    window = seen(world, 2)
    pure, mixed = (
        drawn(start(world, replace(SMALL, updates=4, draws=4, replay=2, mixed=mixed), 2), window, [window] * now).pick
        for mixed in (False, True)
    )
    assert (pure == now).float().mean(2).tolist() == [[1, 0, 1, 0]] * 2
    assert (mixed == now).float().mean(2).tolist() == [[0.5] * 4] * 2


def test_mixed_replay_of_the_same_window_is_the_window() -> None:
    """Whichever way rows are laid out, equal windows are equal."""
    world, config = world_of(), replace(FREE, updates=2, draws=4, replay=2)
    window = seen(world, 2)
    begun = start(world, replace(config, mixed=True), 2, seeds=torch.tensor([1, 2]))
    plain = replace(begun, config=replace(config, replay=0))
    other = remember(world, begun, window, [window])
    for name, value in remember(world, plain, window).trained.weights.items():
        torch.testing.assert_close(value, other.trained.weights[name], rtol=1e-9, atol=1e-12)


def test_a_rate_that_cools_falls_evenly() -> None:
    config = replace(SMALL, rate=0.1, updates=5, cool=0.8)
    assert [config.rate_at(update) for update in range(5)] == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02])
    assert replace(config, updates=1).rate_at(0) == 0.1
    with pytest.raises(BadOption, match="cool"):
        replace(config, cool=1.0)


@pytest.mark.parametrize("variant", ["full", "jump"])
def test_later_chunks_are_written_at_less_of_the_rate(variant: str) -> None:
    """A memory's fourth chunk at a half, whatever the other rows' ages."""
    world, config = world_of(), replace(FREE, variant=variant, optimiser="sgd", rate=0.02, fade=0.5)  # type: ignore[arg-type]
    window, begun = seen(world, 2), start(world, config, 2)
    row = Trained(*begun.trained.tensors, torch.tensor([3 * config.updates, 0]))
    aged = replace(begun, trained=row)
    halved, plain = (replace(aged, config=replace(config, fade=0.0, rate=rate)) for rate in (0.01, 0.02))
    after, slow, fast = (remember(world, one, window) for one in (aged, halved, plain))
    for name, value in after.trained.weights.items():
        torch.testing.assert_close(value[0], slow.trained.weights[name][0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(value[1], fast.trained.weights[name][1], rtol=1e-9, atol=1e-12)
    assert after.version not in (slow.version, fast.version)
    with pytest.raises(BadOption, match="fade"):
        replace(config, fade=-1.0)
