"""How many steps a second each task makes on one core, pictures included: `sfvgen bench tasks`.

Random actions from the action space, episodes restarted as they end; the median over blocks of 50 steps, resets left
out (they compile a new scene, and are printed by themselves). The figure per CPU second does not mind a busy machine.
"""

import os
import time

import gymnasium as gym
import numpy as np

from sfvgen_envs import TASKS

BLOCK = 50


def measure(task: str, steps: int) -> dict[str, float]:
    """Median steps a second (by the clock, and of CPU time) and milliseconds a reset takes."""
    env = gym.make(f"sfvgen_envs:{TASKS[task]}").unwrapped
    env.action_space.seed(0)
    blocks, own, resets = [], [], []
    for number in range(max(1, steps // BLOCK)):
        began = time.perf_counter()
        env.reset(seed=number)
        resets.append(time.perf_counter() - began)
        actions = [env.action_space.sample() for _ in range(BLOCK)]
        began, own_began = time.perf_counter(), time.process_time()
        taken = 0
        for action in actions:
            taken += 1
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
        blocks.append(taken / (time.perf_counter() - began))
        own.append(taken / (time.process_time() - own_began))
    return {
        "steps_per_second": float(np.median(blocks)),
        "steps_per_cpu_second": float(np.median(own)),
        "reset_ms": 1000 * float(np.median(resets)),
    }


def main(steps: int = 1000) -> dict[str, dict[str, float]]:
    """Prints and returns a row for each task."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = {}
    print(f"{'task':14}{'steps/s':>10}{'per CPU s':>12}{'reset ms':>10}")
    for task in TASKS:
        row = rows[task] = measure(task, steps)
        print(f"{task:14}{row['steps_per_second']:>10.0f}{row['steps_per_cpu_second']:>12.0f}{row['reset_ms']:>10.1f}")
    return rows


if __name__ == "__main__":
    main()
