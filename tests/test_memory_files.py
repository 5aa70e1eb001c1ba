"""A memory is a PEFT adapter: PEFT reads ours, we read PEFT's, and writing goes on as if nothing had happened."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from memory_fakes import SMALL, config_for, seen
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from world_fakes import tiny_world

from sfvgen_planner.errors import BadCheckpoint, BadMemory
from sfvgen_planner.memory import DEFAULT, Memory, load, remember, save, start
from sfvgen_planner.memory.files import CONFIG, SIDECAR, WEIGHTS
from sfvgen_planner.world.causal import CausalConfig, CausalDenoiser
from sfvgen_planner.world.lowrank import LowRank
from sfvgen_planner.world.model import WorldModel

BOTH = pytest.mark.parametrize("kind", ["causal", "unet3d"])


def answer(denoiser: nn.Module, world: WorldModel, factors: LowRank | None = None) -> Tensor:
    window = seen(world, 1)
    level = torch.full((1, window.frames), 0.7)
    told: Tensor = denoiser(window.latents, level, world.conditions(window.facts), factors).output
    return told


def written(world: WorldModel, kind: str = "causal") -> Memory:
    return remember(world, start(world, config_for(kind), 1), seen(world, 1))


@BOTH
@torch.no_grad()
def test_plain_peft_loads_a_memory_onto_the_same_denoiser(kind: str, tmp_path: Path) -> None:
    world = tiny_world(kind)
    memory = written(world, kind)
    expected = answer(world.denoiser, world, memory.factors)
    assert not torch.allclose(expected, answer(world.denoiser, world), atol=1e-3)
    save(memory, tmp_path)
    adapted = PeftModel.from_pretrained(tiny_world(kind).denoiser, str(tmp_path))
    torch.testing.assert_close(answer(adapted, world), expected, rtol=0, atol=1e-5)


@BOTH
@pytest.mark.parametrize("rooted", [False, True])
@torch.no_grad()
def test_a_lora_trained_with_peft_is_a_memory(kind: str, rooted: bool, tmp_path: Path) -> None:
    world = tiny_world(kind)
    targets = ["q", "up"] if kind == "causal" else ["to_q", "resnets.0.conv1", "temp_convs.0.conv2.3"]
    lora = LoraConfig(r=4, lora_alpha=6, use_rslora=rooted, target_modules=targets, init_lora_weights=False)
    adapted = get_peft_model(tiny_world(kind).denoiser, lora)
    adapted.save_pretrained(str(tmp_path))
    memory = load(world, tmp_path)
    assert (memory.rows, memory.config.rank, memory.trained.steps.tolist()) == (1, 4, [0])
    torch.testing.assert_close(answer(world.denoiser, world, memory.factors), answer(adapted, world), rtol=0, atol=1e-5)
    further = remember(world, memory, seen(world, 1))
    assert further.version != memory.version


@BOTH
def test_saved_and_loaded_again_it_goes_on_bit_for_bit(kind: str, tmp_path: Path) -> None:
    world = tiny_world(kind)
    memory, next_window = written(world, kind), seen(world, 1, seed=1)
    save(memory, tmp_path)
    again = load(tiny_world(kind), tmp_path)
    assert (again.version, again.config, again.world) == (memory.version, memory.config, memory.world)
    one, other = remember(world, memory, next_window), remember(world, again, next_window)
    for mine, theirs in zip(one.trained.tensors, other.trained.tensors, strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_in_half_precision_the_shipped_size_fits_a_quarter_of_a_megabyte(tmp_path: Path) -> None:
    world = tiny_world()
    shipped = CausalConfig(16, 16, 16, 128, 75, patch=4, dim=128, depth=5, copies=True, fine=4)
    world.denoiser = CausalDenoiser(shipped)
    save(start(world, DEFAULT, 1), tmp_path, half=True)
    assert 150 * 1024 < (tmp_path / WEIGHTS).stat().st_size <= 256 * 1024
    assert not (tmp_path / SIDECAR).exists()
    assert load(world, tmp_path).config.rank == DEFAULT.rank


def test_what_does_not_belong_is_refused_by_name(tmp_path: Path) -> None:
    world = tiny_world()
    memory = written(world)
    save(memory, tmp_path)
    with pytest.raises(BadMemory, match="another architecture"):
        load(tiny_world("unet3d"), tmp_path)
    with pytest.raises(BadMemory, match="this world"):
        load(tiny_world(seed=1), tmp_path)
    with pytest.raises(BadMemory, match="rows"):
        save(start(world, SMALL, 2), tmp_path)
    (tmp_path / SIDECAR).unlink()
    wide = tiny_world()
    wide.denoiser = CausalDenoiser(replace(wide.config.denoiser, dim=48))  # type: ignore[type-var]
    with pytest.raises(BadMemory, match="architecture or rank"):
        load(wide, tmp_path)


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, SIDECAR])
def test_torn_files_are_named(name: str, tmp_path: Path) -> None:
    world = tiny_world()
    save(written(world), tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadCheckpoint, match="Restore"):
        load(world, tmp_path)


def test_a_sidecar_of_other_factors_is_refused(tmp_path: Path) -> None:
    world = tiny_world()
    memory = written(world)
    save(memory, tmp_path)
    torn = (tmp_path / SIDECAR).read_bytes()
    save(remember(world, memory, seen(world, 1, seed=1)), tmp_path)
    (tmp_path / SIDECAR).write_bytes(torn)
    with pytest.raises(BadCheckpoint, match="one save"):
        load(world, tmp_path)


@pytest.mark.parametrize(
    "option", [{"use_dora": True}, {"bias": "all"}, {"peft_type": "LOHA"}, {"alpha_pattern": {"q": 3}}]
)
def test_adapters_that_are_no_plain_lora_are_refused(option: dict[str, object], tmp_path: Path) -> None:
    world = tiny_world()
    save(written(world), tmp_path)
    told = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**told, **option}))
    with pytest.raises(BadMemory, match="plain LoRA"):
        load(world, tmp_path)
