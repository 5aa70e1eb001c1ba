"""The world as a whole: what it is given stays, what it imagines depends on nothing it should not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from world_fakes import BODY, tiny_world

from sfvgen_experiments.pack import Pack, main
from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import Actions, Context
from sfvgen_planner.world.dreamt import Dreamt
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.lowrank import LowRank, RowLinear
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

TWO = SamplerConfig(steps=2)
both_denoisers = pytest.mark.parametrize("kind", ["causal", "unet3d"])


def context(rows: int, frames: int = 3) -> Context:
    rng = np.random.default_rng(0)
    poses = np.zeros((rows, frames, 9), np.float32)
    poses[..., 3] = 1
    poses[..., 7:] = rng.normal(size=(rows, frames, 2))
    return Context(rng.integers(0, 256, (rows, frames, 16, 16, 3), np.uint8), poses)


def vectors(rows: int, candidates: int, steps: int) -> Actions:
    values = np.random.default_rng(1).uniform(-1, 1, (rows, candidates, steps, 2)).astype(np.float32)
    return Actions("vector", values)


def dream(world: WorldModel, rows: int, steps: int, seeds: Tensor, **given: object) -> Dreamt:
    layout = world.encoder.layout
    seen = context(rows)
    known = Facts.of_poses(seen.poses, layout, "toy", "fixed")
    new = Facts.of_actions(vectors(rows, 1, 16), layout, "toy", "fixed")[:steps]
    past = world.codec.encode(torch.from_numpy(seen.pixels))
    return world.dream(past, known, new, seeds, TWO, **given)  # type: ignore[arg-type]


@both_denoisers
def test_a_rollout_has_every_shape_that_was_promised(kind: str) -> None:
    rollout = tiny_world(kind).imagine_with(None, body="toy")(context(2), vectors(2, 3, 16))
    assert rollout.pixels is not None
    assert rollout.latents is not None
    assert rollout.pixels.shape == (2, 3, 16, 16, 16, 3)
    assert rollout.latents.shape == (2, 3, 16, 4, 4, 4)
    assert rollout.poses.shape == (2, 3, 16, 9)
    assert rollout.rewards.shape == rollout.success.shape == rollout.terminated.shape == (2, 3, 16)
    assert ((rollout.success >= 0) & (rollout.success <= 1)).all()


def test_phrases_are_imagined_too() -> None:
    imagine = tiny_world().imagine_with(None, body="toy")
    left, right = (imagine(context(1), Actions("phrase", np.array([[[word]]]))) for word in (0, 1))
    assert left.latents is not None
    assert left.latents.shape[2] == 8
    assert not torch.equal(left.latents, right.latents)


def test_the_context_comes_out_unchanged() -> None:
    given = context(2)
    pixels, poses = given.pixels.copy(), given.poses.copy()
    tiny_world().imagine_with(None, body="toy")(given, vectors(2, 2, 8))
    assert np.array_equal(given.pixels, pixels)
    assert np.array_equal(given.poses, poses)


@both_denoisers
def test_rows_do_not_know_their_neighbours(kind: str) -> None:
    imagine = tiny_world(kind).imagine_with(None, body="toy")
    actions, seen = vectors(3, 2, 8), context(3)
    together = imagine(seen, actions).latents
    seen.pixels[1] = 0
    again = imagine(seen, actions).latents
    assert together is not None
    assert again is not None
    assert torch.equal(together[0], again[0])
    assert torch.equal(together[2], again[2])
    assert not torch.equal(together[1], again[1])


def test_candidates_with_equal_actions_share_their_noise() -> None:
    actions = vectors(1, 3, 8)
    actions.values[0, 2] = actions.values[0, 0]
    latents = tiny_world().imagine_with(None, body="toy")(context(1), actions).latents
    assert latents is not None
    torch.testing.assert_close(latents[0, 0], latents[0, 2])
    assert not torch.equal(latents[0, 0], latents[0, 1])


def test_changing_a_later_action_leaves_earlier_frames_alone() -> None:
    imagine = tiny_world().imagine_with(None, body="toy")
    actions = vectors(1, 1, 8)
    before = imagine(context(1), actions)
    actions.values[0, 0, 5] *= -1
    after = imagine(context(1), actions)
    for name in ("latents", "poses", "rewards", "success"):
        assert torch.equal(getattr(before, name)[:, :, :5], getattr(after, name)[:, :, :5])
        assert not torch.equal(getattr(before, name)[:, :, 5:], getattr(after, name)[:, :, 5:])


def test_a_long_dream_is_its_chunks() -> None:
    """Each chunk is dreamt from the clean latents before it, with noise keyed by the frame's number."""
    world, seeds = tiny_world(), torch.tensor([7, 8])
    whole = dream(world, 2, 16, seeds)
    layout, seen = world.encoder.layout, context(2)
    known = Facts.of_poses(seen.poses, layout, "toy", "fixed")
    new = Facts.of_actions(vectors(2, 1, 16), layout, "toy", "fixed")
    first = dream(world, 2, 8, seeds)
    assert torch.equal(whole.latents[:, :8], first.latents)
    past = torch.cat([world.codec.encode(torch.from_numpy(seen.pixels)), first.latents], 1)[:, -8:]
    second = world.dream(past, Facts.join(known, first.facts)[-8:], new[8:], seeds, TWO, first=8)
    assert torch.equal(whole.latents[:, 8:], second.latents)


