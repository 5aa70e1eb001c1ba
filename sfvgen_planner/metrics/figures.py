"""Figures under the names they have earned: each is called by what really measured it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from torch import Tensor

from sfvgen_planner.metrics.frechet import ADVISED_CLIPS, frechet
from sfvgen_planner.metrics.revisits import scene_revisit_consistency


@dataclass(frozen=True)
class Figure:
    """A number under the name it has earned."""

    name: str
    value: float
    by: str
    """who measured: `judge:<sha256>`, `I3D:<sha256>`, ..."""
    n: int
    """of how many clips, frames or pairs"""
    floor: float | None = None
    """what real scores against real, where that is not 0"""
    warning: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it goes into a results file."""
        return asdict(self)


class Extractor(Protocol):
    """Features of videos."""

    name: str
    """judge, I3D, ResNet-18"""
    identity: str
    """sha256 of what it was loaded from"""
    most_features: int
    """how many a Frechet distance may use: 64, or as many as a published definition fixes"""

    def __call__(self, video: Any) -> Tensor:
        """Of clips [B, T, h, w, 3]: [B, D]. (A frame extractor: of frames [B, h, w, 3].)"""


def fvd_name(extractor: Extractor) -> str:
    """FVD is I3D's; of any other features it says which."""
    return "FVD" if extractor.name == "I3D" else f"FVD({extractor.name})"


def src_name(extractor: Extractor) -> str:
    """SRC is ResNet-18's; of any other features it says which."""
    return "SRC" if extractor.name == "ResNet-18" else f"SRC({extractor.name})"


def fvd(real: Tensor, fake: Tensor, extractor: Extractor, *, seed: int = 0) -> Figure:
    """From features [N, D] and [M, D] that `extractor` made of real and generated clips."""
    found = frechet(real, fake, seed=seed, most=extractor.most_features)
    warning = "" if found.enough else f"{found.clips} clips; {ADVISED_CLIPS} advised"
    by = f"{extractor.name}:{extractor.identity}"
    return Figure(fvd_name(extractor), found.distance, by, found.clips, found.floor, warning)


def src(features: Tensor, pairs: Sequence[tuple[int, int]], extractor: Extractor) -> Figure:
    """From features [T, D] that `extractor` made of the frames of one video, and its `revisits`."""
    value = scene_revisit_consistency(features, pairs)
    return Figure(src_name(extractor), value, f"{extractor.name}:{extractor.identity}", len(pairs))
