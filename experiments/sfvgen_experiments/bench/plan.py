"""How well do planners play? `sfvgen bench plan`: agents on the same episodes of a suite, until bars are decided.

Episode after episode, every agent plays it before the next one. After `least` episodes, and then every few, the bars
are looked at; a task is done when all of them are decided, or at `most` episodes.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from tqdm import tqdm

from sfvgen_agents.agent import shown
from sfvgen_agents.planner_agent import PlannerAgent
from sfvgen_agents.playing import play
from sfvgen_agents.relay import Relay
from sfvgen_envs.suites import EpisodeSpec, Suite
from sfvgen_experiments.bench.bars import Bar
from sfvgen_experiments.bench.report import cell
from sfvgen_experiments.rows import Row, RowFile
from sfvgen_experiments.scores import compare, summarise, table
from sfvgen_experiments.thinking import Arm, Thinking
from sfvgen_planner.data.atomic import write_bytes
from sfvgen_planner.errors import BadOption

LOOKS = 10
"""Episodes between two looks at the bars: every look is a chance to be lucky."""
WHERE = "real"


@dataclass(frozen=True)
class Player:
    """One agent in one task."""

    arm: Arm
    file: RowFile


@dataclass(frozen=True)
class Contest:
    """What is the same for all of it."""

    thinking: Thinking
    length: str
    size: int
    seed: int

    def make(self, spec: EpisodeSpec) -> Any:
        """The environment."""
        return spec.make(size=self.size, camera=self.thinking.camera)

    def play(self, arm: Arm, spec: EpisodeSpec) -> Row:
        """One episode. Agents are built anew for each, so nothing leaks between them and any can be played alone."""
        env = self.make(spec)
        try:
            result = play(env, arm.agent(env, spec.task, self.drawn(spec), self.thinking), spec)
        except Exception as error:
            error.add_note(f"{arm.name} in {spec.task} {spec.length}, episode {spec.index}")
            raise
        finally:
            env.close()
        return Row(
            agent=arm.name,
            where=WHERE,
            task=spec.task,
            length=spec.length,
            index=spec.index,
            seed=spec.seed,
            agent_seed=self.seed,
            success=result.success,
            total=result.total,
            waypoint_distance=result.waypoint_distance,
            steps=result.steps,
            seconds=result.seconds,
        )

    def drawn(self, spec: EpisodeSpec) -> int:
        """The agent's seed in an episode; the same for all agents: common random numbers."""
        return crc32(f"{self.seed} {spec.task} {spec.length} {spec.seed}".encode())

    def seconds(self, arm: Arm, spec: EpisodeSpec) -> float:
        """What an episode may take at most: one plan, as many times as there are plans."""
        env = self.make(spec)
        observation, info = env.reset(seed=spec.seed, options=spec.options)
        agent = arm.agent(env, spec.task, self.drawn(spec), self.thinking)
        if isinstance(agent, Relay):  # at first it would only look on
            agent = agent.then
        agent.reset(observation, shown(info, agent))
        began = time.perf_counter()
        agent.act(observation, shown(info, agent))
        taken, steps = time.perf_counter() - began, int(env.unwrapped.horizon)
        every = agent.way.every if isinstance(agent, PlannerAgent) else 1
        env.close()
        return taken * steps / every


