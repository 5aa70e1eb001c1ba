"""The `sfvgen` command: help without weight, errors in one line, options that arrive, collections that go on."""

import json
import subprocess
import sys
from dataclasses import MISSING, fields, is_dataclass, replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, get_type_hints

import imageio.v3 as imageio
import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_module

from sfvgen_experiments import cli, helping
from sfvgen_experiments.collect import Collect, record
from sfvgen_experiments.configuring import bound
from sfvgen_planner.data import Dataset, write_video
from sfvgen_planner.errors import BadOption, SfvgenError

CONFIGS = Path(__file__).parents[1] / "configs/sfvgen_configs"
TINY = ("task=reach", "length=short", "size=16")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


def sfvgen(*words: str) -> int:
    """Runs the command in this process; its exit code."""
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert isinstance(left.value.code, int)
    return left.value.code


def command_function(command: str) -> Any:
    module, name = cli.COMMANDS[command][0].split(":")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("words", [["--help"], ["collect", "--help"], ["bench", "camera", "--help"], ["--version"], []])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = f"""
import sys
from sfvgen_experiments.cli import main
try:
    main({words!r})
finally:
    heavy = {{"torch", "hydra", "omegaconf", "mujoco", "gymnasium", "numpy", "yaml", "tqdm"}} & set(sys.modules)
    assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "sfvgen" in done.stdout


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_tells_every_option_with_meaning_and_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sfvgen(*command.split(), "--help") == 0
    page = capsys.readouterr().out
    assert f"\n  sfvgen {command}" in page, "no example"
    values = yaml.safe_load((CONFIGS / f"{helping.config_name(command)}.yaml").read_text()) or {}
    assert [option.key for option in helping.options(command)] == list(values)
    for option in helping.options(command):
        assert f"  {option.key}=" in page
        assert option.meaning, f"{option.key} is not explained"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_yaml_and_python_have_the_same_defaults(command: str) -> None:
    values = yaml.safe_load((CONFIGS / f"{helping.config_name(command)}.yaml").read_text()) or {}
    function = command_function(command)
    hints = [get_type_hints(function)[name] for name in signature(function).parameters]
    if len(hints) == 1 and is_dataclass(hints[0]):
        defaults = {field.name: field.default for field in fields(hints[0])}
    else:
        defaults = {name: parameter.default for name, parameter in signature(function).parameters.items()}
    assert set(values) == set(defaults)
    for key, value in values.items():
        needed = defaults[key] is MISSING
        assert value == "???" if needed else _plain(defaults[key]) == value, key


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_option_can_be_given(command: str) -> None:
    """`memory=default` was refused: Hydra takes an option for a choice where a folder of configurations is named so."""
    keys = [option.key for option in helping.options(command)]
    with initialize_config_module("sfvgen_configs", version_base="1.3"):
        given = compose(helping.config_name(command), overrides=[f"{key}=7" for key in keys])
    assert dict(given) == dict.fromkeys(keys, 7)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["colect"], "Did you mean 'collect'?"),
        (["bench"], "bench camera"),
        (["bench", "camra"], "Did you mean 'bench camera'?"),
        (["--verison"], "sfvgen --help"),
        (["collect", "tsk=reach"], "Did you mean 'task'?"),
        (["collect", "+tsk=reach"], "Did you mean 'task'?"),
        (["collect", "task=rech"], "Did you mean 'reach'?"),
        (["collect", "reach"], "Perhaps task=reach?"),
        (["collect", "task=reach", "fast"], "key=value"),
        (["collect", "episodes=many"], "a whole number"),
        (["collect", "episodes=true"], "a whole number"),
        (["collect", "episodes=-1"], "0 or more"),
        (["collect", "split=tran"], "Did you mean 'train'?"),
        (["collect", "length=longer"], "Did you mean 'long'?"),
        (["collect", "camera=fixd"], "Did you mean 'fixed'?"),
        (["collect", "behaviour=exprt"], "Did you mean 'expert'?"),
        (["collect", "behaviour={expert:0}"], "above 0"),
        (["collect", "behaviour=expert:1", "behaviour=random:1"], "quote it"),
        (["collect", "size=3"], "at least 16"),
        (["collect", "episodes=1,2"], "Ambiguous"),
        (["collect", "episodes=[1"], "sfvgen collect --help"),
        (["inspect"], "no 'data'"),
        (["inspect", "data=nowhere"], "Check the path"),
        (["merge", "data=a", "out=b"], "a list"),
        (["import", "out=a"], "Set env=<id> or videos=<folder>"),
        (["import", "out=a", "videos=b"], "texts=<file.jsonl>"),
        (["import", "out=a", "env=CartPole-v9"], "CartPole-v1"),
    ],
)
def test_mistakes_are_one_line_with_a_hint(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sfvgen(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert told in err
    assert not list(Path().iterdir()), "a mistake left something behind"


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert sfvgen("collect", "--debug", "task=rech") == 2
    assert "Traceback" in (err := capsys.readouterr().err)
    assert err.strip().splitlines()[-1].startswith("error: task 'rech'")


def test_other_endings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ending(error: BaseException) -> int:
        def fail(words: list[str]) -> None:
            raise error

        monkeypatch.setattr(cli, "dispatch", fail)
        return sfvgen("demo")

    assert ending(KeyboardInterrupt()) == 130
    assert ending(ZeroDivisionError("x")) == 1
    assert "--debug" in capsys.readouterr().err


def test_bare_words_lists_and_hydra_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert sfvgen("merge", "data=[a,b]", "out=c", "--cfg", "job") == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"] == ["a", "b"]
    assert cli.find(["bench", "camera"]) == "bench camera"
    assert sfvgen("bench", "camera", "--cfg", "job", "repeats=7") == 0
    assert "repeats: 7" in capsys.readouterr().out


def test_collect_end_to_end_and_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    assert sfvgen("collect", *TINY, "episodes=2", "out=some") == 0
    first = {path: path.read_bytes() for path in Path("some/data/episodes").iterdir()}
    assert len(first) == 2
    assert sfvgen("collect", *TINY, "episodes=3", "out=some") == 0
    assert "3 episodes" in capsys.readouterr().out
    assert all(path.read_bytes() == data for path, data in first.items()), "recorded again"
    assert sfvgen("collect", *TINY, "episodes=4", "seed=1", "out=some") == 2
    assert "begun with" in capsys.readouterr().err
    assert sfvgen("inspect", "data=some") == 0
    assert "episodes     3" in capsys.readouterr().out
    assert imageio.imread("outputs/inspect/some.png").shape[2] == 3
    assert {path.name for path in Path().iterdir()} == {"some", "outputs"}, "litter"


def test_collect_in_multirun(capsys: pytest.CaptureFixture[str]) -> None:
    assert sfvgen("collect", "-m", "length=short", "size=16", "episodes=1", "task=reach,push_cube") == 0
    assert {path.name for path in Path("outputs/collect").iterdir()} == {"reach", "push_cube"}


def test_an_episode_hangs_on_seed_and_number_alone(tmp_path: Path) -> None:
    def collected(name: str, **options: Any) -> Dataset:
        mixed = {"expert": 1.0, "mixed": 1.0, "random": 1.0, "phrases": 1.0}
        config = {"task": "reach", "length": "short", "size": 16, "behaviour": mixed, "episodes": 4, **options}
        return record(Collect(out=str(tmp_path / name), **config))

    alone, together, other = collected("a"), collected("b", workers=2), collected("c", seed=1)
    behaviours = {card["behaviour"] for card in alone.cards}
    assert len(behaviours) > 1
    for mine, same in zip(alone, together, strict=True):
        np.testing.assert_array_equal(mine.actions, same.actions)
        np.testing.assert_array_equal(mine.pixels, same.pixels)
        assert mine.phrases == same.phrases
        assert mine.card == same.card
    scenes = {json.dumps(card["scene"]) for card in (*alone.cards, *other.cards)}
    assert len(scenes) == 8


def test_a_variation_is_the_same_in_every_episode_and_part_of_the_recipe(tmp_path: Path) -> None:
    config = Collect("reach", 2, "random", length="short", size=16, out=str(tmp_path / "a"))
    dark = replace(config, variation={"wood": [0.1, 0.1, 0.2]})
    scenes = [card["scene"] for card in record(dark).cards]
    assert [tuple(scene["wood"]) for scene in scenes] == [(0.1, 0.1, 0.2)] * 2
    assert scenes[0]["floor"] != scenes[1]["floor"], "all else is drawn"
    with pytest.raises(BadOption, match="variation"):
        record(replace(config, episodes=3))


def test_phrases_name_what_was_said(tmp_path: Path) -> None:
    episodes = record(Collect("push_cube", 6, "phrases", length="short", size=16, out=str(tmp_path / "a")))
    spoken = {phrase for episode in episodes for phrase in episode.phrases}
    assert len(spoken) > 4
    for episode in episodes:
        for start in range(0, len(episode), 8):
            assert len(set(episode.phrases[start : start + 8])) == 1, "a phrase lasts one chunk"


def test_merge(capsys: pytest.CaptureFixture[str]) -> None:
    for task in ("reach", "push_cube"):
        assert sfvgen("collect", *TINY[1:], f"task={task}", "episodes=1", f"out={task}") == 0
    assert sfvgen("merge", "data=[reach,push_cube]", "out=both") == 0
    assert [card["task"] for card in Dataset("both").cards] == ["reach", "push_cube"]


def test_import_of_videos(tmp_path: Path) -> None:
    write_video(tmp_path / "clips/a.mp4", np.zeros((17, 32, 32, 3), np.uint8), 8)
    (tmp_path / "a.jsonl").write_text('{"file": "a.mp4", "start": 0, "end": 9, "text": "go left"}\n')
    assert sfvgen("import", "videos=clips", "texts=a.jsonl", "size=16", "out=own") == 0
    (episode,) = Dataset("own")
    assert len(episode) == 16
    assert episode.phrases[0] == "go left"


def test_import_of_an_environment() -> None:
    words = ("env=sfvgen_envs:sfvgen/LaneKeep-v0", "episodes=2", "max_steps=5", "size=16", "out=roads")
    assert sfvgen("import", *words) == 0
    assert [len(episode) for episode in Dataset("roads")] == [5, 5]


def test_demo_makes_a_page_that_needs_nothing_else() -> None:
    words = ["length=short", "episodes=2", "size=16", "workers=0", "tasks=[reach,push_cube]", "planned=[reach]"]
    assert sfvgen("demo", *words, "world=oracle") == 0
    page = Path("outputs/demo/index.html").read_text()
    assert "http" not in page
    assert page.count("<figure") == 5
    assert 'src="plan/reach/reach_short_00.mp4" poster="plan/reach/reach_short_00.png"' in page
    assert Path("outputs/demo/plan/reach/reach_short_00.png").is_file()
    videos = sorted(Path("outputs/demo/videos").glob("*.mp4"))
    assert len(videos) == 4
    for video in videos:
        assert f'src="videos/{video.name}"' in page
        assert imageio.immeta(video, plugin="FFMPEG")["codec"] == "h264"
        assert imageio.immeta(video, plugin="FFMPEG")["pix_fmt"].startswith("yuv420p")
        assert (video.with_suffix(".png")).is_file()
        assert imageio.imread(video, plugin="FFMPEG").shape[1:] == (64, 64, 3)


def test_options_of_plain_functions() -> None:
    def function(repeats: int = 3, name: str | None = None, scale: float = 1.0) -> tuple[Any, ...]:
        return repeats, name, scale

    assert bound(function, {"repeats": 5, "scale": 2}, "it")() == (5, None, 2.0)
    with pytest.raises(BadOption, match="a word or null"):
        bound(function, {"name": 3}, "it")
    with pytest.raises(SfvgenError, match="'repeats'"):
        bound(function, {"repeat": 3}, "it")
