"""What comes with the package hears what it is told."""

import gymnasium as gym
import numpy as np
import pytest

from sfvgen_envs.language import LanguageActions
from sfvgen_planner.types import POSE_CAMERA, Actions, Context
from sfvgen_planner.world.model import WorldModel

DIRECTIONS = ("move left", "move right", "move up", "move down", "move closer", "move away")


@pytest.mark.slow
def test_fingertips_are_foreseen_to_go_where_words_send_them() -> None:
    """After long training with words beside actions, all directions of an arm were one word, and nobody had noticed."""
    world = WorldModel.from_pretrained()
    words = LanguageActions(gym.make("sfvgen_envs:sfvgen/Reach-v0", size=64, length="short"), text=True)
    tips = slice(POSE_CAMERA, POSE_CAMERA + 3)
    told = Actions("phrase", np.array([words.phrases.index(one) for one in DIRECTIONS])[None, :, None])
    alike = []
    for seed in range(3):
        begin, _ = words.reset(seed=seed)
        context = Context(begin["pixels"][None, None], begin["pose"][None, None])
        foreseen = np.asarray(world.imagine_with(None, body="reach", pixels=False)(context, told).poses)[0, :, -1, tips]
        for phrase, tip in zip(DIRECTIONS, foreseen, strict=True):
            words.reset(seed=seed)
            after, *_ = words.step(phrase)
            way, dreamt = (place - begin["pose"][tips] for place in (after["pose"][tips], tip))
            alike.append(way @ dreamt / (np.linalg.norm(way) * np.linalg.norm(dreamt)))
    assert np.mean(alike) > 0.8
    assert min(alike) > 0