def test_another_seed_is_another_dream() -> None:
    world = tiny_world()
    one, same, other = (dream(world, 1, 8, torch.tensor([seed])).latents for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@both_denoisers
def test_a_memory_is_an_argument_and_leaves_nothing_behind(kind: str) -> None:
    world, seeds = tiny_world(kind), torch.tensor([1, 2])
    layers = {name: layer for name, layer in world.denoiser.named_modules() if isinstance(layer, RowLinear)}
    down = {name: torch.randn(2, 2, layer.in_features) for name, layer in layers.items()}
    up = {name: 0.1 * torch.randn(2, layer.out_features, 2) for name, layer in layers.items()}
    plain = dream(world, 2, 8, seeds).latents
    remembered = dream(world, 2, 8, seeds, memory=LowRank(down, up, "v1")).latents
    silent = LowRank(down, {name: torch.zeros_like(value) for name, value in up.items()}, "v0")
    assert not torch.equal(plain, remembered)
    assert torch.equal(plain, dream(world, 2, 8, seeds, memory=silent).latents)
    assert torch.equal(plain, dream(world, 2, 8, seeds).latents)


@both_denoisers
def test_read_again_it_dreams_the_same(kind: str, tmp_path: Path) -> None:
    world = tiny_world(kind)
    world.save_pretrained(tmp_path)
    read = WorldModel.from_pretrained(tmp_path)
    assert torch.equal(
        dream(read, 2, 8, torch.tensor([1, 2])).latents, dream(world, 2, 8, torch.tensor([1, 2])).latents
    )
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_in_half_precision_it_is_half_as_big_and_dreams_nearly_the_same(tmp_path: Path) -> None:
    world, seeds = tiny_world(), torch.tensor([1, 2])
    expected = dream(world, 2, 8, seeds).latents
    world.save_pretrained(tmp_path / "whole")
    world.half().save_pretrained(tmp_path / "half")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    read = WorldModel.from_pretrained(tmp_path / "half")
    assert next(read.parameters()).dtype == torch.float32
    torch.testing.assert_close(dream(read, 2, 8, seeds).latents, expected, atol=0.2, rtol=0.1)


def test_a_world_is_packed_beside_its_card_and_a_big_one_is_refused(tmp_path: Path) -> None:
    tiny_world().save_pretrained(tmp_path / "world")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "README.md").write_text("card")
    size = main(Pack(str(tmp_path / "world"), str(tmp_path / "packed")))
    assert size == pytest.approx(sum(f.stat().st_size for f in (tmp_path / "packed").rglob("*.*")) / 2**20, abs=1e-3)
    assert (tmp_path / "packed" / "README.md").read_text() == "card"
    assert WorldModel.from_pretrained(tmp_path / "packed").config == tiny_world().config
    with pytest.raises(BadOption, match="MB at most"):
        main(Pack(str(tmp_path / "world"), str(tmp_path / "small"), most=0.01))
    assert not (tmp_path / "small").exists()


