"""A judge on disk: safetensors beside JSON, no pickle, and a sha256 that says which judge it was."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from sfvgen_planner.errors import BadCheckpoint, SfvgenError
from sfvgen_planner.metrics.judge import Judge, JudgeConfig
from sfvgen_planner.metrics.judge_layout import Layout, TaskLayout

FORMAT_VERSION = 1
WEIGHTS, FACTS = "judge.safetensors", "judge.json"
SHIPPED = Path(__file__).parents[1] / "pretrained" / "judge"
"""The judge that comes with the package."""


@dataclass(frozen=True)
class LoadedJudge:
    """A judge and what was written about it."""

    judge: Judge
    card: dict[str, Any]
    """data, seed, figures, ..."""


def save_judge(judge: Judge, folder: Path | str, card: dict[str, Any]) -> str:
    """Writes both files and returns the identity, which the judge then carries."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in judge.state_dict().items()})
    shape = {"config": asdict(judge.config), "layout": asdict(judge.layout)}
    judge.identity = _identity(weights, shape)
    facts = {"version": FORMAT_VERSION, **shape, "sha256": judge.identity, "card": card}
    (folder / WEIGHTS).write_bytes(weights)
    (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return judge.identity


def load_judge(folder: Path | str | None = None, device: torch.device | str = "cpu") -> LoadedJudge:
    """The judge of this folder, or the shipped one: no gradients, eval mode. Anything changed in it is refused."""
    folder = SHIPPED if folder is None else Path(folder)
    hint = "Copy the folder again, or train a judge: sfvgen train-judge"
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        weights = (folder / WEIGHTS).read_bytes()
        version = facts["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadCheckpoint(f"{folder}, which holds no judge ({error})", f"{WEIGHTS} and {FACTS}", hint) from error
    if version != FORMAT_VERSION:
        raise BadCheckpoint(f"a judge of format version {version!r}", f"version {FORMAT_VERSION}", hint)
    try:
        shape = {"config": facts["config"], "layout": facts["layout"]}
        identity = _identity(weights, shape)
        if facts["sha256"] != identity:
            raise BadCheckpoint(f"{folder} of sha256 {identity}", f"{facts['sha256']}, as it says itself", hint)
        judge = _built(shape)
        judge.load_state_dict(load(weights))
    except SafetensorError as error:
        raise BadCheckpoint(f"{folder} whose weights cannot be read ({error})", "what we wrote", hint) from error
    except (KeyError, TypeError, RuntimeError, SfvgenError) as error:
        if isinstance(error, BadCheckpoint):
            raise
        raise BadCheckpoint(f"{folder} with facts that do not fit ({error})", "what we wrote", hint) from error
    judge.identity = identity
    return LoadedJudge(judge.to(device).eval().requires_grad_(False), facts.get("card", {}))


def _identity(weights: bytes, shape: dict[str, Any]) -> str:
    plain = json.dumps(json.loads(json.dumps(shape)), sort_keys=True)
    return sha256(weights + plain.encode()).hexdigest()


def _built(shape: dict[str, Any]) -> Judge:
    config = JudgeConfig(**_tuples(shape["config"]))
    return Judge(config, Layout(tuple(TaskLayout(**_tuples(task)) for task in shape["layout"]["tasks"])))


def _tuples(facts: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
