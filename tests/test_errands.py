"""Errands: sentences become places, a search goes there, and what is sensed says whether it worked."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planning_fakes import Fake, rollout_of
from world_fakes import tiny_world

import sfvgen_agents.minds as minds
from sfvgen_agents.doing import PATIENCE, Errand, left, numbers, on_errand
from sfvgen_agents.errands import ASIDE, CLOSED, FREE, OPEN, Known, Step, steps_of
from sfvgen_agents.history import History
from sfvgen_agents.minds import LearnedMind
from sfvgen_agents.planner_agent import PlannerAgent, Way
from sfvgen_agents.planning import planner_agent
from sfvgen_agents.wishes import objective_of
from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory import PRESETS
from sfvgen_planner.planning import BUDGETS, Goal, Space
from sfvgen_planner.planning.rollouts import plain
from sfvgen_planner.types import Actions, Context, Imagine, Rollout
from sfvgen_planner.world.things import Found

SPACE = Space.box([-1.0] * 4, [1.0] * 4, 4)
RED, GREEN, BOX, DISC, OLD = (
    np.array(place) for place in ([0.3, 0.1, 0.025], [0.4, 0, 0.025], [0.4, -0.29, 0], [0.5, 0, 0], [0.5, 0.2, 0.025])
)
THINGS = {
    "the red cube": RED,
    "the green cube": GREEN,
    "the box": BOX,
    "the disc": DISC,
    "the red ball": np.array([0.4, 0, 0.2]),
}
KNOWN = Known(THINGS.get, {"the red cube": OLD}.get)
PUT, BACK = "put the red cube into the box", "return the red cube"


@dataclass
class Table:
    """A hand that goes 3 cm a step, and a cube that goes with it while the fingers hold it."""

    tip: np.ndarray = field(default_factory=lambda: np.array([0.28, 0.0, 0.22]))
    cube: np.ndarray = field(default_factory=lambda: RED.copy())
    gap: float = 0.042
    slips: int = 0
    """so many times the fingers close on nothing"""

    def go(self, action: np.ndarray) -> None:
        """One step."""
        held = self.gap == 0.025
        self.tip = self.tip + 0.03 * action[:3].astype(float)
        around = np.linalg.norm((self.tip - self.cube)[:2]) < 0.02 and abs(self.tip[2] - self.cube[2]) < 0.02
        if action[3] < -0.5:
            self.gap = 0.042
            self.cube[2] = 0.025
        elif held:
            self.cube += self.tip - self.cube
        elif action[3] > 0.3 and self.gap > 0.03:
            self.gap = 0.025 if around and not self.slips else 0.0
            self.slips -= around and self.slips > 0

    @property
    def seen(self) -> dict[str, np.ndarray]:
        pose = np.array([0, 0, 0, 1, 0, 0, 0, *self.tip, self.gap], np.float32)
        return {"pixels": np.zeros((16, 16, 3), np.uint8), "pose": pose}


def reaching(context: Context, actions: Actions) -> Rollout:
    """Where that hand will be; of fingers this world knows nothing."""
    values = plain(actions.values)
    poses = np.zeros((*values.shape[:3], 11))
    poses[..., 3] = 1
    poses[..., 7:10] = np.asarray(context.poses)[:, -1, None, None, 7:10] + 0.03 * values[..., :3].cumsum(2)
    return rollout_of(poses, np.zeros(values.shape[:3]))


class Looking(Fake):
    """It sees where the table's cube is, and has kept where it was, if it keeps anything."""

    def __init__(self, table: Table, old: np.ndarray | None) -> None:
        super().__init__(reaching)
        self.table, self.old = table, old
        self.asked: list[str] = []

    def place_of(self, context: Context, name: str) -> np.ndarray | None:
        self.asked.append(name)
        return self.table.cube.copy() if name == "the red cube" else THINGS.get(name)

    def old_place_of(self, name: str) -> np.ndarray | None:
        return self.old


def agent_of(mind: Fake, objective: str = "errand") -> PlannerAgent:
    return PlannerAgent(
        mind, Way(objective_of(objective, mind), SPACE, budget=BUDGETS["medium"], every=1, errands=True)
    )


def played(table: Table, text: str, steps: int = 60, old: np.ndarray | None = None) -> PlannerAgent:
    """Until the hand has let go, and is above the cube again."""
    agent = agent_of(Looking(table, old))
    info = {"instruction": text}
    agent.reset(table.seen, info)
    began = table.cube.copy()
    for _ in range(steps):
        table.go(agent.act(table.seen, info))
        if table.gap > 0.03 and table.tip[2] > 0.09 and np.linalg.norm(table.cube - began) > 0.05:
            break
    return agent


