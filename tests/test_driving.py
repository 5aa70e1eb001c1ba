"""Laws of the two driving tasks."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import combinations_with_replacement
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from sfvgen_agents.drivers import LaneExpert, RouteExpert, ordered_distance
from sfvgen_envs.car import CarTask
from sfvgen_envs.lane_keep import LaneKeep
from sfvgen_envs.language import LanguageActions
from sfvgen_envs.route_return import DETOUR, RouteReturn
from sfvgen_envs.scene import LENGTHS
from sfvgen_envs.town import PITCH, STREET, check_route, crossing, draw_route, equal_routes, turn_at, way_of
from sfvgen_envs.way import Matching, along, headings, rounded, turning
from sfvgen_planner.errors import BadState, UnknownName

Steps = Iterator[tuple[dict[str, Any], float, bool, bool, dict[str, Any]]]
TASKS: list[type[CarTask[Any, Any]]] = [LaneKeep, RouteReturn]
both = pytest.mark.parametrize("task", TASKS)


def drive(env: CarTask[Any, Any], agent: Any, seed: int) -> Steps:
    """One episode, step by step."""
    observation, info = env.reset(seed=seed)
    agent.reset(observation, info)
    done = False
    while not done:
        step = observation, _, terminated, truncated, info = env.step(agent.act(observation, info))
        done = terminated or truncated
        yield step


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(one[key], other[key]) for key in ("pixels", "pose"))


@both
@pytest.mark.filterwarnings("ignore")
def test_gymnasium_accepts_the_task(task: type[CarTask[Any, Any]]) -> None:
    check_env(task(length="short"), skip_render_check=True)


@both
def test_same_seed_same_episode(task: type[CarTask[Any, Any]]) -> None:
    def episode() -> list[dict[str, Any]]:
        env = task(length="short")
        seen = [env.reset(seed=5)[0]]
        rng = np.random.default_rng(0)
        for _ in range(30):
            seen.append(env.step(rng.uniform(-1, 1, 2).astype(np.float32))[0])
        return seen

    assert all(same(a, b) for a, b in zip(episode(), episode(), strict=True))


@both
def test_a_state_goes_on_bit_for_bit_in_a_fresh_environment(task: type[CarTask[Any, Any]]) -> None:
    agent: Any = RouteExpert() if task is RouteReturn else LaneExpert()
    env = task(length="short")
    for step, _ in enumerate(drive(env, agent, seed=1)):
        if step == (230 if task is RouteReturn else 40):
            break
    assert task is LaneKeep or env.progress.returning
    state, other = env.get_state(), task(length="short")
    again, info = other.reset(options={"state": state})
    assert np.array_equal(again["pixels"], env.render())
    assert info["waypoint_distance"] == env.waypoint_distance()
    rng = np.random.default_rng(3)
    for _ in range(15):
        action = rng.uniform(-1, 1, 2)
        ours, theirs = env.step(action), other.step(action)
        assert same(ours[0], theirs[0])
        assert ours[1:4] == theirs[1:4]
        assert ours[4]["waypoint_distance"] == theirs[4]["waypoint_distance"]


@both
def test_scenes_are_plain_values(task: type[CarTask[Any, Any]]) -> None:
    env = task()
    env.reset(seed=0)
    assert json.loads(json.dumps(asdict(env.scene))).keys() == asdict(env.scene).keys()


@both
@pytest.mark.parametrize("length", ["short", pytest.param("long", marks=pytest.mark.slow)])
def test_the_expert_arrives(task: type[CarTask[Any, Any]], length: Any) -> None:
    env = task(split="test", length=length)
    for seed in range(2):
        *_, last = drive(env, RouteExpert() if task is RouteReturn else LaneExpert(), seed)
        assert last[2]
        assert last[4]["success"]
        assert last[4]["waypoint_distance"] < 0.3
        assert env.steps < 0.8 * env.horizon


@given(seed=st.integers(0, 10**6), length=st.sampled_from(LENGTHS))
@settings(max_examples=60, deadline=None)
def test_at_least_three_equally_long_routes_lead_home(seed: int, length: Any) -> None:
    route = draw_route(np.random.default_rng(seed), length)
    routes = equal_routes(route)
    assert route in routes
    assert len(set(routes)) == len(routes) >= 3
    straight = sum(abs(a - b) for a, b in zip(route[1], route[-2], strict=True))
    for other in routes:
        check_route(other)
        assert (other[:2], other[-2:]) == (route[:2], route[-2:])
        assert len(other) == straight + 3


def test_neither_end_tells_the_turn_behind_its_first_crossing() -> None:
    """Over many draws, what one meets coming from an end is left, right or straight alike often for each last step."""
    rng = np.random.default_rng(0)
    chances: dict[bool, list[bool]] = {True: [], False: []}
    for _ in range(4000):
        route = draw_route(rng, "medium")
        turned_first, turned_last = (turn_at(route, k) != "straight" for k in (0, len(route) - 3))
        chances[turned_first].append(turned_last)
    assert all(0.44 < np.mean(turns) < 0.56 for turns in chances.values())


def test_a_driver_who_has_come_to_the_very_end_drives_on() -> None:
    """A recording once died of it: nothing lies behind a path's last point."""
    driver, path = LaneExpert(), ((0.0, 0.0), (0.25, 0.0), (0.5, 0.0))
    known = {"path": path, "place": np.array([0.6, 0.01]), "heading": 0.0, "speed": 1.0}
    driver.reset({}, {})
    action = driver.act({}, {"privileged": known})
    assert driver._near == len(path) - 1
    assert np.isfinite(action).all()


