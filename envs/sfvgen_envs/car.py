"""The car: a small four-wheel-driven one with steered front wheels, and what both driving tasks share.

The car's place is the middle of its rear axle; x points forward, y to the left, z up.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import mujoco
import numpy as np

from sfvgen_envs.scene import Scene
from sfvgen_envs.task import Floats, Task
from sfvgen_envs.way import ByValue, frozen, headings, wrapped
from sfvgen_planner.errors import UnknownName, closest

WHEELBASE, TRACK, RADIUS = 1.0, 0.84, 0.22
MAX_STEER = 0.65
"""radians at full steering; the rear axle then turns on 1.3 m"""
MAX_SPEED, MAX_REVERSE = 4.0, 1.5
"""metres per second at full action"""
FRAME, TIMESTEP = 0.1, 0.01
"""seconds of one step, and of one step of the physics"""

GROUNDED = 'contype="1" conaffinity="0"'
"""Attributes of everything the car can run into."""
SCENERY = 'contype="0" conaffinity="0"'

OPTIONS = (
    f'<compiler angle="radian"/><option timestep="{TIMESTEP}" integrator="implicitfast" cone="elliptic" impratio="10"/>'
)
DRIVE = """
<tendon><fixed name="drive">
<joint joint="rear_left" coef=".25"/><joint joint="rear_right" coef=".25"/>
<joint joint="front_left" coef=".25"/><joint joint="front_right" coef=".25"/>
</fixed></tendon>
<actuator>
<position joint="steer_left" kp="400" dampratio="1" forcerange="-200 200"/>
<position joint="steer_right" kp="400" dampratio="1" forcerange="-200 200"/>
<velocity tendon="drive" kv="150" forcerange="-130 130"/>
</actuator>
"""
"""All four wheels share one motor through differentials: with the rear ones alone the car locks them when it brakes."""


def car_body(paint: tuple[float, float, float], friction: float, fovy: float = 80.0) -> str:
    """MJCF of the car, standing at the origin and looking along x."""
    skin = 'contype="0" conaffinity="1"'
    rgba = "{} {} {} 1".format(*paint)

    def wheel(name: str, joints: str, x: float, y: float) -> str:
        return f"""<body name="{name}" pos="{x} {y} 0">{joints}
<geom type="ellipsoid" size="{RADIUS} .07 {RADIUS}" mass="5" {skin} rgba=".1 .1 .1 1" priority="1"
 friction="{friction} .005 .0001"/>
</body>"""

    def roll(name: str) -> str:
        return f'<joint name="{name}" axis="0 1 0" armature=".05" damping=".05"/>'

    def steer(name: str) -> str:
        return f'<joint name="{name}" axis="0 0 1" armature="1" range="-.8 .8" limited="true"/>'

    half = TRACK / 2
    return f"""<body name="car" pos="0 0 {RADIUS}"><freejoint/>
<geom name="chassis" type="box" size=".75 .3 .13" pos=".5 0 .08" mass="110" {skin} rgba="{rgba}"
 friction=".3 .005 .0001"/>
