"""`sfvgen bench dream`: what is timed is what it says."""

import json
from pathlib import Path

import pytest
import torch
from dream_fakes import arm_world

from sfvgen_envs.dream import DreamConfig
from sfvgen_experiments.bench.dream import OFF, STAND_IN, bars, main, stepping
from sfvgen_experiments.bench.pixel_unet import pixel_unet_of, size
from sfvgen_planner.errors import BadOption


def test_a_line_an_arm_and_the_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arm_world().save_pretrained(tmp_path / "world")
    out = tmp_path / "dream.json"
    result = main(str(tmp_path / "world"), rows=(1, 2), every=(1, 2), repeats=2, threads=1, denoise=1, out=str(out))
    assert json.loads(out.read_text()) == result
    assert [(row["rows"], row["arm"]) for row in result["rows"]] == [
        (rows, arm) for rows in (1, 2) for arm in (OFF, "every 1 chunks", "every 2 chunks", STAND_IN)
    ]
    assert all(row["steps_per_second"] > 0 for row in result["rows"])
    assert "wanted" in capsys.readouterr().out
    with pytest.raises(BadOption):
        main(rows=(0,))


def test_every_repeat_does_the_same() -> None:
    world, config = arm_world(), DreamConfig()
    way = stepping(world, "reach", 2, config, 9)
    seen = [way(), way()]
    assert torch.equal(seen[0].latents, seen[1].latents)
    assert seen[0].elapsed.tolist() == [17, 17]


def test_the_stand_in_has_about_as_many_parameters() -> None:
    for wanted in (500_000, 2_300_000):
        unet = pixel_unet_of(wanted, 4)
        assert abs(size(unet) / wanted - 1) < 0.35
    past = torch.randn(2, 4, 3, 16, 16)
    assert unet.step(past, torch.zeros(2, 4, 4)).shape == (2, 3, 16, 16)


def test_bars_are_met_or_not() -> None:
    def row(rows: int, arm: str, ms: float, times: float, extra: float | None) -> dict[str, object]:
        told = None if extra is None else {"mean": extra}
        return {"rows": rows, "arm": arm, "ms_per_row": ms, "times_the_stand_in": {"mean": times}, "extra": told}

    good = [row(1, OFF, 3.0, 5.0, None), row(32, OFF, 2.0, 25.0, None), row(32, "every 4 chunks", 2.2, 20.0, 0.1)]
    bad = [row(1, OFF, 1.0, 5.0, None), row(32, OFF, 2.0, 12.0, None), row(32, "every 4 chunks", 4.0, 6.0, 1.0)]
    assert all(line.endswith(": met") for line in bars(good))
    assert all(line.endswith(": NOT MET") for line in bars(bad))
    assert len(bars(good)) == len(bars(bad)) == 3
