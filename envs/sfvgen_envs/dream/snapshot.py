"""Snapshots as files: safetensors, with what is no tensor as JSON in their header. No pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sfvgen_envs.dream.state import DreamState, Part, Shown, Told
from sfvgen_planner.errors import BadCheckpoint, BadState
from sfvgen_planner.memory import Memory, MemoryConfig
from sfvgen_planner.memory.adam import Trained
from sfvgen_planner.memory.rows import take
from sfvgen_planner.world.ahead import Sighting
from sfvgen_planner.world.album import Album
from sfvgen_planner.world.detail import Detail
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.stepping import Chunk, Piece

VERSION = 4
ROWS = ("latents", "length", "seeds", "elapsed", "chunks", "over", "lasting")
KEPT = ("seeds", "first")
"""Of a chunk, after its past."""
Tensors = dict[str, Tensor]


def check_snapshot(snapshot: object, like: DreamState) -> None:
    """A snapshot to go on from must be of as many rows of the same task, world and settings."""
    if not isinstance(snapshot, DreamState):
        raise BadState(f"a snapshot {type(snapshot).__name__}", "a DreamState", "Use what snapshot() returned.")
    given, wanted = (_kind(one) for one in (snapshot, like))
    differ = [name for name in wanted if given[name] != wanted[name]]
    if differ or len(snapshot.random) != like.rows:
        raise BadState(
            f"a snapshot of { ({name: given[name] for name in differ}) }",
            f"{ ({name: wanted[name] for name in differ}) }",
            "Restore into an environment made like the one it is of.",
        )


def _kind(state: DreamState) -> dict[str, Any]:
    memory = state.memory
    return {
        "rows": state.rows,
        "history": tuple(state.latents.shape[1:]),
        "body": int(state.facts.embodiment[0]),
        "world": state.world,
        "memory": None if memory is None else memory.config,
        "observed": [field.name for field in fields(Shown) if getattr(state.shown, field.name) is not None],
    }


def save(snapshot: DreamState, path: Path | str) -> None:
    """One file."""
    tensors: Tensors = {name: getattr(snapshot, name) for name in ROWS}
    told: dict[str, Any] = {"version": VERSION, "world": snapshot.world, "random": list(snapshot.random)}
    told["instructions"] = snapshot.told.instruction.tolist()
    tensors |= {} if snapshot.asked is None else {"asked": snapshot.asked}
    if snapshot.detail is not None:
        tensors |= {"seen": snapshot.detail.seen, "coded": snapshot.detail.coded}
    if snapshot.told.goal is not None and snapshot.told.shows is not None:
        tensors |= {"goal": torch.from_numpy(snapshot.told.goal), "shows": torch.from_numpy(snapshot.told.shows)}
    shown = {field.name: getattr(snapshot.shown, field.name) for field in fields(Shown)}
    tensors |= {f"shown/{name}": value for name, value in shown.items() if value is not None}
    told["texts"] = _put_facts(tensors, "facts", snapshot.facts)
    _put_sighting(tensors, "sighting", snapshot.sighting)
    told["parts"] = [_put_part(tensors, f"part{number}", part) for number, part in enumerate(snapshot.parts)]
    told["memory"] = None if snapshot.memory is None else _put_memory(tensors, snapshot.memory)
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file(plain, path, {"dream": json.dumps(told)})


def load(path: Path | str, device: torch.device | str = "cpu") -> DreamState:
    """Back, to be restored on that device."""
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            told = dict(json.loads(file.metadata()["dream"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if told["version"] != VERSION:
            raise BadCheckpoint(
                f"{path} of version {told['version']!r}", f"version {VERSION}", "Use the release that wrote it."
            )
        return _state(tensors, told)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, BadCheckpoint):
            raise
        raise BadCheckpoint(
            f"{path}, which cannot be read ({error})", "a snapshot", "Take the snapshot again."
        ) from error


def _state(tensors: Tensors, told: Mapping[str, Any]) -> DreamState:
    goal, shows = (tensors[name].cpu().numpy() if name in tensors else None for name in ("goal", "shows"))
    memory = None if told["memory"] is None else _memory(tensors, told["memory"])
    state = DreamState(
        **{name: tensors[name] for name in ROWS},
        world=told["world"],
        facts=_facts(tensors, "facts", told["texts"]),
        sighting=_sighting(tensors, "sighting"),
        parts=(),
        memory=memory,
        asked=tensors.get("asked"),
        detail=Detail(tensors["seen"], tensors["coded"]) if "seen" in tensors else None,
        shown=Shown(*(tensors.get(f"shown/{field.name}") for field in fields(Shown))),
        told=Told(np.array(told["instructions"], object), goal, shows),
        random=tuple(told["random"]),
    )
    parts = (_part(tensors, f"part{number}", one, state) for number, one in enumerate(told["parts"]))
    return replace(state, parts=tuple(parts))


def _put_part(tensors: Tensors, name: str, part: Part) -> dict[str, Any]:
    chunk = part.chunk
    tensors |= {f"{name}/rows": part.rows, f"{name}/alive": part.alive}
    tensors |= {f"{name}/{key}": getattr(chunk, key) for key in KEPT}
    _put_sighting(tensors, f"{name}/sighting", chunk.sighting)
    texts = []
    for number, piece in enumerate((chunk.past, *chunk.made)):
        tensors[f"{name}/{number}/latents"] = piece.latents
        texts.append(_put_facts(tensors, f"{name}/{number}", piece.facts))
    return {"texts": texts, "memories": None if chunk.memory is None else chunk.memory.rows}


def _part(tensors: Tensors, name: str, told: Mapping[str, Any], state: DreamState) -> Part:
    past, *made = (
        Piece(tensors[f"{name}/{number}/latents"], _facts(tensors, f"{name}/{number}", texts))
        for number, texts in enumerate(told["texts"])
    )
    rows, factors = tensors[f"{name}/rows"], None
    if told["memories"] is not None and state.memory is not None:
        # A memory does not change within a chunk, so the one the chunk began under is the row's own still.
        first = rows[:: len(rows) // told["memories"]]
        factors = take(state.memory, first // (state.rows // state.memory.rows)).factors
    seeds, first = (tensors[f"{name}/{key}"] for key in KEPT)
    chunk = Chunk(past, seeds, first, _sighting(tensors, f"{name}/sighting"), factors, tuple(made))
    return Part(rows, tensors[f"{name}/alive"], chunk)


def _put_sighting(tensors: Tensors, name: str, sighting: Sighting) -> None:
    tensors |= {f"{name}/picture": sighting.picture, f"{name}/camera": sighting.camera}


def _sighting(tensors: Tensors, name: str) -> Sighting:
    return Sighting(tensors[f"{name}/picture"], tensors[f"{name}/camera"])


def _put_facts(tensors: Tensors, name: str, facts: Facts) -> list[list[str]]:
    tensors |= {f"{name}/{key}": value for key, value in vars(facts).items() if isinstance(value, Tensor)}
    return [list(row) for row in facts.texts]


def _facts(tensors: Tensors, name: str, texts: list[list[str]]) -> Facts:
    kept = {field.name: tensors[f"{name}/{field.name}"] for field in fields(Facts) if field.name != "texts"}
    return Facts(**kept, texts=tuple(tuple(row) for row in texts))


def _put_memory(tensors: Tensors, memory: Memory) -> dict[str, Any]:
    weights, first, second = memory.trained.tensors
    parts = {"weights": weights, "first": first, "second": second, "start": memory.start, "pace": memory.pace or {}}
    parts["album"] = memory.album.tensors if memory.album else {}
    tensors |= {f"memory/{part}/{key}": value for part, values in parts.items() for key, value in values.items()}
    tensors |= {"memory/steps": memory.trained.steps, "memory/seeds": memory.seeds}
    return {"config": asdict(memory.config), "world": memory.world}


def _memory(tensors: Tensors, told: Mapping[str, Any]) -> Memory:
    def part(name: str) -> Tensors:
        prefix = f"memory/{name}/"
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    trained = Trained(part("weights"), part("first"), part("second"), tensors["memory/steps"])
    config = MemoryConfig(**{**told["config"], "modules": tuple(told["config"]["modules"])})
    album = Album(**part("album")) if config.kept else None
    return Memory(trained, part("start"), tensors["memory/seeds"], config, told["world"], part("pace") or None, album)
