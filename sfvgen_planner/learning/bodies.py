"""What data sets tell of their bodies: bounds, words, cameras, and the units in which they move."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sfvgen_planner.data.dataset import Dataset
from sfvgen_planner.data.description import VectorActions
from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.layout import Embodiment, Layout, Motion
from sfvgen_planner.world.pose import measure_motion

MEASURED = 30
"""episodes that are enough to know how a body moves"""
READ = ("kind", "size", "low", "high", "first", "pose_size")
"""What decides how a body's actions and poses are read."""


def camera_of(card: Mapping[str, Any]) -> str | None:
    """The camera of an episode, by its card; None where nobody knows the poses, as in imported data."""
    return None if card.get("poses") == "unknown" else str(card.get("camera", "fixed"))


def body_of(dataset: Dataset, cameras: Mapping[str, float]) -> Embodiment:
    """The body of one data set. Without `cameras` (degrees by name) its poses are unknown and tell nothing."""
    told, actions = dataset.description, dataset.description.actions
    length, motion = 1.0, Motion()
    if cameras:
        poses = [np.asarray(dataset[number].poses) for number in range(min(MEASURED, len(dataset)))]
        extent = float(np.median([np.linalg.norm(one[:, :3], axis=1).max() for one in poses]))
        # A table is about a metre, a street ten; what lies between is told by how far its camera gets.
        length, motion = float(np.clip(extent / 5, 1, 10)), measure_motion(poses)
    return Embodiment(
        name=str(dataset.cards[0]["task"]),
        kind="vector" if isinstance(actions, VectorActions) else "discrete",
        size=len(actions.low) if isinstance(actions, VectorActions) else actions.count,
        low=actions.low if isinstance(actions, VectorActions) else (),
        high=actions.high if isinstance(actions, VectorActions) else (),
        first=0 if isinstance(actions, VectorActions) else actions.start,
        phrases=tuple(told.phrases),
        pose_size=told.pose_size,
        cameras=cameras,
        frames_per_action=told.frames_per_action,
        frame_rate=told.frame_rate,
        length=length,
        motion=motion,
    )


def layout_of(bodies: Sequence[Embodiment], known: Sequence[Embodiment] = ()) -> Layout:
    """One layout of all, those a world knows already first: what it learned in their units must go on to mean the same.

    A body met twice keeps its first description and gains cameras and phrases, and, if new, the larger units.
    """
    found = {body.name: body for body in known}
    learned = {body.name for body in known if body.cameras}
    for body in bodies:
        if (old := found.get(body.name)) is None:
            found[body.name] = body
            continue
        if differing := [name for name in READ if getattr(old, name) != getattr(body, name)]:
            raise BadOption(
                f"{body.name!r} twice, with other {' and '.join(differing)}",
                "one kind of actions and poses for each task",
                "Record one of them under another task name.",
            )
        seen = [one.motion for one in (old, body) if one.cameras and old.name not in learned]
        motion = max(seen, key=lambda motion: motion.radians, default=old.motion)
        phrases = tuple(dict.fromkeys((*old.phrases, *body.phrases)))
        found[body.name] = replace(old, cameras={**old.cameras, **body.cameras}, phrases=phrases, motion=motion)
    return Layout(tuple(found.values()))
