"""The bank keeps memories whole, finds them by places, and gives nothing out that is not what was kept."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from bank_fakes import card, filled, memory_of, place
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_fakes import seen
from peft import PeftModel
from world_fakes import tiny_world

from sfvgen_planner.data import atomic
from sfvgen_planner.errors import BadCheckpoint, BadMemory, SfvgenError, UnknownName
from sfvgen_planner.memory import PRESETS, Bank, Card, Memory, load, remember, start, view_of
from sfvgen_planner.memory.bank import CARD, INDEX
from sfvgen_planner.memory.files import CONFIG, WEIGHTS
from sfvgen_planner.memory.nearest import Group
from sfvgen_planner.world.model import WorldModel


@pytest.fixture(scope="module")
def world() -> WorldModel:
    return tiny_world()


def same(one: Memory, other: Memory) -> bool:
    mine, theirs = one.trained.weights, other.trained.weights
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def contents(root: Path) -> dict[str, bytes]:
    """All files of a bank's memories."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("memories/*/*")}


def test_what_is_kept_comes_back_here_and_in_another_process(world: WorldModel, tmp_path: Path) -> None:
    memory, told = memory_of(world, 0), card(0, data="somewhere", episode=3)
    with Bank.begun(tmp_path, world) as bank:
        name = bank.add(memory, told)
    for again in (bank, Bank(tmp_path, world), Bank(tmp_path)):
        assert same(again.load(name), memory)
        entry = again.entry(name)
        assert (entry.config, entry.world) == (memory.config, memory.world)
        assert np.array_equal(entry.card.view.numbers, told.view.numbers)
        assert (entry.card.frames, entry.card.loss, entry.card.scene) == (24, 0.5, "scene 0")
        assert (entry.card.data, entry.card.episode) == ("somewhere", 3)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_fits_on_a_card_that_is_plain_json(preset: str, tmp_path: Path) -> None:
    world = tiny_world(process="clean")
    bank = Bank.begun(tmp_path, world)
    name = bank.add(start(world, PRESETS[preset], 1), card(0))
    text = (tmp_path / "memories" / name / CARD).read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert Bank(tmp_path, world).load(name).config == PRESETS[preset]


def test_a_kept_memory_is_a_peft_adapter_and_goes_on_where_its_config_does(world: WorldModel, tmp_path: Path) -> None:
    bank = Bank.begun(tmp_path, world)
    memory = memory_of(world, 0)
    name = bank.add(memory, card(0))
    adapted = PeftModel.from_pretrained(tiny_world().denoiser, str(tmp_path / "memories" / name))
    weight = adapted.state_dict()["base_model.model.blocks.0.q.lora_A.default.weight"]
    assert torch.equal(weight, memory.factors.down["blocks.0.q"][0])
    assert same(load(world, tmp_path / "memories" / name), memory)
    further = remember(world, bank.load(name), seen(world, 1))
    assert further.trained.steps.tolist() == [memory.config.updates]


def test_equal_content_has_one_name_and_is_kept_once(world: WorldModel, tmp_path: Path) -> None:
    bank = Bank.begun(tmp_path, world)
    one, again = (bank.add(memory_of(world, 0), card(0)) for _ in range(2))
    assert one == again
    assert len(bank) == len(Bank(tmp_path)) == 1
    assert bank.add(memory_of(world, 0), card(1)) != one, "the card is content too"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=st.sampled_from([WEIGHTS, CONFIG, CARD]), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_caught(
    world: WorldModel, file: str, place: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("bank")
    name = Bank.begun(root, world).add(memory_of(world, 0), card(0))
    assert Bank(root).verify() == {}
    path = root / "memories" / name / file
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    (root / INDEX).unlink(missing_ok=True)
    assert list(Bank(root).verify()) == [name]
    with pytest.raises(SfvgenError):
        Bank(root, world).load(name)
    broken = Bank(root)
    broken.forget([name])
    assert broken.verify() == {}


def test_a_kill_between_files_leaves_the_old_state(
    world: WorldModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = Bank.begun(tmp_path, world)
    kept = bank.add(memory_of(world, 0), card(0))
    before = contents(tmp_path)

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)  # a killed process tidies nothing up
    for step in ("rename", "write_text"):  # before the folder has its name, before its card is written
        with monkeypatch.context() as patch:
            patch.setattr(Path, step, killed)
            with pytest.raises(KeyboardInterrupt):
                bank.add(memory_of(world, 1), card(1))
    monkeypatch.undo()
    assert any(path.name.startswith(".partial-") for path in (tmp_path / "memories").iterdir())
    with Bank(tmp_path, world) as again:
        assert list(again.entries) == [kept]
        assert again.verify() == {}
    assert contents(tmp_path) == before, "what was half written is swept away"


def test_a_process_killed_while_it_writes_leaves_nothing_that_counts(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from sfvgen_planner.data.atomic import building
with building(Path({str(tmp_path)!r})) as folder:
    (folder / "first").write_text("whole")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".partial-")
    assert (left / "first").exists()
    atomic.sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_living_are_not_swept(tmp_path: Path) -> None:
    with atomic.building(tmp_path) as folder:
        (folder / "file").write_text("half")
        atomic.sweep(tmp_path)
        assert (folder / "file").exists()
        atomic.settle(folder, tmp_path / "whole", tmp_path / ".lock")
    assert (tmp_path / "whole" / "file").read_text() == "half"
    with atomic.building(tmp_path) as folder, pytest.raises(FileExistsError):
        atomic.settle(folder, tmp_path / "whole", tmp_path / ".lock")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "whole"]


