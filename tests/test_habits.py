"""Habits: what somebody who knows how would do next, learned from who did, told by picture, senses and words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from run_fakes import goes_on
from safetensors.torch import load_file, save_file
from world_fakes import BODY, tiny_world, toy_set

from sfvgen_agents.behaviours import MixedAgent
from sfvgen_agents.habits import HabitAgent, Habitual
from sfvgen_agents.loading import load_agent
from sfvgen_agents.planning import planner_agent
from sfvgen_experiments.collect import seeds_of
from sfvgen_experiments.experts import able, of_experts
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.habits import Practised, train_habits
from sfvgen_planner.learning.run import RunConfig
from sfvgen_planner.planning import Goal
from sfvgen_planner.planning.noise import Noise
from sfvgen_planner.types import Context
from sfvgen_planner.world.habits import AHEAD, WAYS, HabitHead, Habits, said
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.proposing import drawn, habits_of

SPACE = spaces.Box(-1, 1, (2,), np.float32)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_set(tmp_path_factory.mktemp("toys") / "toy")


@pytest.fixture(scope="module")
def lived(toys: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Practised:
    return of_experts(toys, tiny_world().codec, tmp_path_factory.mktemp("latents"), None)


def knowing() -> WorldModel:
    """A world that has habits, whatever they are worth."""
    world = tiny_world()
    world.habits.known[:] = True
    return world


def look(rows: int = 2) -> Context:
    pixels = np.random.default_rng(0).integers(0, 255, (rows, 1, 16, 16, 3)).astype(np.uint8)
    poses = np.zeros((rows, 1, 9), np.float32)
    poses[..., 3] = 1
    poses[..., 7] = np.arange(rows)[:, None]
    return Context(pixels, poses)


def test_the_loss_is_how_unlikely_a_mixture_finds_what_was_done() -> None:
    rng = np.random.default_rng(0)
    chance = np.log(rng.dirichlet(np.ones(WAYS), 3))
    actions, doubt = rng.normal(size=(3, WAYS, 4, 2)), rng.uniform(0.1, 1, (3, WAYS, 4, 2))
    done, seen = rng.normal(size=(3, 4, 2)), rng.random((3, 4, 2)) < 0.7
    total = 0.0
    for row in range(3):
        each = [
            chance[row, way]
            + sum(
                -0.5 * ((done[row, h, a] - actions[row, way, h, a]) / doubt[row, way, h, a]) ** 2
                - np.log(doubt[row, way, h, a])
                for h, a in np.argwhere(seen[row])
            )
            for way in range(WAYS)
        ]
        total -= np.log(np.exp(each).sum())
    told = Habits(*(torch.from_numpy(one) for one in (chance, actions, doubt)))
    loss = HabitHead((4, 4, 4), 2, 2, 3, 1).loss(told, torch.from_numpy(done), torch.from_numpy(seen))
    assert float(loss) == pytest.approx(total / seen.sum())


def test_two_ways_of_doing_it_stay_two() -> None:
    """A mean of left and right runs into what both go around."""
    torch.manual_seed(0)
    head = HabitHead((4, 4, 4), 2, 2, 3, 1, dim=16)
    latents, senses, words = torch.zeros(64, 4, 4, 4), torch.zeros(64, 2), torch.zeros(64, 3)
    sides = torch.where(torch.arange(64) % 4 == 0, -0.8, 0.8)[:, None, None].expand(-1, AHEAD, 2)
    optimiser = torch.optim.Adam(head.parameters(), 0.01)
    for _ in range(150):
        loss = head.loss(head(latents, senses, torch.zeros(64).long(), words), sides, torch.ones(64, AHEAD, 2).bool())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    one = head(latents[:1], senses[:1], torch.zeros(1).long(), words[:1])
    one = Habits(*(part.detach() for part in (one.chance, one.actions, one.doubt)))
    noise = np.random.default_rng(0)
    ways = drawn(one, noise.random((1, 200)), np.zeros((1, 200, 2)), -np.ones(2), np.ones(2))[0]
    assert np.abs(np.abs(ways).mean((1, 2)) - 0.8).max() < 0.3
    assert 0.1 < (ways[:, 0, 0] < 0).mean() < 0.45
    assert np.allclose(ways[0], 0.8, atol=0.1)


def test_colours_are_heard_in_whatever_order_and_silence_is_nothing() -> None:
    text = tiny_world().encoder.text
    left, right, turned, nothing = said(text, ["go left", "go right", "left go", ""])
    assert not torch.allclose(left, right, atol=0.1)
    torch.testing.assert_close(left, turned)
    assert not nothing.any()
    assert not said(text, ["go left"], 1.0).any()
    once, again = (said(text, ["go left"] * 50, 0.5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(once, again)
    assert 0.2 < (once != left).any(1).float().mean() < 1
    assert said(text, ["go left " * 40]).isfinite().all()
    assert said(None, ["go left"]).shape == (1, 1)


def test_what_is_learned_is_what_followed_until_somebody_else_took_over(lived: Practised, toys: Dataset) -> None:
    mask = np.zeros(30, bool)
    mask[3:9] = mask[26:] = True
    one = Practised(lived.latents, lived.told, [mask] * len(lived.able))
    world, rng = tiny_world(), np.random.default_rng(0)
    lesson = one.sample(rng, 200, world.encoder.layout)
    steps = one.places[np.random.default_rng(0).integers(len(one.places), size=200)]
    assert set(steps[:, 1]) == {*range(3, 9), *range(26, 30)}
    for row, (episode, step) in enumerate(steps):
        known = lesson.done[row].any(-1).sum()
        assert known == (9 - step if step < 9 else 30 - step)
        assert lesson.done[row, :known].all()
        true = toys[int(episode)].actions[step : step + known]
        assert np.array_equal(lesson.facts.vectors[row, :known], true)
        assert np.array_equal(lesson.facts.poses[row, 0], toys[int(episode)].poses[step])
        assert lesson.texts[row] == "go"


def test_only_habits_learn_and_they_learn(lived: Practised, tmp_path: Path) -> None:
    world = tiny_world()
    before = {name: value.clone() for name, value in world.state_dict().items()}
    losses: list[float] = []
    run = RunConfig(60, 3e-3, warmup=2, average=0.9)
    after = train_habits(world, [lived], tmp_path, run, 16, listen=lambda step: losses.append(step.loss))
    changed = {name for name, value in after.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("habits.") for name in changed)
    assert np.mean(losses[-20:]) < np.mean(losses[:20])
    again = WorldModel.from_pretrained(tmp_path / "world")
    assert again.habits.known.all()
    told, read = (habits_of(one, "toy", look()) for one in (after, again))
    torch.testing.assert_close(told.actions, read.actions)


def test_a_killed_run_goes_on_to_the_same_habits(lived: Practised, tmp_path: Path) -> None:
    goes_on(lambda folder, run, listen: train_habits(tiny_world(), [lived], folder, run, 4, listen=listen), tmp_path)


def test_where_nobody_knows_how_nothing_is_learned(lived: Practised, tmp_path: Path) -> None:
    nobody = Practised(lived.latents, lived.told, [np.zeros_like(one) for one in lived.able])
    with pytest.raises(BadOption, match="nobody knows how"):
        train_habits(tiny_world(), [nobody], tmp_path, RunConfig(1), 4)


def test_a_world_from_before_there_were_habits_is_read_and_says_that_it_has_none(tmp_path: Path) -> None:
    knowing().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    whole = load_file(file)
    save_file({name: value for name, value in whole.items() if not name.startswith("habits.")}, file)
    world = WorldModel.from_pretrained(tmp_path)
    assert not world.habits.known.any()
    for asked in (lambda: habits_of(world, "toy", look()), lambda: act(HabitAgent("toy", world))):
        with pytest.raises(BadOption, match=r"habits of 'toy'.*learn=habits"):
            asked()
    save_file({name: value for name, value in whole.items() if name != "habits.feel.weight"}, file)
    with pytest.raises(BadOption, match=r"habits\.feel\.weight"):
        WorldModel.from_pretrained(tmp_path)


def test_a_grown_world_keeps_its_habits_and_has_none_for_who_is_new() -> None:
    world = knowing()
    grown = world.grown(world.encoder.layout.adding(replace(BODY, name="other"))).eval()
    assert grown.habits.known.tolist() == [True, False]
    torch.testing.assert_close(habits_of(grown, "toy", look()).actions, habits_of(world, "toy", look()).actions)
    longer = world.grown(world.encoder.layout.adding(replace(BODY, name="other", pose_size=12)))
    assert longer.habits.known.tolist() == [False, False]


def test_proposals_keep_the_bounds_begin_with_the_likeliest_and_know_no_neighbour() -> None:
    body = replace(BODY, low=(0.0, -2.0), high=(1.0, 3.0))
    world = tiny_world(body=body)
    world.habits.known[:] = True
    with torch.no_grad():
        world.habits.tell[-1].bias += torch.randn_like(world.habits.tell[-1].bias)
    propose, goal = Habitual(world, "toy"), Goal(text=("go left", "go right"))
    ways = propose(look(2), goal, 12, Noise(np.array([3, 4])))
    assert ways.shape == (2, 12, AHEAD, 2)
    assert (ways >= [0, -2]).all()
    assert (ways <= [1, 3]).all()
    assert ways.std(1).max() > 0.1
    told = habits_of(world, "toy", look(2), goal.text)
    likeliest = told.actions[torch.arange(2), told.chance.argmax(1)].clamp(-1, 1).numpy()
    assert np.allclose(ways[:, 0], np.array([0, -2]) + (likeliest + 1) / 2 * [1, 5], atol=1e-6)
    second = Context(look(2).pixels[1:], look(2).poses[1:])
    alone = propose(second, Goal(text=("go right",)), 12, Noise(np.array([4])))
    assert np.allclose(alone[0], ways[1], atol=1e-6)


def act(agent: Any, steps: int = 6) -> np.ndarray:
    context = look(1)
    seen = {"pixels": context.pixels[0, 0], "pose": context.poses[0, 0]}
    agent.reset(seen, {"instruction": "go left"})
    return np.stack([agent.act(seen, {"instruction": "go left"}) for _ in range(steps)])


def test_the_agent_does_the_likeliest_for_a_few_steps_and_looks_again() -> None:
    world = knowing()
    likeliest = Habitual(world, "toy")(look(1), Goal(text=("go left",)), 1, Noise(np.zeros(1, np.int64)))[0, 0]
    done = act(HabitAgent("toy", world, every=4))
    assert np.allclose(done, np.concatenate([likeliest[:4], likeliest[:2]]), atol=1e-6)
    with pytest.raises(BadOption, match="every=17"):
        HabitAgent("toy", world, every=17)


def test_its_card_changes_with_its_habits() -> None:
    world = knowing()
    before = HabitAgent("toy", world).parameters
    with torch.no_grad():
        world.habits.feel.weight += 1
    assert HabitAgent("toy", world).parameters != before


def test_a_planner_begins_with_them_and_words_do_not() -> None:
    agent = planner_agent("toy", 0, SPACE, knowing(), budget="tiny", habits=1.0, horizon=8)
    act(agent, 1)
    assert agent.way.proposals is not None
    assert agent.parameters["habits"] == 1.0
    assert planner_agent("toy", 0, SPACE, tiny_world(), budget="tiny").way.proposals is None
    with pytest.raises(BadOption, match=r"habits=0\.5 with solver=beam"):
        planner_agent("toy", 0, SPACE, knowing(), solver="beam", habits=0.5)
    with pytest.raises(BadOption, match="habits of 'toy'"):
        act(planner_agent("toy", 0, SPACE, tiny_world(), budget="tiny", habits=0.5), 1)


def test_they_are_found_by_name() -> None:
    assert isinstance(load_agent("habits", "reach", 0), HabitAgent)


def test_an_experts_turns_are_known_from_the_card() -> None:
    """Of mixed episodes the cards alone tell who acted, so that what noise did is no habit."""

    class Says:
        def __init__(self, what: int) -> None:
            self.what = what

        def reset(self, *_: Any) -> None: ...

        def act(self, *_: Any) -> int:
            return self.what

    for number in range(5):
        _, seed, _ = seeds_of(3, number)
        mixed = MixedAgent(Says(1), [Says(0), Says(0)], seed=seed)
        mixed.reset({}, {})
        done = [mixed.act({}, {}) for _ in range(100)]
        card = {"behaviour": "mixed", "number": number, "collect": {"seed": 3}}
        assert np.array_equal(able(card, 100), np.array(done, bool))
        assert 0 < sum(done) < 100
    known = {name: able({"behaviour": name}, 4).all() for name in ("expert", "mine.zip", "random", "phrases", "wander")}
    assert known == {"expert": True, "mine.zip": True, "random": False, "phrases": False, "wander": False}
    assert able({}, 3).all()
