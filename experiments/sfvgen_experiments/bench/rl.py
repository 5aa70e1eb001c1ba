"""Is a policy that was trained only in the dream any good outside it? `sfvgen bench rl`.

The same algorithm with the same settings and seeds trains as many steps in the dream, by what the dream says is a
reward or by how near the body comes to its goal's picture, and in the true task. All are judged in the same test
episodes of the true task, beside chance. A run that is finished is not begun again.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sfvgen_envs.scene import Length
from sfvgen_experiments.rl import Rl, identity
from sfvgen_experiments.rl import main as train
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption
from sfvgen_planner.metrics.statistics import mean_interval, success_interval

SHARE, TIMES, VALID = 0.8, 3.0, 0.5
"""Of the true training's success; of chance's return; the true training's success below which nothing is compared."""
TRUE, CHANCE = "true task", "chance"
Reward = Literal["learned", "goal"]


def main(
    task: str = "reach",
    algo: Literal["ppo", "sac", "recurrent"] = "sac",
    seeds: int = 3,
    rewards: tuple[Reward, ...] = ("learned", "goal"),
    world: str | None = None,
    length: Length = "short",
    steps: int = 6000,
    rows: int = 16,
    observe: tuple[str, ...] = ("pose", "goal"),
    updates: float = 0.5,
    denoise: int = 1,
    episodes: int = 30,
    threads: int = 2,
    device: str = "cpu",
    out: str = "outputs/bench/rl",
) -> dict[str, Any]:
    """Prints a line an arm and the bars, writes JSON, returns it."""
    if seeds < 1 or not rewards or len(set(rewards)) < len(rewards):
        raise BadOption(f"seeds={seeds} rewards={list(rewards)}", "1 seed or more, each reward once", "See --help.")
    arms: dict[str, dict[str, Any]] = {f"dream, {reward} reward": {"reward": reward} for reward in rewards}
    arms[TRUE] = {"where": "real"}
    found: dict[str, list[Any]] = {name: [] for name in arms}
    for seed in range(seeds):
        for name, changes in arms.items():
            folder = Path(out) / f"{task}-{name.replace(', ', '-').replace(' ', '-')}-{seed}"
            asked = Rl(
                task=task,
                algo=algo,
                world=world,
                length=length,
                steps=steps,
                rows=rows,
                observe=observe,
                updates=updates,
                denoise=denoise,
                evaluate=steps,
                episodes=episodes,
                seed=seed,
                threads=threads,
                device=device,
                out=str(folder),
                **changes,
            )
            print(f"{name}, seed {seed}: ", end="", flush=True)
            found[name].append(finished(asked) or train(asked))
    figures = summary(found)
    result = {"task": task, "seeds": seeds, "steps": steps, "arms": figures, "bars": bars(figures)}
    print(told(result))
    write_bytes(Path(out) / f"{task}.json", (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
    return result


def finished(asked: Rl) -> dict[str, Any] | None:
    """What a run with just these options, in the same world, found, where there was one."""
    file = Path(asked.out) / "rl.json"
    if not file.is_file():
        return None
    there: dict[str, Any] = json.loads(file.read_text())
    if any(there.get(key) != value for key, value in identity(asked).items()):
        return None
    print("finished before")
    return there


def summary(found: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return and success of each arm, over all episodes of all seeds, and of chance."""
    last: dict[str, list[Any]] = {name: [run[TRUE]["policy"] for run in runs] for name, runs in found.items()}
    last[CHANCE] = [found[TRUE][0][TRUE]["random"]]
    return {
        name: {
            "return": mean_interval(_table(runs, "returns")).to_json(),
            "success": success_interval(_table(runs, "successes")).to_json(),
            "success by seed": [run["success"]["mean"] for run in runs],
        }
        for name, runs in last.items()
    }


def _table(runs: Sequence[Mapping[str, Any]], key: str) -> list[list[float]]:
    """[E, S]: all seeds play the same episodes."""
    return [list(map(float, row)) for row in zip(*(run[key] for run in runs), strict=True)]


def bars(arms: Mapping[str, Any]) -> dict[str, Any]:
    """For each dream: its share of the true training's success, how many times chance's return, and are both enough."""
    true, chance = arms[TRUE], arms[CHANCE]
    found = {}
    for name in arms:
        if name in (TRUE, CHANCE):
            continue
        won, gained = arms[name]["success"]["mean"], arms[name]["return"]["mean"]
        best, luck = true["success"]["mean"], chance["return"]["mean"]
        found[name] = {
            "share of success": won / best if best else None,
            "enough success": won >= SHARE * best if best >= VALID else None,
            "enough return": gained > 0 and gained >= TIMES * luck,
        }
    return found


def told(result: Mapping[str, Any]) -> str:
    """All of it in lines."""
    lines = [f"\n{result['task']}, {result['seeds']} seeds of {result['steps']} steps, judged in the true task:"]
    for name, one in result["arms"].items():
        won, gained = one["success"], one["return"]
        each = ", ".join(f"{share:.0%}" for share in one["success by seed"])
        lines.append(
            f"  {name:24} success {won['mean']:.0%} [{won['low']:.0%}, {won['high']:.0%}] ({each}), return "
            f"{gained['mean']:.2f} [{_number(gained['low'])}, {_number(gained['high'])}], {won['n']} episodes"
        )
    for name, bar in result["bars"].items():
        share = "-" if bar["share of success"] is None else f"{bar['share of success']:.2f}"
        verdict = {None: f"not to be compared (below {VALID:.0%})", True: "met", False: "NOT MET"}[
            bar["enough success"]
        ]
        lines.append(f"  {name}: {share} of the true training's success, {SHARE} wanted: {verdict}")
        lines.append(f"  {name}: {TIMES:g} times chance's return: {'met' if bar['enough return'] else 'NOT MET'}")
    return "\n".join(lines)


def _number(bound: float | None) -> str:
    return "?" if bound is None else f"{bound:.2f}"
