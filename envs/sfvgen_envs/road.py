"""The winding road of LaneKeep: a strip of short flat boxes along a curve, with posts and trees beside it."""

from dataclasses import dataclass

import numpy as np

from sfvgen_envs.car import DRIVE, GROUNDED, OPTIONS, SCENERY, SPACING, car_body
from sfvgen_envs.scene import Scene, bright_colour
from sfvgen_envs.way import Floats, headings

BEND, SHARPEST, LEVELS = 10.0, 1 / 13, 4
"""Metres from one drawn curvature to the next; the largest (1/m); how many steps it is drawn in each way."""
OBLIQUE = np.radians(75)
"""A road never turns further from its first direction, so that it cannot meet itself."""
ROAD_START, ROAD_END = 8.0, 24.0
"""Metres of road behind the start and beyond the end."""
GATE = 7.0
"""Metres from the end to the gate."""
PIECE, LINE = 5.0, 0.25
"""Metres of one box of road; metres a white line is wide."""
POSTS = 15.0
"""Metres between posts."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class RoadScene(Scene):
    """A road and its surroundings."""

    distance: float
    """metres to drive"""
    bends: tuple[int, ...]
    """curvatures, -4 to 4, every 10 m"""
    half_width: float
    trees: tuple[tuple[float, float, float], ...]
    """metres along the road, metres beside it (left is positive), height"""
    asphalt: Colour
    ground: Colour
    patch: Colour
    """second colour of the ground"""
    posts: Colour
    gate: Colour
    paint: Colour
    """of the car"""
    sun: tuple[float, float, float]
    """azimuth and elevation in degrees, brightness"""
    friction: float

    def signature(self) -> str:
        """The road's bends, however it is dressed."""
        return " ".join(map(str, self.bends))


def draw_road(rng: np.random.Generator, distance: float) -> RoadScene:
    """One road."""
    grey = round(float(rng.uniform(0.22, 0.42)), 3)
    green = bright_colour(rng, 0.2, 0.5)
    reach = distance + ROAD_END
    trees = [(rng.uniform(0, reach), rng.choice((-1, 1)) * rng.uniform(6, 14), rng.uniform(3, 7)) for _ in range(10)]
    return RoadScene(
        distance=distance,
        bends=_draw_bends(rng, int(np.ceil(reach / BEND)) + 1),
        half_width=round(float(rng.uniform(2.4, 3.0)), 2),
        trees=tuple((round(float(a), 1), round(float(b), 1), round(float(c), 1)) for a, b, c in trees),
        asphalt=(grey, grey, grey),
        ground=green,
        patch=(round(0.85 * green[0], 3), round(0.85 * green[1], 3), round(0.85 * green[2], 3)),
        posts=bright_colour(rng, 0.3, 0.95),
        gate=bright_colour(rng, 0.2, 0.95),
        paint=bright_colour(rng, 0.1, 0.9),
        sun=tuple(round(float(rng.uniform(*span)), 2) for span in ((0, 360), (35, 70), (0.4, 0.65))),  # type: ignore[arg-type]
        friction=round(float(rng.uniform(0.75, 1.1)), 3),
    )


def _draw_bends(rng: np.random.Generator, n: int) -> tuple[int, ...]:
    """Curvatures that keep the road from turning back; straight at the start."""
    bends, heading = [0], 0.0
    while len(bends) < n:
        bend = int(rng.integers(-LEVELS, LEVELS + 1))
        if abs(heading + BEND * SHARPEST * bend / LEVELS) > OBLIQUE:
            bend = -bend
        heading += BEND * SHARPEST * bend / LEVELS
        bends.append(bend)
    return tuple(bends)


def reach_of(scene: RoadScene) -> float:
    """The longest distance that fits the drawn bends."""
    return BEND * (len(scene.bends) - 1) - ROAD_END


def road_way(scene: RoadScene, start: float, end: float) -> Floats:
    """[n, 2] the road's middle from `start` to `end` metres, a point every `SPACING`; the origin is at 0 m, along x."""
    metres = np.arange(round(start / SPACING), round(end / SPACING) + 1) * SPACING
    middles = metres[:-1] + SPACING / 2
    levels = np.interp(middles, BEND * np.arange(len(scene.bends)), scene.bends)
    turned = np.cumsum(np.where(middles > 0, levels, 0) * SHARPEST / LEVELS * SPACING)
    angles = turned - np.where(middles > 0, levels, 0) * SHARPEST / LEVELS * SPACING / 2
    steps = SPACING * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    way = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    origin: Floats = way[int(np.argmin(np.abs(metres)))]
    return way - origin


