"""A loop's folder is its world, and memories begin where it learned to begin."""

from dataclasses import replace
from pathlib import Path

import torch
from memory_fakes import SMALL, world_of

from sfvgen_experiments.looped import Looped
from sfvgen_planner.memory import save, start


def test_memories_begin_where_the_loop_learned_to_begin(tmp_path: Path) -> None:
    world = world_of().float()
    fresh = start(world, SMALL, 1)
    first = {name: value + 0.1 for name, value in fresh.start.items()}
    pace = {name: torch.tensor(2.0) for name in first}
    learned = replace(fresh, trained=type(fresh.trained).fresh(first), start=first, pace=pace)
    world.save_pretrained(tmp_path / "world")
    save(learned, tmp_path / "start")
    memory = Looped.of(str(tmp_path)).begin(SMALL, 3)
    assert memory.rows == 3
    for name, value in memory.start.items():
        torch.testing.assert_close(value, first[name])
        assert memory.pace is not None
        assert float(memory.pace[name]) == 2
    alone = Looped.of(str(tmp_path)).begin(replace(SMALL, variant="off"), 1)
    assert alone.pace is None, "who writes nothing begins with nothing"


def test_a_world_by_itself_teaches_no_beginning(tmp_path: Path) -> None:
    world = world_of().float()
    world.save_pretrained(tmp_path / "plain")
    looped = Looped.of(str(tmp_path / "plain"))
    assert looped.learned is None
    assert looped.begin(SMALL, 2).version == start(looped.world, SMALL, 2).version
