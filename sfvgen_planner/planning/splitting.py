"""Candidates in as many calls of the world as memory asks for."""

from collections.abc import Callable, Iterator

from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning.rollouts import joined
from sfvgen_planner.types import Actions, Context, Rollout

Ask = Callable[[int, int], Rollout]
"""(first, end) -> the rollout of the candidates between them"""
SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


class Split:
    """Remembers how many candidates fit; a call that does not fit is halved, and what was done is not done again."""

    def __init__(self, at_once: int | None = None) -> None:
        self.at_once = at_once

    def parts(self, count: int, ask: Ask) -> Iterator[Rollout]:
        """Rollouts of `count` candidates, in order."""
        first = 0
        while first < count:
            end = min(first + (self.at_once or count), count)
            try:
                part = ask(first, end)
            except (MemoryError, RuntimeError) as error:
                if not ran_out(error):
                    raise
                if end - first == 1:
                    raise BadOption(
                        "one candidate, which does not fit into memory",
                        "a device with room for it",
                        "Plan for fewer episodes at once, or a shorter horizon.",
                    ) from error
                self.at_once = (end - first) // 2
                continue
            yield part
            first = end


def ran_out(error: BaseException) -> bool:
    """Is this an allocator's complaint? torch has its own class for a GPU's, and none for the CPU's."""
    told = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in told for sign in SIGNS)


def in_parts(imagine: Callable[[Context, Actions], Rollout], at_once: int) -> Callable[[Context, Actions], Rollout]:
    """The same world, never asked more than so many candidates at once."""

    def imagined(context: Context, actions: Actions) -> Rollout:
        def ask(first: int, end: int) -> Rollout:
            return imagine(context, Actions(actions.kind, actions.values[:, first:end]))

        return joined(list(Split(at_once).parts(int(actions.values.shape[1]), ask)))

    return imagined
