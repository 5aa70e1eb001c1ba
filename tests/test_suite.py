"""Suites: lists that say what they mean, notice when they no longer do, and results that repeat."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sfvgen_agents.arms import ReachExpert
from sfvgen_envs.scene import LENGTHS, split_of
from sfvgen_envs.suites import Suite
from sfvgen_envs.suites import suite as suite_module
from sfvgen_envs.suites.suite import drawn_scene, fingerprint
from sfvgen_envs.suites.write import write_suite
from sfvgen_experiments.evaluate import Eval, evaluate, main
from sfvgen_planner.errors import BadAction, BadOption, SuiteChanged, UnknownName

SCHEMA = json.loads((Path(suite_module.__file__).parent / "v0/results.schema.json").read_text())
REACH = {"reach": "sfvgen_envs:sfvgen/Reach-v0"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small suite of one task."""
    folder = tmp_path_factory.mktemp("suites") / "small"
    write_suite(folder, name="small", tasks=REACH, episodes=5)
    return folder


def config(folder: Path, out: Path, **changes: Any) -> Eval:
    plain = Eval(suite=str(folder), lengths="short", episodes=3, workers=0, size=16, out=str(out))
    return replace(plain, **changes)


def untimed(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in results["rows"]]


class Clumsy:
    """Returns an action nobody can take."""

    def reset(self, observation: Any, info: Any) -> None:
        pass

    def act(self, observation: Any, info: Any) -> Any:
        return "left"


class Tired(ReachExpert):
    """Fails in its second episode, once the file that says so is there."""

    episodes = 0
    parameters: dict[str, Any] = {}  # noqa: RUF012

    def seed(self, seed: int) -> None:
        pass

    def reset(self, observation: Any, info: Any) -> None:
        Tired.episodes += 1
        if Tired.episodes == 2:
            raise RuntimeError("tired")


# The lists.


def test_the_same_tasks_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    write_suite(tmp_path, name="small", tasks=REACH, episodes=5)
    assert (tmp_path / "reach.json").read_bytes() == (folder / "reach.json").read_bytes()


def test_episodes_are_what_reset_draws(folder: Path) -> None:
    suite = Suite.load(str(folder))
    suite.verify()
    for spec in suite.episodes("reach", "long", 2):
        env = spec.make(size=16)
        env.reset(seed=spec.seed, options=spec.options)
        assert fingerprint(env.unwrapped.scene) == spec.scene  # type: ignore[attr-defined]
        assert (spec.split, spec.length, spec.index < 2) == ("test", "long", True)
        env.close()


def test_a_variation_and_a_goal_are_part_of_an_episode(folder: Path) -> None:
    spec = replace(Suite.load(str(folder)).episodes("reach", "short")[0], goal=[0.4, 0.0, 0.2])
    env = spec.make(size=16)
    env.reset(seed=spec.seed, options=spec.options)
    assert fingerprint(env.unwrapped.scene) == fingerprint(drawn_scene(env, spec)) != spec.scene  # type: ignore[attr-defined]
    env.close()


@pytest.mark.parametrize("change", ["scene", "horizon"])
def test_a_suite_notices_that_its_tasks_changed(folder: Path, tmp_path: Path, change: str) -> None:
    page = json.loads((folder / "reach.json").read_text())
    if change == "scene":
        page["lengths"]["medium"]["episodes"][1]["scene"] = "00000000"
    else:
        page["lengths"]["medium"]["horizon"] += 1
    (tmp_path / "reach.json").write_text(json.dumps(page))
    changed = Suite.load(str(tmp_path))
    with pytest.raises(SuiteChanged, match=r"no longer means what it meant.*reach"):
        changed.verify()
    changed.verify(changed.episodes("reach", "short"))
    assert changed.digest != Suite.load(str(folder)).digest


def test_unknown_names_tell_the_nearest(folder: Path) -> None:
    suite = Suite.load(str(folder))
    with pytest.raises(UnknownName, match="suite 'v9'"):
        Suite.load("v9")
    with pytest.raises(UnknownName, match="'reach'"):
        suite.episodes("reech", "short")
    with pytest.raises(UnknownName, match="'medium'"):
        suite.episodes("reach", "mediun")


@pytest.mark.slow
def test_suite_v0_means_what_it_meant() -> None:
    Suite.load("v0").verify()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["reach", "push_cube", "cube_return", "lane_keep", "route_return"])
def test_suite_v0_is_of_test_scenes_each_different(task: str) -> None:
    suite = Suite.load("v0")
    seen: set[Any] = set()
    for length in LENGTHS:
        specs = suite.episodes(task, length)
        env = specs[0].make()
        scenes = [drawn_scene(env, spec) for spec in specs]
        assert len(specs) == 200
        assert all(split_of(scene) == "test" for scene in scenes)
        seen.update(scenes)
        env.close()
    assert len(seen) == 600


# Evaluating.