def road_xml(scene: RoadScene) -> str:
    """MJCF of a road with a car on it."""
    way = road_way(scene, -ROAD_START, scene.distance + ROAD_END)
    azimuth, elevation = np.radians(scene.sun[:2])
    sun = (-np.cos(azimuth) * np.cos(elevation), -np.sin(azimuth) * np.cos(elevation), -np.sin(elevation))
    middle = way.mean(axis=0)
    lighter = tuple(x + 0.08 for x in scene.asphalt)
    return f"""<mujoco>{OPTIONS}
<visual><headlight ambient=".42 .42 .44" diffuse=".15 .15 .15"/></visual>
<custom><text name="pattern/ground" data="checker {_rgb(scene.patch)} 4"/>
<text name="pattern/asphalt" data="stripes {_rgb(lighter)} 1.25"/></custom>
<asset><material name="ground" rgba="{_rgb(scene.ground)} 1"/><material name="asphalt" rgba="{_rgb(scene.asphalt)} 1"/>
</asset>
<worldbody><light type="directional" dir="{_rgb(sun)}" diffuse="{_rgb((scene.sun[2],) * 3)}"/>
<geom name="grass" type="plane" pos="{middle[0]} {middle[1]} 0" size="400 400 1" material="ground" {GROUNDED}/>
{_strip(way, scene.half_width)}{_posts(scene, way)}{_gate(scene, way)}
{"".join(_tree(way, *tree) for tree in scene.trees)}
{car_body(scene.paint, scene.friction)}
</worldbody>{DRIVE}</mujoco>"""


def _strip(way: Floats, half_width: float) -> str:
    """The road, each piece a box of asphalt upon a wider white one."""
    each = round(PIECE / SPACING)
    pieces = []
    for first in range(0, len(way) - each, each):
        a, b = way[first], way[first + each]
        x, y = (a + b) / 2
        half, angle = np.hypot(*(b - a)) / 2 + 0.25, np.arctan2(b[1] - a[1], b[0] - a[0])
        for wide, high, looks in (
            (half_width, 0.02, 'material="asphalt"'),
            (half_width + LINE, 0.012, 'rgba=".93 .93 .9 1"'),
        ):
            size = f'pos="{x} {y} 0" euler="0 0 {angle}" size="{half} {wide} {high}"'
            pieces.append(f'<geom type="box" {size} {looks} {SCENERY}/>\n')
    return "".join(pieces)


def _beside(way: Floats, metres: float, aside: float) -> tuple[float, float, float]:
    """A place beside the road, and the road's direction there."""
    k = min(round((metres + ROAD_START) / SPACING), len(way) - 1)
    angle = float(headings(way)[k])
    return float(way[k, 0] - aside * np.sin(angle)), float(way[k, 1] + aside * np.cos(angle)), angle


def _posts(scene: RoadScene, way: Floats) -> str:
    posts = []
    for metres in np.arange(5.0, scene.distance, POSTS):
        for side in (-1, 1):
            x, y, _ = _beside(way, float(metres), side * (scene.half_width + 1.0))
            posts.append(
                f'<geom type="cylinder" pos="{x} {y} .5" size=".12 .5" rgba="{_rgb(scene.posts)} 1" {SCENERY}/>\n'
            )
    return "".join(posts)


def _gate(scene: RoadScene, way: Floats) -> str:
    wide, looks = scene.half_width + 0.6, f'rgba="{_rgb(scene.gate)} 1" {SCENERY}'
    x, y, angle = _beside(way, scene.distance + GATE, 0.0)
    sides = [_beside(way, scene.distance + GATE, side * wide)[:2] for side in (-1, 1)]
    beam = f'<geom type="box" pos="{x} {y} 3.2" euler="0 0 {angle}" size=".2 {wide} .4" {looks}/>\n'
    return beam + "".join(f'<geom type="cylinder" pos="{a} {b} 1.6" size=".25 1.6" {looks}/>\n' for a, b in sides)


def _tree(way: Floats, metres: float, aside: float, high: float) -> str:
    x, y, _ = _beside(way, metres, aside)
    # The road may bend towards a tree: one that would stand on it is left out.
    if np.hypot(*(way - (x, y)).T).min() < 5:
        return ""
    return f"""<geom type="cylinder" pos="{x} {y} {high / 2}" size=".25 {high / 2}" rgba=".35 .23 .13 1" {SCENERY}/>
<geom type="sphere" pos="{x} {y} {high}" size="{high / 3}" rgba=".13 .42 .16 1" {SCENERY}/>
"""


def _rgb(values: "tuple[float, ...]") -> str:
    return " ".join(f"{x:.4f}" for x in values)
