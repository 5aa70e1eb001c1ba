"""One training run: steps that depend on (seed, step) alone, so that a killed run goes on as if it never stopped.

What is trained says only what its loss is at a step; devices, averaging, schedule, clipping, bad steps and checkpoints
are the same for everything and live here.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sfvgen_planner.data.atomic import replacing
from sfvgen_planner.errors import BadOption, TrainingDiverged
from sfvgen_planner.learning.muon import Muon

Loss = Callable[[nn.Module, int, int], tuple[Tensor, dict[str, float]]]
"""(model, step, process) -> loss and figures to log; must be a function of these three"""


INNER_PACE = 2.0
"""How much faster than the rest the matrices inside a network learn."""


@dataclass(frozen=True)
class RunConfig:
    """How long and how fast."""

    steps: int = 10_000
    rate: float = 1e-3
    warmup: int = 100
    decay: float = 1e-4
    """AdamW's weight decay, of matrices alone"""
    clip: float = 1.0
    average: float = 0.999
    """of the moving average of weights, which is what is shipped"""
    seed: int = 0
    checkpoint_seconds: float = 300.0
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: matrix products in half precision; much faster where the processor has instructions for it"""
    patience: int = 10
    """steps in a row that may be not finite before the run stops"""

    def accelerator(self) -> Accelerator:
        """Of this precision, on whatever devices there are."""
        return Accelerator(mixed_precision="no" if self.precision == "fp32" else self.precision)


@dataclass(frozen=True)
class Step:
    """What a listener hears after each step."""

    number: int
    loss: float
    rate: float
    skipped: int
    """steps left out so far because loss or gradient was not finite"""
    figures: dict[str, float]


def rate_at(config: RunConfig, step: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < config.warmup:
        return config.rate * (step + 1) / config.warmup
    part = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, part))))


class Run:
    """A model in training. `average` holds the moving average of its weights by name."""

    def __init__(
        self,
        model: nn.Module,
        config: RunConfig,
        folder: Path,
        accelerator: Accelerator,
        inner: Sequence[nn.Parameter] = (),
    ) -> None:
        """`inner` are the matrices inside the network that Muon updates; AdamW does the others."""
        if config.steps < 1 or not 0 <= config.average < 1:
            raise BadOption(f"{config}", "at least one step and an average in [0, 1)", "See RunConfig.")
        turned = {id(p) for p in inner}
        rest = [p for p in model.parameters() if p.requires_grad and id(p) not in turned]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": config.decay},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
            {"params": list(inner), "weight_decay": config.decay, "orthogonal": True, "pace": INNER_PACE},
        ]
        optimiser = Muon([group for group in groups if group["params"]], lr=config.rate, betas=(0.9, 0.99))
        self.config, self.folder, self.accelerator = config, folder, accelerator
        self.plain = model.to(accelerator.device)
        self.model, self.optimiser = accelerator.prepare(self.plain, optimiser)
        self.parameters = [p for p in self.plain.parameters() if p.requires_grad]
        self.average = {name: p.detach().clone() for name, p in self.plain.state_dict().items()}
        self.step = self.skipped = self._bad = 0
        if self.checkpoint.exists():
            self._resume()

    def train(self, loss: Loss, listen: Callable[[Step], None], saved: Callable[[], None] = lambda: None) -> None:
        """Runs to the end; `listen` hears every step, `saved` is called after every checkpoint."""
        last = time.monotonic()
        while self.step < self.config.steps:
            self._advance(loss, listen)
            if time.monotonic() - last > self.config.checkpoint_seconds:
                self.save()
                saved()
                last = time.monotonic()
        self.save()
        saved()

    def _advance(self, loss: Loss, listen: Callable[[Step], None]) -> None:
        rate = rate_at(self.config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group.get("pace", 1.0)
        self.optimiser.zero_grad()
        value, figures = loss(self.model, self.step, self.accelerator.process_index)
        self.accelerator.backward(value)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        # Every process must decide alike, so they look at the mean of what all of them saw.
        if bool(torch.isfinite(self.accelerator.reduce(value.detach() + norm, "mean"))):
            self.optimiser.step()
            self._follow()
            self._bad = 0
        else:
            self.skipped, self._bad = self.skipped + 1, self._bad + 1
            if self._bad >= self.config.patience:
                raise TrainingDiverged(
                    f"{self._bad} steps in a row that are not finite, the last one {self.step}",
                    "finite losses and gradients",
                    f"The last good checkpoint is kept in {self.folder}; go on from it with a lower rate.",
                )
        self.step += 1
        listen(Step(self.step, float(value.detach()), rate, self.skipped, {"gradient": float(norm), **figures}))

    @torch.no_grad()
    def _follow(self) -> None:
        # A young average forgets faster, or the random start would stay in it.
        keep = min(self.config.average, (1 + self.step) / (10 + self.step))
        for name, value in self.plain.state_dict().items():
            self.average[name].lerp_(value, 1 - keep) if value.is_floating_point() else self.average[name].copy_(value)

    def save(self) -> None:
        """A checkpoint that replaces the last one by rename."""
        if not self.accelerator.is_main_process:
            return
        tensors = {f"model/{name}": value for name, value in self.plain.state_dict().items()}
        tensors |= {f"average/{name}": value for name, value in self.average.items()}
        for number, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam/{number}/{key}": torch.as_tensor(value) for key, value in state.items()}
        facts = {"step": self.step, "skipped": self.skipped, "seed": self.config.seed}
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.checkpoint) as partial:
            whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
            save_file(whole, partial, {"run": json.dumps(facts)})

    @property
    def checkpoint(self) -> Path:
        """Where the run continues from."""
        return self.folder / "run.safetensors"

    def _resume(self) -> None:
        with safe_open(self.checkpoint, "pt") as file:
            facts = json.loads(file.metadata()["run"])
        if facts["seed"] != self.config.seed:
            raise BadOption(f"seed {self.config.seed}", f"seed {facts['seed']} of this run", "Use another folder.")
        tensors = load_file(self.checkpoint, device=str(self.accelerator.device))
        self.plain.load_state_dict(_below(tensors, "model/"))
        self.average = _below(tensors, "average/")
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, "adam/").items():
            number, key = name.split("/")
            # AdamW keeps its step counter on the CPU.
            state.setdefault(int(number), {})[key] = value.cpu() if key == "step" else value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        self.step, self.skipped = facts["step"], facts["skipped"]


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
