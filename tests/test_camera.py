"""Laws of the ray camera: what it sees, where, in which colour."""

import os
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfvgen_envs.camera import RayCamera, pinhole
from sfvgen_planner.errors import BadImageSize, BadOption, UnknownName

MATT = '<visual><headlight active="0"/></visual>'
EVEN = '<visual><headlight ambient="1 1 1" diffuse="0 0 0"/></visual>'
DARK = '<light directional="true" diffuse="0 0 0"/>'
DOWN = '<camera name="down" pos="0 0 4" xyaxes="1 0 0 0 1 0" fovy="60"/>'

SOLIDS = """<mujoco>
  <asset>
    <mesh name="tetra" vertex="0 0 0  .5 0 0  0 .5 0  0 0 .6"/>
    <hfield name="hills" nrow="3" ncol="3" size=".4 .4 .3 .1" elevation="0 .5 0 .3 1 .2 0 .6 0"/>
  </asset>
  <worldbody>
    <geom type="plane" size="3 3 .1"/>
    <geom type="sphere" size=".25" pos="-.9 0 .3"/>
    <geom type="capsule" size=".12 .25" pos="-.3 .4 .4" euler="20 30 0"/>
    <geom type="ellipsoid" size=".3 .15 .2" pos=".3 -.3 .3"/>
    <geom type="cylinder" size=".2 .3" pos=".9 .1 .3" euler="0 20 0"/>
    <geom type="box" size=".2 .3 .15" pos="-.6 -.7 .2" euler="0 0 30"/>
    <geom type="mesh" mesh="tetra" pos=".8 -.8 .02"/>
    <geom type="hfield" hfield="hills" pos="0 1.1 .05"/>
    <camera name="eye" pos="0 -2.4 1.9" xyaxes="1 0 0 0 .6 .8" fovy="60"/>
  </worldbody></mujoco>"""


def load(xml: str) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def scene(world: str, head: str = MATT) -> tuple[mujoco.MjModel, mujoco.MjData]:
    return load(f"<mujoco>{head}<worldbody>{world}</worldbody></mujoco>")


def on_floor(camera: RayCamera, data: mujoco.MjData) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel's ray meets z = 0: x and y [h, w]."""
    origin, rays = camera.rays(data)
    place = origin - rays * (origin[2] / rays[..., 2:])
    return place[..., 0], place[..., 1]


def test_the_same_state_gives_the_same_picture() -> None:
    model, data = load(SOLIDS)
    one, two = RayCamera(model, "eye", (48, 80), shadows=True), RayCamera(model, 0, (48, 80), shadows=True)
    first = one.render(data)
    assert first.shape == (48, 80, 3)
    assert first.dtype == np.uint8
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 30
    np.testing.assert_array_equal(first, two.render(data))
    np.testing.assert_array_equal(first, one.render(data))


@pytest.mark.parametrize(("first", "second"), [(1.0, 2.0), (2.0, 1.0)])
def test_the_nearest_surface_wins(first: float, second: float) -> None:
    boxes = "".join(f'<geom type="box" size="9 9 .1" pos="0 0 {z}"/>' for z in (first, second))
    model, data = scene(boxes + DOWN)
    assert (RayCamera(model, "down").segment(data) == (0 if first > second else 1)).all()


