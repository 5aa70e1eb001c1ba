"""Do the two memory tasks need memory? `sfvgen bench memory_need`.

The same scripted driver and the same scripted arm play the same test episodes twice: once knowing the answer, once
with the best guess from everything that can be observed at the moment it is needed (pose included).
"""

from typing import Any

import numpy as np

from sfvgen_experiments.evaluate import Eval, evaluate

TASKS = ("cube_return", "route_return")


def main(episodes: int = 200, length: str = "medium", workers: int = 2) -> dict[str, Any]:
    """Prints and returns, for each task, success of the truth, both distances and their ratio."""
    config = Eval(
        agent=("expert", "guess"),
        tasks=TASKS,
        lengths=(length,),
        episodes=episodes,
        workers=workers,
        size=16,
        out="outputs/memory_need",
    )
    results = evaluate(config)
    rows: dict[str, Any] = {}
    print(f"{'task':14}{'episodes':>9}{'success of truth':>18}{'truth m':>10}{'guess m':>10}{'ratio':>8}")
    for task in TASKS:
        played = [row for row in results["rows"] if row["task"] == task]
        truth, guess = ([row for row in played if row["agent"] == agent] for agent in ("expert", "guess"))
        distances = [float(np.mean([row["waypoint_distance"] for row in side])) for side in (truth, guess)]
        rows[task] = {
            "episodes": len(truth),
            "success": float(np.mean([row["success"] for row in truth])),
            "truth": distances[0],
            "guess": distances[1],
            "ratio": distances[1] / distances[0],
        }
        print(
            f"{task:14}{len(truth):>9}{rows[task]['success']:>17.1%} {distances[0]:>10.4f}{distances[1]:>10.4f}"
            f"{rows[task]['ratio']:>8.1f}"
        )
    return rows


if __name__ == "__main__":
    main()
