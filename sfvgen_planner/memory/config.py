"""How a memory is written: a frozen value, with the paper's numbers and ours as presets."""

from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.memory.adam import WAYS
from sfvgen_planner.world.schedule import DRAWS, Draw

Variant = Literal["full", "original", "global", "frame", "jump", "off"]
Operator = Literal["lowrank", "hyperzzw"]
OPERATORS = ("lowrank", "hyperzzw")
VARIANTS = ("full", "original", "global", "frame", "jump", "off")
KINDS = {
    "attention": r"blocks\.\d+\.[qkvo]|.*\.attn\d\.to_(q|k|v|out\.0)",
    "mlp": r"blocks\.\d+\.(up|down)|.*\.ff\.net\.(0\.proj|2)",
    "address": r"address|unet\.conv_in",
    "brush": r"out|carry\.(up|out|(look|draw)(_on\..*)?)|conv_out",
    "convolution": r".*\.resnets\.\d+\.conv\d",
    "temporal_convolution": r".*\.temp_convs\.\d+\.conv\d\.\d",
}
"""Names for patterns that are often wanted, for both denoisers."""


@dataclass(frozen=True)
class MemoryConfig:
    """The defaults are a plain way, see `PRESETS` for better ones; `inf` bounds nothing."""

    variant: Variant = "full"
    """"full": the paper's local rule, past and new frames wholly noised, actions withheld; "original": the past is
    given clean, the loss is on the new frames, actions are told; "global": windows of the whole history instead of the
    last one; "frame": one past frame instead of all; "off": nothing is remembered; "jump": as memories are read, the
    past, one frame, is given clean, and most draws show new frames after another window's, from where they could not
    be seen; the others, all told, keep what needs no memory as it was; windows of the whole history"""
    modules: tuple[str, ...] = ("attention", "mlp")
    """kinds of layers, or patterns of whole layer names; each must match something"""
    operator: Operator = "lowrank"
    """what a memory does to a layer: "lowrank": adds B A x to its answer; "hyperzzw": multiplies what it is given by a
    kernel that a coordinate network of two layers, A and B, makes of where each place looks"""
    rank: int = 7
    """of the factors; of "hyperzzw" the network's hidden width"""
    optimiser: Literal["adam", "muon", "sgd"] = "adam"
    """who takes the steps; see `adam.py`"""
    rate: float = 0.005
    """about how far a number moves in an update; of "sgd", by how much of its slope"""
    updates: int = 8
    """a chunk"""
    draws: int = 4
    """of noise and level, in each update"""
    levels: Draw = "high"
    """stratified over all draws of a chunk, row by row"""
    address: bool = True
    """is the world told where each token looks while it remembers"""
    clip: float = 1.0
    """a row's gradient is at most so long"""
    anchor: float = 0.0
    """an update first goes back towards the start by this share of the rate"""
    replay: int = 2
    """every so manieth update is one of an earlier window; 0: none"""
    mixed: bool = False
    """every so manieth draw is one of an earlier window, instead of update: each update then knows both"""
    cool: float = 0.0
    """share of the rate that is gone at a chunk's last update; it falls evenly"""
    fade: float = 0.0
    """the n-th chunk of an episode is written at n ** -fade of the rate, or what is new would wear out what is old"""
    bound: float = 1.0
    """of ||B A|| / ||W||, layer by layer"""
    rise: float = 0.1
    """a chunk is forgotten again if it raises the loss on a held-back draw by more than this share"""
    beyond: float = 0.0
    """nothing is written until a camera has looked so far from where it looks, in fields of view and lengths of the
    body: what never leaves the view need not be remembered; 0: always"""
    strength: float = 1.0
    """how much of what B has learned since the start the world is told: written firmly and read softly, a memory loses
    little of what it recalls and most of what it spoils"""
    kept: int = 0
    """so many of an episode's frames are kept beside the factors, and what has left the view is carried from the
    nearest of them; only where a world's denoiser carries"""
    seed: int = 0
    """of the A factors, which all episodes share"""

    def __post_init__(self) -> None:
        for name, known in (
            (self.variant, VARIANTS),
            (self.levels, DRAWS),
            (self.optimiser, tuple(WAYS)),
            (self.operator, OPERATORS),
        ):
            if name not in known:
                raise UnknownName(f"a memory with {name!r}", f"one of {', '.join(known)}", closest(name, known))
        whole = min(self.rank, self.updates, self.draws, len(self.modules)) >= 1 and min(self.replay, self.kept) >= 0
        if not whole or not (0 < self.rate < inf and 0 <= self.anchor * self.rate <= 1):
            raise BadOption(
                f"{self}", "layers, rank, updates, draws and a rate above 0, and anchor * rate up to 1", "See PRESETS."
            )
        if self.operator != "lowrank" and self.bound < inf:
            raise BadOption(f"operator={self.operator} with bound={self.bound}", "bound=inf", "B A is no weight there.")
        positive = min(self.clip, self.bound) > 0 and min(self.rise, self.fade, self.beyond) >= 0
        if not (positive and 0 <= self.cool < 1 and 0 < self.strength <= 1):
            raise BadOption(
                f"clip={self.clip}, bound={self.bound}, rise={self.rise}, cool={self.cool}, fade={self.fade}, "
                f"beyond={self.beyond}, strength={self.strength}",
                "clip, bound (inf: none), strength (to 1) above 0, cool from 0 to below 1, rise, fade, beyond from 0",
                "See PRESETS.",
            )

    @property
    def nothing(self) -> bool:
        """Neither written nor kept."""
        return self.variant == "off" and not self.kept

    def rate_at(self, update: int) -> float:
        """Of a chunk's updates, counted from 0."""
        return self.rate * (1 - self.cool * update / max(1, self.updates - 1))


DEFAULT = MemoryConfig(
    variant="jump",
    modules=("brush",),
    rank=16,
    optimiser="muon",
    rate=0.03,
    cool=0.9,
    fade=0.5,
    mixed=True,
    rise=1.0,
    beyond=0.25,
    strength=0.85,
)
"""Ours, for dreams of real tasks: written where pictures are drawn, 177 KB of fp16 for the shipped world."""
PAPER = MemoryConfig(
    modules=("attention",),
    rank=32,
    rate=0.0001,
    updates=1,
    draws=1,
    levels="uniform",
    address=False,
    clip=inf,
    replay=0,
    bound=inf,
    rise=inf,
)
"""One Adam step a chunk, on the whole window, without action or address."""
RECALL = MemoryConfig(
    modules=("attention", "mlp", "address"),
    rank=16,
    optimiser="muon",
    rate=0.025,
    cool=0.95,
    mixed=True,
    rise=inf,
)
"""What recalled most in the panorama (`sfvgen probe memory`); for causal worlds, and tried in no other world."""
HYPERZZW = replace(DEFAULT, operator="hyperzzw", rank=64, bound=inf)
"""Another fast memory to compare with: the HyperZ.Z.W operator, written as `DEFAULT` is."""
ALBUM = MemoryConfig(variant="off", modules=("brush",), rank=1, kept=32)
"""Frames alone, 263 kB of fp16 in the shipped world: a bank of frames by pose."""
HYBRID = replace(DEFAULT, kept=32)
"""Both: what was seen is carried from frames, what was not is drawn as such places look."""
PRESETS = {
    "default": DEFAULT,
    "paper": PAPER,
    "recall": RECALL,
    "hyperzzw": HYPERZZW,
    "album": ALBUM,
    "hybrid": HYBRID,
}
