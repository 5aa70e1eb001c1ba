"""Whole episodes into a bank: as one would remember them alone, resumed, and by the commands."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from memory_fakes import SMALL
from world_fakes import tiny_world, toy_episode, toy_set

from sfvgen_experiments.banking import (
    Add,
    Export,
    Forget,
    Import,
    Merge,
    Recall,
    Show,
    add,
    add_set,
    export,
    forget,
    import_from,
    listing,
    merge,
    recall,
    show,
    verify,
)
from sfvgen_planner.errors import BadCheckpoint, BadMemory, BadOption
from sfvgen_planner.learning.remembering import Watched, known, remember_all, watched
from sfvgen_planner.memory import Bank, Memory, Seen, remember, start, view_of
from sfvgen_planner.memory.files import WEIGHTS
from sfvgen_planner.types import Episode
from sfvgen_planner.world.model import WorldModel

HOW = replace(SMALL, updates=2)


@pytest.fixture(scope="module")
def world() -> WorldModel:
    return tiny_world().double()


def seen_by(world: WorldModel, episodes: list[Episode], most: int | None = None) -> Watched:
    """In double precision, so that equal means equal."""
    some = watched(world, episodes, "toy", "fixed", most)
    told = {name: getattr(some.facts, name).double() for name in ("vectors", "poses", "fovy")}
    return replace(some, latents=some.latents.double(), facts=replace(some.facts, **told))


def begun(world: WorldModel, seeds: list[int]) -> Memory:
    return start(world, HOW, len(seeds), seeds=torch.tensor(seeds))


def test_episodes_of_any_lengths_are_remembered_as_each_would_be_alone(world: WorldModel) -> None:
    episodes = [toy_episode(number, steps) for number, steps in ((0, 40), (1, 23))]
    together = seen_by(world, episodes)
    assert together.lengths.tolist() == [41, 24]
    windows = together.windows(world.config.past)
    assert [window.weights.tolist() for window in windows] == [[1, 1], [1, 1], [1, 0], [1, 0]]
    both = remember_all(world, begun(world, [5, 6]), windows)
    for row, episode in enumerate(episodes):
        own = seen_by(world, [episode]).windows(world.config.past)
        alone = remember_all(world, begun(world, [5 + row]), own)
        for name, value in alone.trained.weights.items():
            torch.testing.assert_close(both.trained.weights[name][row : row + 1], value, rtol=1e-8, atol=1e-10)
        assert alone.trained.steps.tolist() == [both.trained.steps[row]]


def test_windows_are_the_past_and_the_chunk_with_what_led_into_them(world: WorldModel) -> None:
    episode = toy_episode(3, 30)
    one = seen_by(world, [episode], most=26)
    (first, second) = one.windows(8)
    assert (first.past, first.frames, one.lengths.tolist()) == (8, 16, [26])
    expected = world.codec.encode(torch.from_numpy(episode.pixels[8:24]))
    torch.testing.assert_close(second.latents[0], expected)
    assert torch.equal(second.facts.vectors[0].float(), torch.from_numpy(episode.actions[7:23]))
    assert len(one.windows(8, every=2)) == 1


def test_what_was_remembered_has_a_lower_loss_and_noise_of_its_own(world: WorldModel) -> None:
    windows = seen_by(world, [toy_episode(0, 40)]).windows(8)
    before = begun(world, [1])
    after = remember_all(world, before, windows)
    assert known(world, after, windows)[0] < known(world, before, windows)[0]
    assert known(world, after, windows) == known(world, after, windows)


def test_an_episode_shorter_than_a_window_is_named(world: WorldModel) -> None:
    with pytest.raises(BadMemory, match=r"episodes of \[15\] frames"):
        watched(world, [toy_episode(0, 14)], "toy", "fixed")


def test_the_view_of_a_bank_is_how_the_episode_began(tmp_path: Path) -> None:
    world = tiny_world()
    dataset = toy_set(tmp_path / "toy", episodes=3, steps=20)
    bank = Bank.begun(tmp_path / "bank", world)
    names = add_set(bank, world, str(tmp_path / "toy"), Add(updates=1, draws=1, rank=2, rows=2))
    for number, name in enumerate(names):
        entry = bank.entry(name)
        assert entry.card.episode == number
        assert entry.card.frames == 21
        view = view_of(world, "toy", dataset[number].pixels[0], dataset[number].poses[0])
        assert (entry.card.view.numbers == view.numbers).all()
    rest = Add(updates=1, draws=1, rank=2, rows=3)
    assert add_set(bank, world, str(tmp_path / "toy"), rest) == [], "they are there"
    other = add_set(bank, world, str(tmp_path / "toy"), replace(rest, rate=0.01, first=1, episodes=1))
    assert [bank.entry(name).card.episode for name in other] == [1], "another way of writing is another memory"


def test_the_commands_from_adding_to_forgetting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = {name: str(tmp_path / name) for name in ("toy", "world", "bank", "copy", "third")}
    toy_set(tmp_path / "toy", episodes=3, steps=20)
    tiny_world().save_pretrained(root["world"])
    add(Add(data=(root["toy"],), bank=root["bank"], world=root["world"], updates=1, draws=1, rank=2, threads=1))
    assert "3 memories more" in capsys.readouterr().out
    listing(root["bank"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    name = lines[1].split()[0]
    show(Show(name[:-1], root["bank"]))
    assert json.loads(capsys.readouterr().out)["frames"] == 21
    recall(Recall(root["toy"], 1, bank=root["bank"], world=root["world"], k=2))
    found = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [line[1:3] for line in found] == [["0.500", "0.0000"]] * 2, "all of these episodes begin alike"
    assert {line[0] for line in found} <= Bank(root["bank"]).entries.keys()
    merge(Merge(tuple(line.split()[0] for line in lines[1:3]), bank=root["bank"]))
    assert "of 2 memories" in capsys.readouterr().out
    export(Export(root["copy"], (name,), root["bank"]))
    import_from(Import(root["copy"], bank=root["third"], world=root["world"]))
    assert list(Bank(root["third"]).entries) == [name]
    verify(root["third"])
    path = tmp_path / "third" / "memories" / name / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadCheckpoint, match="1 broken"):
        verify(root["third"])
    forget(Forget((name,), root["third"]))
    verify(root["third"])
    assert "0 memories" in capsys.readouterr().out.splitlines()[-1]
    with pytest.raises(BadOption, match="names"):
        merge(Merge((name, name), bank=root["bank"]))
    with pytest.raises(BadOption, match="episode 7"):
        recall(Recall(root["toy"], 7, bank=root["bank"], world=root["world"]))


def test_facts_of_rows_drawn_out_stay_those_of_the_last_frame(world: WorldModel) -> None:
    some = seen_by(world, [toy_episode(0, 40), toy_episode(1, 23)])
    assert torch.equal(some.facts.poses[1, 24:], some.facts.poses[1, 23:24].expand(17, -1))
    last = Seen(some.latents[:, 24:40], some.facts[24:40], 8, torch.tensor([1.0, 0.0]).double())
    memory = begun(world, [0, 0])
    after = remember(world, memory, last)
    assert all(torch.equal(value[1], memory.trained.weights[name][1]) for name, value in after.trained.weights.items())
