"""Pretrained networks as TorchScript files by path: I3D, ResNet-18, LPIPS (no torchvision).

A file answers for its name only by the shape of what it returns, so its sha256 stands beside every figure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfvgen_planner.errors import BadCheckpoint, BadOption
from sfvgen_planner.metrics.figures import Figure
from sfvgen_planner.metrics.frechet import MOST_FEATURES
from sfvgen_planner.metrics.video import as_pair, as_video

I3D_FEATURES, RESNET18_FEATURES = 400, 512


@dataclass(frozen=True)
class ScriptedExtractor:
    """A TorchScript file and how to call it."""

    name: str
    identity: str
    most_features: int
    call: Callable[[Any], Tensor]

    def __call__(self, video: Any) -> Tensor:
        """Features, without gradients."""
        with torch.inference_mode():
            return self.call(video)


def load_i3d(path: Path | str, device: torch.device | str) -> ScriptedExtractor:
    """I3D of Kinetics-400 as the FVD literature ships it: called with [B, 3, T, h, w] in [0, 255] and three flags."""
    script, identity = _scripted(path, device)

    def call(video: Any) -> Tensor:
        clips = as_video(video).float().to(device).permute(0, 4, 1, 2, 3) * 255
        return _checked(script(clips, rescale=True, resize=True, return_features=True), len(clips), I3D_FEATURES, "I3D")

    return ScriptedExtractor("I3D", identity, I3D_FEATURES, call)


def load_resnet18(path: Path | str, device: torch.device | str) -> ScriptedExtractor:
    """ResNet-18 without its last layer: called with frames [B, 3, 224, 224], normalised as for ImageNet."""
    script, identity = _scripted(path, device)
    mean = torch.tensor([0.485, 0.456, 0.406], device=device)
    std = torch.tensor([0.229, 0.224, 0.225], device=device)

    def call(frames: Any) -> Tensor:
        x = ((as_video(frames[None])[0].float().to(device) - mean) / std).permute(0, 3, 1, 2)
        x = torch.nn.functional.interpolate(x, (224, 224), mode="bilinear", antialias=True)
        return _checked(script(x).flatten(1), len(x), RESNET18_FEATURES, "ResNet-18")

    return ScriptedExtractor("ResNet-18", identity, MOST_FEATURES, call)


def lpips(real: Any, fake: Any, path: Path | str, device: torch.device | str) -> Figure:
    """Mean over frames of an LPIPS network, called with two pictures [N, 3, h, w] in [-1, 1]."""
    script, identity = _scripted(path, device)
    a, b = (v.float().to(device).flatten(0, 1).permute(0, 3, 1, 2) * 2 - 1 for v in as_pair(real, fake))
    with torch.inference_mode():
        values = _checked(script(a, b).reshape(len(a), -1), len(a), 1, "LPIPS")
    return Figure("LPIPS", float(values.double().mean()), f"LPIPS:{identity}", len(a))


def _scripted(path: Path | str, device: torch.device | str) -> tuple[Any, str]:
    path = Path(path)
    if not path.is_file():
        raise BadOption(f"{path}, which is no file", "a TorchScript file", "Check the path.")
    try:
        script = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise BadCheckpoint(f"{path}, which does not load", "TorchScript", "Export with torch.jit.save.") from error
    return script.eval(), sha256(path.read_bytes()).hexdigest()


def _checked(features: Any, rows: int, width: int, name: str) -> Tensor:
    """A network of another shape is not what it is called."""
    shape = list(getattr(features, "shape", []))
    if shape != [rows, width]:
        raise BadCheckpoint(
            f"a file that answers {shape}", f"[{rows}, {width}], as {name} does", "Load the right file."
        )
    return torch.as_tensor(features)
