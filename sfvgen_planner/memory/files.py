"""A memory as a folder in PEFT's format: plain PEFT reads the factors, and what PEFT wrote is read as a memory. (What
multiplies by kernels, `operator="hyperzzw"`, lies in the same files under a type of its own, which PEFT refuses.)

`adapter_model.safetensors` and `adapter_config.json` are PEFT's; `memory.safetensors` beside them holds moments, age,
start and config, with which writing goes on as if nothing had happened. Frames that are kept (`config.kept`) lie in
`album.safetensors`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfvgen_planner.errors import BadCheckpoint, BadMemory
from sfvgen_planner.memory.adam import Trained
from sfvgen_planner.memory.config import DEFAULT, HYPERZZW, MemoryConfig, Operator
from sfvgen_planner.memory.start import check_fits, row_layers, start
from sfvgen_planner.memory.value import A, B, Memory, digest, low_rank
from sfvgen_planner.world.album import Album
from sfvgen_planner.world.model import WorldModel

VERSION = 1
WEIGHTS, CONFIG, SIDECAR = "adapter_model.safetensors", "adapter_config.json", "memory.safetensors"
ALBUM = "album.safetensors"
PREFIX = "base_model.model."
TYPES: dict[str, Operator] = {"LORA": "lowrank", "HYPERZZW": "hyperzzw"}
HINT = "Restore the memory from a copy."
UNKNOWN = (
    "use_dora",
    "modules_to_save",
    "alpha_pattern",
    "layer_replication",
    "megatron_config",
    "trainable_token_indices",
)
"""Options of PEFT that change what factors mean, or more than factors."""


def save(memory: Memory, folder: Path | str, *, half: bool = False) -> None:
    """Writes one row; `half` writes the factors in fp16, and no sidecar: to keep or to send, not to go on from."""
    if memory.rows != 1:
        raise BadMemory(f"a memory of {memory.rows} rows", "one for each folder", "Save memory[i : i + 1].")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    factors = low_rank(memory.told, "")
    kernels = {name: down.ndim - 3 for name, down in factors.down.items()}
    weights = {f"{PREFIX}{name}{A}.weight": down[0] for name, down in factors.down.items()} | {
        f"{PREFIX}{name}{B}.weight": up[0].reshape(*up.shape[1:], *[1] * kernels[name])
        for name, up in factors.up.items()
    }
    kept = {name: (value.half() if half else value).contiguous().cpu() for name, value in weights.items()}
    save_file(kept, folder / WEIGHTS, {"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(_peft_config(memory), indent=2))
    for rest in (SIDECAR, ALBUM):
        (folder / rest).unlink(missing_ok=True)
    if memory.album is not None:
        latents, cameras = (value.cpu() for value in memory.album.frames(0))
        save_file({"latents": latents.half() if half else latents, "cameras": cameras}, folder / ALBUM)
    if not half:
        _save_sidecar(memory, folder)


def load(world: WorldModel, folder: Path | str, config: MemoryConfig | None = None) -> Memory:
    """One row back. Without a sidecar, as after PEFT's own training, it is a memory that begins with these factors,
    to be written as `config` says (rank and layers are the file's)."""
    folder = Path(folder)
    try:
        told = dict(json.loads((folder / CONFIG).read_text()))
        weights = load_file(folder / WEIGHTS)
        kept = _read_sidecar(folder) if (folder / SIDECAR).exists() else None
        frames = load_file(folder / ALBUM) if (folder / ALBUM).exists() else None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BadCheckpoint(f"{folder}, which cannot be read ({error})", "a memory's folder", HINT) from error
    factors = factors_of(told, weights, folder)
    if kept is None:
        operator = TYPES[told["peft_type"]]
        usual = DEFAULT if operator == "lowrank" else HYPERZZW
        usual = replace(usual, kept=0 if frames is None else len(frames["latents"]))
        memory = _begun(world, factors, config or usual, operator)
    else:
        memory = _continued(world, factors, *kept, folder)
    return with_album(memory, frames)


def with_album(memory: Memory, frames: Mapping[str, Tensor] | None) -> Memory:
    """With what `ALBUM` holds, where it is to keep frames."""
    if not memory.config.kept:
        return memory
    if frames is None:
        raise BadMemory("a memory without its frames", f"{ALBUM} beside it", HINT)
    like = next(iter(memory.start.values()))
    album = Album.of(frames["latents"].to(like), frames["cameras"].to(like), memory.config.kept)
    return replace(memory, album=album)


def _begun(world: WorldModel, factors: dict[str, Tensor], config: MemoryConfig, operator: Operator) -> Memory:
    if config.operator != operator:
        raise BadMemory(f"a memory of {operator!r}", f"one of {config.operator!r}", "Give a config of that operator.")
    down = low_rank(factors, "").down
    unknown = sorted(down.keys() - row_layers(world).keys())
    if unknown:
        raise BadMemory(
            f"a memory of layers {unknown[:3]}", "layers of this denoiser", "It is of another architecture."
        )
    ranks = {int(one.shape[1]) for one in down.values()}
    if len(ranks) != 1:
        raise BadMemory(f"ranks {sorted(ranks)}", "one rank for all layers", "Train without rank_pattern.")
    kept = replace(config, rank=ranks.pop(), modules=tuple(re.escape(name) for name in down))
    return start(world, kept, 1, low_rank(factors, ""))


def _continued(
    world: WorldModel, factors: dict[str, Tensor], told: dict[str, Any], kept: dict[str, Tensor], folder: Path
) -> Memory:
    if told["factors"] != digest(factors):
        raise BadCheckpoint(f"{folder}, whose {SIDECAR} is of other factors", "both of one save", HINT)
    config = MemoryConfig(**{**told["config"], "modules": tuple(told["config"]["modules"])})
    one = next(world.denoiser.parameters())

    def part(which: str) -> dict[str, Tensor]:
        return {name: kept[f"{which}/{name}"].to(one.device, one.dtype) for name in factors}

    mine = {name: value.to(one.device, one.dtype) for name, value in factors.items()}
    written = mine if config.strength == 1 else part("weights")
    trained = Trained(written, part("first"), part("second"), kept["steps"].to(one.device))
    pace = part("pace") if any(name.startswith("pace/") for name in kept) else None
    memory = Memory(trained, part("start"), kept["seeds"].to(one.device), config, told["world"], pace)
    check_fits(world, memory)
    return memory


def factors_of(told: Mapping[str, Any], weights: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """What stands in PEFT's two files, by our names, scale and all: [1, r, in, ...] and [1, out, r]."""
    odd = [name for name in UNKNOWN if told.get(name)]
    if told.get("peft_type") not in TYPES or odd or told.get("bias", "none") != "none":
        raise BadMemory(f"{folder} of type {told.get('peft_type')!r} with {odd or 'bias'}", "a plain LoRA", "Merge it.")
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        short = name.removeprefix(PREFIX).removesuffix(".weight")
        if not short.endswith((A, B)):
            raise BadMemory(f"{name!r} in {folder}", "lora_A and lora_B alone", "Train a plain LoRA.")
        value = value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
        found[short] = (value if short.endswith(A) else value.flatten(1))[None]
    names = {name[: -len(A)] for name in found}
    if not names or any(name + A not in found or name + B not in found for name in names):
        raise BadMemory(f"{folder} with factors {sorted(found)[:3]}", "an A and a B for each layer", HINT)
    alpha, rooted = float(told.get("lora_alpha", 8)), bool(told.get("use_rslora"))
    for name in names:
        rank = found[name + B].shape[2]
        scale = alpha / (rank**0.5 if rooted else rank)
        found[name + B] = found[name + B] * scale if scale != 1 else found[name + B]
    return found


def _peft_config(memory: Memory) -> dict[str, Any]:
    return {
        "peft_type": next(name for name, operator in TYPES.items() if operator == memory.config.operator),
        "r": memory.config.rank,
        "lora_alpha": memory.config.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
        # A pattern, because PEFT takes bare names for endings: "out" would also be every "to_out".
        "target_modules": "|".join(re.escape(name) for name in low_rank(memory.told, "").down),
    }


def _save_sidecar(memory: Memory, folder: Path) -> None:
    parts = {"first": memory.trained.first, "second": memory.trained.second, "start": memory.start}
    parts |= {"pace": memory.pace} if memory.pace else {}
    if memory.config.strength != 1:  # PEFT is told what the world is told
        parts["weights"] = memory.trained.weights
    tensors = {f"{which}/{name}": value for which, part in parts.items() for name, value in part.items()}
    tensors |= {"steps": memory.trained.steps, "seeds": memory.seeds}
    told = {"version": VERSION, "config": asdict(memory.config), "world": memory.world, "factors": digest(memory.told)}
    # Moments that have not begun are one and the same zeros, which safetensors would refuse.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_file(plain, folder / SIDECAR, {"memory": json.dumps(told)})


def _read_sidecar(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with safe_open(folder / SIDECAR, "pt") as file:
        told = dict(json.loads(file.metadata()["memory"]))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if told["version"] != VERSION:
        raise BadCheckpoint(
            f"{folder / SIDECAR} of version {told['version']!r}", f"version {VERSION}", "Use the release that wrote it."
        )
    return told, tensors
