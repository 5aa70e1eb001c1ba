"""Episodes on disk and back."""

from sfvgen_planner.data.dataset import Dataset
from sfvgen_planner.data.description import Description, DiscreteActions, VectorActions
from sfvgen_planner.data.import_env import import_env
from sfvgen_planner.data.import_videos import import_videos
from sfvgen_planner.data.index import Entry, repair
from sfvgen_planner.data.merge import merge
from sfvgen_planner.data.recorder import Annotator, record_episode
from sfvgen_planner.data.sheet import contact_sheet, summary, write_picture
from sfvgen_planner.data.video import read_video, write_video
from sfvgen_planner.data.windows import Windows

__all__ = [
    "Annotator",
    "Dataset",
    "Description",
    "DiscreteActions",
    "Entry",
    "VectorActions",
    "Windows",
    "contact_sheet",
    "import_env",
    "import_videos",
    "merge",
    "read_video",
    "record_episode",
    "repair",
    "summary",
    "write_picture",
    "write_video",
]
