"""Where a coloured cube is in a picture: what can be read of an object's state out of a dream."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ALIKE, VIVID, LEAST = 0.97, 0.35, 4
"""How much a pixel's colour must agree with the cube's in direction, how far it must be from grey, how many must."""


def centres(frames: NDArray[np.uint8], colour: tuple[float, float, float]) -> Floats:
    """[T, 2] the middle of all pixels of a colour, rows and columns; NaN where there are too few."""
    found = np.full((len(frames), 2), np.nan)
    for frame, here in enumerate(pixels_of(frames, colour)):
        if here.sum() >= LEAST:
            found[frame] = np.argwhere(here).mean(0)
    return found


def pixels_of(frames: NDArray[np.uint8], colour: tuple[float, float, float]) -> NDArray[np.bool_]:
    """[T, h, w] which pixels are of a colour, by direction: light and shade make it longer or shorter."""
    x = frames.astype(np.float64) / 255
    length = np.linalg.norm(x, axis=-1)
    wanted = np.asarray(colour) / np.linalg.norm(colour)
    alike = x @ wanted / np.maximum(length, 1e-6)
    vivid = (x.max(-1) - x.min(-1)) / np.maximum(x.max(-1), 1e-6)
    mask: NDArray[np.bool_] = (alike > ALIKE) & (vivid > VIVID) & (length > 0.15)
    return mask


def misplaced(real: NDArray[np.uint8], fake: NDArray[np.uint8], colour: tuple[float, float, float]) -> Floats:
    """[T] pixels from where the object is to where it is drawn; infinite where it is gone, NaN where it is not in the
    true picture either."""
    truth, drawn = centres(real, colour), centres(fake, colour)
    away = np.linalg.norm(truth - drawn, axis=1)
    lost = np.isnan(drawn).any(1) & ~np.isnan(truth).any(1)
    return np.where(lost, np.inf, away)
