"""What every episode of a data set has in common, and how Minari is told."""

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np

from sfvgen_planner.errors import BadOption, CorruptDataset

FORMAT_VERSION = 1
"""Of what these packages add to Minari's layout."""

MINARI_VERSION = "0.5.4"
"""Whose layout is written."""

_MINARI_ID = re.compile(r"([-_\w][-_\w/]*[-_\w]+/)?[-_\w]+?-v\d+")


@dataclass(frozen=True)
class VectorActions:
    """Actions are float32 [A] between `low` and `high`; A may be 0 where nobody knows them."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high):
            raise BadOption(
                f"{len(self.low)} lower and {len(self.high)} upper action bounds", "as many of each", "Give both."
            )

    @classmethod
    def of(cls, low: Any, high: Any) -> "VectorActions":
        """From a Box's arrays of bounds, made flat."""
        flat = [tuple(np.ravel(bound).astype(float).tolist()) for bound in (low, high)]
        return cls(*flat)

    def space(self) -> dict[str, Any]:
        """The space as Minari writes it."""
        return {
            "type": "Box",
            "dtype": "float32",
            "shape": [len(self.low)],
            "low": list(self.low),
            "high": list(self.high),
        }


@dataclass(frozen=True)
class DiscreteActions:
    """Actions are int64 ids `start ... start + count - 1`."""

    count: int
    start: int = 0

    def space(self) -> dict[str, Any]:
        """The space as Minari writes it."""
        return {"type": "Discrete", "dtype": "int64", "start": self.start, "n": self.count}


ActionKind: TypeAlias = VectorActions | DiscreteActions


@dataclass(frozen=True)
class Description:
    """What every episode of a data set has in common."""

    name: str
    """Minari's id, e.g. `sfvgen/cube-return-v0`: where the folder stands below Minari's root"""
    task: str
    """the environment's id, or what kind of clips these are"""
    picture: tuple[int, int]
    """height and width of a frame"""
    actions: ActionKind
    pose_size: int = 7
    frames_per_action: int = 1
    frame_rate: float = 8.0
    """frames per second, at which the pictures are meant to be watched"""
    phrases: tuple[str, ...] = ()
    """the closed list of action texts, where there is one"""
    compression: Literal["none", "gzip"] = "none"
    """of the frames; both lossless. Clean renderings take 1/6 of the room with gzip and are read half as fast"""
    env_spec: str = ""
    """`env.spec.to_json()`, from which Minari recovers the environment"""

    def __post_init__(self) -> None:
        if not _MINARI_ID.fullmatch(self.name):
            raise BadOption(
                f"a data set called {self.name!r}",
                "a name like `cube-return-v0` or `mine/cube-return-v0`",
                "Use letters, digits, - and _, and end with a version.",
            )
        if self.compression not in ("none", "gzip"):
            raise BadOption(f"compression {self.compression!r}", "none or gzip", "Both are lossless.")

    def observation_space(self) -> dict[str, Any]:
        """Dict(pixels, pose) as Minari writes it."""
        shape = [*self.picture, 3]
        infinite = [float("inf")] * self.pose_size
        pixels = {
            "type": "Box",
            "dtype": "uint8",
            "shape": shape,
            "low": np.zeros(shape, int).tolist(),
            "high": np.full(shape, 255).tolist(),
        }
        pose = {
            "type": "Box",
            "dtype": "float32",
            "shape": [self.pose_size],
            "low": [-value for value in infinite],
            "high": infinite,
        }
        return {"type": "Dict", "subspaces": {"pixels": pixels, "pose": pose}}

    def to_metadata(self, episodes: int, steps: int) -> str:
        """The text of `metadata.json`."""
        kind = "discrete" if isinstance(self.actions, DiscreteActions) else "vector"
        ours = {**asdict(self), "actions": {"kind": kind, **asdict(self.actions)}}
        metadata = {
            "dataset_id": self.name,
            "minari_version": MINARI_VERSION,
            "data_format": "hdf5",
            "jpeg_encoding": False,
            "total_episodes": episodes,
            "total_steps": steps,
            "observation_space": json.dumps(self.observation_space()),
            "action_space": json.dumps(self.actions.space()),
            "sfvgen": {"version": FORMAT_VERSION, **ours},
        }
        if self.env_spec:
            metadata["env_spec"] = self.env_spec
        return json.dumps(metadata)

    @classmethod
    def from_metadata(cls, text: str, where: str) -> "Description":
        """Read `metadata.json` back; `where` names it in an error."""
        hint = "Restore the file from a copy, or import the data set anew."
        try:
            ours = dict(json.loads(text)["sfvgen"])
            version = ours.pop("version")
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptDataset(
                f"{where}, which lacks what these packages write", "JSON with `sfvgen`", hint
            ) from error
        if version != FORMAT_VERSION:
            raise CorruptDataset(
                f"{where} of format version {version!r}",
                f"version {FORMAT_VERSION}",
                "Open it with the release that wrote it, or record it again with this one.",
            )
        try:
            kind = ours["actions"].pop("kind")
            bounds = {key: _frozen(value) for key, value in ours.pop("actions").items()}
            actions = DiscreteActions(**bounds) if kind == "discrete" else VectorActions(**bounds)
            return cls(actions=actions, **{key: _frozen(value) for key, value in ours.items()})
        except (KeyError, TypeError, AttributeError, BadOption) as error:
            raise CorruptDataset(
                f"{where} with a description that does not fit ({error})", "what we wrote", hint
            ) from error

    def differences(self, other: "Description") -> list[str]:
        """Names of the fields in which two data sets differ."""
        return [field.name for field in fields(self) if getattr(self, field.name) != getattr(other, field.name)]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
