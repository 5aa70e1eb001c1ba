"""Procedural detail for ray-cast surfaces: checkers, stripes, bricks and windows, declared by the model itself.

    <custom><text name="pattern/MATERIAL" data="KIND R G B CELL"/></custom>

Geoms of that material keep their colour, and show the second colour (r g b in 0..1) where the pattern says so:
*checker* every other square, *stripes* every other band along local x, *brick* the joints, *windows* the panes (on
upright faces only). CELL is the size in metres of one square, band, brick or window with its surround.

A pattern lives in its geom's own frame, and on a box it is counted from the box's lower corner, so that whole cells fit
a wall of whole cells. It is averaged over each pixel's footprint: far away it fades to its mean and never flickers.
Letters: n pixels, P patterned geoms, G geoms.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from sfvgen_planner.errors import BadOption, UnknownName, closest

Floats = NDArray[np.floating[Any]]
"""float32 throughout: speed"""
PREFIX = "pattern/"


@dataclass(frozen=True)
class Pattern:
    """What one material says."""

    kind: str
    colour: tuple[float, float, float]
    cell: float
    """metres"""


def _pulse(x: Floats, width: Floats, duty: float) -> Floats:
    """Mean over [x - width/2, x + width/2] of the wave that is 1 on [k, k + duty) and 0 between. All [n]."""

    def integral(y: Floats) -> Floats:
        whole = np.floor(y)
        return np.minimum(y - whole, np.float32(duty)) + whole * np.float32(duty)

    half = width * np.float32(0.5)
    return (integral(x + half) - integral(x - half)) / width


def _checker(u: Floats, v: Floats, wu: Floats, wv: Floats) -> Floats:
    a, b = _pulse(u / 2, wu / 2, 0.5), _pulse(v / 2, wv / 2, 0.5)
    return a + b - 2 * a * b


def _stripes(u: Floats, v: Floats, wu: Floats, wv: Floats) -> Floats:
    return _pulse(u / 2, wu / 2, 0.5)


def _brick(u: Floats, v: Floats, wu: Floats, wv: Floats) -> Floats:
    rows = 2 * v  # a brick is twice as long as high
    shifted = u + (np.floor(rows) % 2) / 2
    return 1 - _pulse(shifted, wu, 0.93) * _pulse(rows, 2 * wv, 0.86)


def _windows(u: Floats, v: Floats, wu: Floats, wv: Floats) -> Floats:
    return _pulse(u - np.float32(0.25), wu, 0.5) * _pulse(v - np.float32(0.2), wv, 0.55)


KINDS: dict[str, Callable[[Floats, Floats, Floats, Floats], Floats]] = {
    "checker": _checker,
    "stripes": _stripes,
    "brick": _brick,
    "windows": _windows,
}
"""Share of the second colour [n], given the place (u, v) in cells and the pixel's footprint (wu, wv) in cells."""


def read_patterns(model: mujoco.MjModel) -> dict[int, Pattern]:
    """The model's patterns by material id."""
    materials = [model.material(i).name for i in range(model.nmat)]
    found = {}
    for i in range(model.ntext):
        text = mujoco.mj_id2name(model, int(mujoco.mjtObj.mjOBJ_TEXT), i) or ""
        if text.startswith(PREFIX):
            name = text.removeprefix(PREFIX)
            if name not in materials:
                raise UnknownName(f"{text!r}", "a material of the model", closest(name, materials))
            start = int(model.text_adr[i])
            said = bytes(model.text_data[start : start + int(model.text_size[i])]).rstrip(b"\0").decode()
            found[materials.index(name)] = _parse(text, said)
    return found


def _parse(name: str, data: str) -> Pattern:
    kind, *numbers = data.split() or [""]
    if kind not in KINDS:
        raise BadOption(f"{name!r} of kind {kind!r}", f"one of {list(KINDS)}", closest(kind, list(KINDS)))
    try:
        r, g, b, cell = (float(number) for number in numbers)
    except ValueError:
        cell = 0.0
    if not 0 < cell < np.inf:
        raise BadOption(f"{name!r} saying {data!r}", "KIND R G B CELL, CELL > 0", "Write e.g. 'brick 0.8 0.8 0.7 0.6'.")
    return Pattern(kind, (r, g, b), cell)


@dataclass(frozen=True)
class Sight:
    """What a camera's n rays met."""

    origin: NDArray[np.float64]
    """[3]"""
    rays: Floats
    """unit directions [3, n]"""
    pixel: float
    """radians that one pixel spans"""
    geoms: NDArray[np.int32]
    """ids [n], -1 where nothing was met"""
    distances: Floats
    """[n]"""
    normals: Floats
    """[3, n]"""


