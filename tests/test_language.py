"""Actions in words: one phrase, one chunk."""

import gymnasium as gym
import numpy as np
import pytest
from test_tasks import every_task, make, same

from sfvgen_envs import TASKS
from sfvgen_envs.language import LanguageActions, Namer
from sfvgen_planner.errors import UnknownName


@every_task
def test_a_phrase_lasts_exactly_one_chunk(task: str) -> None:
    env = LanguageActions(make(task))
    env.reset(seed=2)
    assert isinstance(env.action_space, gym.spaces.Discrete)
    for word in (0, 1, env.action_space.n - 1):
        before = env.task.steps
        *_, info = env.step(word)
        assert env.task.steps - before == len(info["frames"]) == 8


@every_task
def test_texts_and_numbers_say_the_same(task: str) -> None:
    spoken, numbered = LanguageActions(make(task), text=True), LanguageActions(make(task))
    for env in (spoken, numbered):
        env.reset(seed=2)
    for word, phrase in enumerate(spoken.phrases):
        assert spoken.action_space.contains(phrase)
        assert same(spoken.step(phrase)[0], numbered.step(word)[0])
        if word == 4:
            break


@every_task
def test_no_phrase_names_a_hidden_place(task: str) -> None:
    words = " ".join(make(task).phrases)
    assert not any(hidden in words for hidden in ("return", "back the way", "where it stood", "home street", "place"))


@pytest.mark.parametrize("task", ["reach", "push_cube", "cube_return"])
def test_what_was_done_is_named_by_what_was_said(task: str) -> None:
    env = make(task)
    env.reset(seed=0)
    namer = Namer(env)
    for phrase in ("move left", "move up", "move closer a little", "close the gripper", "move right", "wait"):
        env.say(phrase)
        namer.begin()
        for _ in range(8):
            action = env.obey()
            namer.watch(action)
            env.step(action)
        assert namer.name() == phrase


def test_moves_move_as_seen_in_the_picture() -> None:
    env = LanguageActions(make("reach"))
    env.reset(seed=0)
    for phrase, axis, length in (("move right", 1, 0.12), ("move left a little", 1, -0.02), ("move closer", 0, 0.12)):
        before = env.task.arm.target(env.task.data)
        env.step(env.phrases.index(phrase))
        moved = env.task.arm.target(env.task.data) - before
        np.testing.assert_allclose(moved[axis], length, atol=1e-6)


def test_phrases_alone_put_a_cube_into_the_box() -> None:
    env = LanguageActions(make("cube_return", length="short"), text=True)
    _, info = env.reset(seed=1)
    colour = info["instruction"].split()[2]
    go, lift = [f"move the gripper to the {colour} cube"] * 4, ["move up"] * 2
    for phrase in [*go, "close the gripper", *lift, *["move the gripper to the box"] * 4, "open the gripper", *lift]:
        *_, info = env.step(phrase)
    assert info["instruction"] == "move the gripper home"


def test_unknown_phrases_are_refused() -> None:
    env = LanguageActions(make("reach"))
    env.reset(seed=0)
    with pytest.raises(UnknownName, match="move left"):
        env.step("mov left")
    for number in (99, -1, np.nan, None):
        with pytest.raises(UnknownName, match=f"phrase number {number}"):
            env.step(number)


def test_every_task_is_registered() -> None:
    assert {spec for spec in gym.registry if spec.startswith("sfvgen/")} >= set(TASKS.values())
