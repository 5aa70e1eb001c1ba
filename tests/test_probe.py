"""The panorama is seen alike from wherever one looks, and the probe's figures are what its arms make of it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sfvgen_experiments import slow_fast
from sfvgen_experiments.probe import base
from sfvgen_experiments.probe.arms import Trip, errors, remembered, swapped
from sfvgen_experiments.probe.base import PAST, banked, fresh, picked_facts
from sfvgen_experiments.probe.memory import Probe, Recall, main
from sfvgen_experiments.probe.panorama import AROUND, PAN, Panorama, sometimes, there_and_back, views
from sfvgen_planner.errors import BadOption, UnknownName
from sfvgen_planner.memory import MemoryConfig, start
from sfvgen_planner.world.sampler import SamplerConfig

QUICK = MemoryConfig(rank=2, updates=1, draws=1)


def trip(episodes: int = 3, chunks: int = 2) -> Trip:
    return Trip.of(0, episodes, chunks)


def turned(yaw: float) -> torch.Tensor:
    return torch.tensor([[[0, 0, 0, math.cos(yaw / 2), 0, math.sin(yaw / 2), 0]]], dtype=torch.float32)


def test_the_middle_of_the_view_shows_the_place_it_looks_at() -> None:
    """A place is the mean of the four middle latents' corners; checked where the panorama is linear around it."""
    places = torch.zeros(1, 1, 5, AROUND)
    places[..., 4] = 1.0
    seen = [float(views(places, turned(yaw * 2 * math.pi / AROUND))[0, 0, 0, 3:5, 3:5].mean()) for yaw in range(AROUND)]
    assert int(np.argmax(seen)) == 4
    assert sorted(seen)[-2] < 0.3 * max(seen)


def test_a_whole_turn_shows_the_same_again() -> None:
    places = torch.randn(1, 4, 5, AROUND, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(views(places, turned(0.3)), views(places, turned(0.3 + 2 * math.pi)), atol=1e-4, rtol=0)


def test_the_way_back_shows_what_the_way_out_showed() -> None:
    one = trip(2, 3)
    out, back = one.latents[:, PAST : PAST + 23], one.latents[:, PAST + 24 : PAST + 47].flip(1)
    torch.testing.assert_close(out, back, atol=1e-4, rtol=0)
    assert (one.latents[:, PAST + 8] - one.latents[:, PAST]).square().mean() > 1  # a chunk later all is new


def test_every_episode_has_its_own_panorama_of_unit_variance() -> None:
    seen = Panorama(sometimes(0.3)).sample(np.random.default_rng(0), 200, 4).latents
    assert abs(float(seen.var()) - 1) < 0.15
    assert abs(float((seen[1:] * seen[:-1]).mean())) < 0.1


def test_a_bank_hands_out_the_frames_that_look_where_the_new_ones_will() -> None:
    one = trip(2, 2)
    index = banked(one.facts.poses[:, : PAST + 24], PAST + 16)
    assert index.shape == (2, 2 * PAST + 8)
    assert index[:, PAST:].equal(torch.arange(16, PAST + 24).expand(2, -1))
    # The first chunk back passes the places of the last chunk out, from its end.
    assert (index[:, :PAST] >= 8).all()
    poses = picked_facts(one.facts, index).poses
    assert torch.equal(poses[1, 0], one.facts.poses[1, int(index[1, 0])])


def test_arms_are_equal_without_a_written_memory_and_differ_with_one() -> None:
    world, one, sampler = fresh(0, 32, 1).eval(), trip(), SamplerConfig(2)
    for layer in (world.denoiser.out, world.denoiser.modulate):  # a fresh network says nothing
        torch.nn.init.normal_(layer.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    memory = start(world, QUICK, 3, seeds=torch.arange(3))
    off = errors(world, one, sampler)
    assert off.shape == (3, 2)
    assert torch.equal(off, errors(world, one, sampler, memory.factors))
    after = remembered(world, memory, one)
    own, other = errors(world, one, sampler, after.factors), errors(world, one, sampler, swapped(after))
    assert not torch.equal(own, off)
    assert not torch.equal(own, other)
    back = {name: value.roll(-1, 0) for name, value in swapped(after).up.items()}
    assert all(torch.equal(value, after.factors.up[name]) for name, value in back.items())


def test_recall_is_of_the_chunks_that_had_left_the_window() -> None:
    off, own, other = (np.tile([first, late, late], (4, 1)) for first, late in ((9.0, 2.0), (9.0, 0.5), (9.0, 1.7)))
    found = Recall.of(off, own, other)
    assert found.recalled.mean == pytest.approx(0.75)
    assert found.lost.mean == pytest.approx(0.8)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base of two steps."""
    monkeypatch.setattr(base, "RUN", replace(base.RUN, steps=2, precision="fp32"))
    monkeypatch.setattr(base, "DIM", 32)
    monkeypatch.setattr(base, "DEPTH", 1)


@pytest.mark.usefixtures("quick")
def test_the_command_trains_its_base_once_and_writes_what_it_prints(tmp_path: Path) -> None:
    config = Probe(episodes=2, chunks=2, steps=1, threads=1, rank=2, updates=1, draws=1, out=str(tmp_path))
    first = main(config)
    world = tmp_path / "base" / "world" / "model.safetensors"
    written = world.stat().st_mtime_ns
    again = main(config)
    assert world.stat().st_mtime_ns == written
    assert again["arms"] == first["arms"]
    assert set(first["arms"]) == {"off", "memory", "swap", "bank", "all"}
    assert json.loads((tmp_path / "memory.json").read_text())["recalled"] == again["recalled"]


@pytest.mark.usefixtures("quick")
def test_what_the_loop_leaves_is_what_the_probe_takes(tmp_path: Path) -> None:
    shared = {"threads": 1, "rank": 2, "updates": 1, "draws": 1, "optimiser": "muon"}
    out = tmp_path / "loop"
    task = {"task": "panorama", "out": str(out), "base": str(tmp_path), "rows": 2, "chunks": 2, "steps": 2}
    slow_fast.main(slow_fast.Loop(**shared, **task))  # type: ignore[arg-type]
    assert list((out / "tensorboard").iterdir())
    plain = Probe(**shared, episodes=2, chunks=2, steps=1, out=str(tmp_path))  # type: ignore[arg-type]
    found, looped = main(plain), main(replace(plain, world=str(out), name="looped"))
    assert found["arms"]["off"] != looped["arms"]["off"]
    with pytest.raises(BadOption, match="task=panorama"):
        slow_fast.main(slow_fast.Loop())
    with pytest.raises(UnknownName, match="panorama"):
        slow_fast.main(slow_fast.Loop(task="reach"))


def test_pans_are_steps_of_one_column() -> None:
    seen = Panorama(there_and_back(PAST)).sample(np.random.default_rng(0), 1, PAST + 16)
    yaw = 2 * np.unwrap(np.arctan2(seen.window.poses[0, :, 5], seen.window.poses[0, :, 3]), period=math.pi)
    np.testing.assert_allclose(np.abs(np.diff(yaw)), PAN, rtol=1e-3)