@pytest.mark.parametrize(
    ("text", "ends", "grips"),
    [
        ("move the gripper home", (0.28, 0, 0.22), [None]),
        ("move the gripper to the red ball (1 of 2)", (0.4, 0, 0.2), [None]),
        ("push the red cube onto the disc", (0.5, 0), [OPEN, OPEN, CLOSED, CLOSED]),
        (PUT, (0.4, -0.29), [OPEN, OPEN, CLOSED, CLOSED, CLOSED, CLOSED, OPEN, OPEN]),
        (BACK, (0.5, 0.2), [OPEN, OPEN, CLOSED, CLOSED, CLOSED, CLOSED, OPEN, OPEN]),
    ],
)
def test_sentences_are_places_and_what_fingers_do_there(text: str, ends: Any, grips: Any) -> None:
    steps = steps_of(text, KNOWN)
    assert [step.grip for step in steps] == grips
    assert np.allclose(steps[-1].place[: len(ends)], ends)
    if len(steps) > 1:
        assert np.allclose(steps[0].place[:2], RED[:2])


def test_what_is_not_known_asks_nothing() -> None:
    assert steps_of("sing a song", KNOWN) == ()


def test_for_what_is_not_to_be_found_the_hand_goes_out_of_the_way_and_looks_again() -> None:
    table = Table(tip=np.array([0.4, 0.1, 0.1]))
    agent, info = agent_of(mind := Looking(table, None)), {"instruction": "move the gripper to the blue ball"}
    assert steps_of(info["instruction"], KNOWN) == ASIDE
    for _ in range(30):
        table.go(agent.act(table.seen, info))
    assert np.linalg.norm(table.tip - [0.28, 0, 0.22]) < 0.06
    assert len(mind.asked) > 2
    assert set(mind.asked) == {"the blue ball"}


def test_who_remembers_nothing_puts_it_where_it_may_have_stood() -> None:
    for side in (-1, 1):
        there = {**THINGS, "the box": BOX * [1, side, 1]}
        steps = steps_of(BACK, Known(there.get, lambda name: None))
        assert steps[-1].place[0] == FREE[0]
        assert steps[-1].place[1] == pytest.approx(FREE[1] * side), "on the other side, as the box is at -0.29 * side"


def test_what_is_put_into_a_box_stands_beside_what_is_there() -> None:
    places = [steps_of(PUT, replace(KNOWN, put=put))[-1].place for put in range(3)]
    apart = [abs(one[0] - other[0]) for one in places for other in places if one is not other]
    assert min(apart) >= 0.06, "a cube and a finger wide"


def test_a_search_carries_the_cube_into_the_box_and_back_to_where_it_stood() -> None:
    table = Table()
    played(table, PUT)
    assert np.linalg.norm((table.cube - BOX)[:2]) < 0.02
    played(table, BACK, old=OLD)
    assert np.linalg.norm((table.cube - OLD)[:2]) < 0.02


def test_fingers_that_closed_on_nothing_begin_anew() -> None:
    table = Table(slips=1)
    agent = played(table, PUT, steps=90)
    assert agent._errands.begun >= 3, "first aside, to see what it missed, then again"
    assert np.linalg.norm((table.cube - BOX)[:2]) < 0.02


def test_an_errand_gives_up_what_comes_no_closer() -> None:
    errand, senses = Errand(PUT, steps_of(PUT, KNOWN)), np.array([0.5, 0.3, 0.2, 0.042])
    for _ in range(PATIENCE):  # the first of them is as near as it ever was
        errand = errand.seen(senses)
        assert not errand.failed(senses)
    assert errand.seen(senses).failed(senses)
    for closer in range(30):
        senses[:2] -= 0.004
        errand = errand.seen(senses)
        assert not errand.failed(senses), closer


def test_what_has_to_be_felt_is_waited_for() -> None:
    """A world that does not know whether fingers hold anything is not asked what comes after."""
    steps = steps_of(PUT, KNOWN)
    assert len(Errand(PUT, steps).wanted) == 2, "over the cube, and down"
    closing = Errand(PUT, steps, stage=2)
    assert np.array_equal(closing.wanted, numbers(steps[2:3]))
    there = np.array(steps[2].place)
    assert closing.seen(np.array([*there, 0.042])).stage == 2
    assert closing.seen(np.array([*there, 0.025])).stage == 3


@given(ahead=st.floats(0.03, 0.2), grip=st.floats(-1, 1))
def test_less_is_left_of_who_goes_there_and_does_with_the_fingers_what_is_wanted(ahead: float, grip: float) -> None:
    wanted = numbers((Step((0.0, 0.0, ahead), CLOSED), Step((0.1, 0.0, ahead), CLOSED)))
    still, up = np.zeros((4, 3)), np.outer(np.arange(1, 5) / 4 * ahead, [0, 0, 1])
    tips, told = np.stack([still, up, up]), np.stack([np.full(4, grip), np.full(4, grip), np.ones(4)])
    stays, goes, closes = left(wanted, tips, told)
    assert stays > goes
    assert closes <= goes
    assert stays == pytest.approx(ahead + 0.1 + 0.1 * (1 - grip)), "the way, the rest of the way, and the fingers"