@given(fovy=st.floats(5, 150), height=st.integers(16, 40), width=st.integers(16, 40))
@settings(max_examples=40, deadline=None)
def test_a_pinhole_is_a_unit_vector_for_each_pixel(fovy: float, height: int, width: int) -> None:
    rays = pinhole(fovy, height, width)
    assert rays.shape == (height, width, 3)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1, atol=1e-12)
    np.testing.assert_allclose(rays, rays[::-1] * [1, -1, 1], atol=1e-12)
    np.testing.assert_allclose(rays, rays[:, ::-1] * [-1, 1, 1], atol=1e-12)
    edge = rays[0, width // 2]
    assert edge[1] / -edge[2] == pytest.approx(np.tan(np.radians(fovy / 2)) * (1 - 1 / height))


@pytest.mark.parametrize("pixel", [(0, 0), (15, 31), (19, 0), (31, 47), (7, 23)])
def test_what_stands_on_a_pixels_ray_is_seen_at_that_pixel(pixel: tuple[int, int]) -> None:
    model, data = scene(
        '<body name="dot" mocap="true"><geom type="sphere" size=".01"/></body>'
        '<camera name="eye" pos="1 2 3" euler="70 20 -50" fovy="50"/>',
        '<statistic extent="1"/>',  # things are seen as far as zfar * extent
    )
    camera = RayCamera(model, "eye", (32, 48))
    origin, rays = camera.rays(data)
    data.mocap_pos[0] = origin + 3 * rays[pixel]
    mujoco.mj_forward(model, data)
    assert [tuple(at) for at in np.argwhere(camera.segment(data) == 0)] == [pixel]


def test_rays_are_the_pinhole_turned_by_the_cameras_pose() -> None:
    model, data = scene(
        '<body pos="1 0 0"><joint name="j" axis="0 1 0"/><geom size=".1"/><camera name="eye" pos="0 .3 0"/></body>'
    )
    camera = RayCamera(model, "eye", (16, 24))
    data.joint("j").qpos = 0.7
    mujoco.mj_forward(model, data)
    origin, rays = camera.rays(data)
    np.testing.assert_array_equal(origin, data.cam_xpos[0])
    turn = data.cam_xmat[0].reshape(3, 3)
    np.testing.assert_allclose(rays, pinhole(model.cam_fovy[0], 16, 24) @ turn.T, atol=1e-14)


def test_lambert_by_hand() -> None:
    light = '<light directional="true" dir="0 .6 -.8" diffuse=".5 .5 .5" ambient=".1 .1 .1"/>'
    model, data = scene(light + DOWN + '<geom type="plane" size="0 0 1" rgba=".8 .4 .2 1"/>')
    picture = RayCamera(model, "down").render(data)
    by_hand = np.array([0.8, 0.4, 0.2]) * (0.1 + 0.5 * 0.8) * 255
    assert np.abs(picture - by_hand).max() <= 1
    data.light_xdir[0] = (0, 0, -1)
    brighter = RayCamera(model, "down").render(data)
    assert np.abs(brighter - by_hand * 0.6 / 0.5).max() <= 1


def test_a_spot_light_ends_at_its_cone() -> None:
    light = '<light pos="0 0 1" dir="0 0 -1" cutoff="45" exponent="0" diffuse="1 1 1"/>'
    model, data = scene(light + DOWN + '<geom type="plane" size="0 0 1" rgba="1 1 1 1"/>')
    camera = RayCamera(model, "down")
    radius = np.hypot(*on_floor(camera, data))
    by_hand = np.where(radius < 1, 255 / np.hypot(radius, 1), 0)  # the cosine of light from height 1
    assert np.abs(camera.render(data)[..., 0] - by_hand)[np.abs(radius - 1) > 1e-6].max() <= 1


def test_a_model_without_lights_has_a_sun_and_a_sky() -> None:
    model, data = scene('<geom size=".5"/><camera name="eye" pos="0 -3 0" xyaxes="1 0 0 0 0 1"/>')
    camera = RayCamera(model, "eye")
    picture = camera.render(data)
    assert picture[28, 32].min() > 20
    assert (camera.segment(data)[0] == -1).all()
    assert (picture[0, :, 2] > picture[0, :, 0]).all()


@pytest.mark.parametrize(
    "light", ['<light directional="true" dir="0 0 -1"/>', '<light type="point" pos="0 0 1000" dir="0 0 -1"/>']
)
def test_shadow_lies_under_the_occluder_and_nowhere_else(light: str) -> None:
    model, data = scene(
        light + '<geom type="plane" size="0 0 1"/><geom type="box" size=".4 .3 .05" pos="0 0 .5"/>'
        '<camera name="side" pos="0 -4 2" xyaxes="1 0 0 0 .45 .9" fovy="40"/>',
        '<visual><headlight ambient=".2 .2 .2" diffuse="0 0 0"/></visual>',
    )
    off, on = RayCamera(model, "side"), RayCamera(model, "side", shadows=True)
    darker = np.all(on.render(data) < off.render(data), axis=-1)
    x, y = on_floor(off, data)
    outside = np.maximum(np.abs(x) - 0.4, np.abs(y) - 0.3)
    floor = off.segment(data) == 0
    assert darker[floor & (outside < -0.01)].all()
    assert (floor & (outside < -0.01)).sum() > 20
    np.testing.assert_array_equal(
        on.render(data)[~floor | (outside > 0.01)], off.render(data)[~floor | (outside > 0.01)]
    )


def patterned(pattern: str, world: str, head: str = EVEN) -> tuple[mujoco.MjModel, mujoco.MjData]:
    return load(f"""<mujoco>{head}<custom><text name="pattern/tile" data="{pattern}"/></custom>
      <asset><material name="tile" rgba="1 .5 0 1"/></asset><worldbody>{DARK}{world}</worldbody></mujoco>""")


def test_checker_by_hand() -> None:
    model, data = patterned("checker 0 .5 1 .5", '<geom type="plane" size="0 0 1" material="tile"/>' + DOWN)
    camera = RayCamera(model, "down", (128, 128))
    x, y = (2 * place for place in on_floor(camera, data))
    second = (np.floor(x) + np.floor(y)) % 2 == 1
    inner = (np.abs(x - np.round(x)) > 0.1) & (np.abs(y - np.round(y)) > 0.1)
    picture = camera.render(data).astype(int)
    assert np.abs(picture[inner & second] - [0, 128, 255]).max() <= 1
    assert np.abs(picture[inner & ~second] - [255, 128, 0]).max() <= 1


@pytest.mark.parametrize(
    ("kind", "share"), [("checker", 0.5), ("stripes", 0.5), ("brick", 1 - 0.93 * 0.86), ("windows", 0)]
)
def test_a_far_pattern_is_its_mean(kind: str, share: float) -> None:
    model, data = patterned(f"{kind} 0 .5 1 .002", '<geom type="plane" size="0 0 1" material="tile"/>' + DOWN)
    red = RayCamera(model, "down").render(data)[..., 0].astype(int)
    assert np.abs(red - 255 * (1 - share)).max() <= 6


@pytest.mark.parametrize("kind", ["checker", "stripes", "brick", "windows"])
@pytest.mark.parametrize("solid", ['type="box" size=".5 .5 .5"', 'type="sphere" size=".5"'])
def test_a_pattern_sticks_to_a_moving_body(kind: str, solid: str) -> None:
    model, data = patterned(
        f"{kind} 0 .5 1 .25",
        f'<body mocap="true"><geom {solid} material="tile"/>'
        '<camera name="with" pos="0 -1.5 0" xyaxes="1 0 0 0 0 1" fovy="30"/></body>'
        '<camera name="still" pos="0 -1.5 0" xyaxes="1 0 0 0 0 1" fovy="30"/>',
    )
    along, still = RayCamera(model, "with"), RayCamera(model, "still")
    before, seen_before = along.render(data).astype(int), still.render(data)
    assert before[8:-8, 8:-8, 0].std() > 20
    data.mocap_pos[0], data.mocap_quat[0] = (0.2, 0.1, 0.1), (0.6, 0.0, 0.0, 0.8)
    mujoco.mj_forward(model, data)
    geom = along.segment(data) == 0
    assert (np.abs(along.render(data) - before)[geom] > 2).mean() < 0.01
    assert (still.render(data) != seen_before).any()


def test_windows_are_for_walls_only() -> None:
    model, data = patterned("windows 0 .5 1 .5", '<geom type="box" size="1 1 1" material="tile"/>' + DOWN)
    assert (RayCamera(model, "down").render(data)[28:36, 28:36] == [255, 128, 0]).all()


def test_a_wrong_pattern_is_refused_by_name() -> None:
    with pytest.raises(BadOption, match="'checker'"):
        RayCamera(patterned("cheker 0 .5 1 .5", DOWN)[0], "down")
    with pytest.raises(BadOption, match="CELL"):
        RayCamera(patterned("checker 0 .5 1", DOWN)[0], "down")
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><custom><text name="pattern/tiel" data="brick 1 1 1 1"/></custom>'
        f'<asset><material name="tile"/></asset><worldbody>{DOWN}</worldbody></mujoco>'
    )
    with pytest.raises(UnknownName, match="'tile'"):
        RayCamera(model, "down")


