"""What writing many memories at once is worth: `sfvgen bench memory_rows`.

One forward and one backward for all rows, against a loop over plain PEFT adapters, one a row. The loop is given its
best: an adapted denoiser for each row stands ready (the slow weights are shared), so nothing is switched. Weights do
not matter for time, so a fresh causal denoiser is measured; both ways are checked to give equal gradients.
"""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from sfvgen_experiments.bench.report import cell
from sfvgen_experiments.bench.timing import in_turns
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory.config import KINDS
from sfvgen_planner.metrics.statistics import Interval, bootstrap_interval
from sfvgen_planner.world.causal import CausalConfig, CausalDenoiser
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.lowrank import LowRank

Gradients = list[Tensor]


def main(
    rows: tuple[int, ...] = (1, 8, 32),
    frames: tuple[int, ...] = (1, 4, 16),
    rank: int = 7,
    repeats: int = 5,
    dim: int = 128,
    depth: int = 5,
    threads: int = 2,
    device: str = "cpu",
    out: str = "outputs/bench/memory_rows.json",
) -> list[dict[str, Any]]:
    """Prints a line for each number of rows and frames, writes JSON, returns it."""
    if not rows or not frames or min(*rows, *frames, rank, repeats, threads) < 1:
        raise BadOption(f"rows={list(rows)} frames={list(frames)} rank={rank} repeats={repeats}", "1 or more", "Raise.")
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = CausalConfig(dim=dim, depth=depth)
    model = CausalDenoiser(config).eval().to(device).requires_grad_(False)
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    print(f"{'rows':>6}{'tokens a row':>14}{'stacked, ms':>14}{'loop, ms':>12}{'loop / stacked':>24}", flush=True)
    found = []
    for count in rows:
        for length in frames:
            stacked, loop, ratio = measured(model, count, length, rank, repeats)
            tokens = length * config.tokens
            print(f"{count:>6}{tokens:>14}{stacked * 1e3:>14.1f}{loop * 1e3:>12.1f}{cell(ratio, 2):>24}", flush=True)
            found.append({"rows": count, "tokens": tokens, "stacked": stacked, "loop": loop, "ratio": ratio.to_json()})
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    told = {"rank": rank, "dim": dim, "depth": depth, "threads": threads, "device": device, "found": found}
    write_bytes(Path(out), json.dumps(told, indent=2).encode())
    return found


def measured(model: CausalDenoiser, rows: int, frames: int, rank: int, repeats: int) -> tuple[float, float, Interval]:
    """Median seconds of both ways, taken in turns, and the median of their ratios."""
    factors = _factors(model, rows, rank)
    config, device = model.config, model.place.device
    latents = torch.randn(rows, frames, config.channels, config.height, config.width, device=device)
    level = torch.full((rows, frames), 0.8, device=device)
    conditions = Conditions(
        torch.randn(rows, frames, config.frame_size, device=device),
        torch.randn(rows, frames, config.address_size, *config.grid, device=device),
    )
    ways = stacked(model, factors, latents, level, conditions), looped(model, factors, latents, level, conditions)
    for one, other in zip(*(way() for way in ways), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    taken = in_turns(repeats, *(_finished(way, device) for way in ways))
    ratios = taken[:, 1] / taken[:, 0]
    interval = bootstrap_interval(lambda some: float(np.median(ratios[some])), repeats)
    return float(np.median(taken[:, 0])), float(np.median(taken[:, 1])), interval


def stacked(
    model: CausalDenoiser, factors: LowRank, latents: Tensor, level: Tensor, conditions: Conditions
) -> Callable[[], Gradients]:
    """All rows at once: gradients of the rows' losses by every A, then by every B."""
    leaves = [*factors.down.values(), *factors.up.values()]

    def way() -> Gradients:
        output = model(latents, level, conditions, factors).output
        loss = output.square().flatten(1).mean(1).sum()
        return list(torch.autograd.grad(loss, leaves))

    return way


def looped(
    model: CausalDenoiser, factors: LowRank, latents: Tensor, level: Tensor, conditions: Conditions
) -> Callable[[], Gradients]:
    """Row by row, each under a PEFT adapter of its own."""
    adapted = [_adapted(model, factors, row) for row in range(factors.rows)]

    def way() -> Gradients:
        each = []
        for row, (one, leaves) in enumerate(adapted):
            here = slice(row, row + 1)
            told = Conditions(conditions.frame[here], conditions.address[here])
            loss = one(latents[here], level[here], told).output.square().mean()
            each.append(torch.autograd.grad(loss, leaves))
        return [torch.stack(values) for values in zip(*each, strict=True)]

    return way


def _adapted(model: CausalDenoiser, factors: LowRank, row: int) -> tuple[nn.Module, list[nn.Parameter]]:
    """A denoiser whose slow weights are the given one's, with its adapter."""
    shared: dict[int, Any] = {id(one): one for one in (*model.parameters(), *model.buffers())}
    one = deepcopy(model, shared)
    rank = next(iter(factors.down.values())).shape[1]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(factors.down)), one)
    named = dict(one.named_parameters())
    down = [named[f"{name}.lora_A.default.weight"] for name in factors.down]
    up = [named[f"{name}.lora_B.default.weight"] for name in factors.up]
    given = [*factors.down.values(), *factors.up.values()]
    for weight, value in zip([*down, *up], given, strict=True):
        weight.data = value[row].detach().clone()
    return one, [*down, *up]


def _factors(model: CausalDenoiser, rows: int, rank: int) -> LowRank:
    """Random ones for attention and MLP."""
    patterns = [KINDS[one] for one in ("attention", "mlp")]
    down, up = {}, {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and any(re.fullmatch(pattern, name) for pattern in patterns):
            device = layer.weight.device
            down[name] = (0.1 * torch.randn(rows, rank, layer.in_features, device=device)).requires_grad_()
            up[name] = (0.1 * torch.randn(rows, layer.out_features, rank, device=device)).requires_grad_()
    return LowRank(down, up, "bench")


def _finished(way: Callable[[], Gradients], device: torch.device) -> Callable[[], None]:
    """An accelerator answers before it is done."""

    def done() -> None:
        way()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return done


if __name__ == "__main__":
    main()
