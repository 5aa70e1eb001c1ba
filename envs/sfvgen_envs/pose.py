"""Camera poses: position and unit quaternion (w x y z), absolute or relative to where the episode began."""

import mujoco
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def camera_pose(data: mujoco.MjData, camera: int) -> Floats:
    """[7] of a camera in the world."""
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, data.cam_xmat[camera])
    return np.concatenate([data.cam_xpos[camera], quaternion])


def relative_pose(origin: Floats, pose: Floats) -> Floats:
    """[7] `pose` as seen from `origin`; the quaternion's first non-zero entry is positive, so equal views are equal."""
    back, quaternion, position = np.empty(4), np.empty(4), np.empty(3)
    mujoco.mju_negQuat(back, origin[3:])
    mujoco.mju_mulQuat(quaternion, back, pose[3:])
    mujoco.mju_rotVecQuat(position, pose[:3] - origin[:3], back)
    leading = quaternion[np.abs(quaternion) > 1e-12][0]
    return np.concatenate([position, quaternion * np.sign(leading)])
