"""Scripted ways in the true simulator: out, which is seen, and back, which is to be dreamt.

`out_and_back`, `a_b_a` (with a stay at each end) and `a_b_c_a` (with a stay half-way) are driven along a street of
RouteReturn and back in reverse gear; `pan` looks left and right over a still table; in `object` the expert of
CubeReturn carries cubes off and back, before a camera that stands still.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from sfvgen_agents.loading import load_agent
from sfvgen_envs.car import MAX_REVERSE, MAX_SPEED, MAX_STEER, WHEELBASE
from sfvgen_envs.table import COLOURS
from sfvgen_planner.errors import BadOption, UnknownName, closest
from sfvgen_planner.types import FRAMES_PER_CHUNK

Floats = NDArray[np.float64]
Vary = Callable[[np.random.Generator], dict[str, Any]]
"""Factors of a scene that are not to be drawn as the task draws them."""
PACE, FRAME = 1.4, 0.1
"""Metres a second, forward and backward; seconds of a step."""
AHEAD, SPACING, BEFORE = 1.0, 0.25, 8
"""Metres that are looked ahead; between the points of a way; points before its start."""
NEARLY = 0.04
"""Metres that are not worth moving for."""
STAY = 16
"""Frames at each end."""
HOME = 0.025
"""Metres from where it stood at first within which a cube is back."""


@dataclass(frozen=True)
class Trip:
    """E scripted episodes of T frames of which the first `seen` are known."""

    body: str
    camera: str
    pixels: NDArray[np.uint8]
    """[E, T, h, w, 3]"""
    poses: NDArray[np.float32]
    """[E, T, P]"""
    actions: NDArray[np.float32]
    """[E, T, A]: what led into each frame"""
    seen: int
    colours: tuple[tuple[float, float, float], ...] = ()
    """of the object that returns, in each episode"""
    back: NDArray[np.int64] | None = None
    """[E, T]: frames since the object last stood where it stands again, -1 where it does not"""


def record(way: str, scenes: range, seen: int, dreamt: int, size: int) -> Trip:
    """One episode in each of these scenes of the test split."""
    if way not in WAYS:
        raise UnknownName(f"way {way!r}", f"one of {list(WAYS)}", closest(way, WAYS))
    if way == "object":
        return carry(scenes, dreamt, size)
    return pan(scenes, seen, dreamt, size) if way == "pan" else drive(way, scenes, seen, dreamt, size)


def drive(way: str, scenes: range, seen: int, dreamt: int, size: int) -> Trip:
    """By car; every episode in another town."""
    metres = MILES[way](seen, dreamt)
    rows = [_driven(seed, metres, size) for seed in scenes]
    return Trip("route_return", "fixed", *_stacked(rows), seen)


def pan(scenes: range, seen: int, dreamt: int, size: int, length: str = "long", vary: Vary = lambda rng: {}) -> Trip:
    """The sweeping camera over a table where nothing moves; of each scene some factors may be others."""
    env, rows = _made("CubeReturn", length, size, "sweep"), []
    for seed in scenes:
        frames = [_first(env, seed, vary(np.random.default_rng(seed)))]
        frames += [_step(env, np.array([0.0, 0, 0, -1])) for _ in range(seen + dreamt - 1)]
        rows.append(frames)
    return Trip("cube_return", "sweep", *_stacked(rows), seen)


def carry(scenes: range, dreamt: int, size: int) -> Trip:
    """Cubes are carried off, seen; and back, to be dreamt. All episodes are cut to one length."""
    env = _made("CubeReturn", "medium", size, "fixed")
    task: Any = env.unwrapped
    rows, turns, backs, colours = [], [], [], []
    for seed in scenes:
        agent = load_agent("expert", "cube_return", seed, env.action_space)
        observation, info = env.reset(seed=seed)
        agent.reset(observation, info)
        cube = task.scene.order[0] if task.scene.order[0] < task.count else task.scene.order[1]
        frames, away, turn, over = [_frame(observation, np.zeros(4))], [0.0], 0, False
        while not over:
            action = agent.act(observation, info)
            observation, _, ended, cut, info = env.step(action)
            over = ended or cut
            frames.append(_frame(observation, action))
            place = task.data.body(f"cube{cube}").xpos[:2]
            away.append(float(np.hypot(*(place - task.scene.places[cube]))))
            turn = turn or (len(frames) if info["privileged"]["stage"] == "back" else 0)
        rows.append(frames)
        turns.append(turn)
        backs.append(since(np.array(away) <= HOME))
        colours.append(COLOURS[task.scene.colours[cube]])
    seen = min(turns) // FRAMES_PER_CHUNK * FRAMES_PER_CHUNK
    more = min([dreamt, *(len(frames) - seen for frames in rows)]) // FRAMES_PER_CHUNK * FRAMES_PER_CHUNK
    kept = [frames[: seen + more] for frames in rows]
    back = np.stack([one[: seen + more] for one in backs])
    return Trip("cube_return", "fixed", *_stacked(kept), seen, tuple(colours), back)


def since(there: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[T] at every frame of a return: how long ago it was last there before it left; -1 elsewhere and before."""
    ages, left = np.full(len(there), -1), -1
    for frame in range(1, len(there)):
        if there[frame - 1] and not there[frame]:
            left = frame - 1
        if there[frame] and left >= 0:
            ages[frame] = frame - left
    return ages