def test_haze_fades_to_the_sky() -> None:
    model, data = load(
        f'<mujoco>{EVEN}<custom><numeric name="haze" data="2 4"/></custom><worldbody>{DARK}'
        '<geom type="box" size="9 .1 9" pos="0 3.1 0" rgba="1 0 0 1"/><geom size=".5" pos="0 1.5 0" rgba="1 0 0 1"/>'
        '<camera name="eye" xyaxes="1 0 0 0 0 1" fovy="10"/></worldbody></mujoco>'
    )
    camera = RayCamera(model, "eye")
    assert np.abs(camera.render(data)[32, 32].astype(int) - [255, 0, 0]).max() <= 1
    model.geom_rgba[1, 3] = 0
    half = camera.render(data)[32, 32].astype(int)
    model.geom_rgba[0, 3] = 0
    sky = camera.render(data)[32, 32].astype(int)
    assert np.abs(half - (np.array([255, 0, 0]) + sky) / 2).max() <= 2


HIDDEN = {
    "group 3": 'group="3"',
    "own alpha": 'rgba="1 1 1 0"',
    "material alpha": 'material="glass"',
    "own alpha over a solid material": 'material="solid" rgba="1 1 1 0"',
}
SHOWN = {
    "group 2": 'group="2"',
    "own colour over a clear material": 'material="glass" rgba="1 1 1 1"',
    "material": 'material="solid"',
}


