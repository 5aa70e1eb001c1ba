"""What a world knows of the bodies it was trained on: units, bounds, words, cameras. Lies in the checkpoint as JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from sfvgen_planner.errors import BadCheckpoint, BadOption, SfvgenError, UnknownName, closest
from sfvgen_planner.types import POSE_CAMERA

VERSION = 1
LEAST = 1e-4
"""The smallest unit of a motion: what never moves must not be divided by 0."""


@dataclass(frozen=True)
class Motion:
    """How much a body's pose changes from frame to frame: the units in which the pose head speaks."""

    metres: float = 1.0
    """root mean square of the camera's way in one frame"""
    radians: float = 1.0
    """root mean square of its turn in one frame"""
    mean: tuple[float, ...] = ()
    """of each sense"""
    spread: tuple[float, ...] = ()
    """standard deviation of each sense"""
    step: tuple[float, ...] = ()
    """root mean square of each sense's change in one frame"""

    def __post_init__(self) -> None:
        units = (self.metres, self.radians, *self.spread, *self.step)
        if len({len(self.mean), len(self.spread), len(self.step)}) > 1 or not all(0 < u < math.inf for u in units):
            raise BadOption(f"{self}", "units above 0, as many of each kind", "Measure it: pose.measure_motion().")


@dataclass(frozen=True)
class Embodiment:
    """One body: a task's, a robot's, a game's."""

    name: str
    kind: Literal["vector", "discrete"] = "vector"
    size: int = 0
    """numbers in an action vector (0 where nobody knows the actions), or how many ids"""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    """bounds of a vector's numbers"""
    first: int = 0
    """the smallest id"""
    phrases: tuple[str, ...] = ()
    """the closed list of action texts, where there is one"""
    pose_size: int = POSE_CAMERA
    cameras: Mapping[str, float] = field(default_factory=dict)
    """vertical field of view in degrees of each camera by name"""
    frames_per_action: int = 1
    frame_rate: float = 10.0
    length: float = 1.0
    """metres that count as near: about 1 on a table, 10 in a street"""
    motion: Motion = field(default_factory=Motion)

    def __post_init__(self) -> None:
        bounds = self.size if self.kind == "vector" else 0
        if self.kind not in ("vector", "discrete") or self.size < 0 or {len(self.low), len(self.high)} != {bounds}:
            raise BadOption(
                f"{self.name!r} with {self.kind} actions of size {self.size}, {len(self.low)} lower and "
                f"{len(self.high)} upper bounds",
                "a vector with as many bounds, or discrete without",
                "Copy them from the data set's description.",
            )
        if any(not low < high for low, high in zip(self.low, self.high, strict=True)):
            raise BadOption(f"bounds {self.low} and {self.high} of {self.name!r}", "low < high", "Swap them.")
        if not (self.length > 0 and all(0 < fovy < 180 for fovy in self.cameras.values())):
            raise BadOption(
                f"{self.name!r} with length {self.length} and cameras {dict(self.cameras)}",
                "metres above 0, degrees between 0 and 180",
                "A camera's fovy is in MuJoCo's model: cam_fovy.",
            )
        if self.pose_size < POSE_CAMERA or len(self.motion.mean) not in (0, self.senses):
            raise BadOption(
                f"{self.name!r} with poses of {self.pose_size} and {len(self.motion.mean)} measured senses",
                f"{POSE_CAMERA} numbers for the camera, the rest senses",
                "Measure the motion of this body.",
            )

    @property
    def senses(self) -> int:
        """P - 7."""
        return self.pose_size - POSE_CAMERA

    @property
    def on_tripod(self) -> bool:
        """Was its camera seen to turn at most, never to travel?"""
        return self.motion.metres <= LEAST

    def fovy(self, camera: str) -> float:
        """Degrees."""
        if camera not in self.cameras:
            known = tuple(self.cameras)
            raise UnknownName(f"camera {camera!r} of {self.name!r}", f"one of {list(known)}", closest(camera, known))
        return self.cameras[camera]


@dataclass(frozen=True)
class Layout:
    """All bodies of a world, in the order of their tokens. Vectors and poses are padded to the longest."""

    embodiments: tuple[Embodiment, ...]

    def __post_init__(self) -> None:
        names = [body.name for body in self.embodiments]
        if not names or len(set(names)) < len(names):
            raise BadOption(f"embodiments {names}", "one or more, each once", "Give each its own name.")

    @property
    def action_size(self) -> int:
        """A of the longest vector."""
        return max(body.size if body.kind == "vector" else 0 for body in self.embodiments)

    @property
    def pose_size(self) -> int:
        """P of the longest pose."""
        return max(body.pose_size for body in self.embodiments)

    @property
    def id_count(self) -> int:
        """Discrete actions of all bodies together."""
        return sum(body.size for body in self.embodiments if body.kind == "discrete")

    def offset(self, name: str) -> int:
        """Where a body's ids begin among those of all."""
        before = self.embodiments[: self.index(name)]
        return sum(body.size for body in before if body.kind == "discrete")

    def index(self, name: str) -> int:
        """The number of a body's token."""
        names = tuple(body.name for body in self.embodiments)
        if name not in names:
            raise UnknownName(f"embodiment {name!r}", f"one of {list(names)}", closest(name, names))
        return names.index(name)

    def __getitem__(self, name: str) -> Embodiment:
        return self.embodiments[self.index(name)]

    def adding(self, body: Embodiment) -> "Layout":
        """The same with one more body at the end, or with a known one described anew."""
        known = [one.name for one in self.embodiments]
        if body.name not in known:
            return Layout((*self.embodiments, body))
        return replace(self, embodiments=tuple(body if one.name == body.name else one for one in self.embodiments))

    def check_growth(self, longer: "Layout") -> None:
        """A world grows at the end of its layout only: a body's number is its token."""
        names, more = ([body.name for body in layout.embodiments] for layout in (self, longer))
        if more[: len(names)] != names:
            raise BadOption(f"a layout of {more}", f"one that begins with {names}", "Use layout.adding(body).")

    def to_json(self) -> str:
        """For the checkpoint."""
        return json.dumps({"version": VERSION, "embodiments": [asdict(body) for body in self.embodiments]}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Layout":
        """Back from the checkpoint."""
        try:
            told = json.loads(text)
            if told["version"] != VERSION:
                raise BadCheckpoint(
                    f"a layout of version {told['version']!r}", f"version {VERSION}", "Use the release that wrote it."
                )
            return cls(tuple(_embodiment(body) for body in told["embodiments"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, SfvgenError):
                raise
            raise BadCheckpoint(
                f"a layout that cannot be read ({error})", "what to_json() wrote", "Restore the checkpoint."
            ) from error


def _embodiment(told: dict[str, Any]) -> Embodiment:
    return Embodiment(motion=Motion(**_tuples(told.pop("motion"))), **_tuples(told))


def _tuples(told: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