def test_results_keep_to_their_schema(folder: Path, tmp_path: Path) -> None:
    main(config(folder, tmp_path, agent=("expert", "random"), seeds=(0, 1)))
    results = json.loads((tmp_path / "results.json").read_text())
    jsonschema.validate(results, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert len(results["rows"]) == 2 * 2 * 3
    assert {(card["agent"], card["privileged"]) for card in results["agents"]} == {("expert", True), ("random", False)}
    by_agent = {row["agent"]: row for row in results["summary"]}
    assert by_agent["expert"]["success"]["mean"] == 1.0
    assert by_agent["random"]["success"]["n"] == 6


def test_one_episode_keeps_to_the_schema_too(folder: Path, tmp_path: Path) -> None:
    results = evaluate(config(folder, tmp_path, agent=("expert", "random"), episodes=1))
    jsonschema.validate(results, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert results["summary"][0]["return"]["high"] is None


def test_the_table_tells_task_agent_and_difference(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(config(folder, tmp_path, agent=("expert", "random")))
    said = capsys.readouterr().out
    assert "reach  short   expert" in said
    assert "minus expert" in said
    assert str(tmp_path / "results.json") in said


def test_same_agent_same_seed_same_rows(folder: Path, tmp_path: Path) -> None:
    once, again = (evaluate(config(folder, tmp_path / run, agent="random")) for run in ("a", "b"))
    other = evaluate(config(folder, tmp_path / "c", agent="random", seeds=1))
    assert untimed(once) == untimed(again)
    assert [row["total"] if "total" in row else row["return"] for row in once["rows"]] != [
        row["return"] for row in other["rows"]
    ]


def test_agents_play_the_same_episodes(folder: Path, tmp_path: Path) -> None:
    results = evaluate(config(folder, tmp_path, agent=("random", "expert")))
    ours, theirs = ([row for row in results["rows"] if row["agent"] == agent] for agent in ("expert", "random"))
    assert [row["seed"] for row in ours] == [row["seed"] for row in theirs]
    (gap,) = results["differences"]
    assert (gap["agent"], gap["against"]) == ("expert", "random")
    by_hand = sum(a["return"] - b["return"] for a, b in zip(ours, theirs, strict=True)) / 3
    assert gap["return"]["mean"] == pytest.approx(by_hand)


def test_a_run_that_broke_off_gives_what_one_run_gives(folder: Path, tmp_path: Path) -> None:
    spec = f"{__name__}:Tired"
    Tired.episodes = 0
    with pytest.raises(RuntimeError, match="tired"):
        evaluate(config(folder, tmp_path / "broken", agent=spec))
    (file,) = (tmp_path / "broken/rows").iterdir()
    assert len(file.read_text().splitlines()) == 1
    file.write_text(file.read_text() + '{"agent": "cut of')
    resumed = evaluate(config(folder, tmp_path / "broken", agent=spec))
    assert Tired.episodes == 4, "the finished episode was played again"
    whole = evaluate(config(folder, tmp_path / "whole", agent=spec))
    assert untimed(resumed) == untimed(whole)
    assert evaluate(config(folder, tmp_path / "broken", agent=spec))["rows"] == resumed["rows"]


def test_tasks_and_agents_keep_the_order_they_were_given_in(tmp_path: Path) -> None:
    given = {
        name: f"sfvgen_envs:sfvgen/{identity}-v0" for name, identity in (("push_cube", "PushCube"), ("reach", "Reach"))
    }
    write_suite(tmp_path / "two", tasks=given, episodes=1)
    asked = config(tmp_path / "two", tmp_path, agent=("random", "expert"), tasks=("reach", "push_cube"), episodes=1)
    told = [(row["task"], row["agent"]) for row in evaluate(asked)["summary"]]
    assert told == [(task, agent) for task in ("reach", "push_cube") for agent in ("random", "expert")]


def test_rows_of_another_size_are_not_taken_for_these(folder: Path, tmp_path: Path) -> None:
    evaluate(config(folder, tmp_path))
    evaluate(config(folder, tmp_path, size=24))
    assert len(list((tmp_path / "rows").iterdir())) == 2


@pytest.mark.slow
def test_workers_change_nothing(folder: Path, tmp_path: Path) -> None:
    alone = evaluate(config(folder, tmp_path / "alone", agent=("expert", "random")))
    together = evaluate(config(folder, tmp_path / "together", agent=("expert", "random"), workers=2))
    assert untimed(alone) == untimed(together)


def test_a_bad_action_is_told_with_agent_and_episode(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadAction, match="'left' of Clumsy") as caught:
        evaluate(config(folder, tmp_path, agent=f"{__name__}:Clumsy"))
    assert "reach short, episode 0" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"suite": "v9"}, "suite 'v9'"),
        ({"tasks": "raech"}, "'reach'"),
        ({"lengths": "shrt"}, "'short'"),
        ({"agent": "expret"}, "'expert'"),
        ({"agent": "nothing.zip"}, "nothing.zip"),
        ({"agent": ("expert", "expert")}, "none twice"),
        ({"episodes": 0}, "1 or more"),
        ({"workers": -1}, "workers=-1"),
        ({"camera": "ceiling"}, "camera 'ceiling'"),
    ],
)
def test_bad_input_is_named(folder: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises((UnknownName, BadOption), match=words):
        evaluate(config(folder, tmp_path, **changes))
    assert not (tmp_path / "results.json").exists()


def test_every_option_is_explained() -> None:
    from sfvgen_experiments.configuring import build
    from sfvgen_experiments.helping import options

    found = options("eval")
    assert [option.key for option in found] == list(Eval.__dataclass_fields__)
    assert all(option.meaning for option in found)
    choices: Sequence[str] = ("a", "b")
    assert build(Eval, {"agent": list(choices), "seeds": [0, 1], "tasks": None}, "sfvgen eval").agent == ("a", "b")


def test_defaults_in_yaml_are_those_of_the_class() -> None:
    from importlib.resources import files

    from omegaconf import OmegaConf

    from sfvgen_experiments.configuring import build

    written = OmegaConf.create((files("sfvgen_configs") / "eval.yaml").read_text())
    assert build(Eval, OmegaConf.to_container(written), "sfvgen eval") == Eval()
