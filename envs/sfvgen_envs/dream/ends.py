"""When an episode ends in a dream, and what is seen of it afterwards."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from sfvgen_envs.dream.config import DreamConfig
from sfvgen_envs.dream.going import Made


@dataclass(frozen=True)
class Judgement:
    """Of H steps of B rows."""

    made: Made
    """the frames; after an episode's end its last one, again and again"""
    reward: Tensor
    """float [B, H]; 0 after an end"""
    terminated: Tensor
    truncated: Tensor
    """bool [B, H]; they stay as they were at the end"""
    over: Tensor
    """bool [B]"""
    lasting: Tensor
    """float [B]: how likely it is by now that the episode goes on"""


def judged(
    config: DreamConfig, horizon: int, elapsed: Tensor, lasting: Tensor, made: Made, moving: Tensor
) -> Judgement:
    """Rows that are not moving (bool [B]) get no reward and do not end; `elapsed` [B] counts the steps before, and
    `lasting` [B] tells how likely it was then that the episode went on.

    An end that nobody is sure of in any one frame, a ball that is reached or a road that is left, comes all the same.
    """
    frames = made.reward.shape[1]
    number = torch.arange(frames, device=elapsed.device)[None]
    lasts = lasting[:, None] * (1 - made.terminated).cumprod(1)
    terminated = (1 - lasts > config.threshold) & moving[:, None]
    truncated = (elapsed[:, None] + number + 1 >= horizon) & moving[:, None]
    ends = terminated | truncated
    last = torch.where(ends.any(1), ends.long().argmax(1), frames - 1)[:, None]
    when, counts = torch.minimum(number, last), (number <= last) & moving[:, None]
    reward = torch.where(counts, made.reward - config.penalty * made.doubt, 0)
    terminated, truncated = terminated.gather(1, when), truncated.gather(1, when)
    lasting = torch.where(moving, lasts.gather(1, last)[:, 0], lasting)
    return Judgement(_at(made, when), reward, terminated, truncated, ends.any(1), lasting)


def _at(made: Made, when: Tensor) -> Made:
    """The frames of these numbers [B, H]."""
    if made.reward.shape[1] == 1:
        return made
    rows = torch.arange(len(when), device=when.device)[:, None]
    return Made(*(getattr(made, field.name)[rows, when] for field in fields(Made)))
