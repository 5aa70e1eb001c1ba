"""The judge: a small SlowFast network (Feichtenhofer et al. 2019) that looks at clips and never trains with the world.

A slow pathway sees every fourth frame with many channels (what is there), a fast one sees every frame with few (how it
moves) and tells the slow one at each stage. From both: 64 features of a clip (for Frechet distances), the actions it
shows (numbers and phrases), and a place embedding that agrees for two looks at one place of a scene. Optical flow,
computed and not learned, enters the fast pathway and is shown to the frames' head as it is.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.errors import BadOption, BadVideo
from sfvgen_planner.metrics.judge_layout import Layout
from sfvgen_planner.metrics.motion import FLOWS, flow
from sfvgen_planner.metrics.video import as_video

FEATURES = 64
"""Of a clip, and of a place."""

_FLOW_CELLS = 8
"""On a side, when flow is shown to the frames' head."""

_FLOW_GAIN = 5.0
"""Most of a picture stands, so the mean flow of a cell is far below 1; what is large is learned sooner."""

_GROUP = 8
"""Channels normalised together. Groups, not batches: a clip's features must not depend on its neighbours."""


@dataclass(frozen=True)
class JudgeConfig:
    """The network's shape."""

    size: int = 64
    """pixels on a side; other pictures are refused, not resized"""
    stride: int = 4
    """alpha: the slow pathway sees every so many frames"""
    slow: tuple[int, int, int, int] = (32, 64, 96, 128)
    """channels after the stem and each stage"""
    fast: tuple[int, int, int, int] = (8, 16, 24, 32)

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 32 or self.stride < 1:
            raise BadOption(
                f"a judge of {self.size} pixels, stride {self.stride}", "a multiple of 32, and 1 or more", "Set both."
            )
        if any(c < _GROUP or c % _GROUP for c in (*self.slow, *self.fast)):
            raise BadOption(f"channels {self.slow} and {self.fast}", f"multiples of {_GROUP}", "Set slow and fast.")


@dataclass(frozen=True)
class Verdict:
    """What the judge sees in B clips of T frames."""

    features: Tensor
    """float [B, 64]: for Frechet distances"""
    place: Tensor
    """float [B, 64], of length 1: alike where two clips show one place of a scene"""
    actions: Tensor
    """float [B, T, A]: what led into each frame, all tasks side by side, scaled to [-1, 1] (see Layout)"""
    phrases: Tensor
    """float [B, T, P]: logits of the joint list of phrases"""


class Judge(nn.Module):
    """Clips in, a verdict out. Initialised from torch's global generator; `train_judge` seeds it."""

    name = "judge"
    most_features = FEATURES

    def __init__(self, config: JudgeConfig, layout: Layout) -> None:
        super().__init__()
        self.config, self.layout = config, layout
        self.identity = "untrained"
        slow, fast = config.slow, config.fast
        self.slow_stem = _Stem(3, slow[0], 1)
        self.fast_stem = _Stem(6, fast[0], 3)
        moving = (fast[0] + FLOWS, *fast[1:])
        self.laterals = nn.ModuleList(_lateral(channels, config.stride) for channels in moving)
        joined = [many + 2 * few for many, few in zip(slow, moving, strict=True)]
        self.slow_stages = nn.ModuleList(
            # As in the paper, the slow pathway looks along time in its last stage only.
            _Block(joined[i], slow[i + 1], 3 if i == 2 else 1)
            for i in range(3)
        )
        self.fast_stages = nn.ModuleList(_Block(moving[i], moving[i + 1], 3, 2 if i < 2 else 1) for i in range(3))
        width = 4 * joined[3] + 16 * fast[3]
        self.frame_head = _mlp(width + 3 * FLOWS * _FLOW_CELLS**2, FEATURES)
        self.place_head = _mlp(width, FEATURES)
        self.action_head = nn.Linear(FEATURES, max(layout.actions, 1))
        self.phrase_head = nn.Linear(FEATURES, max(len(layout.phrases), 1))

    def forward(self, clips: Tensor) -> Verdict:
        """Of uint8 or float [B, T, h, w, 3]."""
        x = self._prepared(clips)
        moved = flow(x)
        seen = self._pathways((x - 0.5) * 4, moved)
        frames = self.frame_head(torch.cat([seen, _around(_FLOW_GAIN * _cells(moved, _FLOW_CELLS))], -1))
        seconds = F.gelu(frames)
        return Verdict(
            features=frames.mean(1),
            place=F.normalize(self.place_head(seen.mean(1)), dim=-1),
            actions=self.action_head(seconds),
            phrases=self.phrase_head(seconds),
        )

    def __call__(self, clips: Tensor) -> Verdict:
        """See `forward`."""
        verdict: Verdict = super().__call__(clips)
        return verdict

    def _pathways(self, x: Tensor, moved: Tensor) -> Tensor:
        """[B, T, D]: both pathways' last maps, coarsely pooled so that it still shows where things are."""
        stride = self.config.stride
        slow, fast = self.slow_stem(x[:, :, ::stride]), self.fast_stem(torch.cat([x, _changes(x)], 1))
        fast = torch.cat([fast, moved], 1)
        for lateral, slow_stage, fast_stage in zip(self.laterals, self.slow_stages, self.fast_stages, strict=False):
            slow, fast = slow_stage(torch.cat([slow, lateral(fast)], 1)), fast_stage(fast)
        slow = torch.cat([slow, self.laterals[3](_halved(fast))], 1)
        what = _cells(slow, 2).repeat_interleave(stride, 1)
        return torch.cat([what, _cells(fast, 4)], -1)

    def _prepared(self, clips: Tensor) -> Tensor:
        """float [B, 3, T, h, w] in [0, 1]."""
        x = as_video(clips, "a clip for the judge")
        size, stride = self.config.size, self.config.stride
        frames, h, w = x.shape[1:4]
        if (h, w) != (size, size) or frames % stride or frames < 2 * stride:
            raise BadVideo(
                f"clips of {frames} frames of {h}x{w}",
                f"{size}x{size}, and a multiple of {stride} frames, at least {2 * stride}",
                "Cut or resize the clips, train a judge of that size, or measure without one.",
            )
        weight = self.action_head.weight
        return x.to(weight.device, weight.dtype).permute(0, 4, 1, 2, 3)