def test_an_index_that_is_lost_torn_or_behind_is_made_again(world: WorldModel, tmp_path: Path) -> None:
    names = sorted(filled(Bank.begun(tmp_path, world), world, 3))
    index = tmp_path / INDEX
    assert sorted(Bank(tmp_path).entries) == names
    whole = index.read_text()
    for text in ("", whole[: len(whole) // 2], whole.splitlines(keepends=True)[0], whole * 2):
        index.write_text(text)
        assert sorted(Bank(tmp_path).entries) == names
        assert index.read_text() in (whole, whole * 2)
    shutil.rmtree(tmp_path / "memories" / names[0])
    assert sorted(Bank(tmp_path).entries) == names[1:]


def test_what_is_forgotten_is_gone(world: WorldModel, tmp_path: Path) -> None:
    bank = Bank.begun(tmp_path, world)
    names = filled(bank, world, 3)
    assert list(bank.recall(place(1)).weights) == [names[1]]
    bank.forget([names[1]])
    for again in (bank, Bank(tmp_path, world)):
        assert names[1] not in again.entries
        assert list(again.recall(place(1.1)).weights) == [names[2]]
        with pytest.raises(UnknownName, match="memory"):
            again.load(names[1])
    assert not [path for path in contents(tmp_path) if names[1] in path]


def test_the_order_of_import_does_not_matter(world: WorldModel, tmp_path: Path) -> None:
    one, other = (Bank.begun(tmp_path / name, world) for name in ("one", "other"))
    one_names = filled(one, world, 2)
    other.add(memory_of(world, 7), card(5))
    other.add(memory_of(world, 1), card(1))  # in both
    found = []
    for number, order in enumerate((("one", "other"), ("other", "one"), ("one", "other", "one"))):
        with Bank.begun(tmp_path / str(number), world) as bank:
            for name in order:
                bank.take(tmp_path / name)
        answer = bank.recall(place(0.6), 3)
        found.append((contents(tmp_path / str(number)), (tmp_path / str(number) / INDEX).read_text(), answer))
    assert found[0][:2] == found[1][:2] == found[2][:2]
    assert all(
        same(found[0][2].memory, answer.memory) and found[0][2].weights == answer.weights for *_, answer in found
    )
    one.export(tmp_path / "copy", one_names[:1])
    assert list(Bank(tmp_path / "copy").entries) == one_names[:1]


def test_memories_of_another_world_are_refused_unless_forced(world: WorldModel, tmp_path: Path) -> None:
    stranger = tiny_world(seed=1)
    theirs = Bank.begun(tmp_path / "theirs", stranger)
    name = theirs.add(memory_of(stranger, 0), card(0))
    ours = Bank.begun(tmp_path / "ours", world)
    mine = ours.add(memory_of(world, 1), card(9))
    before = contents(tmp_path / "ours")
    for refused in (
        lambda: ours.take(tmp_path / "theirs"),
        lambda: ours.add(memory_of(stranger, 0), card(0)),
        lambda: Bank(tmp_path / "theirs", world).load(name),
    ):
        with pytest.raises(BadMemory, match="force"):
            refused()
    with pytest.raises(BadMemory, match="0 memories of 'toy' in this world, 1 in all"):
        Bank(tmp_path / "theirs", world).recall(place(0))
    assert contents(tmp_path / "ours") == before
    ours.take(tmp_path / "theirs", force=True)
    assert list(ours.recall(place(0)).weights) == [mine]
    forced = ours.recall(place(0), force=True)
    assert list(forced.weights) == [name]
    remember(world, forced.memory, seen(world, 1))  # it is this world's now


def test_a_broken_memory_is_not_imported_and_nothing_beside_it(world: WorldModel, tmp_path: Path) -> None:
    names = filled(Bank.begun(tmp_path / "theirs", world), world, 2)
    path = tmp_path / "theirs" / "memories" / names[1] / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])
    ours = Bank.begun(tmp_path / "ours", world)
    with pytest.raises(BadCheckpoint, match="Forget it"):
        ours.take(tmp_path / "theirs")
    assert len(ours) == 0
    assert contents(tmp_path / "ours") == {}
    assert ours.take(tmp_path / "theirs", names[:1]) == names[:1]


