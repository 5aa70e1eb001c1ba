"""What is wanted of the four tables, and whether it is there."""

import numpy as np

from sfvgen_experiments.revisit.arms import NONE, SWAPPED
from sfvgen_experiments.tables.parts import AFTER, CUBE, FRAMES, LOWRANK, OURS, ROUTE, WAYS, WITHOUT, Found, plans_of
from sfvgen_planner.metrics.statistics import bootstrap_interval

FARTHER = {"cube_return": 6.2, "route_return": 4.2}
"""How many times farther off without memory is wanted: the paper's ratios."""
LOOP = 4.0
"""The same for the loop, where cubes are returned."""
LONGER = ("longer", "bank", FRAMES)
"""Arms that look at the very frames, and are reported as they come."""
SWAP = 0.8
"""Of the gain: what another episode's memory has to lose."""


def verdicts(found: Found) -> list[str]:
    """The bars, each in words."""
    distance = "{}: distance {}"
    bars = [
        _times(distance.format(task, "without memory / with it"), found, task, (WITHOUT, ""), wanted)
        for task, wanted in FARTHER.items()
    ]
    what = distance.format("cube_return", "without the loop / after it")
    bars.append(_times(what, found, "cube_return", ("", AFTER), LOOP))
    for way in (ROUTE, CUBE):
        arms = found.get(WAYS, {}).get("rows", {}).get(way, {}).get("arms", {})
        there = [name for name in (OURS, LOWRANK) if name in arms]
        bars += [bar for name in there for bar in _recall(way, arms, name)] if there else [f"{way}: not measured"]
    return bars


def _recall(way: str, arms: Found, mine: str) -> list[str]:
    """What is wanted of a memory on a way back."""
    name = f"{way}, {mine}"
    bars = [
        f"{name}, {measure} better than every other arm: {_best(measure, arms, mine)}" for measure in ("psnr", "src")
    ]
    own, swapped = (_psnr(arms, arm) - _psnr(arms, NONE) for arm in (mine, mine + SWAPPED))
    if own <= 0:
        lost = f"no gain to lose ({own:.2f} dB): NOT MET"
    else:
        lost = f"{1 - swapped / own:.0%} of {own:.2f} dB, {SWAP:.0%} wanted: {_met(1 - swapped / own >= SWAP)}"
    without, with_it = (arms[arm]["cuts"]["mean"] for arm in (NONE, mine))
    cuts = f"{with_it:.2f} of {without:.2f}: {_met(with_it <= without / 2)}" if without else "nobody cuts"
    return [*bars, f"{name}, lost under another's memory: {lost}", f"{name}, scene cuts halved: {cuts}"]


def _best(measure: str, arms: Found, mine: str) -> str:
    """A memory beside the best of the others' ways, but for those that look at the very frames."""
    others = {
        name: arm["whole"][measure]["mean"]
        for name, arm in arms.items()
        if name not in (OURS, LOWRANK, *LONGER) and not name.endswith(SWAPPED) and arm["whole"][measure]
    }
    figure = arms[mine]["whole"][measure]
    if not figure or not others:
        return "not measured"
    rival = max(others, key=lambda name: others[name])
    return f"{figure['mean']:.3f} against {others[rival]:.3f} of {rival}: {_met(figure['mean'] > others[rival])}"


def _psnr(arms: Found, name: str) -> float:
    return float(arms[name]["whole"]["psnr"]["mean"])


def _met(met: bool) -> str:
    return "met" if met else "NOT MET"


def _times(what: str, found: Found, task: str, parts: tuple[str, str], wanted: float) -> str:
    """A ratio of mean distances over the episodes that both played."""
    far_rows, near_rows = (_distances(plans_of(found, part).get(task)) for part in parts)
    both = sorted({*far_rows} & {*near_rows})
    if len(both) < 2:
        return f"{what}: not measured"
    pairs = np.array([(far_rows[index], near_rows[index]) for index in both])
    ratio = bootstrap_interval(lambda some: float(pairs[some, 0].sum() / pairs[some, 1].sum()), len(pairs))
    between = f"[{ratio.low:.2f}, {ratio.high:.2f}]"
    return f"{what}: {ratio.mean:.2f} {between}, {wanted:g} wanted: {_met(ratio.mean >= wanted)}"


def _distances(part: Found | None) -> dict[int, float]:
    """Of the planner, by episode."""
    return {
        row["index"]: row["waypoint_distance"]
        for row in (part["rows"] if part else ())
        if row["agent"] != "random" and row["waypoint_distance"] is not None
    }
