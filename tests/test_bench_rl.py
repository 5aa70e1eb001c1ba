"""`sfvgen bench rl`: trained in the dream and in the truth, judged in the truth."""

import json
from pathlib import Path
from typing import Any

import pytest
from dream_fakes import ARM
from world_fakes import tiny_world

from sfvgen_experiments import rl
from sfvgen_experiments.bench.rl import bars, main
from sfvgen_planner.errors import BadOption


def arm(success: float, gained: float) -> dict[str, Any]:
    return {"success": {"mean": success}, "return": {"mean": gained}}


@pytest.mark.parametrize(
    ("dream", "true", "chance", "enough", "more"),
    [
        (arm(0.8, 3.1), arm(1.0, 3.0), arm(0.0, 1.0), True, True),
        (arm(0.7, 2.9), arm(1.0, 3.0), arm(0.0, 1.0), False, False),
        (arm(0.4, 0.5), arm(0.4, 3.0), arm(0.0, -1.0), None, True),
        (arm(0.0, -0.5), arm(0.0, 3.0), arm(0.0, -1.0), None, False),
    ],
)
def test_bars(dream: Any, true: Any, chance: Any, enough: bool | None, more: bool) -> None:
    """Nothing is said of success where the true training itself fails; a loss is never three times one."""
    found = bars({"a dream": dream, "true task": true, "chance": chance})
    assert set(found) == {"a dream"}
    assert (found["a dream"]["enough success"], found["a dream"]["enough return"]) == (enough, more)


def test_it_trains_both_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rl, "PIXELS", 16)
    tiny_world(body=ARM).save_pretrained(tmp_path / "world")
    asked: dict[str, Any] = {"world": str(tmp_path / "world"), "steps": 64, "rows": 4, "episodes": 2, "threads": 1}
    result = main(seeds=2, rewards=("goal",), out=str(tmp_path), **asked)
    assert json.loads((tmp_path / "reach.json").read_text()) == result
    assert [one["success"]["n"] for one in result["arms"].values()] == [4, 4, 2]
    said = capsys.readouterr().out
    assert said.count("a second: about") == 4
    assert "3 times chance's return" in said
    once = (tmp_path / "reach-dream-goal-reward-0/policy.zip").stat().st_mtime_ns
    assert main(seeds=2, rewards=("goal",), out=str(tmp_path), **asked) == result
    assert capsys.readouterr().out.count("finished before") == 4
    tiny_world(body=ARM, seed=1).save_pretrained(tmp_path / "world")
    main(seeds=1, rewards=("goal",), out=str(tmp_path), **asked)
    assert (tmp_path / "reach-dream-goal-reward-0/policy.zip").stat().st_mtime_ns != once


def test_bad_options() -> None:
    with pytest.raises(BadOption, match="each reward once"):
        main(rewards=("goal", "goal"))