def test_a_grown_world_means_the_same_to_those_it_knew() -> None:
    world = tiny_world()
    world.outcome.ahead.learned[:] = True
    grown = world.grown(world.encoder.layout.adding(replace(BODY, name="other"))).eval()
    seeds = torch.tensor([1, 2])
    torch.testing.assert_close(dream(grown, 2, 8, seeds).latents, dream(world, 2, 8, seeds).latents)
    torch.testing.assert_close(dream(grown, 2, 8, seeds).judged.reward, dream(world, 2, 8, seeds).judged.reward)
    assert grown.outcome.ahead.learned.tolist() == [True, False]


def test_a_body_of_more_senses_leaves_the_others_ways_as_they_were() -> None:
    """The pose head once began anew, and every known body stood still."""
    world = tiny_world()
    grown = world.grown(world.encoder.layout.adding(replace(BODY, name="other", pose_size=12))).eval()
    seeds = torch.tensor([1, 2])
    mine, old = dream(grown, 2, 8, seeds).facts.poses, dream(world, 2, 8, seeds).facts.poses
    torch.testing.assert_close(mine[..., : BODY.pose_size], old)


def test_broken_checkpoints_are_named(tmp_path: Path) -> None:
    world = tiny_world()
    world.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with pytest.raises(BadOption, match=r"model\.safetensors"):
        WorldModel.from_pretrained(tmp_path)
    weights.write_bytes(whole)
    facts = tmp_path / "world.json"
    told = facts.read_text()
    facts.write_text(told.replace('"version": 1', '"version": 99'))
    with pytest.raises(BadOption, match="version 99"):
        WorldModel.from_pretrained(tmp_path)
    facts.write_text(told.replace('"dim": 32', '"dim": 16'))
    with pytest.raises(BadOption, match="wrong"):
        WorldModel.from_pretrained(tmp_path)
    with pytest.raises(BadOption, match="cannot be read"):
        WorldModel.from_pretrained(tmp_path / "nowhere")


def test_rows_of_context_and_actions_must_agree() -> None:
    with pytest.raises(BadOption, match="Slice them alike"):
        tiny_world().imagine_with(None, body="toy")(context(2), vectors(1, 2, 8))


def test_places_are_read_off_what_was_really_seen_while_the_eye_stands_still() -> None:
    """From a dream's second chunk on they once were read off what was dreamt, in which small things fade."""
    world, layout, seeds = tiny_world(), tiny_world().encoder.layout, torch.tensor([7, 8])
    seen, actions = context(2), vectors(2, 1, 24)
    known = Facts.of_poses(seen.poses, layout, "toy", "fixed")
    poses = torch.zeros(2, 24, 9)
    poses[..., 3] = 1
    poses[1, :, 0] = 0.01 * torch.arange(24)  # the second row's eye goes away
    new = Facts.of_actions(actions, layout, "toy", "fixed").with_poses(poses, torch.ones(2, 24, dtype=torch.bool))
    past = world.codec.encode(torch.from_numpy(seen.pixels))
    dreamt = world.dream(past, known, new, seeds, TWO, foreseen=False)
    for number, evidence in enumerate(dreamt.evidence):
        assert torch.equal(evidence.places[0], past[0, -1:])
        last = past[1, -1] if number == 0 else dreamt.latents[1, 8 * number - 1]
        assert torch.equal(evidence.places[1, 0], last)