def main(
    tasks: tuple[str, ...] = ("reach", "push_cube", "lane_keep"),
    agents: tuple[str, ...] = ("random", "expert", "oracle", "planner"),
    bars: tuple[str, ...] = ("planner>=0.8*oracle", "planner>=3*random"),
    length: str = "short",
    least: int = 30,
    most: int = 100,
    world: str | None = None,
    memory: str | None = None,
    bank: str | None = None,
    solver: str = "icem",
    budget: str = "small",
    seconds: float | None = None,
    steps: int | None = None,
    habits: float = 0.0,
    horizon: int = 16,
    every: int = 4,
    objective: str = "reward",
    clip: str | None = None,
    suite: str = "v0",
    size: int = 64,
    camera: str = "fixed",
    seed: int = 0,
    threads: int = 2,
    out: str = "outputs/bench/plan",
) -> dict[str, Any]:
    """Prints the cost, then who solves how many; writes JSON, returns it. A run that was killed goes on."""
    torch.set_num_threads(threads)
    if not 2 <= least <= most or not agents or len({*agents}) < len(agents):
        raise BadOption(
            f"{least} to {most} episodes of {list(agents)}", "two or more, each agent once", "Means want episodes."
        )
    thinking = Thinking(
        world, memory, bank, horizon, every, objective, clip, solver, budget, seconds, steps, habits, camera
    )
    contest = Contest(thinking, length, size, seed)
    arms = [Arm.parse(name, thinking) for name in agents]
    wanted = [Bar.parse(text, agents) for text in bars]
    chosen = Suite.load(suite)
    lists = {task: chosen.episodes(task, length, most) for task in tasks}
    chosen.verify(spec for specs in lists.values() for spec in specs)
    players = {
        task: [_player(contest, arm, specs[0], chosen, Path(out)) for arm in arms] for task, specs in lists.items()
    }
    print(cost(contest, arms, lists, least), flush=True)
    rows, verdicts = decided(contest, players, lists, wanted, least)
    summary, differences = summarise(rows), compare(rows)
    print(table(summary, differences))
    result = {
        "suite": {"name": chosen.name, "sha256": chosen.digest},
        "asked": {"agents": list(agents), "length": length, "least": least, "most": most, "seed": seed, "size": size},
        "thinking": vars(thinking),
        "bars": verdicts,
        "rows": [row.plain() for row in rows],
        "summary": summary,
        "differences": differences,
    }
    write_bytes(Path(out) / "plan.json", (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
    return result


def decided(
    contest: Contest,
    players: Mapping[str, Sequence[Player]],
    lists: Mapping[str, Sequence[EpisodeSpec]],
    bars: Sequence[Bar],
    least: int,
) -> tuple[list[Row], dict[str, Any]]:
    """All rows, and what became of each task's bars."""
    rows: list[Row] = []
    verdicts = {}
    for task, specs in lists.items():
        played = contested(contest, players[task], specs, bars, least)
        rows += [row for part in played.values() for row in part]
        verdicts[task] = [_told(bar, played) for bar in bars]
        for bar in bars:
            print(f"{task}: {bar}: {bar.verdict(played)} (success off by {cell(bar.gap(played), 2)})", flush=True)
    return rows, verdicts


def contested(
    contest: Contest, players: Sequence[Player], specs: Sequence[EpisodeSpec], bars: Sequence[Bar], least: int
) -> dict[str, list[Row]]:
    """Rows by agent, as many episodes as the bars want; what was played before is not played again."""
    there = {player.arm.name: {row.index: row for row in player.file.read()} for player in players}
    played: dict[str, list[Row]] = {player.arm.name: [] for player in players}
    with tqdm(total=len(specs) * len(players), unit="episode", desc=specs[0].task, leave=False, disable=None) as bar:
        for number, spec in enumerate(specs):
            for player in players:
                row = there[player.arm.name].get(spec.index)
                if row is None:
                    row = contest.play(player.arm, spec)
                    player.file.append([row])
                played[player.arm.name].append(row)
                bar.update()
            looked = number + 1 - least
            if bars and looked >= 0 and looked % LOOKS == 0 and all(one.verdict(played) != "open" for one in bars):
                break
    return played


def cost(contest: Contest, arms: Sequence[Arm], lists: Mapping[str, Sequence[EpisodeSpec]], least: int) -> str:
    """What it may take, measured on one plan of each agent and task."""
    lines = [f"{'at most, minutes for ' + str(least) + ' episodes':<34}{'of ' + str(contest.length):>12}"]
    total = 0.0
    for task, specs in lists.items():
        for arm in arms:
            minutes = contest.seconds(arm, specs[0]) * least / 60
            total += minutes
            lines.append(f"  {task:<12}{arm.name:<20}{minutes:>12.1f}")
    return "\n".join([*lines, f"  {'all':<32}{total:>12.1f}"])


def _player(contest: Contest, arm: Arm, spec: EpisodeSpec, suite: Suite, out: Path) -> Player:
    """What decides its rows is in the name of their file."""
    env = contest.make(spec)
    agent = arm.agent(env, spec.task, 0, contest.thinking)
    env.close()
    seen = {"size": contest.size, "camera": contest.thinking.camera}
    decides = {**arm.card(agent, contest.thinking), "suite": suite.digest, **seen, "seed": contest.seed}
    return Player(arm, RowFile(out / "rows", f"{arm.name}-{spec.task}-{contest.length}", decides))


def _told(bar: Bar, rows: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    gap = bar.gap(rows)
    return {"bar": str(bar), "verdict": bar.verdict(rows), "gap": gap.to_json()}
