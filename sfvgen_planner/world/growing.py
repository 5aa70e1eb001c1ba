"""What a world keeps of the one that it grew from, by new bodies or by new heads."""

from collections.abc import Mapping

from torch import Tensor, nn

LATER = ("habits", "things")
"""Heads that older worlds lack, and that know nobody until they have learned."""
BY_BODY = ("body.weight", "outcome.scale", "ahead.learned", ".known", "things.eye")
"""Weights with a row for each body."""


def take_over(world: nn.Module, mine: Mapping[str, Tensor]) -> None:
    """What was learned stays; a head whose sizes change begins anew."""
    state, resized = world.state_dict(), set()
    for name, value in mine.items():
        if state[name].shape == value.shape:
            state[name].copy_(value)
        elif name.endswith(BY_BODY):
            state[name][: len(value)] = value
        else:
            resized.add(name.split(".")[0])
    for head in resized.intersection(LATER):
        state[f"{head}.known"].zero_()


def without_lacking(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the weights that are wanted those without the heads of which `state` has none."""
    there = {name.split(".")[0] for name in state}
    lacking = tuple(f"{head}." for head in LATER if head not in there)
    return {name: value for name, value in wanted.items() if not name.startswith(lacking)}
