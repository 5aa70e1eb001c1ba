"""What somebody who knows how would do next: a few ways to go on, told by the last picture, the senses and the words.

Where hardly any candidate leads anywhere, search finds nothing; it may begin with these. They are no plan: nobody has
asked the world yet where they lead.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_planner.world.spots import Spots
from sfvgen_planner.world.text import TextEncoder

WAYS, AHEAD = 5, 16
"""How many ways to go on, and for how many steps."""
SUREST, BLINDEST = 0.15, 1.0
"""Least and largest doubt of an action, whose range is 2. Who draws from it strays by the least at least."""
QUIET = 0.25
"""Loudness of a word: a sentence has several."""


@dataclass(frozen=True)
class Habits:
    """K ways of R rows."""

    chance: Tensor
    """[R, K] logarithms of probabilities"""
    actions: Tensor
    """[R, K, H, A] from -1 to 1"""
    doubt: Tensor
    """[R, K, H, A] standard deviations"""


class HabitHead(nn.Module):
    """See the module's docstring."""

    known: Tensor
    """bool [bodies]: whose habits were learned"""

    def __init__(
        self, latents: tuple[int, int, int], senses: int, actions: int, words: int, bodies: int, dim: int = 128
    ) -> None:
        """Sizes: latents (C, h, w), senses and actions of the body with the most of them, numbers of a word."""
        super().__init__()
        self.size = actions
        self.body, self.hear = nn.Embedding(bodies, dim), nn.Linear(words, dim)
        self.look, self.feel = Spots(*latents, dim), nn.Linear(senses, dim)
        self.bend = nn.Linear(dim, 2 * latents[0])
        self.tell = nn.Sequential(
            nn.Linear(3 * dim, 2 * dim),
            nn.SiLU(),
            nn.Linear(2 * dim, dim),
            nn.SiLU(),
            nn.Linear(dim, WAYS + (1 + 2 * WAYS) * AHEAD * actions),
        )
        nn.init.zeros_(self.bend.weight)
        nn.init.zeros_(self.bend.bias)
        self.register_buffer("known", torch.zeros(bodies, dtype=torch.bool))

    def forward(self, latents: Tensor, senses: Tensor, embodiment: Tensor, words: Tensor) -> Habits:
        """Clean latents [R, C, h, w], senses [R, S] in the body's units, bodies int64 [R], sentences [R, X]."""
        asked = self.body(embodiment) + self.hear(words)
        scale, shift = self.bend(asked)[..., None, None].chunk(2, 1)
        seen = self.look((latents * (1 + scale) + shift)[:, None])[:, 0]
        told = self.tell(F.silu(torch.cat([seen, self.feel(senses), asked], -1)))
        number = AHEAD * self.size
        chance, common, ways = told.split([WAYS, number, 2 * WAYS * number], -1)
        apart, doubt = ways.reshape(len(told), WAYS, AHEAD, 2 * self.size).chunk(2, -1)
        # Ways differ from what they have in common, which is learned from all rows: places are found sooner.
        actions = common.reshape(len(told), 1, AHEAD, self.size) + apart
        return Habits(chance.log_softmax(-1), actions, SUREST + (BLINDEST - SUREST) * doubt.sigmoid())

    def loss(self, habits: Habits, actions: Tensor, done: Tensor) -> Tensor:
        """Scalar: how unlikely actions [R, H, A] are, a number, where they were `done` knowingly, bool [R, H, A]."""
        off = ((actions[:, None] - habits.actions) / habits.doubt).square() / 2 + habits.doubt.log()
        alike = habits.chance - (off * done[:, None]).flatten(2).sum(-1)
        loss: Tensor = -alike.logsumexp(-1).sum() / done.sum().clamp(min=1)
        return loss


def said(
    text: TextEncoder | None, sentences: list[str], unheard: float = 0.0, draw: torch.Generator | None = None
) -> Tensor:
    """[R, X]: the words of sentences in any order, but for a share that is `unheard`, drawn; nothing is no words.

    Read as a sentence, "the red cube" and "the blue cube" are one to an encoder that learned of directions.
    """
    if text is None:
        return torch.zeros(len(sentences), 1)
    words, there = text.words(sentences)
    if unheard:
        there = there & (torch.rand(there.shape, generator=draw) >= unheard).to(there.device)
    return QUIET * (F.layer_norm(words, words.shape[-1:]) * there[..., None]).sum(1)
