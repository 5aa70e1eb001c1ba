"""Consolidation changes the world only where that proves good, and otherwise not a bit of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from world_fakes import tiny_world, toy_set

from sfvgen_experiments.banking import Add, add
from sfvgen_experiments.consolidating import Consolidate, episodes_of, main
from sfvgen_planner.errors import BadMemory, BadOption
from sfvgen_planner.learning.consolidate import Held, consolidate, held_out, joined, slow_losses, verdict_of
from sfvgen_planner.learning.latents import LatentSet
from sfvgen_planner.learning.loop import LoopConfig
from sfvgen_planner.learning.run import RunConfig
from sfvgen_planner.memory import Bank, MemoryConfig
from sfvgen_planner.memory.start import identity
from sfvgen_planner.world.model import WorldModel

MEMORY = MemoryConfig(modules=(r"blocks\.\d+\.v",), rank=2, updates=1, draws=1)
LOOP = LoopConfig(MEMORY, rows=3, past=8, chunks=2, empty=0.5)
RUN = RunConfig(steps=15, rate=0.003, warmup=1, average=0.5)


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> tuple[LatentSet, Held]:
    """To learn from, and held out."""
    root, world = tmp_path_factory.mktemp("consolidate"), tiny_world()
    dataset = toy_set(root / "toy", episodes=6, steps=30)
    learned, left = (LatentSet(dataset, world.codec, root, only=some) for some in ((0, 1, 2), (3, 4, 5)))
    return learned, held_out(left, world.encoder.layout, 8)


def weights(world: WorldModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in world.state_dict().items()}


def test_a_world_that_got_better_is_taken(episodes: tuple[LatentSet, Held], tmp_path: Path) -> None:
    world, (learned, held) = tiny_world(), episodes
    before = weights(world)
    new, verdict = consolidate(world, [learned], held, {"same": held}, tmp_path, RUN, LOOP)
    assert verdict.accepted, verdict.reason
    assert slow_losses(new, held).mean() < slow_losses(world, held).mean()
    assert identity(new) != identity(world)
    assert verdict.rises["same"].mean < 0
    assert all(torch.equal(before[name], value) for name, value in world.state_dict().items()), "it was read alone"


@pytest.mark.parametrize(("rate", "most", "why"), [(0.003, -0.99, "other tasks suffer"), (1.0, 0.02, "not surely")])
def test_otherwise_the_old_weights_stay_bit_for_bit(
    episodes: tuple[LatentSet, Held], rate: float, most: float, why: str, tmp_path: Path
) -> None:
    world, (learned, held) = tiny_world(), episodes
    before = weights(world)
    run = replace(RUN, rate=rate)
    found, verdict = consolidate(world, [learned], held, {"other": held}, tmp_path, run, LOOP, most=most)
    assert not verdict.accepted
    assert f"old weights stay: {why}" in verdict.reason
    assert found is world
    assert all(torch.equal(before[name], value) for name, value in found.state_dict().items())


def test_better_means_surely_and_worse_by_how_much() -> None:
    before = np.array([1.0, 2.0, 3.0, 4.0])
    better = (before, before - 0.1 - 0.001 * np.arange(4))
    level = (before, before)
    assert verdict_of(better, {"a": level}).accepted
    assert verdict_of(better, {"a": (before, before * 1.019)}).accepted
    refused = verdict_of(better, {"a": (before, before * 1.019), "b": (before, before * 1.021)})
    assert not refused.accepted
    assert "b +2.1%" in refused.reason
    assert "a +" not in refused.reason
    assert refused.rises["a"].mean == pytest.approx(0.019)
    assert not verdict_of(level, {}).accepted
    assert not verdict_of((before, before + np.array([-0.5, -0.5, -0.5, 0.6])), {}).accepted, "perhaps is not surely"
    assert not verdict_of(better, {"a": (before, before * np.nan)}).accepted, "no number is no good sign"


def test_the_question_is_always_the_same(episodes: tuple[LatentSet, Held], tmp_path: Path) -> None:
    _, held = episodes
    dataset, world = toy_set(tmp_path / "toy", episodes=6, steps=30), tiny_world()
    again = held_out(LatentSet(dataset, world.codec, tmp_path, only=(3, 4, 5)), world.encoder.layout, 8)
    assert np.array_equal(slow_losses(world, held), slow_losses(world, again))
    assert len(slow_losses(world, held)) == 3, "one number an episode"
    with pytest.raises(BadOption, match="32 frames"):
        held_out(LatentSet(dataset, world.codec, tmp_path, only=(0,)), world.encoder.layout, 24)


def test_episodes_of_several_sets_stay_apart(episodes: tuple[LatentSet, Held]) -> None:
    _, held = episodes
    world = tiny_world()
    alone, both = slow_losses(world, held), slow_losses(world, joined([held, held, ()]))
    assert np.allclose(both, np.concatenate([alone, alone]))


def test_the_command_learns_from_the_banks_episodes_and_asks_about_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, world, bank, out = (str(tmp_path / name) for name in ("toy", "world", "bank", "out"))
    toy_set(tmp_path / "toy", episodes=6, steps=30)
    tiny_world().save_pretrained(world)
    add(Add(data=(data,), bank=bank, world=world, episodes=3, updates=1, draws=1, rank=2, threads=1))
    entries = Bank(bank).entries.values()
    assert episodes_of(entries) == {data: [0, 1, 2]}
    asked = Consolidate("toy", bank, world=world, out=out, steps=12, learning_rate=0.003, rows=3, chunks=2, threads=1)
    main(replace(asked, held=3, windows=2, others=(data,)))
    said = capsys.readouterr().out
    assert "toy, 3 episodes, 12 steps: the" in said
    assert (tmp_path / "out" / "verdict.json").exists()
    kept = identity(WorldModel.from_pretrained(tmp_path / "out" / "world"))
    assert (kept == identity(WorldModel.from_pretrained(world))) == ("the old weights stay" in said)
    with pytest.raises(BadMemory, match="in 0 ways"):
        main(replace(asked, task="car"))
    add(Add(data=(data,), bank=bank, world=world, episodes=6, updates=1, draws=1, rank=2, threads=1))
    with pytest.raises(BadOption, match="nothing but remembered"):
        main(replace(asked, out=str(tmp_path / "other")))
