"""Agents: what they are shown, how they are found, and Stable-Baselines3 policies as they are."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from sfvgen_agents.agent import SHOWN, shown
from sfvgen_agents.loading import EXPERTS, MEMORY_TASKS, identify, load_agent
from sfvgen_agents.playing import play
from sfvgen_agents.policies import PolicyAgent, algorithm_of
from sfvgen_envs.suites import EpisodeSpec
from sfvgen_planner.errors import BadOption, UnknownName

SPEC = EpisodeSpec("reach", "sfvgen_envs:sfvgen/Reach-v0", "short", 0, 7, "test", "fixed", {}, None, "")


class Curious:
    """Notes all it is shown, and stands still."""

    def __init__(self, task: str = "", seed: int = -1) -> None:
        self.task, self.number, self.seen = task, seed, set[str]()

    def reset(self, observation: Any, info: Any) -> None:
        self.seen |= set(info)

    def act(self, observation: Any, info: Any) -> Any:
        self.seen |= set(info)
        assert isinstance(info["instruction"], str)
        return np.zeros(4, np.float32)


class Trusted(Curious):
    """Asks for the truth."""

    privileged = True


class Demanding:
    def __init__(self, weights: str) -> None:
        pass


class Shapeless:
    pass


class Recurrent:
    """Predicts as SB3 does, and notes what it was given."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.observation_space, self.calls = space, list[Any]()

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        self.calls.append((observation, state, episode_start.copy(), deterministic))
        return np.zeros(4, np.float32), (state or 0) + 1


@pytest.fixture(scope="module")
def env() -> Any:
    made = SPEC.make(size=16)
    yield made
    made.close()


def test_the_truth_reaches_only_those_who_ask(env: gym.Env[Any, Any]) -> None:
    curious, trusted = Curious(), Trusted()
    play(env, curious, SPEC)
    play(env, trusted, SPEC)
    assert curious.seen <= set(SHOWN)
    assert {"instruction", "goal"} <= curious.seen
    assert {"privileged", "success", "waypoint_distance"} <= trusted.seen


def test_what_a_task_adds_to_info_is_hidden_until_somebody_decides() -> None:
    assert shown({"instruction": "go", "where_the_cube_was": 1}, Curious()) == {"instruction": "go"}


def test_playing_is_a_function_of_the_episode(env: gym.Env[Any, Any]) -> None:
    first, again = (play(env, load_agent("random", "reach", 3, env.action_space), SPEC) for _ in range(2))
    other = play(env, load_agent("random", "reach", 4, env.action_space), SPEC)
    assert (first.total, first.waypoint_distance, first.steps) == (again.total, again.waypoint_distance, again.steps)
    assert first.total != other.total
    assert first.seconds > 0


def test_the_expert_solves_what_standing_still_does_not(env: gym.Env[Any, Any]) -> None:
    assert play(env, load_agent("expert", "reach", 0), SPEC).success
    still = play(env, Curious(), SPEC)
    assert not still.success
    assert still.steps == env.unwrapped.horizon  # type: ignore[attr-defined]


def test_your_own_class_is_given_task_and_seed() -> None:
    agent = load_agent(f"{__name__}:Curious", "reach", 5)
    assert isinstance(agent, Curious)
    assert (agent.task, agent.number) == ("reach", 5)
    card = identify(f"{__name__}:Curious", agent)
    assert card["class"].endswith(":Curious")
    assert len(card["sha256"]) == 64


def test_every_task_has_its_expert_and_memory_tasks_their_guess() -> None:
    for task in EXPERTS:
        assert load_agent("expert", task, 0).privileged  # type: ignore[attr-defined]
    for task in MEMORY_TASKS:
        assert load_agent("guess", task, 0).belief == "guess"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("expret", UnknownName, "'expert'"),
        ("no_such_module:Agent", UnknownName, "module 'no_such_module'"),
        (f"{__name__}:Curiuos", UnknownName, "'Curious'"),
        (":Agent", UnknownName, "module:Class"),
        (f"{__name__}:Demanding", BadOption, "requires 'weights'"),
        (f"{__name__}:Shapeless", BadOption, "without reset and act"),
        (Shapeless(), BadOption, "without reset and act"),
    ],
)
def test_agents_that_cannot_be(spec: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load_agent(spec, "reach", 0)


def test_only_memory_tasks_have_a_guess() -> None:
    with pytest.raises(UnknownName, match="cube_return"):
        load_agent("guess", "reach", 0)


def test_missing_policy_tells_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "policy_10.zip").write_bytes(b"")
    with pytest.raises(UnknownName, match="policy_10"):
        load_agent(str(tmp_path / "policy_1.zip"), "reach", 0)
    with pytest.raises(BadOption, match="did not save"):
        load_agent(str(tmp_path / "policy_10.zip"), "reach", 0)


def test_anything_that_predicts_is_an_agent(env: gym.Env[Any, Any]) -> None:
    model = Recurrent(spaces.Dict({"pose": env.observation_space["pose"]}))  # type: ignore[index]
    agent = load_agent(model, "reach", 0)
    for _ in range(2):
        model.calls.clear()
        result = play(env, agent, SPEC)
        assert [call[1] for call in model.calls] == [None, *range(1, result.steps)]
        assert [bool(call[2][0]) for call in model.calls] == [True] + [False] * (result.steps - 1)
        assert all(call[3] and set(call[0]) == {"pose"} for call in model.calls)


def test_a_policy_of_other_observations_is_told_so(env: gym.Env[Any, Any]) -> None:
    agent = load_agent(Recurrent(spaces.Dict({"lidar": spaces.Box(0, 1, (3,))})), "reach", 0)
    with pytest.raises(BadOption, match="lidar"):
        play(env, agent, SPEC)


def test_importing_agents_loads_no_torch() -> None:
    code = "import sys, sfvgen_agents.loading, sfvgen_agents.playing; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "stable_baselines3", "mujoco", "sfvgen_envs"} & set(loaded)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PPO", "A2C", "SAC", "TD3"])
def test_a_saved_policy_plays_as_it_is(name: str, tmp_path: Path) -> None:
    import stable_baselines3

    env = SPEC.make(size=36)  # the least that SB3's convolutions take

    settings = {"buffer_size": 10} if name in ("SAC", "TD3") else {"n_steps": 64}
    model = getattr(stable_baselines3, name)("MultiInputPolicy", env, seed=0, device="cpu", **settings)
    model.save(tmp_path / "policy.zip")
    assert algorithm_of(tmp_path / "policy.zip") == f"stable_baselines3:{name}"
    saved = load_agent(str(tmp_path / "policy.zip"), "reach", 0)
    assert isinstance(saved, PolicyAgent)
    assert saved.parameters == {"algorithm": name}
    as_it_is, loaded, bare = (play(env, load_agent(x, "reach", 0), SPEC) for x in (model, saved, model.policy))
    assert as_it_is.total == loaded.total == bare.total
    env.close()


@pytest.mark.slow
def test_a_policy_trained_on_pictures_of_another_size_is_told_so(env: gym.Env[Any, Any], tmp_path: Path) -> None:
    from stable_baselines3 import PPO

    larger = SPEC.make(size=36)
    agent = load_agent(PPO("MultiInputPolicy", larger, n_steps=64, device="cpu"), "reach", 0)
    with pytest.raises(BadOption, match="size and wrappers"):
        play(env, agent, SPEC)
    larger.close()
