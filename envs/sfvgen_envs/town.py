"""The town: a lattice of streets with one plot between each four, and the routes one can drive through it.

Crossings have whole numbers (i, j), 0 to 3 each way, `PITCH` metres apart. A route is a row of neighbouring crossings;
its first and last entries only say in which street it begins and ends. These two streets are closed off before their
next crossing, and lie so that neither tells how the route goes on behind the first crossing one meets.
"""

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from sfvgen_envs.car import DRIVE, GROUNDED, OPTIONS, SCENERY, car_body
from sfvgen_envs.scene import Length, Scene, bright_colour
from sfvgen_envs.way import Floats, frozen, rounded
from sfvgen_planner.errors import BadState

LATTICE, PITCH, STREET = 4, 17.0, 6.0
"""Crossings each way; metres between them; metres a street is wide."""
STUB, BARRIER = 9.0, 14.0
"""Metres from the first (or last) crossing to where a route begins (or ends), and to the wall across its street."""
CORNER = 3.0
"""Radius of a driven corner."""
DISPLACEMENTS: dict[Length, tuple[int, int]] = {"short": (1, 2), "medium": (2, 2), "long": (2, 3)}
"""Crossings a route leads across in the one and the other direction: 3, 6 and 10 equally long ways."""
PLOTS = LATTICE + 1
PATTERNS = ("brick", "windows", "stripes", "checker")
CELLS = {"brick": 1.2, "windows": 2.0, "stripes": 0.9, "checker": 1.6}

Node = tuple[int, int]
Route = tuple[Node, ...]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class TownScene(Scene):
    """A town and a route through it; tuples over plots run along i, then j."""

    route: Route
    parks: tuple[bool, ...]
    """per plot: a tree instead of a house"""
    patterns: tuple[str, ...]
    walls: tuple[Colour, ...]
    seconds: tuple[Colour, ...]
    """the patterns' second colours"""
    shapes: tuple[tuple[float, float, float], ...]
    """half widths and height of each house, metres"""
    street: Colour
    pavement: Colour
    paint: Colour
    """of the car"""
    sun: tuple[float, float, float]
    """azimuth and elevation in degrees, brightness"""
    friction: float

    def signature(self) -> str:
        """The town's plan. Not the route: if the split knew it, the town would tell the route."""
        return "".join("P" if park else kind[0] for park, kind in zip(self.parks, self.patterns, strict=True))


def draw_town(rng: np.random.Generator, length: Length) -> TownScene:
    """One town with one route."""
    plots = range(PLOTS * PLOTS)
    walls = tuple(bright_colour(rng, 0.2, 0.95) for _ in plots)
    return TownScene(
        route=draw_route(rng, length),
        parks=tuple(bool(x < 0.2) for x in rng.uniform(size=len(plots))),
        patterns=tuple(str(x) for x in rng.choice(PATTERNS, len(plots))),
        walls=walls,
        seconds=tuple(bright_colour(rng, 0.1, 0.9) for _ in plots),
        shapes=tuple(_shape(rng) for _ in plots),
        street=(shade := round(float(rng.uniform(0.25, 0.4)), 3), shade, round(shade + 0.03, 3)),
        pavement=bright_colour(rng, 0.55, 0.75),
        paint=bright_colour(rng, 0.1, 0.9),
        sun=tuple(round(float(rng.uniform(*span)), 2) for span in ((0, 360), (35, 70), (0.4, 0.65))),  # type: ignore[arg-type]
        friction=round(float(rng.uniform(0.75, 1.1)), 3),
    )


def _shape(rng: np.random.Generator) -> tuple[float, float, float]:
    wide, deep = rng.uniform(3.0, 4.4, 2)
    return round(float(wide), 2), round(float(deep), 2), round(float(rng.uniform(3, 10)), 2)


def draw_route(rng: np.random.Generator, length: Length) -> Route:
    """A route over `DISPLACEMENTS[length]`; start, both ends' streets and the way between are drawn apart."""
    across = rng.permutation(DISPLACEMENTS[length])
    sign = rng.choice((-1, 1), 2)
    first = [int(rng.integers(0, LATTICE - n)) for n in across]
    start = tuple(low if s > 0 else LATTICE - 1 - low for low, s in zip(first, sign, strict=True))
    steps = rng.permutation([0] * int(across[0]) + [1] * int(across[1]))
    ends = rng.integers(0, 2, 2)
    route = [_step((start[0], start[1]), int(ends[0]), -sign), (start[0], start[1])]
    for axis in (*steps, ends[1]):
        route.append(_step(route[-1], int(axis), sign))
    return tuple(route)


