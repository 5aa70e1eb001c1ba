"""How much light falls on what a ray camera sees: the model's lights, its headlight, the sky, and haze.

Everything is read when a picture is taken, so a model's lights may change at any time. As in MuJoCo's own pictures:
the headlight shines along the camera and gives the ambient light; each active light adds its ambient colour, and its
diffuse colour by Lambert's law. A model without an active light gets a sun. Lamps do not fade with distance.
Letters: n pixels, K lights.
"""

from collections.abc import Callable

import mujoco
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Cast = Callable[[Doubles, Doubles], Doubles]
"""Casts rays from one origin [3] along unit directions [n, 3]; distances [n], -1 where nothing is hit."""

SUN = -1
"""The light id of the sun that a model without lights gets."""
SUN_DIRECTION = np.array([-0.45, 0.35, -0.82]) / np.linalg.norm([-0.45, 0.35, -0.82])
SUN_DIFFUSE = np.array([0.55, 0.55, 0.52])
SKY = ((0.33, 0.55, 0.85), (0.80, 0.87, 0.93), (0.55, 0.56, 0.56))
"""Zenith, horizon and nadir of a model without a skybox."""
SUN_DISTANCE = 1000.0
"""How far away, in extents of the model, a directional light stands when it casts shadows: nearly parallel rays."""
SHADOW_SLACK = 1e-4
"""In extents: a surface this little behind the first one is not in shadow."""


def irradiance(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    normals: Floats,
    points: Callable[[], Doubles],
    backward: Doubles,
    cast: Cast | None,
) -> Floats:
    """Light on each surface [3, n], by colour channel.

    normals [3, n]; `points()` the places hit [3, n], asked for only where a light needs them; `backward` [3] points
    from the scene to the camera; with `cast` the lights that cast shadows do.
    """
    headlight = model.vis.headlight
    active = np.flatnonzero(model.light_active)
    lamps = [int(light) for light in active] or [SUN]
    head = bool(headlight.active)
    toward, diffuse = ([backward], [headlight.diffuse]) if head else ([], [])
    if len(active):
        toward += list(-data.light_xdir[active])
        diffuse += list(model.light_diffuse[active])
    else:
        toward.append(-SUN_DIRECTION)
        diffuse.append(SUN_DIFFUSE)
    cosines = np.array(toward, np.float32) @ normals  # [K, n]
    for row, light in enumerate(lamps, start=int(head)):
        if not _is_directional(model, light):
            cosines[row] = _positional(model, data, light, normals, points())
    np.maximum(cosines, 0, out=cosines)
    if cast is not None:
        for row, light in enumerate(lamps, start=int(head)):
            if light == SUN or model.light_castshadow[light]:
                _darken(model, data, light, points(), cast, cosines[row])
    light_on = np.array(diffuse, np.float32).T @ cosines
    ambient = headlight.ambient * head + model.light_ambient[active].sum(0)
    light_on += ambient.astype(np.float32)[:, None]
    return np.asarray(light_on, np.float32)


def _is_directional(model: mujoco.MjModel, light: int) -> bool:
    return light == SUN or int(model.light_type[light]) == int(mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)


def _positional(model: mujoco.MjModel, data: mujoco.MjData, light: int, normals: Floats, points: Doubles) -> Floats:
    """Cosine [n] of a lamp's light on each surface, times its cone where it is a spot light."""
    rays = (points - data.light_xpos[light][:, None]).astype(np.float32)
    rays /= np.maximum(np.linalg.norm(rays, axis=0), np.float32(1e-9))
    cosine: Floats = -np.einsum("kn,kn->n", rays, normals)
    if int(model.light_type[light]) == int(mujoco.mjtLightType.mjLIGHT_SPOT):
        inside = data.light_xdir[light].astype(np.float32) @ rays
        edge = np.float32(np.cos(np.radians(model.light_cutoff[light])))
        cosine *= np.where(
            inside > edge, np.maximum(inside, 0) ** np.float32(model.light_exponent[light]), np.float32(0)
        )
    return cosine


def _darken(
    model: mujoco.MjModel, data: mujoco.MjData, light: int, points: Doubles, cast: Cast, cosine: Floats
) -> None:
    """Sets `cosine` [n] to 0 where something stands between the light and the surface."""
    extent = float(model.stat.extent)
    direction = SUN_DIRECTION if light == SUN else data.light_xdir[light]
    if _is_directional(model, light):
        origin = model.stat.center - SUN_DISTANCE * extent * direction
    else:
        origin = data.light_xpos[light].copy()
    lit = np.flatnonzero(cosine > 0)
    if not len(lit):
        return
    rays = points.T[lit] - origin
    distances = np.linalg.norm(rays, axis=1)
    first = cast(origin, rays / np.maximum(distances, 1e-9)[:, None])
    hidden = (first >= 0) & (first < distances - SHADOW_SLACK * extent)
    cosine[lit[hidden]] = 0


def sky(model: mujoco.MjModel, up: Floats) -> Floats:
    """Colour of the sky [3, n] by the ray's elevation `up` (its sine, [n]); from the skybox texture if there is one."""
    boxes = np.flatnonzero(model.tex_type == int(mujoco.mjtTexture.mjTEXTURE_SKYBOX))
    colours = _skybox(model, int(boxes[0])) if len(boxes) else np.array(SKY, np.float32)
    zenith, middle, nadir = colours[:, :, None]
    above, below = zenith - middle, nadir - middle
    # the square root spreads the change over the elevations a level camera sees
    return np.asarray(middle + above * np.sqrt(np.maximum(up, 0)) + below * np.sqrt(np.maximum(-up, 0)), np.float32)


def _skybox(model: mujoco.MjModel, texture: int) -> Floats:
    """Colours [3, 3] at the zenith, the horizon and the nadir: the middles of the faces up, front and down."""
    width, channels = int(model.tex_width[texture]), int(model.tex_nchannel[texture])
    faces = int(model.tex_height[texture]) // width
    start, face = int(model.tex_adr[texture]), width * width * channels
    middle = (width // 2 * width + width // 2) * channels
    chosen = (2, 4, 3) if faces == 6 else (0, 0, 0)
    pixels = [start + index * face + middle for index in chosen]
    return np.array([model.tex_data[at : at + 3] / 255 for at in pixels], np.float32)


def read_haze(model: mujoco.MjModel) -> tuple[float, float] | None:
    """`<custom><numeric name="haze" data="START END"/></custom>`: the metres between which things fade to sky."""
    index = mujoco.mj_name2id(model, int(mujoco.mjtObj.mjOBJ_NUMERIC), "haze")
    if index < 0:
        return None
    start, end = model.numeric_data[model.numeric_adr[index] :][:2]
    return float(start), float(end)