class Painter:
    """Paints the patterns of one model over the plain colours of a picture."""

    def __init__(self, model: mujoco.MjModel, materials: NDArray[np.int32]) -> None:
        """`materials`: each geom's material id [G]."""
        patterns = read_patterns(model)
        self._geoms = np.flatnonzero(np.isin(materials, list(patterns)))
        worn = [patterns[int(materials[geom])] for geom in self._geoms]
        kinds = list(KINDS)
        self._kinds = sorted({kinds.index(pattern.kind) for pattern in worn})
        self._slot = np.full(model.ngeom + 1, -1, np.int32)  # the last one is the sky's, whose geom id is -1
        self._slot[self._geoms] = np.arange(len(worn))
        self._kind = np.array([kinds.index(pattern.kind) for pattern in worn], np.int32)
        self._cell = np.array([pattern.cell for pattern in worn], np.float64)
        self._second = np.array([pattern.colour for pattern in worn], np.float32).reshape(-1, 3).T.copy()
        self._boxes = model.geom_type[self._geoms] == int(mujoco.mjtGeom.mjGEOM_BOX)

    def paint(self, model: mujoco.MjModel, data: mujoco.MjData, sight: Sight, colours: Floats) -> None:
        """Mixes the second colours into `colours` [3, n]."""
        if not len(self._geoms):
            return
        slots = self._slot.take(sight.geoms)
        pixels = np.flatnonzero(slots >= 0)
        if not len(pixels):
            return
        slots = slots.take(pixels)
        place = self._places(model, data, sight, slots, pixels)
        share = self._shares(place, slots)
        plain = colours.take(pixels, 1)
        plain += share * (self._second.take(slots, 1) - plain)
        colours[:, pixels] = plain

    def _places(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        sight: Sight,
        slots: NDArray[np.int32],
        pixels: NDArray[np.intp],
    ) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.bool_]]:
        """Where each patterned pixel lies: u, v and its footprint in both, in cells; does its face lie flat?"""
        frames = data.geom_xmat[self._geoms].reshape(-1, 3, 3).transpose(2, 1, 0) / self._cell  # [local, world, P]
        start = np.einsum("lwp,pw->lp", frames, sight.origin - data.geom_xpos[self._geoms])
        start += np.where(self._boxes, model.geom_size[self._geoms].T / self._cell, 0)
        table = np.concatenate([frames.reshape(9, -1), start]).astype(np.float32).take(slots, 1)
        turn, start = table[:9].reshape(3, 3, -1), table[9:]
        distance = sight.distances.take(pixels)
        ray, normal = _turned(turn, sight.rays.take(pixels, 1)), np.abs(_turned(turn, sight.normals.take(pixels, 1)))
        point = start + distance * ray
        flat = normal[2] >= np.maximum(normal[0], normal[1])
        along_x = (normal[0] >= normal[1]) & ~flat
        u, v = np.where(along_x, point[1], point[0]), np.where(flat, point[1], point[2])
        ray_u, ray_v = np.where(along_x, ray[1], ray[0]), np.where(flat, ray[1], ray[2])
        ray_n = np.abs(np.where(flat, ray[2], np.where(along_x, ray[0], ray[1]))) + np.float32(1e-6)
        # a pixel's disc across the ray, carried along the ray onto the face
        disc = distance * (np.float32(sight.pixel) / self._cell.astype(np.float32)).take(slots)
        wu, wv = disc * np.sqrt(1 + (ray_u / ray_n) ** 2), disc * np.sqrt(1 + (ray_v / ray_n) ** 2)
        return u, v, np.maximum(wu, np.float32(1e-3)), np.maximum(wv, np.float32(1e-3)), flat

    def _shares(
        self, place: tuple[Floats, Floats, Floats, Floats, NDArray[np.bool_]], slots: NDArray[np.int32]
    ) -> Floats:
        """Share of the second colour [n], kind by kind."""
        *place_uv, flat = place
        share = np.zeros(len(slots), np.float32)
        worn = self._kind.take(slots)
        for index in self._kinds:
            kind = list(KINDS)[index]
            where = (worn == index) & ~flat if kind == "windows" else worn == index
            pixels = np.flatnonzero(where)
            share[pixels] = KINDS[kind](*(values.take(pixels) for values in place_uv))
        return share


def _turned(turn: Floats, vectors: Floats) -> Floats:
    """Each vector [3, n] turned by its own matrix [3, 3, n]: plain sums, five times faster than einsum here."""
    return np.asarray(turn[:, 0] * vectors[0] + turn[:, 1] * vectors[1] + turn[:, 2] * vectors[2])
