"""`sfvgen rl`: a policy trains in a dream and is judged outside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dream_fakes import ARM
from world_fakes import tiny_world

from sfvgen_experiments import rl
from sfvgen_experiments.rl import Rl, main
from sfvgen_planner.errors import BadOption, UnknownName


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tiny world dreams 16 pixels, so the truth is shown in as many."""
    monkeypatch.setattr(rl, "PIXELS", 16)
    tiny_world(body=ARM).save_pretrained(tmp_path / "world")

    def made(**changes: Any) -> Rl:
        plain: dict[str, Any] = {
            "world": str(tmp_path / "world"),
            "steps": 1024,
            "rows": 32,
            "observe": ("pose",),
            "denoise": 1,
            "evaluate": 512,
            "episodes": 2,
            "threads": 1,
            "out": str(tmp_path / "out"),
        }
        return Rl(**{**plain, **changes})

    return made


def test_it_trains_in_the_dream_and_is_judged_outside(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = main(config())
    first, *_, last = capsys.readouterr().out.strip().splitlines()
    assert "1024 steps at" in first
    assert "in the dream" in first
    assert "random" in last
    assert json.loads((tmp_path / "out/rl.json").read_text()) == json.loads(json.dumps(result))
    assert (tmp_path / "out/policy.zip").is_file()
    assert list((tmp_path / "out/tensorboard").glob("events*"))
    curve = np.load(tmp_path / "out/evaluations.npz")
    assert curve["timesteps"].tolist() == [512, 1024]
    assert curve["results"].shape == (2, 2)
    assert curve["successes"].shape == (2, 2)
    assert result["true task"]["policy"]["return"]["n"] == 2


def test_same_seed_same_policy(config: Any) -> None:
    once, again, other = (main(config(seed=seed))["true task"]["policy"]["return"] for seed in (1, 1, 2))
    assert once == again
    assert once != other


def test_in_the_true_task_and_with_sac(config: Any, capsys: pytest.CaptureFixture[str]) -> None:
    main(config(where="real", algo="sac", steps=64, evaluate=0))
    said = capsys.readouterr().out
    assert "in the true task;" in said
    assert "random" not in said


def test_a_memory_and_a_penalty_arrive(config: Any) -> None:
    rows = rl.training_rows(config(memory="paper", every=2, penalty=0.5)).unwrapped
    assert rows.dream.config.memory is not None
    assert (rows.dream.config.every, rows.dream.config.doubts, rows.dream.config.penalty) == (2, True, 0.5)


def test_finished_policies_meet_the_same_episodes(config: Any) -> None:
    """Chance plays alike wherever and with whatever seed a policy was trained."""
    once, other = (
        main(config(seed=seed, where=where, steps=64, rows=4))["true task"]["random"]
        for seed, where in ((0, "real"), (1, "dream"))
    )
    assert once == other


@pytest.mark.parametrize(("updates", "rows", "wanted"), [(0.5, 16, 8), (1.0, 4, 4), (0.1, 4, 1)])
def test_updates_go_with_steps(config: Any, updates: float, rows: int, wanted: int) -> None:
    assert rl.often(config(updates=updates, rows=rows))["gradient_steps"] == wanted


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"task": "reech"}, UnknownName, "'reach'"),
        ({"memory": "papr"}, UnknownName, "'paper'"),
        ({"steps": 0}, BadOption, "1 or more"),
        ({"observe": ("pose", "features")}, BadOption, "features"),
        ({"where": "real", "reward": "goal"}, BadOption, "its own reward"),
        ({"updates": 0.0}, BadOption, "above 0"),
    ],
)
def test_bad_options(config: Any, changes: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        main(config(**changes))
