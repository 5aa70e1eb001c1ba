"""Recall on real tasks is told by how long ago a view was seen, and without, with, and with another's memory."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from world_fakes import PHRASES, tiny_world, toy_episode

from sfvgen_experiments.bench.memory import ages_of, gains, main, read
from sfvgen_planner.data import Dataset, Description, VectorActions
from sfvgen_planner.errors import BadOption, UnknownName
from sfvgen_planner.world.pose import turned_by


def panning(angles: list[float]) -> torch.Tensor:
    """[1, T, 7] of a camera on a tripod."""
    turn = turned_by(torch.tensor([[0.0, angle, 0.0] for angle in angles], dtype=torch.float64))
    return torch.cat([torch.zeros(len(angles), 3).double(), turn], -1)[None]


def test_a_view_is_as_old_as_its_last_look() -> None:
    degrees = [0, 10, 20, 30, 20, 10, 0, -30]  # four are seen; then back, past the start
    poses = panning([float(np.deg2rad(angle)) for angle in degrees])
    assert ages_of(poses, 4, 20.0, 1.0).tolist() == [[2, 4, 6, -1]]
    poses[:, 4:, 0] = 0.2
    assert (ages_of(poses, 4, 20.0, 1.0) == -1).all(), "the same direction from elsewhere is another view"
    assert (ages_of(poses, 4, 20.0, 10.0)[0, :3] > 0).all(), "elsewhere is measured in the body's lengths"


def test_gains_are_means_over_episodes_that_have_such_frames() -> None:
    off, own = np.zeros((3, 4)), np.array([[1.0, 3, 9, 9], [9, 9, 9, 9], [5, 5, 5, 5]])
    chosen = np.array([[True, True, False, False], [False] * 4, [True, False, False, False]])
    told = gains({"off": off, "own": own, "other": off}, chosen)
    assert told["episodes"] == 2
    assert told["own"].mean == pytest.approx((2 + 5) / 2)
    assert gains({"off": off, "own": own, "other": off}, chosen & False) == {"episodes": 0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A tiny world, and a test split of two episodes."""
    root = tmp_path_factory.mktemp("memory")
    tiny_world(process="clean").save_pretrained(root / "world")
    actions = VectorActions.of((-1.0, -1.0), (1.0, 1.0))
    about = Description("toy/square-v0", "toy", picture=(16, 16), actions=actions, pose_size=9, phrases=PHRASES)
    with Dataset.create(root / "test", about) as dataset:
        for number in range(2):
            one = toy_episode(number, 40)
            dataset.append(replace(one, card={**one.card, "split": "test"}))
    return str(root / "world"), str(root / "test")


@pytest.mark.slow
def test_the_command_tells_every_age_and_arm(folders: tuple[str, str], tmp_path: Path) -> None:
    world, data = folders
    asked = {"seen": 24, "dreamt": 16, "steps": 1, "threads": 1, "out": str(tmp_path / "memory.json")}
    told = main(world, (data,), ("paper",), **asked)  # type: ignore[arg-type]
    assert told == json.loads((tmp_path / "memory.json").read_text())
    figures = told["rows"]["test, paper"]
    for kind in ("foreseen poses", "true poses"):
        row = figures[kind]["seen 8 to 39 frames ago"]
        assert row["episodes"] == 2
        assert {"off", "own", "other"} <= row.keys()
    assert figures["bytes_an_episode"] > 0


def test_bad_input_is_named(folders: tuple[str, str]) -> None:
    world, data = folders
    with pytest.raises(UnknownName, match="preset=papr"):
        main(world, (data,), ("papr",))
    with pytest.raises(BadOption, match="whole chunks"):
        main(world, (data,), seen=25)
    with pytest.raises(BadOption, match="frames"):
        read(tiny_world(), Dataset(data), 12, 120, 48)
