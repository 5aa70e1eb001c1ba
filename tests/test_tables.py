"""The four tables: parts are asked once, what is not there is said to be missing, and bars compare what they say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from world_fakes import tiny_world

from sfvgen_experiments.bench import memory_cost, plan, revisit, tables
from sfvgen_experiments.tables.bars import verdicts
from sfvgen_experiments.tables.made import made
from sfvgen_experiments.tables.parts import AFTER, COST, PARTS, PLANS, TASKS, WAYS, WINDOWS, WITHOUT, Asked
from sfvgen_planner.errors import BadOption, UnknownName

Found = dict[str, Any]


def number(mean: float) -> dict[str, Any]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 2}


def arm(psnr: float, src: float, cuts: float = 0) -> dict[str, Any]:
    return {"whole": {"psnr": number(psnr), "ssim": number(0.5), "src": number(src)}, "cuts": number(cuts)}


def ways(**arms: dict[str, Any]) -> Found:
    return {"rows": {"out_and_back": {"arms": arms}}}


def plans(which: str, distances: dict[str, list[float]], agent: str = "planner/icem/tiny") -> Found:
    """A part for each task."""
    return {f"{PLANS}{which} of {task}": played(task, far, agent) for task, far in distances.items()}


def played(task: str, far: list[float], agent: str = "planner/icem/tiny") -> Found:
    rows = [{"agent": agent, "task": task, "index": index, "waypoint_distance": one} for index, one in enumerate(far)]
    summary = [{"agent": agent, "task": task, "waypoint_distance": number(sum(far) / len(far))}]
    return {"rows": rows, "summary": summary}


def bar(found: Found, beginning: str) -> str:
    (one,) = [told for told in verdicts(found) if told.startswith(beginning)]
    return one


def test_parts_that_cannot_be_asked_are_not() -> None:
    some = Asked(None, None, (), 8, 2, 2, 1, 1).tasks(PARTS)
    known = {f"{PLANS}{which} of {task}" for which in (WITHOUT, "") for task in TASKS}
    assert {*some} == {WAYS, COST, *known}, "no data, no windows; no loop, nothing of it"
    more = Asked(None, "elsewhere", ("set",), 8, 2, 2, 1, 1).tasks(PARTS)
    after = {f"{PLANS}{AFTER} of {task}" for task in TASKS}
    assert {*more} == {*some, WINDOWS, WAYS + AFTER, *after}
    assert all(more[name][0]["world"] == "elsewhere" for name in after)


@pytest.mark.parametrize("task", TASKS)
def test_who_has_no_memory_is_given_none_and_plays_beside_chance(task: str) -> None:
    tasks = Asked(None, None, (), 8, 2, 2, 1, 1).tasks((PLANS,))
    without, knows = (tasks[f"{PLANS}{which} of {task}"][0] for which in (WITHOUT, ""))
    assert without.get("memory") is None
    assert without["agents"][0] == "random"
    assert knows["memory"] == "album"
    assert without["tasks"] == knows["tasks"] == (task,)


def test_a_distance_is_compared_over_the_episodes_that_both_played() -> None:
    found = {**plans(WITHOUT, {"route_return": [10.0, 14.0, 99.0]}), **plans("", {"route_return": [2.0, 2.0]})}
    assert bar(found, "route_return: distance").startswith("route_return: distance without memory / with it: 6.00 [")
    assert bar(found, "route_return: distance").endswith("4.2 wanted: met")
    found |= plans("", {"route_return": [6.0, 6.0]})
    assert bar(found, "route_return: distance").endswith("NOT MET")
    assert bar(found, "cube_return: distance without memory").endswith("not measured")
    assert bar(found, "cube_return: distance without the loop").endswith("not measured")


def test_chance_is_no_planner() -> None:
    found = {**plans(WITHOUT, {"route_return": [9.0, 9.0]}, "random"), **plans("", {"route_return": [1.0, 1.0]})}
    assert bar(found, "route_return: distance").endswith("not measured")


def test_a_memory_has_to_beat_all_but_those_that_look_at_the_frames() -> None:
    arms = {
        "none": arm(20, 0.8, 2),
        "copy": arm(19, 0.82),
        "bank": arm(30, 0.9),
        "hybrid": arm(22, 0.81, 1),
        "hybrid swapped": arm(20.2, 0.99),
    }
    found = {WAYS: ways(**arms)}
    assert bar(found, "out_and_back, hybrid, psnr").endswith("22.000 against 20.000 of none: met")
    assert bar(found, "out_and_back, hybrid, src").endswith("0.810 against 0.820 of copy: NOT MET")
    assert bar(found, "out_and_back, hybrid, lost").endswith("90% of 2.00 dB, 80% wanted: met")
    assert bar(found, "out_and_back, hybrid, scene cuts").endswith("1.00 of 2.00: met")
    assert bar(found, "object").endswith("not measured")


def test_who_never_cuts_cannot_cut_less() -> None:
    arms = {"none": arm(20, 0.8), "hybrid": arm(19, 0.8), "hybrid swapped": arm(19, 0.8)}
    found = {WAYS: ways(**arms)}
    assert "nobody cuts" in bar(found, "out_and_back, hybrid, scene cuts")
    assert bar(found, "out_and_back, hybrid, lost").endswith("no gain to lose (-1.00 dB): NOT MET")


def test_tables_show_ours_beside_theirs() -> None:
    found = {WAYS: ways(none=arm(20, 0.8), hybrid=arm(22, 0.81)), **plans("", {"cube_return": [0.2, 0.4]})}
    video, planning, cost, variants = made(found)
    assert video.ours["out_and_back: hybrid"] == (
        "-",
        "22.00 ±0.10",
        "0.500 ±0.100",
        "-",
        "0.00 ±0.10",
        "0.810 ±0.100",
    )
    assert planning.ours == {"with memory": ("0.300 ±0.100", "-")}
    assert not cost.ours
    assert variants.ours["out_and_back: none"] == ("0.00 ±0.10", "0.800 ±0.100")
    for table in (video, planning, cost, variants):
        assert all(len(row) == len(table.columns) for row in (*table.ours.values(), *table.theirs.values()))
        assert "SlowFast-VGen" in table.text() or "TEMP-LoRA" in table.text()
        assert table.html().count("<tr>") == 1 + len(table.ours) + len(table.theirs)


def test_what_was_found_before_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = tmp_path / "world"
    tiny_world().save_pretrained(world)
    calls: list[str] = []

    def bench(name: str, result: Found) -> Callable[..., Found]:
        def main(out: str, **asked: Any) -> Found:
            calls.append(name)
            Path(out).parent.mkdir(parents=True, exist_ok=True)
            Path(out).write_text(json.dumps(result))
            return result

        return main

    arms = {"none": arm(20, 0.8), "hybrid": arm(22, 0.81), "hybrid swapped": arm(20, 0.8)}
    monkeypatch.setattr(revisit, "main", bench("ways", ways(**arms)))
    monkeypatch.setattr(memory_cost, "main", bench("cost", {"rows": []}))
    options = {"world": str(world), "parts": (WAYS, COST), "threads": 1, "out": str(tmp_path / "out")}
    first = tables.main(**options, episodes=2)
    assert calls == ["ways", "cost"]
    assert tables.main(**options, episodes=2)["bars"] == first["bars"]
    assert calls == ["ways", "cost"], "everything was there"
    tables.main(**options, episodes=3)
    assert calls == ["ways", "cost", "ways"], "other episodes are another question; what remembering costs is not"
    assert "22.00" in (tmp_path / "out" / "tables.html").read_text()


def test_plans_are_kept_where_nothing_was_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = tmp_path / "world"
    tiny_world().save_pretrained(world)
    monkeypatch.setattr(
        plan, "main", lambda out, tasks, memory=None, **asked: played(tasks[0], [4.0 / (1 + bool(memory))] * 2)
    )
    told = tables.main(str(world), parts=(PLANS,), threads=1, out=str(tmp_path / "out"))["bars"]
    assert told[0].startswith("cube_return: distance without memory / with it: 2.00 [")
    assert len([*(tmp_path / "out" / "parts").iterdir()]) == 2 * len(TASKS)


def test_wrong_questions_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="ways"):
        tables.main(parts=("way",), out=str(tmp_path))
    with pytest.raises(BadOption, match="two or more"):
        tables.main(episodes=1, out=str(tmp_path))
