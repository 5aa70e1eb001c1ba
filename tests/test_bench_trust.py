"""`sfvgen bench trust`: same actions in dream and truth; what is chosen by the one, counted in the other."""

import json
from pathlib import Path

import numpy as np
import pytest
from dream_fakes import arm_world, dreams

from sfvgen_envs.dream import DreamConfig
from sfvgen_envs.suites import Suite
from sfvgen_experiments.bench.trust import Dreamt, choosing, dreamt_again, main, ordered, played
from sfvgen_planner.errors import BadOption

SPECS = Suite.load("v0").episodes("reach", "short", 2)


def test_the_expert_is_better_than_chance_in_the_truth() -> None:
    strong, again, weak = (played(SPECS[0], share, 0, 16) for share in (0.0, 0.0, 1.0))
    assert strong.total > weak.total + 1
    np.testing.assert_array_equal(strong.actions, again.actions)
    assert strong.actions.shape[1] == 4
    assert len(strong.actions) <= 30


def test_a_dream_of_all_is_the_dream_of_each() -> None:
    """Also where the true episodes are of different lengths: after its last action nothing counts."""
    world, config = arm_world(), DreamConfig(doubts=True)
    truth = [[played(spec, share, 0, 16) for share in (0.0, 1.0)] for spec in SPECS]
    found = dreamt_again(dreams(4, world, split="test", config=config), truth)
    for episode, row in enumerate(truth):
        for number, one in enumerate(row):
            env = dreams(1, world, split="test", config=config)
            context = {"pixels": one.pixels, "pose": one.pose}
            env.reset(seed=[episode], options={"context": context})
            total = doubt = 0.0
            for action in one.actions:
                _, reward, _, _, info = env.step(action[None])
                total, doubt = total + float(reward[0]), doubt + float(info["uncertainty"][0])
            assert found.total[episode, number] == pytest.approx(total, rel=1e-4)
            assert found.doubt[episode, number] == pytest.approx(doubt, rel=1e-4)


def test_choosing_and_ordering() -> None:
    real = np.array([[3.0, 1.0, 0.0], [3.0, 1.0, 0.0]])
    dream = Dreamt(np.array([[2.0, 5.0, 1.0], [2.0, 1.0, 0.0]]), np.array([[0.0, 4.0, 0.0], [0.0, 0.0, 0.0]]))
    naive, careful = choosing(real, dream, 0.0), choosing(real, dream, 1.0)
    assert (naive["promised"]["mean"], naive["got"]["mean"], naive["gap"]["mean"]) == (3.5, 2.0, 1.5)
    assert (careful["promised"]["mean"], careful["got"]["mean"], careful["gap"]["mean"]) == (2.0, 3.0, -1.0)
    assert ordered(real, real).mean == 1.0
    assert ordered(real, -real).mean == -1.0


def test_it_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arm_world().save_pretrained(tmp_path / "world")
    out = tmp_path / "trust.json"
    result = main(str(tmp_path / "world"), policies=3, episodes=2, denoise=1, threads=1, out=str(out))
    assert json.loads(out.read_text()) == result
    said = capsys.readouterr().out
    assert "6 dreams of 30 steps: about" in said
    assert "wanted" in said
    with pytest.raises(BadOption, match="3 policies"):
        main(policies=2)
