"""A module as a folder: config.json and model.safetensors, read back with named errors or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sfvgen_planner.errors import BadCheckpoint

HINT = "Restore the checkpoint from a copy."


def save(folder: Path | str, version: int, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Writes both files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"version": version, **config}, indent=2))
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors")


def read_config(folder: Path | str, version: int) -> dict[str, Any]:
    """The config, if it is of this version."""
    path = Path(folder) / "config.json"
    try:
        config = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BadCheckpoint(f"{path}, which cannot be read ({error})", "JSON", HINT) from error
    if config.pop("version", None) != version:
        raise BadCheckpoint(f"{path} of another version", f"version {version}", "Use the release that wrote it.")
    return config


def load(module: nn.Module, folder: Path | str, names: set[str]) -> None:
    """Fills the weights called `names` of a module, all of them and no others."""
    path = Path(folder) / "model.safetensors"
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadCheckpoint(f"{path}, which cannot be read ({error})", "safetensors", HINT) from error
    mine = module.state_dict()
    wrong = [name for name in names & weights.keys() if weights[name].shape != mine[name].shape]
    if odd := sorted({*wrong, *(names ^ weights.keys())}):
        raise BadCheckpoint(f"{path}, where {odd[:3]} lack, differ or are too many", "the weights of its config", HINT)
    module.load_state_dict(weights, strict=False)
