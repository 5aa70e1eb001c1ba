"""Cubes are looked for where the true frames show them, and only those that have left the view for long."""

import numpy as np
import pytest

from sfvgen_envs.table import COLOURS
from sfvgen_experiments.bench.cubes import RIGHT, VISIBLE, ages_of_cubes, colours_of, places, shown, wrong

RED, BLUE = COLOURS["red"], COLOURS["blue"]


def table(frames: int, red: dict[int, int], blue: dict[int, int] | None = None) -> np.ndarray:
    """Grey frames [T, 32, 32, 3] with squares of 4 x 4 at these columns in these frames."""
    made = np.full((frames, 32, 32, 3), 128, np.uint8)
    for colour, where in ((RED, red), (BLUE, blue or {})):
        for frame, column in where.items():
            made[frame, 8:12, column : column + 4] = np.array(colour) * 255
    return made


def test_a_cube_is_as_old_as_its_last_look_unless_the_dream_begins_with_it() -> None:
    seen = table(20, {0: 4, 3: 4}, {15: 4})
    real = table(4, {1: 4, 2: 4}, {0: 4})
    assert ages_of_cubes(seen, real, (RED, BLUE), 4).tolist() == [[-1, 18, 19, -1], [5, -1, -1, -1]]
    assert ages_of_cubes(seen, real, (RED, BLUE), 5)[1].tolist() == [-1] * 4, "the past shows it"
    assert (ages_of_cubes(seen, real, (COLOURS["green"],), 4) == -1).all(), "never seen"


def test_a_sliver_is_no_cube() -> None:
    seen, real = table(9, {0: 4}), table(1, {})
    real[0, 8:12, :2] = np.array(RED) * 255
    assert VISIBLE > 8
    assert ages_of_cubes(seen, real, (RED,), 4).tolist() == [[-1]]


def test_drawn_right_and_off_are_means_over_episodes() -> None:
    real = np.stack([table(4, dict.fromkeys(range(4), 10)), table(4, {0: 10})])
    made = np.stack([table(4, {0: 10, 1: 12, 2: 20}), table(4, {0: 13})])
    ages = (np.array([[40, 41, 42, 43]]), np.array([[50, -1, -1, -1]]))
    found = places(real, made, ((RED,), (RED,)), ages, (40, 10**6))
    assert found["episodes"] == 2
    assert RIGHT == 3
    assert found["drawn"].mean == pytest.approx((3 / 4 + 1) / 2)
    assert found["right"].mean == pytest.approx((2 / 4 + 1) / 2)
    assert found["pixels_off"].mean == pytest.approx(((0 + 2 + 10) / 3 + 3) / 2)
    only = places(real, made, ((RED,), (RED,)), ages, (43, 49))
    assert (only["episodes"], only["drawn"].mean, only["pixels_off"]) == (1, 0, None)
    assert places(real, made, ((RED,), (RED,)), ages, (0, 9)) == {"episodes": 0}
    lines = shown({"own memory": found, "never": only}, "unseen")
    assert len(lines) == 3
    assert "-" in lines[2].split()


def test_grey_levels_are_of_the_pixels_where_the_cube_is() -> None:
    real = table(3, {0: 4, 1: 10, 2: 4})
    made = real.copy()
    made[0, 8:12, 4:8] += np.uint8(6)
    made[1, 8:12, 10:12] += np.uint8(6)
    made[2, 20:30] = 0
    assert wrong(real, made, RED).tolist() == [6, 3, 0]
    found = places(real[None], made[None], ((RED,),), (np.array([[40, 40, 8]]),), (40, 60))
    assert found["levels_off"].mean == pytest.approx(4.5)


def test_several_cubes_of_an_episode_count_alike() -> None:
    real = table(2, {0: 4, 1: 4}, {0: 20, 1: 20})[None]
    made = table(2, {0: 4, 1: 4})[None]
    found = places(real, made, ((RED, BLUE),), (np.array([[40, 41], [40, 8]]),), (40, 60))
    assert found["drawn"].mean == pytest.approx(2 / 3)


def test_cards_tell_colours() -> None:
    assert colours_of({"scene": {"colours": ["red", "blue"]}}) == (RED, BLUE)
    assert colours_of({"scene": {"asphalt": [0.3, 0.3, 0.3]}}) == ()
    assert colours_of({}) == ()
