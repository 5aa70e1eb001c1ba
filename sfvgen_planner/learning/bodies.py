"""What data sets tell of their bodies: bounds, words, cameras, and the units in which they move."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sfvgen_planner.data.dataset import Dataset
from sfvgen_planner.data.description import VectorActions
from sfvgen_planner.world.layout import Embodiment, Layout
from sfvgen_planner.world.pose import measure_motion

MEASURED = 30
"""episodes that are enough to know how a body moves"""


def body_of(dataset: Dataset, camera: str, fovy: float) -> Embodiment:
    """The body of one data set, seen through one camera."""
    told, actions = dataset.description, dataset.description.actions
    poses = [np.asarray(dataset[number].poses) for number in range(min(MEASURED, len(dataset)))]
    extent = float(np.median([np.linalg.norm(one[:, :3], axis=1).max() for one in poses]))
    return Embodiment(
        name=str(dataset.cards[0]["task"]),
        kind="vector" if isinstance(actions, VectorActions) else "discrete",
        size=len(actions.low) if isinstance(actions, VectorActions) else actions.count,
        low=actions.low if isinstance(actions, VectorActions) else (),
        high=actions.high if isinstance(actions, VectorActions) else (),
        first=0 if isinstance(actions, VectorActions) else actions.start,
        phrases=tuple(told.phrases),
        pose_size=told.pose_size,
        cameras={camera: fovy},
        frames_per_action=told.frames_per_action,
        frame_rate=told.frame_rate,
        # A table is about a metre, a street ten; what lies between is told by how far its camera gets.
        length=float(np.clip(extent / 5, 1, 10)),
        motion=measure_motion(poses),
    )


def layout_of(bodies: Sequence[Embodiment]) -> Layout:
    """One layout of all; a body met twice keeps its first description and gains cameras, and the larger units."""
    known: dict[str, Embodiment] = {}
    for body in bodies:
        if (old := known.get(body.name)) is None:
            known[body.name] = body
        else:
            motion = max(old.motion, body.motion, key=lambda motion: motion.radians)
            known[body.name] = replace(old, cameras={**old.cameras, **body.cameras}, motion=motion)
    return Layout(tuple(known.values()))
