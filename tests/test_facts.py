"""Laws of facts: what data and planners say arrives as it was said, or not at all."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from condition_fakes import ARM, CAR, GAME, LAYOUT, encoder, facts, window
from data_fakes import described, random_episode
from torch.testing import assert_close

from sfvgen_planner.data import Dataset, Windows
from sfvgen_planner.errors import BadAction, BadCheckpoint, BadOption, UnknownName
from sfvgen_planner.types import Actions
from sfvgen_planner.world.dropout import DropRates, drop
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.layout import Embodiment, Layout, Motion


@pytest.mark.parametrize("rate", ["action", "text", "pose", "past", "wholly"])
def test_dropout_drops_what_it_is_asked_to(rate: str) -> None:
    told = facts(rows=400, frames=4)
    rates = replace(DropRates(0, 0, 0, 0, 0), **{rate: 0.3})
    left = drop(told, rates, torch.Generator().manual_seed(1), past=1)
    acted, could = left.vectors_known.any(-1) | (left.ids >= 0), told.vectors_known.any(-1) | (told.ids >= 0)
    spoken = torch.tensor([[bool(text) for text in row] for row in left.texts])
    said = torch.tensor([[bool(text) for text in row] for row in told.texts])
    lost = {
        "action": could & ~acted,
        "text": said & ~spoken,
        "pose": told.poses_known & ~left.poses_known,
        "name": (told.named & ~left.named)[:, None].expand(-1, 4),
    }
    expected = {
        "action": ["action"],
        "text": ["text"],
        "pose": ["pose"],
        "past": ["action", "text"],
        "wholly": ["action", "text", "pose", "name"],
    }[rate]
    share = {"action": could, "text": said, "pose": told.poses_known, "name": torch.ones(1200, 4, dtype=torch.bool)}
    for what, gone in lost.items():
        if what not in expected:
            assert not gone.any()
        elif rate == "past":
            assert gone[:, 0].sum() / share[what][:, 0].sum() == pytest.approx(0.3, abs=0.05)
            assert not gone[:, 1:].any()
        else:
            assert gone.sum() / share[what].sum() == pytest.approx(0.3, abs=0.05)
            assert (gone.sum(1) == share[what].sum(1))[gone.any(1)].all(), "a row loses all of it or nothing"


def test_dropout_draws_independently_and_repeats_with_its_generator() -> None:
    told = facts(rows=400, frames=2)
    one, two = (drop(told, DropRates(0.5, 0, 0.5, 0, 0), torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one.vectors_known, two.vectors_known)
    no_action, no_pose = ~one.vectors_known.any(-1)[:800, 0], ~one.poses_known[:800, 0]
    assert (no_action & no_pose).float().mean() == pytest.approx(0.25, abs=0.05)
    whole = drop(told, DropRates(0, 0, 0, 0, 0), torch.Generator())
    assert all(np.array_equal(getattr(whole, f.name), getattr(told, f.name)) for f in fields(told))


def test_nothing_was_done_before_an_episode_began() -> None:
    for body in (ARM, GAME):
        given = window(np.random.default_rng(0), 2, 4, body)
        given.actions[:, 0] = 0
        begun = replace(given, start=np.array([0, 6]))
        if body is GAME:
            given.actions[1, 0] = 1
        told = Facts.of_window(begun, LAYOUT, body.name, None)
        acted = told.vectors_known.any(-1) | (told.ids >= 0)
        assert acted.tolist() == [[False, True, True, True], [True] * 4]
        assert told.texts[0][0] == ""
        assert told.texts[1][0] == given.phrases[1][0]


def test_windows_of_a_data_set_are_facts(tmp_path) -> None:
    body = Embodiment("fake", size=2, low=(-1.0,) * 2, high=(1.0,) * 2, cameras={"eye": 60.0})
    with Dataset.create(tmp_path / "set", described()) as dataset:
        dataset.append(random_episode(0))
    batch = Windows(dataset, 6).sample(np.random.default_rng(0), 3)
    told = Facts.of_window(batch, Layout((body,)), "fake", "eye")
    np.testing.assert_array_equal(told.poses, batch.poses)
    np.testing.assert_array_equal(told.vectors, batch.actions)
    assert told.texts[1][2] == batch.phrases[1][2]


def test_a_planners_actions_are_those_of_the_data() -> None:
    rng, world = np.random.default_rng(0), encoder()
    given = window(rng, 6, 8)
    plan = Actions("vector", torch.from_numpy(given.actions).reshape(2, 3, 8, 4))
    said = Facts.of_window(given, LAYOUT, "arm", "fixed").withhold(texts=torch.ones(6, dtype=torch.bool))
    planned = Facts.of_actions(plan, LAYOUT, "arm", "fixed")
    assert_close(world.tell(planned)[0], world.tell(said)[0])
    assert not planned.poses_known.any()
    spoken = Facts.of_actions(Actions("phrase", np.array([[[1, 2]]])), LAYOUT, "arm", "fixed")
    assert spoken.texts == (("move left",) * 8 + ("move right",) * 8,)
    ids = Facts.of_actions(Actions("discrete", np.array([[[1, 5]]])), LAYOUT, "game", None)
    assert ids.ids.tolist() == [[0, 4]]


def test_a_layout_survives_json() -> None:
    motion = Motion(0.1, 0.2, (1.0, 2.0), (1.0, 1.0), (0.5, 0.1))
    layout = LAYOUT.adding(replace(ARM, motion=motion))
    assert layout["arm"].motion == motion
    assert Layout.from_json(layout.to_json()) == layout
    free = Layout((replace(CAR, low=(float("-inf"),) * 2, high=(float("inf"),) * 2),))
    assert Layout.from_json(free.to_json()) == free
    assert torch.isfinite(encoder(free).tell(Facts.of_window(window_of_free(), free, "car", "eye"))[0]).all()


def window_of_free():
    return window(np.random.default_rng(0), body=CAR)


def test_bad_input_is_named(tmp_path) -> None:
    good = window(np.random.default_rng(0))
    bad = good.actions.copy()
    bad[0, 0, 0] = np.nan
    blind = good.poses.copy()
    blind[0, 0, 0] = np.nan
    with pytest.raises(UnknownName, match="arm"):
        Facts.of_window(good, LAYOUT, "arms", "fixed")
    with pytest.raises(UnknownName, match="sweep"):
        Facts.of_window(good, LAYOUT, "arm", "sweeps")
    with pytest.raises(BadAction, match=r"\[R, T, 4\]"):
        Facts.of_window(replace(good, actions=good.actions[..., :3]), LAYOUT, "arm", "fixed")
    with pytest.raises(BadAction, match="NaN"):
        Facts.of_window(replace(good, actions=bad), LAYOUT, "arm", "fixed")
    with pytest.raises(BadOption, match="NaN"):
        Facts.of_window(replace(good, poses=blind), LAYOUT, "arm", "fixed")
    with pytest.raises(BadOption, match=r"\[R, T, 9\]"):
        Facts.of_window(replace(good, poses=good.poses[..., :7]), LAYOUT, "arm", "fixed")
    with pytest.raises(BadAction, match="within"):
        Facts.of_actions(Actions("vector", np.full((1, 1, 2, 4), 1.1)), LAYOUT, "arm", "fixed")
    with pytest.raises(BadAction, match="discrete"):
        Facts.of_actions(Actions("discrete", np.ones((1, 1, 2), int)), LAYOUT, "arm", "fixed")
    with pytest.raises(BadAction, match="1 to 5"):
        Facts.of_actions(Actions("discrete", np.zeros((1, 1, 2), int)), LAYOUT, "game", None)
    with pytest.raises(BadAction, match="0 to 2"):
        Facts.of_actions(Actions("phrase", np.full((1, 1, 1), 3)), LAYOUT, "arm", "fixed")
    with pytest.raises(BadOption, match="without a text encoder"):
        encoder(words=False).tell(facts())
    with pytest.raises(BadOption, match="layout pads"):
        encoder(Layout((CAR,))).tell(facts())
    with pytest.raises(BadOption, match="0 to 1"):
        DropRates(action=1.5)
    with pytest.raises(BadOption, match="bounds"):
        Embodiment("x", size=2)
    with pytest.raises(BadCheckpoint, match="version 9"):
        Layout.from_json('{"version": 9, "embodiments": []}')
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        Layout.from_json("{")


def test_no_frames_are_no_facts_of_as_many_rows() -> None:
    """A memory is written without a past; asking for it once ended in a bare RuntimeError."""
    facts = Facts.of_poses(torch.zeros(3, 0, LAYOUT[ARM.name].pose_size), LAYOUT, ARM.name, None)
    assert (facts.rows, facts.frames) == (3, 0)
