"""How many pictures a second one core takes: `python -m sfvgen_experiments.bench.camera`.

A room with a checkered floor, a brick wall and coloured solids, seen so that every geom counts; the median over frames,
with the process bound to one core where the system allows it. The figure per CPU second does not mind a busy machine.
"""

import os
import time

import mujoco
import numpy as np

from sfvgen_envs.camera import RayCamera

SETTINGS = (
    ("64x64, 15 geoms", 15, (64, 64), False),
    ("64x64, 15 geoms, shadows", 15, (64, 64), True),
    ("64x64, 60 geoms", 60, (64, 64), False),
    ("64x64, 60 geoms, shadows", 60, (64, 64), True),
    ("128x128, 15 geoms", 15, (128, 128), False),
)
KINDS = ("box", "sphere", "capsule", "cylinder", "ellipsoid")


def room(geoms: int) -> mujoco.MjModel:
    """A floor, a back wall, and solids of all kinds up to `geoms`."""
    rng = np.random.default_rng(0)
    solids = []
    for i in range(geoms - 2):
        x, y = rng.uniform(-1.5, 1.5), rng.uniform(-1.0, 1.8)
        r, g, b = rng.uniform(0.2, 0.9, 3)
        size = " ".join(f"{value:.3f}" for value in rng.uniform(0.08, 0.2, 3))
        turn = rng.uniform(0, 180)
        solids.append(
            f'<geom type="{KINDS[i % len(KINDS)]}" size="{size}" pos="{x:.3f} {y:.3f} .2" euler="0 0 {turn:.1f}"'
            f' rgba="{r:.3f} {g:.3f} {b:.3f} 1"/>'
        )
    return mujoco.MjModel.from_xml_string(f"""<mujoco>
      <custom>
        <text name="pattern/floor" data="checker .4 .4 .42 .5"/>
        <text name="pattern/wall" data="brick .8 .78 .7 .4"/>
      </custom>
      <asset><material name="floor" rgba=".6 .6 .6 1"/><material name="wall" rgba=".65 .35 .28 1"/></asset>
      <worldbody>
        <light directional="true" dir="-.4 .5 -1"/>
        <geom type="plane" size="0 0 1" material="floor"/>
        <geom type="box" size="2.5 .1 .8" pos="0 2.2 .8" material="wall"/>
        {"".join(solids)}
        <camera name="eye" pos="0 -2.6 1.8" xyaxes="1 0 0 0 .5 .85" fovy="55"/>
      </worldbody></mujoco>""")


def frames_per_second(model: mujoco.MjModel, size: tuple[int, int], shadows: bool, repeats: int) -> tuple[float, float]:
    """By the clock, and a second of CPU time: medians over `repeats` frames."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    camera = RayCamera(model, "eye", size, shadows=shadows)
    for _ in range(20):
        camera.render(data)
    taken = np.empty((repeats, 2))
    for i in range(repeats):
        before, own_before = time.perf_counter(), time.process_time()
        camera.render(data)
        taken[i] = time.perf_counter() - before, time.process_time() - own_before
    wall, own = 1 / np.median(taken, axis=0)
    return float(wall), float(own)


def main(repeats: int = 300) -> dict[str, float]:
    """Prints the table; frames per second by setting."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    try:
        figures = {name: frames_per_second(room(n), size, on, repeats) for name, n, size, on in SETTINGS}
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
    print(f"{'setting':<28}{'frames/s':>9}{'per CPU s':>11}")
    for name, (wall, own) in figures.items():
        print(f"{name:<28}{wall:>9.0f}{own:>11.0f}")
    return {name: wall for name, (wall, _) in figures.items()}


if __name__ == "__main__":
    main()
