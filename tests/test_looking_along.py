"""What hangs in the air is four pixels wide: an errand looks for it along the ray on which it was seen."""

import numpy as np
import torch
from world_fakes import tiny_world

import sfvgen_agents.minds as minds
from sfvgen_agents.errands import Known, steps_of
from sfvgen_planner.types import Context
from sfvgen_planner.world.things import Found

EYE = np.array([1.0, 0.0, 1.0])
BALL = np.array([0.4, 0.1, 0.2])


def looked(monkeypatch: object, doubt: float, tip: np.ndarray, seen: float = 1.0) -> np.ndarray | None:
    """Where a ball is, for a mind whose world reads it so."""
    world = tiny_world()
    world.things.eye[0, :3] = torch.from_numpy(EYE).float()
    ray = (BALL - EYE) / np.linalg.norm(BALL - EYE)
    place, along = (torch.from_numpy(one).float()[None, None] for one in (BALL, doubt * np.abs(ray)))
    found = Found(place, along, torch.full((1, 1), seen), torch.zeros(1))
    monkeypatch.setattr(minds, "find", lambda *_: found)  # type: ignore[attr-defined]
    poses = np.concatenate([np.zeros(7), tip, np.zeros(4)])[None, None]
    return minds.LearnedMind(world, "toy").place_of(
        Context(np.zeros((1, 1, 16, 16, 3), np.uint8), poses), "the red ball"
    )


def test_what_is_surely_somewhere_is_one_place_and_what_is_not_seen_none(monkeypatch: object) -> None:
    sure = looked(monkeypatch, 0.01, np.zeros(3))
    assert sure is not None
    assert np.allclose(sure, BALL)
    assert looked(monkeypatch, 0.01, np.zeros(3), seen=-1.0) is None


def test_what_may_be_farther_is_many_places_on_one_ray_from_the_fingertips_on(monkeypatch: object) -> None:
    far, near = (looked(monkeypatch, 0.05, tip) for tip in (np.array([0.3, 0.1, 0.1]), np.array([0.6, 0.1, 0.4])))
    assert far is not None
    assert near is not None
    assert np.allclose(far, near[::-1])
    ray = (BALL - EYE) / np.linalg.norm(BALL - EYE)
    assert np.allclose(np.cross(near - EYE, ray), 0, atol=1e-5)
    assert np.allclose(near[len(near) // 2], BALL)
    away = (near - BALL) @ ray
    assert np.allclose(away[[0, -1]], [-0.1, 0.1], atol=1e-4)
    assert (np.diff(away) > 0).all()


def test_a_gripper_goes_to_each_of_them_but_takes_what_is_likeliest() -> None:
    places = np.stack([BALL - 0.05, BALL, BALL + 0.05])
    sweep = steps_of("move the gripper to the red ball (1 of 2)", Known(lambda name: places, lambda name: None))
    assert np.allclose([step.place for step in sweep], places)
    (straight,) = steps_of("move the gripper to the red ball", Known(lambda name: BALL, lambda name: None))
    assert np.allclose(straight.place, BALL)
    assert straight.near < sweep[0].near
    taken = steps_of("push the red cube onto the disc", Known(lambda name: places, lambda name: None))
    assert np.allclose(taken[0].place[:2], BALL[:2])
    assert taken == steps_of("push the red cube onto the disc", Known(lambda name: BALL, lambda name: None))
