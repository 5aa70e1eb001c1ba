"""The robot: a five-joint arm with a gripper at a table, moved in Cartesian steps.

The arm keeps its gripper upright and aligned with the table, so that four numbers move it: three of the fingertips and
one of the fingers. x points from the base to the camera, y to the camera's right, z up; the table's top is z = 0.
"""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

UPPER, FORE = 0.38, 0.38
"""Link lengths."""
SHOULDER = 0.26
"""Height of the shoulder above the table."""
WRIST = 0.15
"""Height of the wrist above the fingertips."""
STEP = 0.03
"""Metres the fingertips move in one step at full action."""
OPEN, CLOSED = 0.042, 0.0
"""Half the gap between the fingers."""
LOW = np.array([0.22, -0.37, 0.012])
HIGH = np.array([0.58, 0.37, 0.30])
"""Where the fingertips can be."""
HOME = np.array([0.28, 0.0, 0.22])

JOINTS = ("base", "shoulder", "elbow", "pitch", "yaw")

ACTUATORS = """
<position joint="base" kp="300" dampratio="1" forcerange="-60 60"/>
<position joint="shoulder" kp="300" dampratio="1" forcerange="-60 60"/>
<position joint="elbow" kp="300" dampratio="1" forcerange="-60 60"/>
<position joint="pitch" kp="60" dampratio="1" forcerange="-20 20"/>
<position joint="yaw" kp="60" dampratio="1" forcerange="-20 20"/>
<position joint="left" kp="400" dampratio="1" forcerange="-8 8"/>
<position joint="right" kp="400" dampratio="1" forcerange="-8 8"/>
"""
EQUALITY = '<joint joint1="left" joint2="right" solref=".01 1"/>'
"""Fingers move alike: a gripped cube stays in the middle of the hand."""


def inverse(tip: Floats) -> Floats:
    """[5] joint angles that bring the fingertips to `tip` [3], gripper upright, elbow up."""
    base = np.arctan2(tip[1], tip[0])
    reach, rise = np.hypot(tip[0], tip[1]), tip[2] + WRIST - SHOULDER
    far = min(np.hypot(reach, rise), UPPER + FORE - 1e-6)
    up = np.arctan2(rise, reach) + np.arccos((UPPER**2 + far**2 - FORE**2) / (2 * UPPER * far))
    bend = np.pi - np.arccos((UPPER**2 + FORE**2 - far**2) / (2 * UPPER * FORE))
    return np.array([base, up, -bend, bend - up, -base])


def forward(joints: Floats) -> Floats:
    """[3] where the fingertips are with these five joint angles."""
    base, up, bend = joints[:3]
    reach = UPPER * np.cos(up) + FORE * np.cos(up + bend)
    height = SHOULDER + UPPER * np.sin(up) + FORE * np.sin(up + bend) - WRIST
    return np.array([reach * np.cos(base), reach * np.sin(base), height])


