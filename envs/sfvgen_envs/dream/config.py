"""How a dream is dreamt, as a frozen value."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from sfvgen_envs.checks import one_of
from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory import MemoryConfig
from sfvgen_planner.world.sampler import SamplerConfig

KEYS = ("pixels", "pose", "features", "goal")
"""What may be observed; `features` are the denoiser's, pooled, under the memory; `goal` is how much each of the body's
senses is off from how it stands in the goal's picture."""


@dataclass(frozen=True)
class DreamConfig:
    """The defaults remember nothing and doubt nothing."""

    sampler: SamplerConfig = field(default_factory=lambda: SamplerConfig(steps=1))
    observe: tuple[str, ...] = ("pixels", "pose")
    """keys of the observation; without `pixels` nothing is decoded"""
    threshold: float = 0.5
    """an episode ends where the world holds it for more probable than this that it has ended by now"""
    memory: MemoryConfig | None = None
    """how each row remembers; None: not at all"""
    every: int = 1
    """chunks between two updates of a row's memory"""
    earlier: int = 16
    """windows of the same episode that are kept for replay, and for new ones to be told apart from"""
    trust: float = 1.0
    """by which an update on dreamt frames is shortened, as they may be wrong"""
    doubts: bool = False
    """every frame is dreamt twice, and `info["uncertainty"]` tells how much the two differ"""
    penalty: float = 0.0
    """taken from the reward for each unit of uncertainty"""
    reward: Literal["learned", "goal"] = "learned"
    """what the world says; or, in its place, how much nearer the body came to how it stands in the goal's picture"""

    @property
    def asks(self) -> bool:
        """Are goals' pictures read?"""
        return "goal" in self.observe or self.reward == "goal"

    def __post_init__(self) -> None:
        if not self.observe or len(set(self.observe)) < len(self.observe) or not set(self.observe) <= set(KEYS):
            raise BadOption(f"observe={list(self.observe)}", f"some of {list(KEYS)}, each once", "Name what is seen.")
        one_of("reward", self.reward, ("learned", "goal"))
        if not 0 < self.threshold < 1 or self.every < 1 or self.earlier < 0 or not 0 < self.trust < inf:
            raise BadOption(
                f"threshold={self.threshold}, every={self.every}, earlier={self.earlier}, trust={self.trust}",
                "a probability, chunks from 1 up, windows from 0 up, a trust above 0",
                "See DreamConfig.",
            )
        if not 0 <= self.penalty < inf or (self.penalty and not self.doubts):
            raise BadOption(
                f"penalty={self.penalty} with doubts={self.doubts}", "0 or more, and doubts", "Set doubts=True."
            )
