"""Video files in and out, with the ffmpeg that imageio brings."""

import errno
import shutil
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
from imageio_ffmpeg import count_frames_and_secs  # type: ignore[import-untyped]
from PIL import Image, ImageOps

from sfvgen_planner.data.atomic import replacing
from sfvgen_planner.errors import BadVideo

_FULL = 1 << 16
"""A disk with less room than this (bytes) is full."""


def read_video(path: Path | str, size: tuple[int, int] | None = None) -> Any:
    """All frames, uint8 [T, h, w, 3]; with `size` (h, w) cut to that shape around the middle and scaled."""
    frames = []
    try:
        for frame in imageio.imiter(path, plugin="FFMPEG"):
            frames.append(resized(frame, size) if size else np.asarray(frame))
    except FileNotFoundError as error:
        raise BadVideo(f"{path}, which does not exist", "a video file", "Check the path.") from error
    except (OSError, RuntimeError, ValueError, IndexError, KeyError, StopIteration) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise BadVideo(
            f"{path}, which cannot be decoded ({reason})", "a video with frames", "Encode it again, or leave it out."
        ) from error
    if not frames:
        raise BadVideo(f"{path}, which has no frames", "a video with frames", "Encode it again, or leave it out.")
    return np.stack(frames)


def frame_rate(path: Path | str) -> float:
    """Frames per second as the file says."""
    try:
        return float(imageio.immeta(path, plugin="FFMPEG")["fps"])
    except (OSError, RuntimeError, ValueError, IndexError, KeyError) as error:
        raise BadVideo(f"{path}, whose frame rate cannot be read", "a video file", "Encode it again.") from error


def write_video(path: Path | str, frames: Any, fps: float, *, lossless: bool = False) -> None:
    """Write uint8 [T, h, w, 3] as H.264: fit for any player, or (`lossless`) bit for bit."""
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or len(frames) == 0:
        raise BadVideo(f"frames {frames.dtype} {list(frames.shape)}", "uint8 [T, h, w, 3]", "Convert them first.")
    even = frames.shape[1] % 2 == 0 and frames.shape[2] % 2 == 0
    codec, layout, quality = ("libx264rgb", "rgb24", "0") if lossless else ("libx264", "yuv444p", "14")
    if not lossless and even:
        layout = "yuv420p"  # every player knows it, but it needs even sides
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(Path(path)) as partial:
        try:
            imageio.imwrite(
                partial,
                frames,
                plugin="FFMPEG",
                extension=".mp4",
                fps=fps,
                codec=codec,
                pixelformat=layout,
                macro_block_size=1,
                output_params=["-crf", quality],
            )
            written, _ = count_frames_and_secs(str(partial))
        except (OSError, RuntimeError) as error:
            # ffmpeg keeps its reasons to itself; that the disk is full can only be seen from the disk.
            if shutil.disk_usage(partial.parent).free < _FULL:
                raise OSError(errno.ENOSPC, "ffmpeg stopped") from error
            written = 0
        if written != len(frames):
            raise BadVideo(
                f"{path}, of which ffmpeg wrote {written} of {len(frames)} frames",
                "all of them",
                "See its messages above.",
            )


def resized(frame: Any, size: tuple[int, int]) -> Any:
    """One frame uint8 [h, w, 3] at `size` (h, w): cut to that shape around the middle, then scaled."""
    if tuple(frame.shape[:2]) == tuple(size):
        return np.array(frame)
    picture = ImageOps.fit(Image.fromarray(np.asarray(frame)), (size[1], size[0]), Image.Resampling.BOX)
    return np.asarray(picture)
