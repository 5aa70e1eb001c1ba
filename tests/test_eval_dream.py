"""`sfvgen eval where=[dream,real]`: the same episodes in both, and how alike they order agents."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from dream_fakes import arm_world

from sfvgen_experiments.evaluate import Eval, evaluate, main
from sfvgen_experiments.ranking import ranking, spearman
from sfvgen_experiments.rows import Row
from sfvgen_planner.errors import BadOption


class Push:
    """Always the same action."""

    def __init__(self, strength: float = 0.2) -> None:
        self.strength = strength

    def reset(self, observation: Any, info: Any) -> None:
        assert set(info) <= {"instruction", "goal"}

    def act(self, observation: Any, info: Any) -> Any:
        return np.full(4, self.strength)


@pytest.fixture
def config(tmp_path: Path) -> Any:
    arm_world().save_pretrained(tmp_path / "world")

    def made(**changes: Any) -> Eval:
        plain: dict[str, Any] = {
            "agent": ("random", f"{__name__}:Push"),
            "tasks": "reach",
            "lengths": "short",
            "episodes": 2,
            "workers": 0,
            "size": 16,
            "where": ("dream", "real"),
            "world": str(tmp_path / "world"),
            "out": str(tmp_path / "out"),
        }
        return Eval(**{**plain, **changes})

    return made


def test_the_same_episodes_in_both(config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(config())
    results = json.loads((tmp_path / "out/results.json").read_text())
    jsonschema.validate(results, json.loads((files("sfvgen_envs") / "suites/v0/results.schema.json").read_text()))
    dreams, real = ([row for row in results["rows"] if row["where"] == where] for where in ("dream", "real"))
    assert [row["seed"] for row in dreams] == [row["seed"] for row in real]
    assert {row["waypoint_distance"] for row in dreams} == {None}
    assert all(row["waypoint_distance"] > 0 for row in real)
    assert all(row["return"] != other["return"] for row, other in zip(dreams, real, strict=True))
    printed = capsys.readouterr().out
    assert "random (dream)" in printed
    assert "random (real)" in printed
    assert results["ranking"] == []  # two agents order nothing


def test_real_rows_do_not_hang_on_the_world_and_dreams_do(config: Any, tmp_path: Path) -> None:
    evaluate(config(where="real"))
    lying = {path.name: path.read_bytes() for path in (tmp_path / "out/rows").iterdir()}
    evaluate(config())
    assert {name: (tmp_path / "out/rows" / name).read_bytes() for name in lying} == lying
    count = len(list((tmp_path / "out/rows").iterdir()))
    evaluate(config())
    assert len(list((tmp_path / "out/rows").iterdir())) == count
    evaluate(config(steps=2))
    assert len(list((tmp_path / "out/rows").iterdir())) == count + 2


def test_three_agents_are_ordered(config: Any) -> None:
    results = evaluate(config(agent="random", seeds=(0, 1, 2), episodes=1))
    (found,) = results["ranking"]
    assert (found["task"], found["length"], found["agents"]) == ("reach", "short", 3)


def test_what_a_dream_has_not_is_refused(config: Any) -> None:
    with pytest.raises(BadOption, match="expert, who sees"):
        evaluate(config(agent="expert"))
    with pytest.raises(BadOption, match="size=24"):
        evaluate(config(size=24))
    with pytest.raises(BadOption, match="steps=0"):
        evaluate(config(steps=0))


def test_spearman_is_known_where_it_is_known() -> None:
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert spearman(a, a**3) == 1.0
    assert spearman(a, -a) == -1.0
    assert spearman(a, np.array([2.0, 1.0, 4.0, 3.0])) == pytest.approx(0.6)  # 1 - 6 * 4 / (4 * 15)
    assert spearman(np.array([1.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(0.8660254)
    assert spearman(a, np.ones(4)) == 0.0


def test_agents_are_ordered_by_their_means_over_episodes() -> None:
    def row(agent: str, where: str, seed: int, total: float) -> Row:
        return Row(agent, where, "reach", "short", 0, seed, 0, False, total, 0.0, 1, 0.0)

    means = {"a": (0.0, 1.0), "b": (1.0, 2.0), "c": (2.0, 3.0)}
    rows = [row(who, "dream", 0, means[who][0]) for who in means] + [
        row(who, "real", seed, means[who][1] + wobble) for who in means for seed, wobble in enumerate((-5.0, 5.0))
    ]
    (found,) = ranking(rows)
    assert found["spearman"]["mean"] == 1.0