class _Stem(nn.Module):
    """Half the picture's size at once."""

    def __init__(self, inside: int, outside: int, time: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inside, outside, (time, 5, 5), (1, 2, 2), (time // 2, 2, 2), bias=False)
        self.norm = _norm(outside)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, T, h, w] to [B, C, T, h / 2, w / 2]."""
        return F.relu(self.norm(self.conv(x)))


class _Block(nn.Module):
    """A residual bottleneck: along time, across space, and out."""

    def __init__(self, inside: int, outside: int, time: int, step: int = 2) -> None:
        super().__init__()
        middle = max(outside // 2 // _GROUP * _GROUP, _GROUP)
        self.along = nn.Conv3d(inside, middle, (time, 1, 1), padding=(time // 2, 0, 0), bias=False)
        self.across = nn.Conv3d(middle, middle, (1, 3, 3), (1, step, step), (0, 1, 1), bias=False)
        self.out = nn.Conv3d(middle, outside, 1, bias=False)
        self.short = nn.Conv3d(inside, outside, 1, (1, step, step), bias=False)
        self.norms = nn.ModuleList([_norm(middle), _norm(middle), _norm(outside)])

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, h, w] to [B, C', T, h / step, w / step]."""
        y = F.relu(self.norms[0](self.along(x)))
        y = F.relu(self.norms[1](self.across(y)))
        return F.relu(self.norms[2](self.out(y)) + self.short(x))


def _lateral(channels: int, stride: int) -> nn.Module:
    """Fast to slow: a strided look along time, and twice the channels."""
    return nn.Conv3d(channels, 2 * channels, (5, 1, 1), (stride, 1, 1), (2, 0, 0), bias=False)


def _changes(x: Tensor) -> Tensor:
    """[B, C, T, h, w]: each frame less the one before. Motion is there to be found, but so it is found sooner."""
    return F.pad(x.diff(dim=2), (0, 0, 0, 0, 1, 0))


def _around(x: Tensor) -> Tensor:
    """[B, T, D] to [B, T, 3 D]: the frame before, this one, and the next, in which an action still shows."""
    return torch.cat([F.pad(x, (0, 0, 1, 0))[:, :-1], x, F.pad(x, (0, 0, 0, 1))[:, 1:]], -1)


def _halved(x: Tensor) -> Tensor:
    """The fast pathway ends one step finer than the slow one."""
    return F.avg_pool3d(x, (1, 2, 2))


def _cells(x: Tensor, side: int) -> Tensor:
    """[B, C, T, h, w] to [B, T, C * side * side]: the means of side x side cells."""
    return F.adaptive_avg_pool3d(x, (x.shape[2], side, side)).permute(0, 2, 1, 3, 4).flatten(2)


def _mlp(inside: int, outside: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inside, 2 * outside), nn.GELU(), nn.Linear(2 * outside, outside))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // _GROUP, channels)