<geom name="bonnet" type="box" size=".32 .24 .05" pos=".95 0 .25" mass="5" {SCENERY} rgba="{rgba}"/>
<camera name="eye" pos=".15 0 .95" xyaxes="0 -1 0 .12 0 1" fovy="{fovy}"/>
{wheel("rl", roll("rear_left"), 0, half)}
{wheel("rr", roll("rear_right"), 0, -half)}
{wheel("fl", steer("steer_left") + roll("front_left"), WHEELBASE, half)}
{wheel("fr", steer("steer_right") + roll("front_right"), WHEELBASE, -half)}
</body>"""


@dataclass(frozen=True, eq=False)
class Maneuver(ByValue):
    """What one phrase set out to do: a way to follow until its end, or a fixed action where there is none."""

    phrase: str
    speed: float
    steer: float
    """radians; used without a way"""
    way: Floats | None
    """[n, 2] read-only"""
    headings: Floats | None
    """[n] read-only"""
    aim: float
    """heading at which the phrase is fulfilled"""


S = TypeVar("S", bound=Scene)
P = TypeVar("P")


class CarTask(Task[S, P]):
    """Base of the driving tasks.

    Action [2]: steering in [-1, 1] (1 is 0.65 rad to the left), and speed in [-1, 1] (1 is 4 m/s forward, 0 stands
    still, -1 is 1.5 m/s backward); the motor and the tyres need their time to follow.
    Senses [3]: speed (m/s), yaw rate (rad/s), steering angle (rad).
    """

    action_size: ClassVar[int] = 2
    sense_size: ClassVar[int] = 3
    substeps: ClassVar[int] = round(FRAME / TIMESTEP)

    @abstractmethod
    def begin(self, phrase: str) -> Maneuver:
        """What saying this phrase now sets out to do."""

    def actuate(self, action: Floats) -> None:
        """Steering by Ackermann's rule, so that no tyre has to slip; one speed for all wheels."""
        curvature = np.tan(MAX_STEER * np.clip(action[0], -1, 1)) / WHEELBASE
        half = curvature * TRACK / 2
        speed = float(np.clip(action[1], -1, 1)) * (MAX_SPEED if action[1] > 0 else MAX_REVERSE)
        self.data.ctrl[:] = (
            np.arctan2(curvature * WHEELBASE, 1 - half),
            np.arctan2(curvature * WHEELBASE, 1 + half),
            speed / RADIUS,
        )

    def senses(self) -> Floats:
        """[3] speed, yaw rate, steering angle."""
        return np.array([self.speed, self.data.qvel[5], self.data.qpos[self._steering].mean()])

    @property
    def place(self) -> Floats:
        """[2] the middle of the rear axle."""
        return np.array(self.data.qpos[:2], np.float64)

    @property
    def heading(self) -> float:
        """Radians from x, to the left."""
        w, x, y, z = self.data.qpos[3:7]
        return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))

    @property
    def speed(self) -> float:
        """Metres per second, forward."""
        return float(self.data.qvel[:2] @ [np.cos(self.heading), np.sin(self.heading)])

    def put(self, data: mujoco.MjData, place: Floats, heading: float) -> None:
        """Sets the car down with its wheels straight."""
        data.qpos[:] = self.model.qpos0
        data.qpos[:2], data.qpos[2] = place, RADIUS
        data.qpos[3:7] = np.cos(heading / 2), 0, 0, np.sin(heading / 2)

    def bumping(self) -> bool:
        """Does the car touch anything but the ground, or lie on its side?"""
        _, x, y, _ = self.data.qpos[3:7]
        overturned = 1 - 2 * (x * x + y * y) < 0.5
        return bool(overturned or (self.data.contact.geom == self._chassis).any())

    def follow(self, maneuver: Maneuver) -> Floats:
        """[2] pure pursuit of the maneuver's way."""
        if maneuver.way is None or maneuver.headings is None:
            return np.array([maneuver.steer / MAX_STEER, _pedal(maneuver.speed)])
        place, heading = self.place, self.heading
        # A way may come back beside itself: the heading tells which of two near points is meant.
        gaps = np.square(maneuver.way - place).sum(axis=1) + 4 * (1 - np.cos(maneuver.headings - heading))
        near = int(np.argmin(gaps))
        reach = 0.8 + 0.2 * max(self.speed, 0)
        target = maneuver.way[min(near + round(reach / SPACING), len(maneuver.way) - 1)] - place
        angle = wrapped(float(np.arctan2(target[1], target[0])) - heading)
        steer = np.arctan(2 * WHEELBASE * np.sin(angle) / max(float(np.hypot(*target)), 0.5))
        ahead = maneuver.headings[near : near + round(3.0 / SPACING)]
        bend = float(np.abs(np.cos(ahead - heading) - 1).max())
        speed = min(maneuver.speed, MAX_SPEED - 2.2 * min(bend / 0.5, 1.0))
        left = SPACING * (len(maneuver.way) - 1 - near)
        speed = min(speed, float(np.sqrt(6 * max(left - 0.3, 0))))  # brake in time
        return np.array([np.clip(steer / MAX_STEER, -1, 1), _pedal(speed)])

    def going_on(self, phrase: str) -> Maneuver | None:
        """The maneuver under way, where this phrase means to go on with it."""
        if phrase not in self.phrases:
            raise UnknownName(f"phrase {phrase!r}", "one of `phrases`", closest(phrase, self.phrases))
        now: Maneuver | None = self.maneuver
        if now is None or now.phrase != phrase or now.way is None:
            return None
        fulfilled = np.cos(now.aim - self.heading) > 0.97
        return None if fulfilled else now

    def bind(self) -> None:
        """Looks up the chassis and the steering."""
        self._chassis = self.model.geom("chassis").id
        self._steering = [int(self.model.joint(name).qposadr[0]) for name in ("steer_left", "steer_right")]


SPACING = 0.25
"""metres between the points of a maneuver's way"""


def maneuver_along(phrase: str, speed: float, way: Floats) -> Maneuver:
    """A maneuver that follows a way [n, 2] with a point every `SPACING`."""
    points, directions = frozen(way), frozen(headings(way))
    return Maneuver(phrase, speed, 0.0, points, directions, float(directions[-1]))


def maneuver_of(phrase: str, speed: float, steer: float = 0.0) -> Maneuver:
    """A maneuver that holds the wheel and the pedal."""
    return Maneuver(phrase, speed, steer, None, None, 0.0)


def _pedal(speed: float) -> float:
    return float(np.clip(speed / (MAX_SPEED if speed > 0 else MAX_REVERSE), -1, 1))