def body(skin: str, joint: str) -> str:
    """The arm's MJCF; `skin` and `joint` are materials. Only the fingers touch things."""
    ghost = 'contype="0" conaffinity="0"'
    finger = 'type="box" size=".012 .006 .03" pos="0 0 .03" friction="2 .02 .001" condim="4" solref=".01 1"'
    return f"""
<body name="base" gravcomp="1">
  <geom type="cylinder" size=".07 .05" pos="0 0 .05" material="{joint}" {ghost}/>
  <body name="column" gravcomp="1"><joint name="base" axis="0 0 1" armature=".1"/>
    <inertial pos="0 0 .2" mass="1" diaginertia=".01 .01 .01"/>
    <geom type="capsule" size=".045" fromto="0 0 .1 0 0 {SHOULDER}" material="{skin}" {ghost}/>
    <body name="upper" pos="0 0 {SHOULDER}" gravcomp="1"><joint name="shoulder" axis="0 -1 0" armature=".1"/>
      <geom type="capsule" size=".034" fromto="0 0 0 {UPPER} 0 0" material="{skin}" mass=".8" {ghost}/>
      <geom type="cylinder" size=".05 .05" euler="90 0 0" material="{joint}" mass=".1" {ghost}/>
      <body name="fore" pos="{UPPER} 0 0" gravcomp="1"><joint name="elbow" axis="0 -1 0" armature=".1"/>
        <geom type="capsule" size=".028" fromto="0 0 0 {FORE} 0 0" material="{skin}" mass=".6" {ghost}/>
        <geom type="cylinder" size=".042 .042" euler="90 0 0" material="{joint}" mass=".1" {ghost}/>
        <body name="wrist" pos="{FORE} 0 0" gravcomp="1"><joint name="pitch" axis="0 -1 0" armature=".05"/>
          <geom type="sphere" size=".034" material="{joint}" mass=".1" {ghost}/>
          <body name="hand" gravcomp="1"><joint name="yaw" axis="0 0 1" armature=".05"/>
            <geom type="box" size=".018 .055 .014" pos="0 0 -.075" material="{joint}" mass=".1" {ghost}/>
            <geom type="capsule" size=".018" fromto="0 0 -.03 0 0 -.07" material="{skin}" mass=".1" {ghost}/>
            <site name="tip" pos="0 0 -{WRIST}"/>
            <body name="left" pos="0 -.006 -{WRIST}" gravcomp="1">
              <joint name="left" type="slide" axis="0 -1 0" range="-.002 {OPEN}" limited="true" armature=".02"/>
              <geom {finger} material="{skin}" mass=".03"/></body>
            <body name="right" pos="0 .006 -{WRIST}" gravcomp="1">
              <joint name="right" type="slide" axis="0 1 0" range="-.002 {OPEN}" limited="true" armature=".02"/>
              <geom {finger} material="{skin}" mass=".03"/></body>
          </body></body></body></body></body></body>"""


@dataclass(frozen=True)
class Arm:
    """Indices of the arm in a model, and the few things one does with it."""

    qpos: NDArray[np.int64]
    """[7] five joints, two fingers"""
    qvel: NDArray[np.int64]
    tip_site: int

    @staticmethod
    def of(model: mujoco.MjModel) -> "Arm":
        """Looks the arm up."""
        names = (*JOINTS, "left", "right")
        return Arm(
            np.array([model.joint(name).qposadr[0] for name in names]),
            np.array([model.joint(name).dofadr[0] for name in names]),
            model.site("tip").id,
        )

    def place(self, data: mujoco.MjData, tip: Floats, gap: float = OPEN) -> None:
        """Puts the arm at rest with its fingertips at `tip`."""
        data.qpos[self.qpos] = (*inverse(tip), gap, gap)
        data.ctrl[:7] = data.qpos[self.qpos]

    def move(self, data: mujoco.MjData, action: Floats) -> None:
        """One Cartesian step [dx dy dz grip] from where the arm was told to be; grip -1 opens, +1 closes."""
        target = np.clip(forward(data.ctrl[:5]) + STEP * action[:3], LOW, HIGH)
        data.ctrl[:5] = inverse(target)
        # A closing finger aims beyond zero gap: the force limit, not the target, sets the grip.
        data.ctrl[5:7] = OPEN + (CLOSED - 0.03 - OPEN) * (action[3] + 1) / 2

    def target(self, data: mujoco.MjData) -> Floats:
        """[3] where the fingertips were last told to be."""
        return forward(data.ctrl[:5])

    def grip(self, data: mujoco.MjData) -> float:
        """The last grip action, -1 open to +1 closed."""
        return float(2 * (data.ctrl[5] - OPEN) / (CLOSED - 0.03 - OPEN) - 1)

    def tip(self, data: mujoco.MjData) -> Floats:
        """[3] where the fingertips are."""
        return np.array(data.site_xpos[self.tip_site])

    def gap(self, data: mujoco.MjData) -> float:
        """Half the gap between the fingers."""
        return float(data.qpos[self.qpos[5:]].mean())

    def senses(self, data: mujoco.MjData) -> Floats:
        """[7] fingertips, half gap, joint speeds of base, shoulder and elbow."""
        return np.concatenate([self.tip(data), [self.gap(data)], data.qvel[self.qvel[:3]]])