def test_what_must_be_known_left_the_view_forty_frames_ago() -> None:
    env = RouteReturn(split="test", length="short")
    for seed in range(3):
        left, back = None, None
        for _ in drive(env, RouteExpert(), seed):
            inside = np.abs(env.place - crossing(env.scene.route[-2])).max() <= STREET / 2
            if inside and not env.progress.returning:
                left = env.steps
            if inside and env.progress.returning and back is None:
                back = env.steps
        assert left is not None
        assert back is not None
        assert back - left >= 40


def test_no_detour_is_long_enough_to_try_two_routes() -> None:
    assert DETOUR < 4 * PITCH


def test_the_way_back_pays_alike_until_home() -> None:
    env = RouteReturn(split="test", length="short")
    for belief in ("truth", "guess"):
        paid = []
        for step in drive(env, RouteExpert(belief), seed=2):
            if env.progress.returning:
                paid.append(step[1])
        assert set(paid[1:-1]) == {-0.001}
        assert env.progress.home


@pytest.mark.slow
def test_a_guess_drives_home_another_way() -> None:
    env = RouteReturn(split="test", length="medium")
    distances: dict[str, list[float]] = {"truth": [], "guess": []}
    for belief, found in distances.items():
        for seed in range(6):
            *_, last = drive(env, RouteExpert(belief), seed)  # type: ignore[arg-type]
            found.append(last[4]["waypoint_distance"])
    assert np.mean(distances["guess"]) >= 15 * np.mean(distances["truth"])


@given(
    way=st.lists(st.tuples(*[st.integers(-5, 5)] * 2), min_size=1, max_size=4),
    places=st.lists(st.tuples(*[st.integers(-5, 5)] * 2), min_size=1, max_size=4),
)
@settings(max_examples=80, deadline=None)
def test_the_ordered_distance_is_the_best_of_all_monotone_matchings(way: Any, places: Any) -> None:
    points, driven = np.array(way, float), np.array(places, float)
    best = min(
        float(np.mean([np.hypot(*(points[k] - driven[t])) for k, t in enumerate(times)]))
        for times in combinations_with_replacement(range(len(driven)), len(points))
    )
    matching = Matching.of(points)
    for place in driven:
        matching = matching.visit(place)
    assert matching.distance == pytest.approx(best)
    assert ordered_distance(points, driven) == pytest.approx(best)


def test_leaving_the_commanded_way_ends_the_way_out() -> None:
    task = RouteReturn(length="short")
    env = LanguageActions(task, text=True)
    env.reset(seed=0)
    wrong = "turn right" if turn_at(task.scene.route, 0) == "left" else "turn left"
    for _ in range(10):
        *_, terminated, _, info = env.step(wrong)
        if terminated:
            break
    assert terminated
    assert not info["success"]


