"""RGB pictures of any MuJoCo model by ray casting: no OpenGL, no window, the same pixels on every run.

One ray per pixel (`mujoco.mj_multiRay`), then colour, pattern, light, shadow and sky in a few vectorised passes. What
a model may say about its looks: materials, `rgba`, emission, lights and headlight as MuJoCo reads them; patterns (see
`sfvgen_envs.patterns`); a skybox texture; a haze (see `sfvgen_envs.light`). Seen are geoms of groups 0 to 2 whose alpha
is not 0, as far as MuJoCo's `zfar * extent`; sites, tendons and textures are not drawn, and half-transparent things are
drawn solid. A camera inside a solid sees its inside: put that geom in group 3.
Letters: h w height and width, n = h * w pixels, G geoms.
"""

import threading
from contextlib import AbstractContextManager, nullcontext

import mujoco
import numpy as np
from numpy.typing import NDArray

from sfvgen_envs.light import irradiance, read_haze, sky
from sfvgen_envs.patterns import Painter, Sight
from sfvgen_planner.errors import BadImageSize, BadOption, UnknownName, closest

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SMALLEST = 16
"""pixels: a picture's least height and width"""
GROUPS = np.array([1, 1, 1, 0, 0, 0], np.uint8)
"""The geom groups that MuJoCo shows by default."""
PLAIN = np.array([0.5, 0.5, 0.5, 1.0], np.float32)
"""A geom's `rgba` when nobody set it: then its material decides, as in MuJoCo."""
NOWHERE = 1e10
_MATERIALS = threading.Lock()


def pinhole(fovy_degrees: float, height: int, width: int) -> Doubles:
    """Where each pixel looks in the camera's frame (along -z, y up): unit vectors [h, w, 3], row 0 on top.

    Pixels are square and the rays go through their middles. A camera with rotation R (its `cam_xmat`) sees pixel (i, j)
    along `R @ pinhole(...)[i, j]` in the world.
    """
    top = np.tan(np.radians(fovy_degrees) / 2)
    y, x = np.mgrid[:height, :width] + 0.5
    rays = np.stack([(2 * x - width) / height * top, (height - 2 * y) / height * top, np.full_like(x, -1.0)], axis=-1)
    return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True), np.float64)


