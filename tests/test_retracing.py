"""The way back along what was kept, and two agents in one episode."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning_fakes import Fake, frame, rollout_of

from sfvgen_agents.planner_agent import PlannerAgent, Way
from sfvgen_agents.relay import Relay
from sfvgen_agents.retracing import APART, BACK, COUNT, LOOK, Trail, astray
from sfvgen_agents.wishes import objective_of
from sfvgen_planner.planning import BUDGETS, Goal, Space
from sfvgen_planner.planning.rollouts import plain
from sfvgen_planner.types import Actions, Context, Rollout

HOME = {"instruction": f"drive back {BACK}"}
OUT = {"instruction": "turn left at the next crossing"}


def quaternion(turn: float) -> np.ndarray:
    """[7] a pose at the origin, turned to the left."""
    return np.array([0, 0, 0, np.cos(turn / 2), 0, np.sin(turn / 2), 0])


class Walker:
    """A point in the plane of x and z that goes at most half a metre a step, and faces straight on."""

    def __init__(self) -> None:
        self.here = np.zeros(3)

    def __call__(self, context: Context, actions: Actions) -> Rollout:
        values = plain(actions.values)
        poses = np.zeros((*values.shape[:3], 7))
        poses[..., [0, 2]] = np.asarray(context.poses)[:, -1][:, None, None, [0, 2]] + 0.5 * values.cumsum(2)
        poses[..., 3] = 1
        return rollout_of(poses, np.zeros(values.shape[:3]))

    def go(self, action: np.ndarray) -> dict[str, np.ndarray]:
        self.here[[0, 2]] += 0.5 * action
        return self.seen

    @property
    def seen(self) -> dict[str, np.ndarray]:
        made = frame(0)
        made["pose"] = np.array([*self.here, 1, 0, 0, 0, 0, 0], np.float32)
        return made


class Keeping(Fake):
    """It has kept where every window it saw ended."""

    def kept_places(self) -> np.ndarray | None:
        return np.array([window.poses[0, -1, :3] for window in self.windows]) if self.windows else None


class Scripted:
    """Goes one way, and is told the truth."""

    privileged = True

    def __init__(self) -> None:
        self.told: list[Any] = []

    def reset(self, observation: Any, info: Any) -> None:
        self.told = []

    def act(self, observation: Any, info: Any) -> np.ndarray:
        self.told.append(info["privileged"])
        return np.array([0.0, 0.9]) if len(self.told) <= 24 else np.array([0.9, 0.0])


def agent_of(mind: Fake, objective: str = "retrace") -> PlannerAgent:
    space = Space.box((-1.0, -1.0), (1.0, 1.0), 8)
    return PlannerAgent(mind, Way(objective_of(objective, mind), space, budget=BUDGETS["tiny"]))


def test_a_trail_leads_back_by_what_was_seen_to_where_it_began() -> None:
    trail = Trail.back(np.array([[0.0, 0, 1], [0, 0, 3], [4, 0, 3]]), np.array([6.0, 0, 3]))
    assert np.array_equal(trail.places[:, [0, 2]], [[6, 3], [4, 3], [0, 3], [0, 1], [0, 0]])
    np.testing.assert_allclose(trail.metres, [0, 2, 6, 8, 9])
    np.testing.assert_allclose(trail.at(np.array([1.0, 4, 7, 20]))[:, [0, 2]], [[5, 3], [2, 3], [0, 2], [0, 0]])
    ahead = trail.ahead()
    assert ahead.shape == (COUNT, 3)
    np.testing.assert_allclose(np.linalg.norm(np.diff(ahead[:2], axis=0), axis=1), APART)


@given(steps=st.lists(st.floats(0, 2), min_size=1, max_size=20), off=st.floats(-0.4, 0.4))
def test_who_goes_along_a_trail_is_as_far_as_he_has_come(steps: list[float], off: float) -> None:
    """Straight on, a little beside it."""
    trail, come = Trail.back(np.array([[0.0, 0, 0]]), np.array([0.0, 0, 30])), 0.0
    for step in steps:
        come = min(come + step, 30)
        trail = trail.gone(np.array([off, 0, 30 - come]))
        assert trail.along == pytest.approx(come, abs=0.06)


def test_where_a_way_crosses_itself_nobody_skips_the_loop() -> None:
    loop = np.array([[0.0, 0, -20], [0, 0, 0], [20, 0, 0], [20, 0, 20], [0, 0, 20], [0, 0, 0.1]])
    trail = Trail.back(loop[:-1], loop[-1])
    assert trail.gone(np.array([0.0, 0, 0.1])).along < 1
    assert trail.gone(np.array([0.0, 0, LOOK])).along == pytest.approx(LOOK - 0.1, abs=0.1)


@given(turn=st.floats(-3, 3), way=st.floats(-3, 3))
def test_facing_is_the_angle_to_the_way(turn: float, way: float) -> None:
    """A camera looks along -z; a turn to the left is towards -x."""
    places = np.outer([1.0, 2.0], [-np.sin(way), 0, -np.cos(way)])[None]
    found = astray(places, quaternion(turn)[None, None])
    assert found[0, 0] == pytest.approx(1 - np.cos(turn - way), abs=1e-9)


def test_a_planner_that_looked_on_goes_back_the_way_it_came() -> None:
    """Out around a corner by a script, home by the planner; it passes the corner and ends where it began."""
    world = Walker()
    mind = Keeping(world, past=8)
    first, then = Scripted(), agent_of(mind)
    relay = Relay(first, then)
    relay.reset(world.seen, {**OUT, "privileged": 1})
    for _ in range(48):
        world.go(relay.act(world.seen, {**OUT, "privileged": 1}))
    assert first.told == [1] * 48
    assert then.seconds == [], "who looks on does not plan"
    far = world.here.copy()
    assert far[0] > 10
    assert far[2] > 10
    nearest, corner = np.inf, np.array([0, 0, far[2]])
    for _ in range(120):
        world.go(relay.act(world.seen, {**HOME, "privileged": 1}))
        nearest = min(nearest, float(np.linalg.norm(world.here - corner)))
    assert len(first.told) == 48
    assert nearest < 3
    assert np.linalg.norm(world.here) < 1.5
    assert [len(window.poses) for window in mind.windows[:4]] == [1] * 4
    assert np.array_equal(mind.windows[0].actions[0, -1], np.array([0, 0.9], np.float32)), "what the script did"


@pytest.mark.parametrize(("told", "kept"), [(HOME, False), (OUT, True)], ids=["nothing kept", "on the way out"])
def test_who_knows_or_wants_no_way_back_finds_none_better_than_another(told: dict[str, str], kept: bool) -> None:
    mind = Keeping(Walker(), past=8)
    mind.windows += [None] * kept  # type: ignore[list-item]
    agent = agent_of(mind)
    agent.reset(frame(0), told)
    agent.act(frame(0), told)
    assert agent.plan is not None
    assert agent.plan.score[0] == 0


def test_places_ahead_pull_and_so_does_facing_them() -> None:
    objective, goal = objective_of("retrace", Fake(None)), Goal(pose=np.array([[[0.0, 0, -1], [0, 0, -2]]]))
    poses = np.zeros((1, 3, 2, 7))
    poses[..., 3] = 1
    poses[0, 1, :, 2] = -1
    poses[0, 2, :, :] = quaternion(np.pi)
    scores = objective(rollout_of(poses, np.zeros((1, 3, 2))), goal)[0]
    assert scores[1] > scores[0] > scores[2]