@pytest.mark.parametrize("side", ["left", "right"])
def test_turning_by_word_ends_in_that_street(side: str) -> None:
    task = RouteReturn(length="short")
    env = LanguageActions(task, text=True)
    for seed in range(50):
        env.reset(seed=seed)
        route = task.scene.route
        if turn_at(route, 0) == side:
            break
    for word in [f"turn {side}"] * 5 + ["drive forward"] * 2:
        observation, _, terminated, truncated, info = env.step(word)
        assert not terminated
        assert not truncated
        assert len(info["frames"]) == 8
        assert np.array_equal(info["frames"][-1], observation["pixels"])
    street = crossing(route[2]) - crossing(route[1])
    wanted = np.arctan2(street[1], street[0])
    assert np.cos(task.heading - wanted) > 0.97
    offset = task.place - crossing(route[1])
    assert abs(street[0] * offset[1] - street[1] * offset[0]) / PITCH < 1.0
    assert 2.0 < street @ offset / PITCH < PITCH
    assert task.steps == 7 * 8


def test_phrases_name_no_place() -> None:
    hidden = {"back", "way", "home", "route", "red", "green", "blue", "house", "tree", "same", "street", "gate"}
    for task in TASKS:
        assert not hidden & set(" ".join(task.phrases).split())
    with pytest.raises(UnknownName, match="turn left"):
        _begun(RouteReturn()).say("turn lefft")


def _begun(env: Any) -> Any:
    env.reset(seed=0)
    return env


def test_a_route_or_a_distance_can_be_asked_for() -> None:
    env = RouteReturn(length="short")
    route = draw_route(np.random.default_rng(7), "short")
    _, info = env.reset(seed=0, options={"goal": route})
    assert info["privileged"]["route"] == route
    assert "goal" not in info
    with pytest.raises(BadState, match="neighbouring"):
        env.reset(options={"goal": [(0, 0), (0, 1), (2, 2), (2, 3)]})
    lane = LaneKeep(length="short")
    _, info = lane.reset(seed=0, options={"goal": 30})
    assert info["goal"].shape == (64, 64, 3)
    with pytest.raises(BadState, match="distance"):
        lane.reset(options={"goal": 1000})


def test_ways_are_as_long_as_they_say() -> None:
    corners = np.array([[0.0, 0], [10, 0], [10, 10]])
    way = rounded(corners, 3.0)
    assert along(way)[-1] == pytest.approx(20 - 6 + 3 * np.pi / 2, abs=0.02)
    drop = turning(np.zeros(2), 0.0, 1.4)
    assert np.cos(headings(drop)[-1]) < -0.95
    assert np.hypot(*drop[-1]) < 1e-9
    route = draw_route(np.random.default_rng(0), "short")
    assert np.allclose(np.hypot(*np.diff(way_of(route), axis=0).T), 0.25, atol=0.01)


@pytest.mark.slow
@both
def test_pixels_come_fast_enough(task: type[CarTask[Any, Any]]) -> None:
    from time import process_time

    env: gym.Env[Any, Any] = task()
    env.reset(seed=0)
    began = process_time()
    for _ in range(200):
        env.step(np.array([0.0, 0.2]))
    assert 200 / (process_time() - began) >= 250


@pytest.mark.slow
def test_who_remembers_the_turns_comes_home_in_words() -> None:
    task = RouteReturn(split="test", length="short")
    env = LanguageActions(task, text=True)
    for seed in range(3):
        env.reset(seed=seed)
        back, passed, done = task.scene.route[::-1], 0, False
        while not done:
            word = heard(task.instruction())
            if task.progress.returning:
                while passed < len(back) - 2 and behind(task, back, passed):
                    passed += 1
                word = heard(f"turn {turn_at(back, passed)}") if passed < len(back) - 2 else "drive forward"
                inward = crossing(back[1]) - crossing(back[0])
                facing = inward @ [np.cos(task.heading), np.sin(task.heading)] > 0.97 * PITCH
                if passed == 0 and not facing and np.hypot(*(task.place - crossing(back[1]))) > STREET:
                    word = "turn around"
            *_, terminated, truncated, info = env.step(word)
            done = terminated or truncated
        assert info["success"]


def heard(instruction: str) -> str:
    """What to say to follow a command."""
    return next((f"turn {side}" for side in ("left", "right") if f"turn {side}" in instruction), "drive forward")


def behind(task: RouteReturn, route: Any, k: int) -> bool:
    """Has the car left the route's k-th crossing in the right direction?"""
    onward = (crossing(route[k + 2]) - crossing(route[k + 1])) / PITCH
    offset = task.place - crossing(route[k + 1])
    return bool(onward @ offset > 1 and abs(onward[0] * offset[1] - onward[1] * offset[0]) < STREET / 2)