def test_who_has_no_errand_wants_nothing() -> None:
    rollout = reaching(
        Context(np.zeros((1, 1, 8, 8, 3), np.uint8), np.zeros((1, 1, 11))), Actions("vector", np.ones((1, 3, 4, 4)))
    )
    assert np.array_equal(on_errand(rollout, Goal()), np.zeros((1, 3)))
    assert np.array_equal(on_errand(rollout, Goal(pose=np.zeros((1, 0, 5)))), np.zeros((1, 3)))


def test_many_episodes_at_once_have_no_errands() -> None:
    mind = Looking(Table(), None)
    with pytest.raises(BadOption, match="2 episodes on errands"):
        PlannerAgent(mind, Way(objective_of("errand", mind), SPACE, errands=True), rows=2)


@pytest.mark.parametrize(
    ("objective", "errands"), [("reward", False), ("retrace", False), ("errand", True), ("errand-0.1*effort", True)]
)
def test_who_wants_something_else_is_not_asked_for_places(objective: str, errands: bool) -> None:
    import gymnasium as gym

    agent = planner_agent("toy", 0, gym.spaces.Box(-1, 1, (2,)), tiny_world(), objective=objective)
    assert agent.way.errands == errands


def test_with_its_eyes_closed_a_world_foresees_the_same_poses() -> None:
    mind = LearnedMind(tiny_world(), "toy")
    draw = np.random.default_rng(0)
    poses = np.zeros((2, 8, 9), np.float32)
    poses[..., 3], poses[..., 7:] = 1, draw.normal(size=(2, 8, 2))
    context = Context(draw.integers(0, 255, (2, 8, 16, 16, 3)).astype(np.uint8), poses)
    mind.seeds = torch.arange(2)
    actions = Actions("vector", draw.uniform(-1, 1, (2, 3, 12, 2)).astype(np.float32))
    seen: Imagine = mind.imagine(1)
    assert torch.allclose(seen(context, actions).poses, mind.foresee()(context, actions).poses, atol=1e-6)


def lived(mind: LearnedMind, frames: int = 40) -> torch.Tensor:
    """An episode before a camera that stands still; the latents of its first frame."""
    history, draw = History(8), np.random.default_rng(1)
    pictures = draw.integers(0, 255, (frames, 1, 16, 16, 3)).astype(np.uint8)
    pose = np.array([[0, 0, 0, 1, 0, 0, 0, 0, 0]], np.float32)
    for number, picture in enumerate(pictures):
        history.add(picture, pose, np.zeros((1, 2), np.float32), np.array([number == 0]))
        if number == 0:
            mind.begin(np.ones(1, bool), history.context)
        if history.ripe.any():
            mind.saw(history.window, history.ripe)
    with torch.no_grad():
        latents: torch.Tensor = mind.world.codec.encode(torch.from_numpy(pictures[0][None]))[0]
    return latents


def test_before_a_camera_that_stands_still_the_first_frame_is_kept() -> None:
    mind = LearnedMind(tiny_world(process="clean"), "toy", memory=replace(PRESETS["album"], modules=("attention",)))
    first = lived(mind)
    kept = mind.memory.album.frames(0)[0]  # type: ignore[union-attr]
    assert torch.allclose(kept[0], first[0], atol=1e-5)
    other = lived(mind, 3)
    kept = mind.memory.album.frames(0)[0]  # type: ignore[union-attr]
    assert len(kept) == 1, "of the new episode, and nothing of the one before"
    assert torch.allclose(kept[0], other[0], atol=1e-5)


def test_where_it_stood_is_read_off_the_oldest_kept_frame_that_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []

    def read(world: object, body: str, latents: torch.Tensor, cameras: torch.Tensor, names: Any) -> Found:
        shown.append(len(latents))
        places = torch.arange(3.0).repeat(len(latents), 1, 1)
        seen = torch.tensor([[-1.0], [2.0], [3.0]])[: len(latents)]
        return Found(places + torch.arange(len(latents))[:, None, None], places, seen, seen)

    monkeypatch.setattr(minds, "look_back", read)
    mind = LearnedMind(tiny_world(process="clean"), "toy", memory=replace(PRESETS["album"], modules=("attention",)))
    assert mind.old_place_of("the red cube") is None, "nothing is kept yet"
    lived(mind)
    assert mind.old_place_of("the red cube") is None, "the only frame does not show it"
    album = mind.memory.album  # type: ignore[union-attr]
    given = album.given.clone()
    given[0, :3] = 1
    mind.memory = replace(mind.memory, album=replace(album, given=given))  # type: ignore[type-var]
    assert np.array_equal(mind.old_place_of("the red cube"), [1, 2, 3])  # type: ignore[arg-type]
    assert shown == [1, 3]
    assert LearnedMind(tiny_world(), "toy").old_place_of("the red cube") is None