def _step(node: Node, axis: int, sign: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Node:
    return (node[0] + int(sign[0]), node[1]) if axis == 0 else (node[0], node[1] + int(sign[1]))


def equal_routes(route: Route) -> tuple[Route, ...]:
    """All shortest routes between the same two ends, sorted: what one can know at the far end."""
    start, end = route[1], route[-2]
    sign = np.sign([end[0] - start[0], end[1] - start[1]])
    n, m = abs(end[0] - start[0]), abs(end[1] - start[1])
    found = []
    for along_first in combinations(range(n + m), n):
        way = [route[1]]
        for step in range(n + m):
            way.append(_step(way[-1], 0 if step in along_first else 1, sign))
        found.append((route[0], *way, route[-1]))
    return tuple(sorted(found))


def check_route(route: Route) -> None:
    """Refuses a route that no town has."""
    inside = all(0 <= x < LATTICE for node in route[1:-1] for x in node)
    beside = all(abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1 for a, b in pairwise(route))
    if len(route) < 4 or not inside or not beside or len(set(route)) < len(route):
        raise BadState(
            f"the route {route}",
            f"neighbouring crossings, each once; all but the first and last within 0..{LATTICE - 1}",
            "Take one from draw_route.",
        )


def crossing(node: Node) -> Floats:
    """[2] where a crossing is."""
    return PITCH * np.array(node, float)


def stub(last: Node, beyond: Node, metres: float) -> Floats:
    """[2] the place so far beyond a crossing, towards the next."""
    return crossing(last) + metres * (np.array(beyond, float) - last)


def way_of(route: Route) -> Floats:
    """[n, 2] the commanded way, a point every quarter of a metre, in the middle of the street."""
    ends = stub(route[1], route[0], STUB), stub(route[-2], route[-1], STUB)
    return frozen(rounded(np.array([ends[0], *map(crossing, route[1:-1]), ends[1]]), CORNER))


def turn_at(route: Route, k: int) -> str:
    """What to do at the route's k-th crossing: left, right or straight."""
    (a, b), (c, d), (e, f) = route[k : k + 3]
    side = (c - a) * (f - d) - (d - b) * (e - c)
    return "left" if side > 0 else "right" if side < 0 else "straight"


def town_xml(scene: TownScene) -> str:
    """MJCF of a town with a car in it."""
    azimuth, elevation = np.radians(scene.sun[:2])
    sun = (-np.cos(azimuth) * np.cos(elevation), -np.sin(azimuth) * np.cos(elevation), -np.sin(elevation))
    middle, half = PITCH * (LATTICE - 1) / 2, PITCH * (LATTICE - 1) / 2 + BARRIER
    plots = [_plot(scene, k) for k in range(PLOTS * PLOTS)]
    return f"""<mujoco>{OPTIONS}
<visual><headlight ambient=".42 .42 .44" diffuse=".15 .15 .15"/></visual>
<custom><text name="pattern/street" data="checker {_rgb(tuple(x + 0.05 for x in scene.street))} 1.5"/>
<text name="pattern/barrier" data="stripes .9 .9 .9 .6"/>
{"".join(text for text, _, _ in plots)}</custom>
<asset><material name="street" rgba="{_rgb(scene.street)} 1"/><material name="barrier" rgba=".75 .12 .1 1"/>
{"".join(material for _, material, _ in plots)}</asset>
<worldbody><light type="directional" dir="{_rgb(sun)}" diffuse="{_rgb((scene.sun[2],) * 3)}"/>
<geom name="ground" type="plane" size="100 100 1" material="street" {GROUNDED}/>
{"".join(geoms for _, _, geoms in plots)}
{_wall((middle, -BARRIER), (half, 0.2))}{_wall((middle, 2 * middle + BARRIER), (half, 0.2))}
{_wall((-BARRIER, middle), (0.2, half))}{_wall((2 * middle + BARRIER, middle), (0.2, half))}
{"".join(_barrier(scene.route[a], scene.route[b]) for a, b in ((1, 0), (-2, -1)))}
{car_body(scene.paint, scene.friction)}
</worldbody>{DRIVE}</mujoco>"""


def _rgb(values: "tuple[float, ...]") -> str:
    return " ".join(f"{x:.4f}" for x in values)


def _wall(place: tuple[float, float], half: tuple[float, float]) -> str:
    size = f'pos="{place[0]} {place[1]} .5" size="{half[0]} {half[1]} .5"'
    return f'<geom type="box" {size} material="barrier" {GROUNDED}/>\n'


def _barrier(last: Node, beyond: Node) -> str:
    if not all(0 <= x < LATTICE for x in beyond):
        return ""  # the town's own wall is there
    place, across = stub(last, beyond, BARRIER), last[0] == beyond[0]
    return _wall((place[0], place[1]), (STREET / 2, 0.2) if across else (0.2, STREET / 2))


def _plot(scene: TownScene, k: int) -> tuple[str, str, str]:
    """Pattern, material and geoms of plot k."""
    x, y = (PITCH * (index - 0.5) for index in divmod(k, PLOTS))
    side = (PITCH - STREET) / 2
    slab = f'<geom type="box" pos="{x} {y} 0" size="{side} {side} .04" rgba="{_rgb(scene.pavement)} 1" {SCENERY}/>'
    if scene.parks[k]:
        return "", "", slab + _tree(x, y, scene.shapes[k])
    wide, deep, high = scene.shapes[k]
    kind = scene.patterns[k]
    text = f'<text name="pattern/plot{k}" data="{kind} {_rgb(scene.seconds[k])} {CELLS[kind]}"/>'
    material = f'<material name="plot{k}" rgba="{_rgb(scene.walls[k])} 1"/>'
    box = f'<geom type="box" pos="{x} {y} {high / 2}" size="{wide} {deep} {high / 2}" material="plot{k}" {GROUNDED}/>'
    return text, material, slab + box


def _tree(x: float, y: float, shape: tuple[float, float, float]) -> str:
    crown, high = 0.75 * shape[0], 2 + shape[2] / 4
    return f"""<geom type="cylinder" pos="{x} {y} {high / 2}" size=".4 {high / 2}" rgba=".35 .23 .13 1" {GROUNDED}/>
<geom type="sphere" pos="{x} {y} {high + crown / 2}" size="{crown}" rgba=".13 .42 .16 1" {SCENERY}/>
"""
