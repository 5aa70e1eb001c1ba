"""The planning agent: it acts in receding horizon, remembers true chunks alone, and speaks both protocols."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from planning_fakes import Fake, Quadratic, Sentence, frame
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv
from world_fakes import tiny_world

from sfvgen_agents import planning
from sfvgen_agents.agent import Agent
from sfvgen_agents.history import History
from sfvgen_agents.loading import load_agent
from sfvgen_agents.minds import LearnedMind
from sfvgen_agents.planner_agent import PlannerAgent, Way
from sfvgen_agents.planning import SOLVERS, planner_agent, solver_of, way_of
from sfvgen_agents.wishes import objective_of
from sfvgen_planner.errors import BadOption, UnknownName
from sfvgen_planner.memory import DEFAULT
from sfvgen_planner.planning import BUDGETS, CEM, BeamSearch, Budget, CategoricalCEM, Goal, Planner, Space
from sfvgen_planner.planning.objectives import Effort, GoalImage, Reward
from sfvgen_planner.planning.subgoals import Grammar, places

SPACE = Space.box((-1.0, -1.0), (1.0, 1.0), 8)
PHRASES = ("go left", "go right")


def bowl(rows: int = 1, budget: Budget = BUDGETS["tiny"], every: int = 4) -> tuple[PlannerAgent, Fake, Quadratic]:
    world = Quadratic(np.full((rows, 2), 0.5))
    mind = Fake(world)
    return PlannerAgent(mind, Way(Reward(), SPACE, CEM(), budget, every), rows=rows), mind, world


def test_it_does_the_beginning_of_its_plan_and_plans_again() -> None:
    agent, mind, world = bowl()
    assert isinstance(agent, Agent)
    agent.reset(frame(0), {})
    done = []
    for number in range(9):
        done.append(agent.act(frame(number), {}))
        if number in (0, 4, 8):
            planned = np.asarray(agent.plan.actions.values)[0, 0]  # type: ignore[union-attr]
        assert np.array_equal(done[-1], planned[number % 4])
    assert len(agent.seconds) == 3
    assert world.asked == [16, 16] * 3
    assert mind.began == [[True]]


def test_what_was_planned_before_is_where_it_goes_on() -> None:
    agent, _, world = bowl()
    agent.reset(frame(0), {})
    for number in range(4):
        agent.act(frame(number), {})
    first = agent.plan
    agent.act(frame(4), {})
    direct = Planner(world, Reward(), SPACE, CEM(), BUDGETS["tiny"]).plan(
        agent.history.context, before=first, done=4, seeds=agent.seeds
    )
    assert np.array_equal(agent.plan.actions.values, direct.actions.values)  # type: ignore[union-attr]


def test_true_chunks_are_remembered_with_the_actions_that_led_there() -> None:
    agent, mind, _ = bowl()
    agent.reset(frame(0), {})
    done = [agent.act(frame(number), {}) for number in range(34)]
    assert mind.ripe == [[True]] * 3, "at frames 16, 24 and 32"
    for chunk, window in enumerate(mind.windows):
        numbers = np.arange(16) + 1 + 8 * chunk
        assert window.pixels[0, :, 0, 0, 0].tolist() == numbers.tolist()
        assert window.poses[0, :, 0].tolist() == numbers.tolist()
        assert np.array_equal(window.actions[0], np.stack(done)[numbers - 1])
        assert window.start.tolist() == [1 + 8 * chunk]


def test_an_episode_begins_with_a_frame_that_stood_still() -> None:
    agent, mind, _ = bowl()
    for turn in range(2):
        agent.reset(frame(0), {})
        for number in range(3):
            agent.act(frame(number + 10 * turn), {})
        assert agent.history.context.poses[0, :, 0].tolist() == [10 * turn] * 6 + [10 * turn + 1, 10 * turn + 2]
    assert mind.windows == []


def test_rows_of_many_episodes_begin_and_ripen_each_in_its_time() -> None:
    agent, mind, _ = bowl(rows=2)
    state: Any = None
    for number in range(20):
        start = np.array([number == 0, number in (0, 3)])
        actions, state = agent.predict(frame(number, 2), state, start)
        assert actions.shape == (2, 2)
    assert mind.began == [[True, True], [False, True]]
    assert mind.ripe == [[True, False], [False, True]], "row 1 began three frames later"
    assert mind.windows[1].poses[1, :, 0].tolist() == list(range(4, 20))


def test_predict_plays_what_act_plays() -> None:
    one, two = bowl()[0], bowl()[0]
    one.reset(frame(0), {})
    for number in range(7):
        acted = one.act(frame(number), {})
        predicted, _ = two.predict(frame(number), None, np.array([number == 0]))
        assert np.array_equal(acted, predicted)
    with pytest.raises(BadOption, match="2 environments"):
        one.predict(frame(0, 2))


class Dot(gym.Env[Any, Any]):
    """A number that should be 0.5: the world is the bowl."""

    def __init__(self) -> None:
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = gym.spaces.Dict(
            pixels=gym.spaces.Box(0, 255, (16, 16, 3), np.uint8), pose=gym.spaces.Box(-np.inf, np.inf, (9,), np.float32)
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return frame(0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return frame(self.steps), -float(np.square(action - 0.5).sum()), False, self.steps == 10, {}


def test_stable_baselines_evaluates_it_and_it_beats_chance() -> None:
    agent = bowl(rows=2, budget=Budget(32, 4))[0]
    mean, _ = evaluate_policy(agent, DummyVecEnv([Dot, Dot]), n_eval_episodes=4, warn=False)  # type: ignore[arg-type]
    assert mean > -3.0, "noise within the bounds earns about -11.7"


def test_in_words_the_video_is_what_is_done() -> None:
    mind = Fake(Sentence((1, 1)))
    way = Way(Reward(), Space.phrases(2, 2), BeamSearch(), Budget(4, 1), 8, Grammar(PHRASES), PHRASES)
    agent = PlannerAgent(mind, way)
    info = {"instruction": "anything"}
    agent.reset(frame(0), info)
    done = [agent.act(frame(number), info) for number in range(9)]
    assert np.allclose(done, 0.1)
    assert len(agent.seconds) == 2
    assert agent.plan is not None
    assert agent.plan.actions.kind == "phrase"


def test_sub_goals_come_one_after_another_and_begin_anew_with_another_sentence() -> None:
    phrases = ("a", "b", "c")
    asked: list[str] = []

    def decompose(text: str) -> tuple[tuple[str, ...], ...]:
        asked.append(text)
        return (("a",), ("b",)) if text == "one" else (("c",),)

    way = Way(Reward(), Space.phrases(3, 1), CategoricalCEM(), Budget(4, 2), 8, decompose, phrases)
    agent = PlannerAgent(Fake(Sentence((0,))), way)
    said = []
    for number in range(40):
        agent.act(frame(number), {"instruction": "one" if number < 24 else "two"})
        if number % 8 == 0:
            said.append(int(agent.plan.actions.values[0, 0, 0]))  # type: ignore[union-attr]
    assert said == [0, 1, 1, 2, 2]
    with pytest.raises(BadOption, match="with sub-goals"):
        PlannerAgent(Fake(None), way, rows=2)


@pytest.mark.parametrize(
    ("text", "goals"),
    [
        ("move the gripper to the red ball (1 of 2)", (("move the gripper to the red ball",),)),
        ("move the gripper home", (("move the gripper home",),)),
        ("turn left at the next crossing", (("turn left",),)),
        ("sing a song", None),
    ],
)
def test_the_grammar_knows_the_tasks_sentences(text: str, goals: Any) -> None:
    phrases = ("wait", "turn left", "turn right", "move the gripper home", "move the gripper to the red ball")
    assert Grammar(phrases)(text) == (goals or (phrases,))


def test_the_grammar_decomposes_every_sentence_of_every_task() -> None:
    import sfvgen_envs

    for task, name in sfvgen_envs.TASKS.items():
        env = gym.make(name, size=16)
        _, info = env.reset(seed=0)
        phrases = env.unwrapped.phrases  # type: ignore[attr-defined]
        goals = Grammar(phrases)(info["instruction"])
        assert goals, task
        for goal in goals:
            assert goal, task
            assert {phrases[number] for number in places(phrases, goal)} == {*goal}
        assert task == "lane_keep" or goals != (phrases,), "a rule of its own"
    with pytest.raises(UnknownName, match="wait"):
        places(("wait",), ("wai",))


def mind_of(memory: bool, rows: int = 1) -> LearnedMind:
    config = replace(DEFAULT, rank=2, updates=1, draws=1) if memory else None
    return LearnedMind(tiny_world(), "toy", memory=config, rows=rows)


def digest(world: torch.nn.Module) -> str:
    state = {name: value.numpy().tobytes() for name, value in world.state_dict().items()}
    return hashlib.sha256(
        repr(sorted((n, hashlib.sha256(v).hexdigest()) for n, v in state.items())).encode()
    ).hexdigest()


@pytest.mark.parametrize("rows", [1, 2])
def test_a_learned_mind_remembers_what_was_seen_and_nothing_it_imagined(rows: int) -> None:
    mind = mind_of(True, rows)
    before = digest(mind.world)
    way = Way(Reward(), SPACE, CEM(), Budget(4, 2, finalists=2, final_steps=2))
    agent = PlannerAgent(mind, way, rows=rows)
    versions = []
    for number in range(18):
        agent.predict(frame(number, rows), None, np.full(rows, number == 0))
        versions.append(mind.memory.version)  # type: ignore[union-attr]
    assert len(set(versions[:16])) == 1, "five plans were made, and none was remembered"
    assert versions[16] != versions[15], "two chunks were seen"
    assert len(set(versions[16:])) == 1
    assert digest(mind.world) == before, "the slow weights are as they were"
    mind.begin(np.ones(rows, bool), agent.history.context)
    assert mind.memory.version == versions[0]  # type: ignore[union-attr]


def test_what_is_remembered_changes_what_is_imagined() -> None:
    mind = mind_of(True)
    history = History(8)
    for number in range(17):
        observation = frame(number, 1)
        led = None if number == 0 else np.full((1, 2), 0.1, np.float32)
        history.add(observation["pixels"], observation["pose"], led, np.array([number == 0]))
    space = SPACE.actions(np.zeros((1, 1, 8, 2)))
    before = mind.imagine(1)(history.context, space).latents
    assert history.ripe.all()
    mind.saw(history.window, np.array([False]))
    assert torch.equal(before, mind.imagine(1)(history.context, space).latents)
    mind.saw(history.window, history.ripe)
    assert not torch.allclose(before, mind.imagine(1)(history.context, space).latents)


def test_earlier_windows_are_replayed_until_a_new_episode_begins() -> None:
    """The second window is learned beside the first one; in a new episode nothing of either is left."""
    config = replace(DEFAULT, rank=2, updates=1, draws=4)
    mind, other = (LearnedMind(tiny_world(), "toy", memory=config) for _ in range(2))
    history, everyone = History(8), np.ones(1, bool)
    for number in range(25):
        observation = frame(number, 1)
        led = None if number == 0 else np.full((1, 2), 0.1, np.float32)
        history.add(observation["pixels"], observation["pose"], led, np.array([number == 0]))
        if history.ripe.all():
            for one in (mind, other):
                one.saw(history.window, everyone)
            other._earlier = []
    assert mind.memory.version != other.memory.version  # type: ignore[union-attr]
    fresh = LearnedMind(tiny_world(), "toy", memory=config)
    mind.begin(everyone, history.context)
    for one in (mind, fresh):
        one.saw(history.window, everyone)
    assert mind.memory.version == fresh.memory.version  # type: ignore[union-attr]


@pytest.mark.parametrize(("rows", "memory"), [(1, False), (2, False), (1, True), (2, True)])
def test_a_dream_goes_on_as_if_it_had_been_one(rows: int, memory: bool) -> None:
    """Survivors of a halved search are imagined further, not again."""
    mind = mind_of(memory, rows)
    history = History(8)
    for number in range(17):
        observation = frame(number, rows)
        led = None if number == 0 else np.full((rows, 2), 0.1, np.float32)
        history.add(observation["pixels"], observation["pose"], led, np.full(rows, number == 0))
    mind.saw(history.window, history.ripe)
    actions = SPACE.actions(np.random.default_rng(0).uniform(-1, 1, (rows, 3, 16, 2)))
    first, rest = (replace(actions, values=actions.values[:, :, part]) for part in (slice(0, 8), slice(8, 16)))
    for still in (mind.world.pose_head.move.weight, mind.world.pose_head.move.bias):
        still.data.zero_()  # before an eye that stands still, things are where they were seen
    torch.nn.init.normal_(mind.world.outcome.near.body.weight)
    imagine: Any = mind.imagine(2)
    whole, begun = imagine(history.context, actions), replace(imagine(history.context, first), actions=first)
    ended = imagine.resume(history.context, begun, rest)
    for name in ("latents", "poses", "rewards", "success", "terminated"):
        torch.testing.assert_close(getattr(ended, name), getattr(whole, name)[:, :, 8:], rtol=1e-4, atol=1e-4)
    with pytest.raises(BadOption, match="without latents"):
        imagine.resume(history.context, replace(begun, latents=None), rest)


def test_a_halved_search_in_a_learned_world_imagines_less() -> None:
    mind = mind_of(False)
    space = Space.box((-1.0, -1.0), (1.0, 1.0), 24)
    agent = PlannerAgent(mind, Way(Reward(), space, CEM(), Budget(8, 1, survivors=0.25)))
    agent.act(frame(0), {})
    assert agent.plan is not None
    assert agent.plan.trace.frames == 8 * 8 + 2 * 16
    assert agent.plan.rollout.latents.shape[:3] == (1, 1, 24)  # type: ignore[union-attr]


def test_a_video_is_translated_by_inverse_dynamics() -> None:
    mind = mind_of(False)
    way = Way(Reward(), Space.phrases(2, 1), BeamSearch(), Budget(2, 1), 8, Grammar(PHRASES), PHRASES)
    agent = PlannerAgent(mind, way)
    action = agent.act(frame(0), {"instruction": "go"})
    assert action.shape == (2,)
    latents = agent.plan.rollout.latents[:, 0]  # type: ignore[union-attr]
    seen = mind.world.codec.encode(torch.from_numpy(agent.history.context.pixels[:, -1:]))
    with torch.no_grad():
        want = mind.world.inverse(seen, latents[:, :1], torch.zeros(1, dtype=torch.int64))[0, 0, :2]
    assert np.allclose(action, want.clamp(-1, 1).numpy(), atol=1e-6)


def test_a_goal_picture_is_looked_for_in_latents() -> None:
    mind = mind_of(False)
    objective = objective_of("2*goal - .1*effort", mind)
    weights = [(weight, type(term)) for weight, term in objective.parts]  # type: ignore[attr-defined]
    assert weights == [(2.0, GoalImage), (-0.1, Effort)]
    for odd in ("", "2 reward", "reward*2", "reward++goal", "2*"):
        with pytest.raises(BadOption, match="a sum such as"):
            objective_of(odd, mind)
    agent = PlannerAgent(mind, Way(objective, SPACE, CEM(), Budget(6, 2)))
    agent.act(frame(0), {"goal": np.full((16, 16, 3), 200, np.uint8)})
    assert agent.plan is not None
    with pytest.raises(BadOption, match="learned world"):
        objective_of("goal", Fake(None))
    with pytest.raises(UnknownName, match="reward"):
        objective_of("rewards", mind)


def test_a_goal_picture_is_looked_for_in_the_judges_features() -> None:
    """The best end of a dream is the one that shows the goal."""
    shown = torch.randint(0, 256, (1, 3, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mind: Any = SimpleNamespace(decoded=lambda latents: shown[:, :, None])
    rollout: Any = SimpleNamespace(latents=torch.zeros(1, 3, 8, 4, 4, 4))
    scores = objective_of("place", mind)(rollout, Goal(image=shown[:, 1].numpy()))
    assert scores.argmax() == 1
    assert scores[0, 1] == pytest.approx(0, abs=1e-6)
    assert scores[0, 0] < -1e-4


def test_equal_candidates_have_equal_futures_wherever_they_stand() -> None:
    """Common random numbers: only actions make a difference, but for the rounding of one batch."""
    mind, history = mind_of(False), History(8)
    history.add(frame(0, 1)["pixels"], frame(0, 1)["pose"], None, np.array([True]))
    values = np.random.default_rng(0).uniform(-1, 1, (1, 5, 8, 2))
    values[:, 4] = values[:, 1]
    imagine: Any = mind.imagine(2)
    latents = imagine(history.context, SPACE.actions(values)).latents
    again = imagine(history.context, SPACE.actions(values[:, 1:2])).latents
    torch.testing.assert_close(latents[:, 4], latents[:, 1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again[:, 0], latents[:, 1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(latents[:, 0], latents[:, 1])


def test_parts_have_names() -> None:
    for name in SOLVERS:
        assert type(solver_of(name)) is SOLVERS[name]
    with pytest.raises(UnknownName, match="icem"):
        solver_of("icm")
    box = gym.spaces.Box(-1, 1, (2,), np.float32)
    assert way_of(Fake(None), box, PHRASES, solver="beam").space == Space.phrases(2, 2)
    quick = way_of(Fake(None), box, PHRASES, seconds=0.5, steps=2).budget
    assert (quick.seconds, quick.denoising_steps) == (0.5, 2)
    with pytest.raises(BadOption, match="0 seconds"):
        way_of(Fake(None), box, PHRASES, seconds=0)
    assert way_of(Fake(None), gym.spaces.Discrete(3, start=1), (), solver="categorical").space.allowed == (1, 2, 3)
    with pytest.raises(BadOption, match="frames of a plan"):
        way_of(Fake(None), box, PHRASES, horizon=2, every=4)
    agent = planner_agent("toy", 0, box, tiny_world(), budget="tiny", solver="mppi")
    assert agent.act(frame(0), {}).shape == (2,)
    with pytest.raises(UnknownName, match="default"):
        planner_agent("toy", 0, box, tiny_world(), memory="defualt")


def test_it_has_a_name_for_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning.WorldModel, "from_pretrained", lambda folder: tiny_world())
    box = gym.spaces.Box(-1, 1, (2,), np.float32)
    agent = load_agent("planner", "toy", 3, box)
    assert isinstance(agent, PlannerAgent)
    assert agent.parameters == {"world": "shipped", "memory": None, "camera": "fixed"}
    agent.reset(frame(0), {})
    assert agent.act(frame(0), {}).shape == (2,)
    with pytest.raises(UnknownName, match="planner"):
        load_agent("planer", "reach", 0)
