"""A training run: resumed, it goes on as if it had never stopped; bad steps are left out and counted."""

import math
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from sfvgen_planner.errors import BadOption, TrainingDiverged
from sfvgen_planner.learning.run import Run, RunConfig, Step, rate_at

CONFIG = RunConfig(steps=20, rate=1e-2, warmup=4, checkpoint_seconds=1e9)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def loss(net: nn.Module, step: int, process: int) -> tuple[Tensor, dict[str, float]]:
    draw = torch.Generator().manual_seed(1000 * process + step)
    x = torch.randn(16, 3, generator=draw)
    return (net(x) - x.sum(1, keepdim=True)).square().mean(), {}


def run(folder: Path, config: RunConfig = CONFIG) -> Run:
    return Run(model(), config, folder, Accelerator(cpu=True))


def curve(running: Run, until: int, fn: object = loss) -> list[Step]:
    heard: list[Step] = []

    def listen(step: Step) -> None:
        heard.append(step)
        if step.number == until:
            raise KeyboardInterrupt

    try:
        running.train(fn, listen)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        running.save()
    return heard


def test_a_resumed_run_has_the_same_curve_bit_for_bit(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    expected = curve(whole, 20)
    first = curve(run(tmp_path / "parts"), 7)
    resumed = run(tmp_path / "parts")
    assert resumed.step == 7
    assert first + curve(resumed, 20) == expected
    for name, value in whole.average.items():
        assert torch.equal(value, resumed.average[name])


def test_the_schedule_warms_up_and_ends_at_a_hundredth() -> None:
    rates = [rate_at(CONFIG, step) for step in range(21)]
    assert rates[0] == CONFIG.rate / 4
    assert rates[3] == max(rates) == CONFIG.rate
    assert rates[12] == pytest.approx(CONFIG.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 2))))
    assert rates[20] == pytest.approx(CONFIG.rate / 100)


def test_the_average_is_the_weighted_sum_of_what_was(tmp_path: Path) -> None:
    running = run(tmp_path, RunConfig(steps=3, rate=1e-2, warmup=1, average=0.5))
    expected = {name: value.clone() for name, value in running.plain.state_dict().items()}

    def listen(step: Step) -> None:
        keep = min(0.5, step.number / (9 + step.number))
        for name, value in running.plain.state_dict().items():
            expected[name] = keep * expected[name] + (1 - keep) * value

    running.train(loss, listen)
    for name, value in expected.items():
        torch.testing.assert_close(running.average[name], value)


def test_a_bad_step_is_left_out_and_counted(tmp_path: Path) -> None:
    def sometimes(net: nn.Module, step: int, process: int) -> tuple[Tensor, dict[str, float]]:
        value, figures = loss(net, step, process)
        return value * (math.nan if step in (3, 4, 9) else 1), figures

    heard = curve(run(tmp_path), 20, sometimes)
    assert heard[-1].skipped == 3
    assert math.isfinite(heard[-1].loss)


def test_ten_bad_steps_in_a_row_stop_the_run_and_keep_the_last_good_checkpoint(tmp_path: Path) -> None:
    good = run(tmp_path)
    curve(good, 5)
    kept = good.checkpoint.read_bytes()

    def broken(net: nn.Module, step: int, process: int) -> tuple[Tensor, dict[str, float]]:
        value, figures = loss(net, step, process)
        return value * math.inf, figures

    with pytest.raises(TrainingDiverged, match="10 steps in a row"):
        run(tmp_path).train(broken, lambda step: None)
    assert good.checkpoint.read_bytes() == kept


def test_another_seed_does_not_continue_a_run(tmp_path: Path) -> None:
    curve(run(tmp_path), 2)
    with pytest.raises(BadOption, match="seed 1"):
        run(tmp_path, RunConfig(steps=20, seed=1))
