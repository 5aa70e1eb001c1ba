"""What a user hands to a dream, looked at before anything is done with it. Whole batches at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_envs.dream.imitated import Imitated
from sfvgen_envs.dream.starts import Start
from sfvgen_planner.errors import BadAction, BadMemory, BadOption, BadState
from sfvgen_planner.memory import Memory
from sfvgen_planner.memory.rows import repeated, take
from sfvgen_planner.types import Context

SLACK = 1e-6


def checked_actions(actions: Any, shape: tuple[int, ...], box: spaces.Box, device: torch.device) -> Tensor:
    """float32 [*shape, A] within the box; anything else is refused, never clipped in silence."""
    wanted = (*shape, *box.shape)
    expected = f"finite numbers {list(wanted)} in [{box.low.min():g}, {box.high.max():g}]"
    try:
        values = actions if isinstance(actions, Tensor) else torch.from_numpy(np.array(actions, np.float32))
    except (TypeError, ValueError):
        raise BadAction(f"actions {actions!r}", expected, "Sample action_space.") from None
    if tuple(values.shape) != wanted:
        raise BadAction(f"actions of shape {list(values.shape)}", expected, "One for each row: sample action_space.")
    values = values.detach().to(device, torch.float32)
    low, high = (torch.from_numpy(bound).to(values) for bound in (box.low, box.high))
    # One look for both, because on an accelerator each look waits. A NaN is within no bounds.
    fine = ((values >= low - SLACK) & (values <= high + SLACK)).reshape(*shape, -1).all(-1)
    if not bool(fine.all()):
        row = (~fine).nonzero()[0].tolist()
        hint = "Clip it: numpy.clip(actions, -1, 1); a NaN comes from a division by zero in the policy."
        raise BadAction(f"actions[{row[0]}] = {values[tuple(row)].tolist()}", expected, hint)
    return values


def checked_seeds(seed: int | Sequence[int | None] | None, rows: int) -> list[int | None]:
    """One a row, as Gymnasium counts: an int is the first row's."""
    if seed is None:
        return [None] * rows
    if isinstance(seed, int | np.integer):
        return [int(seed) + row for row in range(rows)]
    if len(seed) != rows:
        raise BadOption(f"{len(seed)} seeds", f"{rows}, one a row", "Or one int, from which rows count on.")
    return list(seed)


def checked_mask(mask: Any, rows: int) -> NDArray[np.bool_]:
    """bool [B] with at least one True; None: all."""
    if mask is None:
        return np.ones(rows, bool)
    if isinstance(mask, Tensor):
        mask = mask.cpu().numpy()
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (rows,) or not mask.any():
        kind = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise BadOption(
            f"a reset_mask {kind}", f"a bool array [{rows}] with at least one True", "Use terminated | truncated."
        )
    return mask


def checked_memory(memory: Any, like: Memory | None, mask: NDArray[np.bool_]) -> Memory | None:
    """What the rows in `mask` remember when they begin: a memory of one row (all alike), or of B."""
    if memory is None:
        return None
    if like is None or not isinstance(memory, Memory):
        raise BadMemory(
            f"a {type(memory).__name__} for a dream that remembers {'nothing' if like is None else 'factors'}",
            "a Memory, and DreamConfig(memory=...)",
            "Begin both with the same config.",
        )
    rows = len(mask)
    if memory.rows not in (1, rows):
        raise BadMemory(f"a memory of {memory.rows} rows", f"1 or {rows}", "Take memory[i : i + 1].")
    whole = repeated(memory, rows // memory.rows)
    chosen = torch.from_numpy(np.flatnonzero(mask)).to(whole.seeds.device)
    return take(whole, chosen)


def starts_of(options: Mapping[str, Any], rows: int, imitated: Imitated) -> list[Start] | None:
    """One start a row from a user's `context`: a `Context` of B rows, or what a real environment observes (of one row,
    or of B); `elapsed` and `instruction` are one for all rows or one a row."""
    if "context" not in options:
        if odd := sorted({"elapsed", "instruction"} & set(options)):
            raise BadOption(f"{odd} without a context", "a context beside them", "Give options={'context': ...}.")
        return None
    pixels, poses = _context(options["context"])
    frames = pixels.shape[1] if pixels.ndim == 5 else 0
    wanted = [rows, frames, *imitated.picture, 3], [rows, frames, *imitated.pose.shape]
    if frames < 1 or pixels.dtype != np.uint8 or (list(pixels.shape), list(poses.shape)) != wanted:
        height, width = imitated.picture
        raise BadState(
            f"a context of {pixels.dtype} pictures {list(pixels.shape)} and poses {list(poses.shape)}",
            f"uint8 [{rows}, T, {height}, {width}, 3] and [{rows}, T, {imitated.pose.shape[0]}]",
            "One row for each dream, one frame or more.",
        )
    if not np.isfinite(poses).all():
        raise BadState("a context with poses that are not finite", "finite numbers", "Look at where they come from.")
    steps = np.broadcast_to(np.asarray(options.get("elapsed", 0), np.int64), rows).tolist()
    texts = np.broadcast_to(np.asarray(options.get("instruction", ""), object), rows).tolist()
    return [Start(pixels[row], poses[row], steps[row], str(texts[row])) for row in range(rows)]


def _context(context: Any) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Pictures [B, T, h, w, 3] and poses [B, T, P], of whatever size they are."""
    if isinstance(context, Context):
        return _array(context.pixels), _array(context.poses).astype(np.float32)
    if not isinstance(context, Mapping) or not {"pixels", "pose"} <= set(context):
        given = sorted(context) if isinstance(context, Mapping) else type(context).__name__
        raise BadState(f"a context {given}", "a Context, or an observation with pixels and pose", "See docs/dream.md.")
    pixels, poses = _array(context["pixels"]), _array(context["pose"]).astype(np.float32)
    return (pixels[None, None], poses[None, None]) if pixels.ndim == 3 else (pixels[:, None], poses[:, None])


def _array(values: Any) -> NDArray[Any]:
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
