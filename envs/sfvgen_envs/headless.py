"""MuJoCo without GL: a `MUJOCO_GL` that names a missing library must not end the process."""

import ctypes
import os
from ctypes.util import find_library

LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
"""`MUJOCO_GL` and the library it needs."""


def repair_gl() -> None:
    """Takes back a MUJOCO_GL whose library does not load: `import mujoco` would crash, and we draw without GL."""
    library = LIBRARIES.get(os.environ.get("MUJOCO_GL", "").lower().strip())
    if library is None:
        return
    try:
        ctypes.CDLL(find_library(library) or f"lib{library}.so")
    except OSError:
        os.environ["MUJOCO_GL"] = "disable"
