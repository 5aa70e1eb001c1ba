"""How often a video jumps to another scene, as PySceneDetect counts it."""

from typing import Any

import numpy as np

from sfvgen_planner.metrics.video import as_video, extra

THRESHOLD, SHORTEST = 27.0, 15
"""PySceneDetect's own: how different frames must be (of 255), and how many frames a scene lasts at least."""


def scene_cuts(video: Any, *, threshold: float = THRESHOLD, shortest: int = SHORTEST, frame_rate: float = 8.0) -> int:
    """Hard cuts in one video [T, h, w, 3]. Needs the extra `metrics`.

    A cut within `shortest` frames of the last one, or of the start, is not counted: clips of 16 frames want less.
    """
    detectors, package = extra("scenedetect.detectors"), extra("scenedetect")
    frames = (as_video(np.asarray(video)[None])[0] * 255).round().byte().numpy()
    detector = detectors.ContentDetector(threshold=threshold, min_scene_len=shortest)
    cuts: list[Any] = []
    for number, frame in enumerate(frames):
        cuts += detector.process_frame(
            package.FrameTimecode(number, frame_rate), np.ascontiguousarray(frame[..., ::-1])
        )
    cuts += detector.post_process(package.FrameTimecode(len(frames), frame_rate))
    return len(cuts)
