"""The bench of a bank measures what it says, and leaves nothing but its figures behind."""

import json
from pathlib import Path

import pytest
from world_fakes import tiny_world

from sfvgen_experiments.bench.bank import main
from sfvgen_planner.errors import BadOption


def test_every_figure_is_there_and_the_bank_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_world().save_pretrained(tmp_path / "world")
    out = tmp_path / "bench" / "bank.json"
    told = main(str(tmp_path / "world"), memories=5, k=(1, 3), repeats=2, out=str(out))
    assert told == json.loads(out.read_text())
    assert {"keep one", "open", "open, index lost", "recall 1", "recall 3"} <= told["milliseconds"].keys()
    assert all(found["clock"] > 0 for found in told["milliseconds"].values())
    assert told["bytes a memory"] > 0
    assert [path.name for path in out.parent.iterdir()] == ["bank.json"]
    assert "recall 3" in capsys.readouterr().out
    with pytest.raises(BadOption, match="2 memories"):
        main(memories=2, k=(3,))
