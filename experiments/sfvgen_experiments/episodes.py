"""Plays many episodes with several processes. Which process plays which, and in what order, changes nothing."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

import gymnasium as gym

from sfvgen_agents.agent import Agent, is_privileged
from sfvgen_agents.loading import load_agent
from sfvgen_agents.playing import play
from sfvgen_envs.suites import EpisodeSpec
from sfvgen_experiments.rows import Row
from sfvgen_planner.errors import BadOption

if TYPE_CHECKING:
    from sfvgen_planner.world.model import WorldModel

REAL, DREAM = "real", "dream"
"""Where episodes are played."""


@dataclass(frozen=True)
class Settings:
    """How episodes are shown, and by how many threads an agent may think."""

    camera: str
    size: int
    threads: int
    world: str | None = None
    """folder of the world that dreams are dreamt with, and that reads goals; the shipped one if not given"""
    steps: int = 1
    """of its sampler"""

    def make(self, spec: EpisodeSpec) -> gym.Env[Any, Any]:
        """The environment of an episode."""
        return spec.make(camera=self.camera, size=self.size)

    def dream(self, spec: EpisodeSpec, world: "WorldModel") -> gym.Env[Any, Any]:
        """A dream of it, which begins with its first frame."""
        from sfvgen_envs.dream import DreamConfig
        from sfvgen_planner.world.sampler import SamplerConfig

        env = gym.make(
            "sfvgen/Dream-v0",
            disable_env_checker=True,
            task=spec.task,
            world=world,
            split=spec.split,
            length=spec.length,
            camera=self.camera,
            config=DreamConfig(sampler=SamplerConfig(self.steps)),
        )
        seen = dict(env.observation_space)["pixels"].shape  # type: ignore[call-overload]
        if seen != (self.size, self.size, 3):
            raise BadOption(f"size={self.size} with a world that dreams {seen}", f"size={seen[0]}", "Change `size`.")
        return env


@dataclass(frozen=True)
class Job:
    """One episode to play."""

    player: int
    label: str
    spec: str
    """what `load_agent` takes"""
    where: str
    episode: EpisodeSpec
    agent_seed: int


class Stage:
    """Plays jobs, keeping environments, and those agents that can be told a new seed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._envs: dict[tuple[str, str, str], gym.Env[Any, Any]] = {}
        self._world: WorldModel | None = None
        self._agents: dict[tuple[str, str, int], Agent] = {}
        _limit_threads(settings.threads)

    def play(self, job: Job) -> Row:
        """One episode; an error says which it was."""
        episode = job.episode
        env = self._env(episode, job.where)
        try:
            agent = self._agent(job, env)
            if job.where == DREAM and is_privileged(agent):
                raise BadOption(
                    f"{job.label}, who sees the simulator's truth", "another agent", "A dream has no truth."
                )
            result = play(env, agent, episode)
        except Exception as error:
            error.add_note(f"{job.label} in {episode.task} {episode.length}, episode {episode.index}")
            raise
        return Row(
            agent=job.label,
            where=job.where,
            task=episode.task,
            length=episode.length,
            index=episode.index,
            seed=episode.seed,
            agent_seed=job.agent_seed,
            success=result.success,
            total=result.total,
            waypoint_distance=result.waypoint_distance,
            steps=result.steps,
            seconds=result.seconds,
        )

    def close(self) -> None:
        """Closes the environments."""
        for env in self._envs.values():
            env.close()

    def _env(self, episode: EpisodeSpec, where: str) -> gym.Env[Any, Any]:
        key = (episode.id, episode.length, where)
        if key not in self._envs:
            made = self._dream(episode) if where == DREAM else self.settings.make(episode)
            self._envs[key] = made
        return self._envs[key]

    def _dream(self, episode: EpisodeSpec) -> gym.Env[Any, Any]:
        if self._world is None:
            from sfvgen_planner.world.model import WorldModel

            self._world = WorldModel.from_pretrained(self.settings.world)
        return self.settings.dream(episode, self._world)

    def _agent(self, job: Job, env: gym.Env[Any, Any]) -> Agent:
        seed = crc32(f"{job.agent_seed} {job.episode.task} {job.episode.length} {job.episode.seed}".encode())
        key = (job.spec, job.episode.task, job.agent_seed)
        agent = self._agents.get(key)
        if agent is None:
            agent = load_agent(job.spec, job.episode.task, seed, env.action_space, self.settings.world)
            if callable(getattr(agent, "seed", None)):
                self._agents[key] = agent
        if key in self._agents:
            agent.seed(seed)  # type: ignore[attr-defined]
        return agent


def play_all(jobs: Sequence[Job], settings: Settings, workers: int) -> Iterator[tuple[Job, Row]]:
    """Rows as they are finished; 0 workers: in this process."""
    if workers == 0 or not jobs:
        stage = Stage(settings)
        for job in jobs:
            yield job, stage.play(job)
        stage.close()
        return
    # Spawned, not forked: torch and MuJoCo have threads by now, which a fork would leave locked.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=_begin, initargs=(settings,))
    try:
        futures: dict[Future[Row], Job] = {pool.submit(_work, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        hint = "Run the same command again, with fewer workers if memory was short: finished episodes are kept."
        raise BadOption(f"{workers} workers, one of which died", "enough memory for each", hint) from error
    finally:
        pool.shutdown(cancel_futures=True)


_stage: Stage | None = None


def _begin(settings: Settings) -> None:
    global _stage
    # The parent hears Ctrl-C and ends the pool; a worker that heard it too would only print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stage = Stage(settings)


def _work(job: Job) -> Row:
    if _stage is None:
        raise BadOption("a worker without a stage", "one started by play_all", "Do not call this directly.")
    return _stage.play(job)


def _limit_threads(threads: int) -> None:
    # torch reads the variable when it is first imported; sums over other numbers of threads differ in the last bit.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
