"""The learned world as a Gymnasium environment. Importing this package imports torch; `import sfvgen_envs` does not."""

from sfvgen_envs.dream.config import DreamConfig
from sfvgen_envs.dream.env import DreamEnv
from sfvgen_envs.dream.seeing import SeesGoal
from sfvgen_envs.dream.snapshot import load, save
from sfvgen_envs.dream.starts import DataStarts, Start, TaskStarts
from sfvgen_envs.dream.state import DreamState
from sfvgen_envs.dream.vector import DreamVectorEnv

__all__ = [
    "DataStarts",
    "DreamConfig",
    "DreamEnv",
    "DreamState",
    "DreamVectorEnv",
    "SeesGoal",
    "Start",
    "TaskStarts",
    "load",
    "save",
]