class RayCamera:
    """One camera of a model. `data` must be up to date (`mj_forward` or a step). Not to be shared between threads."""

    def __init__(
        self, model: mujoco.MjModel, camera: str | int, size: tuple[int, int] = (64, 64), *, shadows: bool = False
    ) -> None:
        """`size` is (height, width); `shadows` casts one more ray per lit pixel and light."""
        if len(size) != 2 or min(size) < SMALLEST:
            raise BadImageSize(
                f"a picture of size {size}", f"(height, width), each >= {SMALLEST}", "Ask for a larger one."
            )
        self.model, self.size, self.shadows = model, (int(size[0]), int(size[1])), shadows
        self.camera = _camera_id(model, camera)
        with _MATERIALS:
            self._materials = model.geom_matid.copy()
        self._painter = Painter(model, self._materials)
        self._haze = read_haze(model)
        n = self.size[0] * self.size[1]
        self._fovy = float("nan")
        self._ids, self._distances = np.empty(n, np.int32), np.empty(n)
        self._normals, self._rays = np.empty(3 * n), np.empty((n, 3))

    def render(self, data: mujoco.MjData) -> NDArray[np.uint8]:
        """The picture, uint8 [h, w, 3], a fresh array."""
        origin, turn = self._look(data)
        reach = self._reach() if self._haze is None else min(self._haze[1], self._reach())
        self._cast(data, origin, self._rays, (self._ids, self._distances, self._normals), reach)
        ids = self._ids
        rays = self._rays.T.astype(np.float32, order="C")
        normals = self._normals.reshape(-1, 3).T.astype(np.float32, order="C")
        distances = self._distances.astype(np.float32)
        colours, emission = self._colours()
        picture = colours.take(ids, 1)
        pixel = float(2 * np.tan(np.radians(self._fovy) / 2) / self.size[0])
        self._painter.paint(self.model, data, Sight(origin, rays, pixel, ids, distances, normals), picture)
        light = irradiance(
            self.model,
            data,
            normals,
            lambda: origin[:, None] + self._distances * self._rays.T,
            turn[:, 2],
            (lambda start, along: self._first(data, start, along)) if self.shadows else None,
        )
        if emission is not None:
            light += emission.take(ids)
        picture *= light
        self._add_sky(picture, rays[2], distances)
        np.clip(picture, 0, 1, out=picture)
        picture *= 255
        picture += 0.5
        return picture.T.astype(np.uint8, order="C").reshape(*self.size, 3)

    def rays(self, data: mujoco.MjData) -> tuple[Doubles, Doubles]:
        """Where each pixel looks in the world: origin [3] and unit directions [h, w, 3]."""
        origin, _ = self._look(data)
        return origin, self._rays.reshape(*self.size, 3).copy()

    def segment(self, data: mujoco.MjData) -> NDArray[np.int32]:
        """Which geom each pixel shows: ids [h, w], -1 for the sky."""
        origin, _ = self._look(data)
        self._cast(data, origin, self._rays, (self._ids, self._distances, None), self._reach())
        return self._ids.reshape(self.size).copy()

    def _look(self, data: mujoco.MjData) -> tuple[Doubles, Doubles]:
        """Turns the rays into the world; the camera's place [3] and rotation [3, 3]."""
        fovy = float(self.model.cam_fovy[self.camera])
        if fovy != self._fovy:
            self._fovy, self._pinhole = fovy, pinhole(fovy, *self.size).reshape(-1, 3)
        turn = data.cam_xmat[self.camera].reshape(3, 3)
        np.matmul(self._pinhole, turn.T, out=self._rays)
        return data.cam_xpos[self.camera].copy(), turn

    def _cast(
        self,
        data: mujoco.MjData,
        origin: Doubles,
        rays: Doubles,
        into: tuple[NDArray[np.int32], Doubles, Doubles | None],
        reach: float,
    ) -> None:
        """Fills ids [n], distances [n] and normals [3n] with what rays [n, 3] meet first."""
        with self._own_colours():
            mujoco.mj_multiRay(self.model, data, origin, rays.reshape(-1), GROUPS, True, -1, *into, len(rays), reach)

    def _reach(self) -> float:
        return float(self.model.vis.map.zfar * self.model.stat.extent)

    def _first(self, data: mujoco.MjData, origin: Doubles, rays: Doubles) -> Doubles:
        """Distances [n] to the first thing on rays [n, 3], however far."""
        distances = np.empty(len(rays))
        self._cast(data, origin, rays, (np.empty(len(rays), np.int32), distances, None), NOWHERE)
        return distances

    def _colours(self) -> tuple[Floats, Floats | None]:
        """Colour of each geom and, last, of nothing (black) [3, G + 1]; emission [G + 1], None if nothing glows."""
        model = self.model
        colours = np.zeros((model.ngeom + 1, 3), np.float32)
        colours[:-1] = model.geom_rgba[:, :3]
        if not model.nmat:
            return colours.T.copy(), None
        shown = np.flatnonzero((self._materials >= 0) & (model.geom_rgba == PLAIN).all(1))
        colours[shown] = model.mat_rgba[self._materials[shown], :3]
        if not model.mat_emission.any():
            return colours.T.copy(), None
        emission = np.zeros(model.ngeom + 1, np.float32)
        emission[:-1] = np.where(self._materials >= 0, model.mat_emission[self._materials], 0)
        return colours.T.copy(), emission

    def _add_sky(self, picture: Floats, up: Floats, distances: Floats) -> None:
        """Fills the pixels [3, n] that hit nothing, and veils the far ones."""
        if self._haze is not None:
            start, end = self._haze
            veil = np.clip((distances - np.float32(start)) / np.float32(end - start), 0, 1)
            veil[self._ids < 0] = 1
            picture += veil * (sky(self.model, up) - picture)
            return
        pixels = np.flatnonzero(self._ids < 0)
        if len(pixels):
            picture[:, pixels] = sky(self.model, up.take(pixels))

    def _own_colours(self) -> AbstractContextManager[None]:
        """While it lasts, a geom's own alpha decides whether rays see it, as in MuJoCo's pictures.

        Rays ask only the material's alpha, pictures the geom's own if its `rgba` was set. So geoms where the two
        disagree take off their material during the cast; physics never reads it, the lock keeps other cameras away.
        """
        model = self.model
        if not model.nmat:
            return nullcontext()
        rgba = model.geom_rgba
        differ = (self._materials >= 0) & ((rgba[:, 3] == 0) != (model.mat_rgba[self._materials, 3] == 0))
        differ &= (rgba != PLAIN).any(1)
        return _Undressed(model, np.flatnonzero(differ)) if differ.any() else nullcontext()


class _Undressed(AbstractContextManager[None]):
    """Some geoms of a model without their materials."""

    def __init__(self, model: mujoco.MjModel, geoms: NDArray[np.intp]) -> None:
        self._model, self._geoms = model, geoms

    def __enter__(self) -> None:
        _MATERIALS.acquire()
        self._before = self._model.geom_matid[self._geoms]
        self._model.geom_matid[self._geoms] = -1

    def __exit__(self, *error: object) -> None:
        self._model.geom_matid[self._geoms] = self._before
        _MATERIALS.release()


def _camera_id(model: mujoco.MjModel, camera: str | int) -> int:
    names = [model.camera(i).name for i in range(model.ncam)]
    if isinstance(camera, str):
        if camera not in names:
            raise UnknownName(f"camera {camera!r}", "a camera of the model", closest(camera, names))
        index = names.index(camera)
    else:
        index = int(camera)
        if not 0 <= index < model.ncam:
            raise UnknownName(f"camera {index}", f"an id from 0 to {model.ncam - 1}", f"Known: {', '.join(names)}.")
    if int(model.cam_projection[index]) != int(mujoco.mjtProjection.mjPROJ_PERSPECTIVE):
        raise BadOption(f"camera {camera!r}, orthographic", "a perspective camera", "All rays start from one point.")
    return index
