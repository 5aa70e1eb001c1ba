"""Where the things stand that words can name, and whether they can be seen: the simulator's truth, to learn from."""

from typing import Any

import numpy as np

from sfvgen_envs.task import Task
from sfvgen_planner.types import Things


def things_of(task: Task[Any, Any]) -> Things:
    """Of this moment: one frame."""
    names = task.named()
    bodies = [task.model.body(body).id for body in names.values()]
    geoms = task.segment().ravel()
    visible = task.model.geom_bodyid[geoms[geoms >= 0]]
    shown = [np.count_nonzero(visible == body) for body in bodies]
    places = np.asarray(task.data.xpos[bodies], np.float32).reshape(1, len(bodies), 3)
    return Things(tuple(names), places, np.array([shown], np.int32), task.origin.astype(np.float32))
