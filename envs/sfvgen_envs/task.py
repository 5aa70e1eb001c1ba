"""The frame every task fills: one MuJoCo scene, one camera, one clock.

A step is one action and one frame. Everything that can change within an episode is in three places (MuJoCo's
integration state, the task's frozen `progress`, the step counter), so `get_state`/`set_state` are exact and short.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sfvgen_envs.camera import RayCamera
from sfvgen_envs.checks import checked_action, numbers, one_of
from sfvgen_envs.pose import camera_pose, relative_pose
from sfvgen_envs.scene import LENGTHS, SPLITS, Length, Scene, Split, draw_scene
from sfvgen_envs.state import EnvState, Verdict
from sfvgen_planner.errors import BadImageSize, BadOption, BadState
from sfvgen_planner.types import POSE_CAMERA

Floats = NDArray[np.float64]
Observation = dict[str, NDArray[Any]]

S = TypeVar("S", bound=Scene)
P = TypeVar("P")

PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION
MINIMUM_SIZE = 16
OPTIONS = ("state", "goal", "variation")


class Task(gym.Env[Observation, Floats], ABC, Generic[S, P]):
    """Base of the five tasks.

    Observation: `pixels` uint8 [h, w, 3]; `pose` float32 [P]: camera position and quaternion (w x y z) relative to the
    episode's start, then the body's own senses (`proprioception`).
    Action: float in [-1, 1]^A; anything else is refused, never clipped in silence.
    Info: `instruction`, `success`, `waypoint_distance` (metres), `goal` (a picture, where one may be shown) and
    `privileged`, the only key that holds what an agent must not see.
    Termination is the task's; truncation comes after `horizon` steps.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    name: ClassVar[str]
    action_size: ClassVar[int]
    sense_size: ClassVar[int]
    substeps: ClassVar[int]
    goal_factor: ClassVar[str]
    """which factor of the scene `reset(options={"goal": ...})` sets"""
    cameras: ClassVar[tuple[str, ...]] = ("fixed",)
    phrases: ClassVar[tuple[str, ...]]
    """everything that can be said to the body, a closed list"""

    def __init__(
        self,
        *,
        split: Split = "train",
        length: Length = "medium",
        size: int | tuple[int, int] = 64,
        camera: str = "fixed",
        shadows: bool = False,
        render_mode: str | None = "rgb_array",
    ) -> None:
        one_of("split", split, SPLITS)
        one_of("length", length, LENGTHS)
        one_of("camera", camera, self.cameras)
        one_of("render_mode", render_mode or "rgb_array", ("rgb_array",))
        self.split, self.length = split, length
        self.camera, self.shadows, self.render_mode = camera, shadows, render_mode
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        if min(self.size) < MINIMUM_SIZE:
            raise BadImageSize(f"size {size}", f"at least {MINIMUM_SIZE} pixels each way", "Pass size=64.")
        self.action_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (self.action_size,), np.float32)
        self.observation_space: spaces.Space[Any] = spaces.Dict(
            {
                "pixels": spaces.Box(0, 255, (*self.size, 3), np.uint8),
                "pose": spaces.Box(-np.inf, np.inf, (POSE_CAMERA + self.sense_size,), np.float32),
            }
        )
        self._scene: S | None = None
        self.maneuver: Any = None
        self._steps = 0

    # What a task fills in.

    @property
    @abstractmethod
    def horizon(self) -> int:
        """Steps until truncation, by `length`."""

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> S:
        """One scene of any split."""

    @abstractmethod
    def build(self, scene: S) -> mujoco.MjModel:
        """The model of a scene; a pure function. It has a camera named "eye"."""

    def bind(self) -> None:
        """Looks up what is needed in a fresh `self.model`."""

    @abstractmethod
    def start(self) -> P:
        """Puts `self.data` into its first state and returns the first progress."""

    @abstractmethod
    def actuate(self, action: Floats) -> None:
        """Writes the controls of one step."""

    @abstractmethod
    def advance(self, progress: P) -> Verdict[P]:
        """Judges the state after a step."""

    @abstractmethod
    def instruction(self) -> str:
        """The sub-goal of this moment, in words."""

    @abstractmethod
    def success(self) -> bool:
        """Is the whole task solved?"""

    @abstractmethod
    def waypoint_distance(self) -> float:
        """Metres from where things should be; the paper's planning measure."""

    @abstractmethod
    def senses(self) -> Floats:
        """[sense_size] proprioception or odometry."""

    @abstractmethod
    def privileged(self) -> dict[str, Any]:
        """What a scripted expert, and nobody else, may look at."""

    @abstractmethod
    def begin(self, phrase: str) -> Any:
        """What saying this phrase now sets out to do: a frozen maneuver."""

    @abstractmethod
    def follow(self, maneuver: Any) -> Floats:
        """The next action of a maneuver."""

    def read_goal(self, goal: Any) -> Any:
        """Turns a user's goal into the scene's factor `goal_factor`."""
        return tuple(numbers(goal, self.goal_factor).tolist())

    def aim(self) -> None:
        """Points a camera that moves by itself; a function of `self.steps` alone."""

    def show_goal(self, data: mujoco.MjData) -> bool:
        """Puts scratch data into the solved state; False where no picture may tell it."""
        return False

    def say(self, phrase: str) -> None:
        """Begins a phrase; the maneuver is part of the state."""
        self.maneuver = self.begin(phrase)

    def obey(self) -> Floats:
        """The next action of what was said last."""
        return np.clip(self.follow(self.maneuver), -1.0, 1.0)

    # What every task has in common.

    @property
    def scene(self) -> S:
        """This episode's factors of variation."""
        if self._scene is None:
            raise gym.error.ResetNeeded(f"{self.name} has no episode yet; call reset() first.")
        return self._scene

    @property
    def steps(self) -> int:
        """Steps taken in this episode."""
        return self._steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; `options` may fix a `state`, or a `goal` and a `variation` (factors, and the `split`)."""
        super().reset(seed=seed)
        options = options or {}
        for key in options:
            one_of("option", key, OPTIONS)
        if options.get("state") is not None:
            if options.get("goal") is not None or options.get("variation") is not None:
                raise BadOption("a state together with a goal or variation", "one of them", "A state holds its scene.")
            self.set_state(options["state"])
        else:
            fixed = dict(options.get("variation") or {})
            split = fixed.pop("split", self.split)
            if options.get("goal") is not None:
                fixed[self.goal_factor] = self.read_goal(options["goal"])
            self._enter(draw_scene(self.draw, self.np_random, split, fixed))
            self._steps, self.maneuver = 0, None
            self.progress = self.start()
            self._look()
            self._origin = self._camera_pose()
        self._draw_goal()
        return self._observe(), self._info()

    def step(self, action: NDArray[Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One action, one frame."""
        reward, terminated, truncated = self.tick(action)
        return self._observe(), reward, terminated, truncated, self._info()

    def tick(self, action: NDArray[Any]) -> tuple[float, bool, bool]:
        """A step without its picture: reward, terminated, truncated."""
        self.scene  # noqa: B018 - speaks up before the first reset
        self.actuate(checked_action(action, self.action_size, self.name))
        mujoco.mj_step(self.model, self.data, self.substeps)
        self._steps += 1
        self._look()
        told = self.instruction()
        verdict = self.advance(self.progress)
        self.progress = verdict.progress
        if self.instruction() != told:
            self._look()
            self._draw_goal()
        return verdict.reward, verdict.terminated, self._steps >= self.horizon

    def pose(self) -> NDArray[np.float32]:
        """[P] the camera relative to the episode's start, then the body's senses."""
        seen = relative_pose(self._origin, self._camera_pose())
        return np.concatenate([seen, self.senses()]).astype(np.float32)

    def render(self) -> NDArray[np.uint8]:
        """The last picture."""
        self.scene  # noqa: B018 - speaks up before the first reset
        return self._eye.render(self.data)

    def get_state(self) -> EnvState:
        """All of this episode's state, as a value."""
        scene = self.scene
        physics = np.empty(mujoco.mj_stateSize(self.model, PHYSICS))
        mujoco.mj_getState(self.model, self.data, physics, PHYSICS)
        rng = self.np_random.bit_generator.state
        return EnvState(
            self.name,
            self.length,
            scene,
            physics,
            self.progress,
            self.maneuver,
            self._steps,
            self._origin.copy(),
            dict(rng),
        )

    def set_state(self, state: EnvState) -> None:
        """Goes on from a state as if nothing had happened in between."""
        if not isinstance(state, EnvState) or (state.task, state.length) != (self.name, self.length):
            known = isinstance(state, EnvState)
            given = f"a state of {state.task!r}, {state.length}" if known else f"a {type(state).__name__}"
            hint = "Use what get_state() of the same task and length returned."
            raise BadState(given, f"an EnvState of {self.name!r}, {self.length}", hint)
        if state.scene != self._scene:
            self._enter(state.scene)  # type: ignore[arg-type]
        mujoco.mj_setState(self.model, self.data, state.physics, PHYSICS)
        self.progress, self.maneuver, self._steps = state.progress, state.maneuver, state.steps
        self._origin = state.origin.copy()
        self.np_random.bit_generator.state = state.rng
        self._look()
        self._draw_goal()

    def _enter(self, scene: S) -> None:
        self.model = self.build(scene)
        self.data = mujoco.MjData(self.model)
        self._scene = scene
        self._eye = RayCamera(self.model, "eye", self.size, shadows=self.shadows)
        self.bind()

    def _look(self) -> None:
        # Positions after the step, without touching the solver's warm start: states stay exact.
        self.aim()
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    def _camera_pose(self) -> Floats:
        return camera_pose(self.data, self.model.camera("eye").id)

    def _draw_goal(self) -> None:
        scratch = mujoco.MjData(self.model)
        scratch.qpos[:], scratch.mocap_pos[:] = self.data.qpos, self.data.mocap_pos
        scratch.mocap_quat[:] = self.data.mocap_quat
        self._goal = None
        if self.show_goal(scratch):
            mujoco.mj_kinematics(self.model, scratch)
            mujoco.mj_camlight(self.model, scratch)
            self._goal = self._eye.render(scratch)

    def _observe(self) -> Observation:
        return {"pixels": self._eye.render(self.data), "pose": self.pose()}

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = {
            "instruction": self.instruction(),
            "success": self.success(),
            "waypoint_distance": self.waypoint_distance(),
            "privileged": self.privileged(),
        }
        if self._goal is not None:
            info["goal"] = self._goal.copy()
        return info
