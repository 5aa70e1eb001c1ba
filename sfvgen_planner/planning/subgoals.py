"""From a task in words to sub-goals in words, each of which lasts a chunk.

A language model would do this for any task; here it is the tasks' own grammar. A sub-goal is a tuple of alternatives
from the closed list of phrases: one where the words decide, several where only a search can.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sfvgen_planner.errors import UnknownName, closest

Subgoal = tuple[str, ...]


class Decomposer(Protocol):
    """What turns a text into sub-goals."""

    def __call__(self, text: str) -> tuple[Subgoal, ...]:
        """In order, one or more; the last one goes on for as long as the text stays."""


ARM = r"^(wait|move (away|closer|left|right|up|down)( a little)?)$"
"""Phrases that move an arm without naming a thing."""
CAR = r"^(drive|steer|stop)"
RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"move the gripper (home|to the \w+ \w+)", (r"^move the gripper {0}$",)),
    (
        # Pushed from within: open fingers around the cube take it along.
        r"push the (\w+) cube onto the disc",
        (r"^open the gripper$", *[r"^move the gripper to the {0} cube$"] * 2, ARM),
    ),
    (
        r"put the (\w+) cube into the box",
        (
            r"^open the gripper$",
            *[r"^move the gripper to the {0} cube$"] * 4,
            r"^close the gripper$",
            *[r"^move the gripper to the box$"] * 4,
            r"^open the gripper$",
            r"^move up$",
        ),
    ),
    (r"turn (left|right) at the next crossing", (r"^turn {0}$",)),
    (r"drive straight on at the next crossing", (r"^drive forward$",)),
    (r"drive to the end of the street, then turn around", (r"^(drive forward|turn around)$",)),
    (r"follow the road", (CAR,)),
)
"""(a sentence's beginning, patterns of phrases for each of its sub-goals); {0} is what the sentence names."""


@dataclass(frozen=True)
class Grammar:
    """The five tasks' sentences. What it has no rule for ("return the red cube") may need any phrase."""

    phrases: tuple[str, ...]
    """the body's closed list"""

    def __call__(self, text: str) -> tuple[Subgoal, ...]:
        """Sub-goals of this body."""
        for sentence, wanted in RULES:
            found = re.match(sentence, text)
            if found:
                named = found.groups()
                goals = [tuple(p for p in self.phrases if re.match(one.format(*named), p)) for one in wanted]
                if all(goals):
                    return tuple(goals)
        return (self.phrases,)


def places(phrases: Sequence[str], subgoal: Subgoal) -> tuple[int, ...]:
    """The numbers of a sub-goal's alternatives in the closed list."""
    for phrase in subgoal:
        if phrase not in phrases:
            raise UnknownName(f"phrase {phrase!r}", "one of the body's list", closest(phrase, list(phrases)))
    return tuple(phrases.index(phrase) for phrase in subgoal)