def test_what_cannot_be_is_named(world: WorldModel, tmp_path: Path) -> None:
    with pytest.raises(BadMemory, match="where no bank is"):
        Bank(tmp_path / "nowhere")
    bank = Bank.begun(tmp_path / "bank", world)
    with pytest.raises(BadMemory, match="0 memories"):
        bank.recall(place(0))
    with pytest.raises(BadMemory, match="rows"):
        bank.add(start(world, memory_of(world, 0).config, 2), card(0))
    with pytest.raises(BadMemory, match="frames"):
        card(0, frames=0)
    names = filled(bank, world, 2)
    with pytest.raises(UnknownName, match="as 2 begin"):
        bank.find("toy")
    assert bank.find(names[0][:-2]) == names[0]
    with pytest.raises(BadMemory, match="memories of 'car'"):
        bank.recall(place(0, "car"))
    assert len(bank) == 2
    assert sorted(os.listdir(tmp_path / "bank" / "memories")) == sorted(names)


def test_a_place_is_recognised_by_its_looks_and_by_where_one_stands(world: WorldModel) -> None:
    rng = np.random.default_rng(0)
    picture, other = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    here = np.array([0, 0, 0, 1, 0, 0, 0, 5, 5], np.float32)
    turned = np.array([0, 0, 0, np.cos(np.pi / 6), 0, np.sin(np.pi / 6), 0, 5, 5], np.float32)

    def away(pixels: object, pose: object) -> float:
        numbers = [view_of(world, "toy", *one).numbers.astype(float) for one in ((picture, here), (pixels, pose))]
        return float(np.linalg.norm(numbers[0] - numbers[1]))

    nearly = np.clip(picture.astype(int) + 2, 0, 255).astype(np.uint8)
    assert away(picture, here) == 0
    assert away(nearly, here) < away(other, here)
    assert away(picture, turned) == pytest.approx(1, abs=0.01), "sixty degrees"
    assert away(picture, here + np.eye(9, dtype=np.float32)[0] * world.encoder.layout["toy"].length) == pytest.approx(
        1, abs=0.01
    )
    assert away(picture, np.concatenate([here[:3], -here[3:7], here[7:]])) == 0, "q and -q are one turn"
    with pytest.raises(BadMemory, match="quaternion"):
        view_of(world, "toy", picture, np.zeros(9, np.float32))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), st.integers(-60, 60), st.integers(1, 12))
def test_the_nearest_are_those_that_looking_at_each_would_find(places: list[int], here: int, k: int) -> None:
    views = np.stack([place(number).numbers for number in places]).astype(np.float32)
    found = Group([str(number) for number in range(len(places))], views).nearest(place(here), k)
    away = np.abs(np.array(places) - here)
    assert list(found.values()) == sorted(away)[:k]
    assert all(found[name] == away[int(name)] for name in found)
    assert next(iter(found)) == str(int(np.argmin(away))), "of equals the first"


def test_a_card_without_a_loss_is_a_card() -> None:
    assert Card(place(0), 8).loss is None