def _out_and_back(seen: int, dreamt: int) -> Floats:
    far = PACE * FRAME * (seen - 1)
    return _metres(seen, dreamt, [(0, 0.0), (seen - 1, far)], far)


def _a_b_a(seen: int, dreamt: int) -> Floats:
    far = PACE * FRAME * (seen - 1 - 2 * STAY)
    return _metres(seen, dreamt, [(0, 0.0), (STAY, 0.0), (seen - 1 - STAY, far), (seen - 1, far)], far)


def _a_b_c_a(seen: int, dreamt: int) -> Floats:
    leg = (seen - 1 - 2 * STAY) / 2
    far = 2 * leg * PACE * FRAME
    stay = [(leg, far / 2), (leg + STAY, far / 2)]
    return _metres(seen, dreamt, [(0.0, 0.0), *stay, (seen - 1 - STAY, far), (seen - 1, far)], far)


def _metres(seen: int, dreamt: int, out: list[tuple[float, float]], far: float) -> Floats:
    """[T] along the street at every frame: `out` through these points, and straight back."""
    home = seen - 1 + round(far / PACE / FRAME)
    frames, metres = zip(*out, (home, 0.0), strict=True)
    return np.asarray(np.interp(np.arange(seen + dreamt), frames, metres), np.float64)


MILES: dict[str, Callable[[int, int], Floats]] = {
    "out_and_back": _out_and_back,
    "a_b_a": _a_b_a,
    "a_b_c_a": _a_b_c_a,
}
WAYS = (*MILES, "pan", "object")


def _driven(seed: int, metres: Floats, size: int) -> list[dict[str, Any]]:
    """One drive along the commanded street; every step steers for a point before the car, or behind it."""
    env = _made("RouteReturn", "medium", size, "fixed")
    task: Any = env.unwrapped
    frames = [_first(env, seed)]
    way = np.array(task.privileged()["path"])
    start = way[0] - way[1]
    # The way goes on behind its start: whoever comes home backwards steers for that.
    way = np.concatenate([way[:1] + start * np.arange(BEFORE, 0, -1)[:, None], way])
    if metres.max() > (most := SPACING * (len(way) - 2 * BEFORE)):
        raise BadOption(f"{metres.max():.0f} m of a street", f"{most:.0f} m", "See fewer frames.")
    for wanted in metres[1:]:
        here = int(np.argmin(np.hypot(*(way - task.place).T)))
        along = (task.place - way[here]) @ (np.cos(task.heading), np.sin(task.heading))
        behind = wanted - SPACING * (here - BEFORE) - float(along)
        speed = float(np.clip(behind / FRAME / 2, -MAX_REVERSE, MAX_REVERSE)) if abs(behind) > NEARLY else 0.0
        aim = way[int(np.clip(here + round(np.sign(speed) * AHEAD / SPACING), 0, len(way) - 1))]
        gap = aim - task.place
        angle = float(np.arctan2(gap[1], gap[0])) - task.heading
        steer = np.arctan(2 * WHEELBASE * np.sin(angle) / max(float(np.hypot(*gap)), 0.5)) if speed else 0.0
        pedal = speed / (MAX_SPEED if speed > 0 else MAX_REVERSE)
        frames.append(_step(env, np.array([np.clip(steer / MAX_STEER, -1, 1), pedal])))
    return frames


def _made(task: str, length: str, size: int, camera: str) -> gym.Env[Any, Any]:
    # Bare, so that a script may go on where the task has ended.
    env: gym.Env[Any, Any] = gym.make(
        f"sfvgen_envs:sfvgen/{task}-v0", split="test", length=length, size=size, camera=camera
    ).unwrapped
    return env


def _first(env: gym.Env[Any, Any], seed: int, variation: dict[str, Any] | None = None) -> dict[str, Any]:
    observation, _ = env.reset(seed=seed, options={"variation": variation} if variation else None)
    space: Any = env.action_space
    return _frame(observation, np.zeros(space.shape))


def _step(env: gym.Env[Any, Any], action: Any) -> dict[str, Any]:
    observation, *_ = env.step(action.astype(np.float32))
    return _frame(observation, action)


def _frame(observation: Any, action: Any) -> dict[str, Any]:
    return {**{key: np.array(observation[key]) for key in ("pixels", "pose")}, "action": np.asarray(action, np.float32)}


def _stacked(rows: list[list[dict[str, Any]]]) -> tuple[Any, Any, Any]:
    """Pictures, poses, actions [E, T, ...]."""
    pixels, poses, actions = (
        np.stack([np.stack([frame[key] for frame in frames]) for frames in rows])
        for key in ("pixels", "pose", "action")
    )
    return pixels, poses, actions
