"""Several dreams of the same: their mean, and by how much they differ."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sfvgen_planner.errors import BadOption
from sfvgen_planner.planning.rollouts import plain
from sfvgen_planner.types import Actions, Context, Imagine, Rollout


def several(worlds: Sequence[Imagine]) -> Imagine:
    """One world out of some: other seeds of the same one, or worlds trained apart.

    Poses, rewards and probabilities are means; pictures and latents are the first one's. `doubt` is the spread of the
    latents (of the poses, where there are none), its root mean square over their numbers.
    """
    if len(worlds) < 2:
        raise BadOption(f"{len(worlds)} worlds", "two or more", "Bind others seeds: imagine_with(seeds=...).")

    def imagine(context: Context, actions: Actions) -> Rollout:
        found = [world(context, actions) for world in worlds]
        first = found[0]
        means = {
            name: np.mean([plain(getattr(one, name)) for one in found], axis=0)
            for name in ("poses", "rewards", "success", "terminated")
        }
        told = [plain(one.poses if one.latents is None else one.latents) for one in found]
        variance = np.var(told, axis=0).reshape(*first.rewards.shape, -1).mean(-1)
        return replace(first, **means, doubt=np.sqrt(variance))

    return imagine
