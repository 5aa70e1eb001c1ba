"""What is in a data set, at a glance: numbers, and a sheet of pictures."""

from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.data.dataset import Dataset
from sfvgen_planner.data.episode_file import read_frames
from sfvgen_planner.errors import BadOption

_GAP = 2
_WHITE = 255


def summary(dataset: Dataset) -> dict[str, Any]:
    """Counts, returns, success and lengths, of all and by task, behaviour and split (JSON values)."""
    entries = dataset.entries
    report: dict[str, Any] = {
        "name": dataset.description.name,
        "task": dataset.description.task,
        "episodes": len(entries),
        "frames": sum(entry.steps + 1 for entry in entries),
        "bytes": sum(entry.size for entry in entries),
    }
    if not entries:
        return report
    lengths = [entry.steps for entry in entries]
    report |= {
        "return_mean": float(np.mean([entry.total_reward for entry in entries])),
        "return_std": float(np.std([entry.total_reward for entry in entries])),
        "success_rate": float(np.mean([entry.success for entry in entries])),
        "length_min": min(lengths),
        "length_median": float(np.median(lengths)),
        "length_max": max(lengths),
    }
    for key in ("task", "behaviour", "split"):
        values = [str(entry.card.get(key, "unknown")) for entry in entries]
        report[f"by_{key}"] = {
            value: {
                "episodes": count,
                "success_rate": float(
                    np.mean([entry.success for entry, own in zip(entries, values, strict=True) if own == value])
                ),
            }
            for value, count in sorted(Counter(values).items())
        }
    return report


def contact_sheet(dataset: Dataset, rows: int = 8, columns: int = 8) -> Any:
    """uint8 [H, W, 3]: `rows` episodes spread over the set, `columns` frames of each from its first to its last."""
    if rows < 1 or columns < 1 or not len(dataset):
        raise BadOption(
            f"a sheet of {rows} x {columns} from {len(dataset)} episodes",
            "1 or more of each",
            "Record some episodes first.",
        )
    h, w = dataset.description.picture
    chosen = np.unique(np.linspace(0, len(dataset) - 1, rows).round().astype(int)).tolist()
    sheet = np.full((len(chosen) * (h + _GAP) - _GAP, columns * (w + _GAP) - _GAP, 3), _WHITE, np.uint8)
    for row, position in enumerate(chosen):
        frames = np.linspace(0, dataset.entries[position].steps, columns).round().astype(int).tolist()
        for column, frame in enumerate(frames):
            picture = np.empty((1, h, w, 3), np.uint8)
            read_frames(dataset.path(position), frame, picture)
            y, x = row * (h + _GAP), column * (w + _GAP)
            sheet[y : y + h, x : x + w] = picture[0]
    return sheet


def write_picture(path: Path, pixels: Any) -> None:
    """A png of uint8 [h, w, 3]; its folder is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    png = BytesIO()
    Image.fromarray(pixels).save(png, "png", optimize=True)
    write_bytes(path, png.getvalue())