@pytest.mark.parametrize("name", [*HIDDEN, *SHOWN])
def test_what_mujoco_hides_is_not_seen(name: str) -> None:
    model, data = load(
        '<mujoco><asset><material name="glass" rgba="1 1 1 0"/><material name="solid" rgba="1 0 0 1"/></asset>'
        f'<worldbody><geom type="plane" size="0 0 1"/>{DOWN}'
        f'<geom type="box" size=".5 .5 .1" pos="0 0 1" {(HIDDEN | SHOWN)[name]}/></worldbody></mujoco>'
    )
    materials = model.geom_matid.copy()
    assert (RayCamera(model, "down", shadows=True).segment(data)[32, 32] == 1) == (name in SHOWN)
    np.testing.assert_array_equal(model.geom_matid, materials)


def test_colours_and_field_of_view_may_change_between_pictures() -> None:
    model, data = scene(DARK + DOWN + '<geom size="1" rgba="1 0 0 1"/>', EVEN)
    camera = RayCamera(model, "down")
    assert (camera.render(data)[32, 32] == [255, 0, 0]).all()
    model.geom_rgba[0] = (0, 0, 1, 1)
    assert (camera.render(data)[32, 32] == [0, 0, 255]).all()
    seen = (camera.segment(data) == 0).sum()
    model.cam_fovy[0] = 90
    assert (camera.segment(data) == 0).sum() < seen / 2


def test_small_pictures_and_unknown_cameras_are_refused() -> None:
    model, _ = scene(DOWN)
    for size in ((15, 64), (64, 8)):
        with pytest.raises(BadImageSize, match="16"):
            RayCamera(model, "down", size)
    with pytest.raises(UnknownName, match="'down'"):
        RayCamera(model, "dawn")
    with pytest.raises(UnknownName, match="camera 1"):
        RayCamera(model, 1)


GL = """
import sys, mujoco, numpy as np
model = mujoco.MjModel.from_xml_string(open(sys.argv[1]).read()); data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 128, 128); renderer.enable_segmentation_rendering()
renderer.update_scene(data, "eye"); np.save(sys.argv[2], renderer.render()[..., 0])
"""


def test_it_sees_the_geoms_that_opengl_sees(tmp_path: Path) -> None:
    (tmp_path / "scene.xml").write_text(SOLIDS)
    argv = [sys.executable, "-c", GL, str(tmp_path / "scene.xml"), str(tmp_path / "ids.npy")]
    for library in ("egl", "osmesa"):  # in a process of its own: a missing library ends the importing process
        child = subprocess.run(argv, env={**os.environ, "MUJOCO_GL": library}, capture_output=True, timeout=120)
        if child.returncode == 0:
            break
    else:
        pytest.skip("no OpenGL library (neither EGL nor OSMesa) to compare with")
    model, data = load(SOLIDS)
    ids = RayCamera(model, "eye", (128, 128)).segment(data)
    assert set(np.unique(ids)) == {*range(-1, model.ngeom)}
    agree = (ids == np.load(tmp_path / "ids.npy")).mean()
    print(f"{library}: {agree:.4%} of pixels agree")
    assert agree >= 0.999
