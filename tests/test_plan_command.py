"""`sfvgen plan` and `sfvgen bench plan`: played, filmed, decided by paired episodes, and gone on with after a kill."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import sfvgen_envs
from sfvgen_agents.planner_agent import PlannerAgent
from sfvgen_agents.relay import Relay
from sfvgen_envs.suites import Suite
from sfvgen_experiments.bench import plan as bench
from sfvgen_experiments.bench.bars import Bar
from sfvgen_experiments.plan import PlanConfig, main, play_one
from sfvgen_experiments.plan_picture import panels, scatter
from sfvgen_experiments.rows import Row
from sfvgen_experiments.thinking import Arm, OracleMind, Thinking, loaded
from sfvgen_planner.data.video import read_video
from sfvgen_planner.errors import BadOption, SfvgenError, UnknownName
from sfvgen_planner.memory import Bank
from sfvgen_planner.planning import BeamSearch, Budget, Planner, Space
from sfvgen_planner.planning.objectives import Reward
from sfvgen_planner.types import Actions, Context


def row(agent: str, index: int, success: bool) -> Row:
    return Row(agent, "real", "reach", "short", index, index, 0, success, 0.0, 0.0, 1, 0.0)


def rows(agent: str, successes: list[bool]) -> list[Row]:
    return [row(agent, index, success) for index, success in enumerate(successes)]


def test_the_oracle_reaches_the_ball_is_filmed_and_written_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = PlanConfig("reach", episodes=1, world="oracle", budget="tiny", horizon=8, size=16, out=str(tmp_path))
    result = main(config)
    assert result == json.loads((tmp_path / "plan.json").read_text())
    (played,) = result["episodes"]
    assert played["success"]
    assert played["waypoint_distance"] < 0.025
    assert played["replans"] == -(-played["steps"] // 4)
    assert played["imagined_frames"] > 8 * 16 * played["replans"]
    film = read_video(played["video"])
    assert len(film) == played["steps"]
    assert film[0].std() > 20
    assert "1 of 1 solved" in capsys.readouterr().out


def test_who_is_led_is_filmed_too_and_plans_only_on_the_way_back(tmp_path: Path) -> None:
    """Reach has none: its expert does it all."""
    config = PlanConfig("reach", episodes=1, world="oracle", led="expert", budget="tiny", size=16, out=str(tmp_path))
    (played,) = main(config)["episodes"]
    assert played["success"]
    assert played["replans"] == played["imagined_frames"] == 0
    assert len(read_video(played["video"])) == played["steps"]


def test_figures_are_kept_where_no_film_made_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "new"
    main(PlanConfig("reach", episodes=1, world="oracle", led="expert", size=16, videos=False, out=str(out)))
    assert (out / "plan.json").is_file()


def test_the_same_command_plays_the_same() -> None:
    config = PlanConfig("lane_keep", world="oracle", budget="tiny", horizon=4, every=4, size=16, videos=False)
    spec = Suite.load("v0").episodes("reach", "short", 1)[0]
    one, two = play_one(config, spec), play_one(config, spec)
    assert (one.total, one.steps, one.imagined_frames) == (two.total, two.steps, two.imagined_frames)


def test_what_the_oracle_imagined_is_what_then_happens() -> None:
    thinking = Thinking(horizon=8, every=8, budget="tiny")
    spec = Suite.load("v0").episodes("push_cube", "short", 1)[0]
    env = spec.make(size=16)
    agent = Arm.parse("oracle", thinking).agent(env, "push_cube", 0, thinking)
    assert isinstance(agent, PlannerAgent)
    observation, info = env.reset(seed=spec.seed, options=spec.options)
    agent.reset(observation, info)
    for step in range(8):
        action = agent.act(observation, info)
        if step == 0:
            future = agent.mind.picture(agent.history.context, agent.plan)[0]  # type: ignore[arg-type]
        observation, *_, info = env.step(action.astype(float))
        assert np.array_equal(observation["pixels"], future[step])


def test_words_are_translated_into_what_the_body_makes_of_them() -> None:
    env = gym.make("sfvgen_envs:sfvgen/Reach-v0", size=16, length="short")
    env.reset(seed=1)
    mind, task = OracleMind(env), env.unwrapped
    phrases: Any = task.phrases  # type: ignore[attr-defined]
    space = Space.phrases(len(phrases), 1)
    pose = task.pose()[None, None]  # type: ignore[attr-defined]
    context = Context(np.zeros((1, 1, 16, 16, 3), np.uint8), pose)
    plan = Planner(mind.imagine(1), Reward(), space, BeamSearch(), Budget(len(phrases), 1)).plan(context)
    rewards = [env.step(action.astype(float))[1] for action in mind.translate(context, plan)[0]]
    assert np.allclose(rewards, plan.rollout.rewards[0, 0], atol=1e-5)
    assert "ball" in phrases[int(plan.actions.values[0, 0, 0])]


def test_a_plan_in_words_that_solves_the_task_is_translated_up_to_there() -> None:
    """The simulator goes on no further than its episode, and is as it was."""
    env = gym.make("sfvgen_envs:sfvgen/Reach-v0", size=16, length="short")
    _, info = env.reset(seed=1)
    task: Any = env.unwrapped
    number = task.phrases.index(info["instruction"])
    mind, before = OracleMind(env), task.get_state().physics.copy()
    plan: Any = SimpleNamespace(actions=Actions("phrase", np.array([[[number] * 4]])))
    actions = mind.translate(None, plan)[0]  # type: ignore[arg-type]
    assert np.array_equal(task.get_state().physics, before)
    ended = [any(env.step(action.astype(float))[2:4]) for action in actions[: int(np.argmax(~actions.any(1)))]]
    assert ended == [False] * (len(ended) - 1) + [True]


@pytest.mark.parametrize("task", sfvgen_envs.TASKS)
@pytest.mark.parametrize("solver", ["icem", "categorical"])
def test_it_acts_in_every_task_in_numbers_and_in_words(task: str, solver: str) -> None:
    thinking = Thinking(horizon=8, every=2, budget="tiny", solver=solver)
    env = gym.make(sfvgen_envs.TASKS[task], size=16, length="short")
    observation, info = env.reset(seed=0)
    agent = Arm.parse("oracle", thinking).agent(env, task, 0, thinking)
    agent.reset(observation, info)
    for _ in range(3):
        observation, *_, info = env.step(agent.act(observation, info).astype(float))
    assert isinstance(agent, PlannerAgent)
    assert len(agent.seconds) == (2 if solver == "icem" else 1)


def test_a_planner_is_told_of_its_bank(tmp_path: Path) -> None:
    env = gym.make(sfvgen_envs.TASKS["reach"], size=16)
    thinking = Thinking(memory="default", bank=str(tmp_path / "none"))
    with pytest.raises(SfvgenError, match="none"):
        Arm.parse("planner", thinking).agent(env, "reach", 0, thinking)
    with Bank.begun(tmp_path / "bank", loaded(None)):
        forgetful = replace(thinking, memory=None, bank=str(tmp_path / "bank"))
    with pytest.raises(BadOption, match="a bank without a memory"):
        Arm.parse("planner", forgetful).agent(env, "reach", 0, forgetful)


def test_who_remembers_is_somebody_else() -> None:
    """Rows of a planner without a memory were taken for those of one with it, where both played in one folder."""
    env = gym.make(sfvgen_envs.TASKS["reach"], size=64)
    cards = []
    for memory in (None, "default"):
        thinking = Thinking(memory=memory)
        arm = Arm.parse("planner", thinking)
        cards.append(arm.card(arm.agent(env, "reach", 0, thinking), thinking))
    assert cards[0] != cards[1]


def test_who_is_led_is_named_so() -> None:
    thinking = Thinking(horizon=4, budget="tiny")
    arm = Arm.parse("expert+oracle/cem/tiny", thinking)
    assert (arm.led, arm.where, arm.solver) == ("expert", "oracle", "cem")
    assert not Arm.parse("oracle/cem/tiny", thinking).led
    assert Arm.parse("habits+planner/cem", thinking).led == "habits"
    spec = Suite.load("v0").episodes("route_return", "short", 1)[0]
    env = spec.make(size=16)
    agent = arm.agent(env, "route_return", 0, thinking)
    assert isinstance(agent, Relay)
    assert agent.privileged
    card = arm.card(agent, thinking)
    assert card["parameters"]["first"] != ""
    assert card["parameters"]["solver"] == "cem"


def test_names_of_planners() -> None:
    thinking = Thinking(solver="cem", budget="tiny")
    assert Arm.parse("oracle", thinking) == Arm("oracle", "oracle", "cem", "tiny", "reward")
    assert Arm.parse("planner/beam", thinking) == Arm("planner/beam", "planner", "beam", "tiny", "reward")
    assert Arm.parse("oracle/mppi/large", thinking) == Arm("oracle/mppi/large", "oracle", "mppi", "large", "reward")
    wish = Arm.parse("planner/cem/tiny/posture", thinking)
    assert wish == Arm("planner/cem/tiny/posture", "planner", "cem", "tiny", "posture")
    assert Arm.parse("outputs/ppo.zip", thinking).where is None
    for odd in ("oracle/icm", "planner/icem/smal"):
        with pytest.raises(UnknownName):
            Arm.parse(odd, thinking)
    with pytest.raises(BadOption, match="planner/solver/budget"):
        Arm.parse("planner/icem/small/reward/more", thinking)


def test_bars_are_read_and_decided_by_pairs() -> None:
    bar = Bar.parse("planner >= 0.8 * oracle", ("planner", "oracle"))
    assert bar == Bar("planner", 0.8, "oracle")
    good, poor = [True] * 30, [True, False, False] * 10
    assert bar.verdict({"planner": rows("planner", good), "oracle": rows("oracle", good)}) == "met"
    assert bar.verdict({"planner": rows("planner", poor), "oracle": rows("oracle", good)}) == "not met"
    assert bar.verdict({"planner": rows("planner", good[:2]), "oracle": rows("oracle", good[:2])}) == "open"
    some = [True] * 24 + [False] * 6
    assert bar.verdict({"planner": rows("planner", some), "oracle": rows("oracle", good)}) == "open"
    values = [s - 0.8 for s in some] + [1.0, -0.8]
    gap = bar.gap({"planner": rows("planner", some), "oracle": rows("oracle", good)})
    assert gap.mean == pytest.approx(np.mean(values))
    assert gap.high - gap.mean == pytest.approx(2.0395 * np.std(values, ddof=1) / np.sqrt(32), rel=1e-3)
    with pytest.raises(BadOption, match="one such as planner"):
        Bar.parse("planner > oracle", ("planner", "oracle"))
    with pytest.raises(UnknownName, match="oracle"):
        Bar.parse("planner>=1*oracl", ("planner", "oracle"))


def small(out: Path, **more: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "tasks": ("reach",),
        "agents": ("random", "expert"),
        "bars": ("expert>=3*random",),
        "least": 5,
        "most": 30,
        "size": 16,
        "out": str(out),
    }
    return bench.main(**{**settings, **more})


def test_it_stops_when_the_bars_are_decided_and_says_what_it_may_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = small(tmp_path)
    out = capsys.readouterr().out
    assert "at most, minutes for 5 episodes" in out
    assert out.index("at most") < out.index("expert >= 3 x random: met")
    assert result["bars"]["reach"][0]["verdict"] == "met"
    played = len(result["rows"]) // 2
    assert played in (15, 25), "one or two looks after the first"
    pairs = [{r["seed"] for r in result["rows"] if r["agent"] == agent} for agent in ("random", "expert")]
    assert pairs[0] == pairs[1]
    assert result == json.loads((tmp_path / "plan.json").read_text())


def test_what_was_played_is_not_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = small(tmp_path / "a", least=6, most=6)
    small(tmp_path / "b", least=3, most=3)
    played: list[int] = []
    once = bench.Contest.play

    def counted(self: bench.Contest, arm: Arm, spec: Any) -> Row:
        played.append(spec.index)
        return once(self, arm, spec)

    monkeypatch.setattr(bench.Contest, "play", counted)
    gone_on = small(tmp_path / "b", least=6, most=6)
    assert played == [3, 3, 4, 4, 5, 5]

    def timeless(result: dict[str, Any]) -> list[dict[str, Any]]:
        return [{key: value for key, value in one.items() if key != "seconds"} for one in result["rows"]]

    assert timeless(gone_on) == timeless(whole)
    small(tmp_path / "b", least=3, most=3, seed=1)
    assert len(played) == 12, "another seed is another contest"


def test_odd_contests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="two or more"):
        small(tmp_path, least=1)
    with pytest.raises(BadOption, match="each agent once"):
        small(tmp_path, agents=("random", "random"))
    with pytest.raises(BadOption, match="1 or more"):
        main(PlanConfig("reach", episodes=0, out=str(tmp_path)))


def test_a_frame_of_the_film_shows_what_it_should() -> None:
    true, now, end = (np.full((16, 16, 3), value, np.uint8) for value in (10, 60, 110))
    frame = panels(true, now, end, [np.array([0.0, 1.0, -np.inf]), np.array([2.0])], "hello")
    assert frame.shape[0] % 2 == frame.shape[1] % 2 == 0
    assert [int(np.median(frame[60:200, 20 + 260 * place, 0])) for place in range(3)] == [10, 60, 110]
    red = (scatter([np.array([0.0, 1.0]), np.array([2.0])]) == (214, 69, 48)).all(-1)
    assert red[:, 140:].any(), "the best one is in the second round"
    assert scatter([]).min() == 255
    assert scatter([np.full(3, -np.inf)]).shape == (256, 256, 3)
