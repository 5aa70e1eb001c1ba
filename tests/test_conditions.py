"""Laws of conditions: each frame is told what happened into it and where it looks, and nothing else."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch
from condition_fakes import ARM, CAR, GAME, LAYOUT, SENTENCES, encoder, facts, poses, window
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from sfvgen_envs.camera import RayCamera, pinhole
from sfvgen_envs.pose import camera_pose, relative_pose
from sfvgen_planner.errors import BadCheckpoint, BadOption
from sfvgen_planner.world import address as room
from sfvgen_planner.world.address import AddressConfig
from sfvgen_planner.world.encoder import ConditionEncoder, EncoderConfig
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.layout import Embodiment, Layout
from sfvgen_planner.world.pose_head import PoseConfig, PoseHead
from sfvgen_planner.world.text import TextConfig

SIZE = (4, 6)


def test_the_address_is_what_numpy_says() -> None:
    rng, config = np.random.default_rng(0), AddressConfig((0, 2), (-1, 1))
    pose, known = poses(rng, 2, 3), np.array([[True, True, False], [True, False, True]])
    fovy, length = np.array([38.0, 80.0]), np.array([1.0, 10.0])
    tensors = (torch.from_numpy(x) for x in (pose.astype(np.float64), known, fovy, length))
    given = room.address(config, *tensors, SIZE).numpy()
    assert given.shape == (2, 3, config.features, *SIZE)
    for r, t, i, j in np.ndindex(2, 3, *SIZE):
        turn = np.empty(9)
        mujoco.mju_quat2Mat(turn, pose[r, t, 3:7].astype(np.float64))
        ray = turn.reshape(3, 3) @ pinhole(fovy[r], *SIZE)[i, j]
        place = pose[r, t, :3] / length[r]
        expected = list(ray)
        for values, octaves in ((ray, (0, 1, 2)), (place, (-1, 0, 1))):
            for wave in (np.sin, np.cos):
                expected += [wave(np.pi * 2.0**k * x) for x in values for k in octaves]
        np.testing.assert_allclose(given[r, t, :, i, j], np.array(expected) * known[r, t], atol=2e-6)


def test_rays_are_those_of_a_real_camera() -> None:
    model = mujoco.MjModel.from_xml_string(
        """<mujoco><worldbody><geom type="plane" size="1 1 1"/><body mocap="true">
        <camera name="eye" pos=".1 0 .3" fovy="57"/></body></worldbody></mujoco>"""
    )
    data, rng = mujoco.MjData(model), np.random.default_rng(3)
    start = None
    for _ in range(4):
        data.mocap_pos[0], data.mocap_quat[0] = rng.normal(size=3), rng.normal(size=4)
        mujoco.mj_forward(model, data)
        start = camera_pose(data, 0) if start is None else start
        pose = torch.from_numpy(relative_pose(start, camera_pose(data, 0)))[None, None]
        origin, direction = room.rays(pose, torch.tensor([57.0], dtype=torch.float64), 16, 24)
        turn = np.empty(9)
        mujoco.mju_quat2Mat(turn, start[3:])
        seen_origin, seen = RayCamera(model, "eye", (16, 24)).rays(data)
        np.testing.assert_allclose(turn.reshape(3, 3) @ origin[0, 0].numpy() + start[:3], seen_origin, atol=1e-12)
        np.testing.assert_allclose(direction[0, 0].numpy() @ turn.reshape(3, 3).T, seen, atol=1e-12)


@given(seed=st.integers(0, 999), h=st.integers(1, 5), w=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_a_quaternion_and_its_negative_are_one_address(seed: int, h: int, w: int) -> None:
    pose = torch.from_numpy(poses(np.random.default_rng(seed), 2, 3))
    other = pose.clone()
    other[..., 3:7] *= -1
    rest = torch.ones(2, 3, dtype=torch.bool), torch.tensor([38.0, 80.0]), torch.ones(2), (h, w)
    assert torch.equal(room.address(AddressConfig(), pose, *rest), room.address(AddressConfig(), other, *rest))


def test_an_unknown_pose_is_zeros_whatever_stands_there() -> None:
    told = facts()
    known = told.poses_known.clone()
    known[0, 3] = False
    blind = replace(told, poses=torch.where(known[..., None], told.poses, torch.nan), poses_known=known)
    address = encoder().address(blind, SIZE)
    assert not address[~known].any()
    assert address[known].any(1).all()
    assert torch.equal(address[known], encoder().address(told, SIZE)[known])
    assert not known[6:].any(), "nobody knows where the game's camera looks"


def test_a_frame_is_told_of_its_own_action_only() -> None:
    told, world = facts(), encoder()
    frame = world.tell(told)[0]
    assert frame.shape == (9, 16, 12)
    vectors, ids = told.vectors.clone(), told.ids.clone()
    vectors[0, 5] += 0.3
    ids[8, 2] = (ids[8, 2] + 1) % 5
    other = world.tell(replace(told, vectors=vectors, ids=ids))[0]
    changed = (frame != other).any(-1)
    assert changed.nonzero().tolist() == [[0, 5], [8, 2]]


def test_words_are_heard_in_their_chunk_and_the_last_ones_are_attended_to() -> None:
    told, world = facts(), encoder()
    frame, text = world.tell(told)
    assert text.shape == (9, 20, 16)
    said = (*told.texts[0][:8], *("something else",) * 8)
    later, words = world.tell(replace(told, texts=(said, *told.texts[1:])))
    assert (frame != later).any(-1).nonzero().tolist() == [[0, t] for t in range(8, 16)]
    assert (text != words).flatten(1).any(1).tolist() == [True] + [False] * 8
    assert_close(words[:1], world.text(["something else"])[0])


def test_padding_and_neighbours_say_nothing() -> None:
    told, world = facts(), encoder()
    alone = world(told, SIZE)
    one = Facts.of_window(window(np.random.default_rng(0), 3), LAYOUT, "arm", "sweep")
    assert_close(world(one, SIZE).frame, alone.frame[:3])
    vectors = torch.where(told.vectors_known, told.vectors, 7.0)
    assert_close(world(replace(told, vectors=vectors), SIZE).frame, alone.frame)


def test_what_is_withheld_cannot_be_told_apart() -> None:
    world, everything = encoder(), torch.ones(9, dtype=torch.bool)
    bare = [facts(seed).withhold(actions=everything, texts=everything, poses=everything) for seed in (1, 2)]
    one, two = (world(told, SIZE) for told in bare)
    assert torch.equal(one.frame, two.frame)
    assert torch.equal(one.text, two.text)
    assert not one.address.any()
    assert torch.equal(one.frame[0, 0], one.frame[2, 7])
    assert not torch.equal(one.frame[0, 0], one.frame[3, 0]), "the body's name is still known"
    nameless = world(bare[0].withhold(names=everything), SIZE).frame
    assert torch.equal(nameless[0, 0], nameless[8, 3])


def test_bodies_differ_by_name() -> None:
    still = [Facts.nothing(1, 2, LAYOUT, body.name, None, "cpu") for body in (ARM, CAR, GAME)]
    frames = encoder().tell(Facts.stack(still))[0][:, 0]
    assert not torch.equal(frames[0], frames[1])
    assert not torch.equal(frames[1], frames[2])


def test_the_shipped_sizes_are_small() -> None:
    made = ConditionEncoder.fresh(EncoderConfig(), LAYOUT, TextConfig(), SENTENCES, torch.Generator())
    assert sum(p.numel() for p in made.text.parameters()) < 5e5
    assert sum(p.numel() for p in PoseHead(PoseConfig(), LAYOUT).parameters()) < 4e5


@given(split=st.integers(0, 16), candidates=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_facts_are_cut_joined_and_repeated_like_their_conditions(split: int, candidates: int) -> None:
    told, world = facts(rows=1), encoder()
    whole = world(told, SIZE)
    past, new = told[:split], told[split:]
    joined = world(Facts.join(past, new), SIZE)
    assert torch.equal(joined.frame, whole.frame)
    assert torch.equal(joined.address, whole.address)
    if split < 16:
        assert_close(world(new, SIZE).frame, whole[split:].frame)
        assert_close(world(new, SIZE).text, whole.text)
    repeated, expected = world(told.repeat(candidates), SIZE), whole.repeat(candidates)
    assert_close(repeated.frame, expected.frame)
    assert_close(repeated.text, expected.text)


def test_saved_and_loaded_it_tells_the_same(tmp_path) -> None:
    world, told = encoder(), facts()
    world.save_pretrained(tmp_path)
    again = ConditionEncoder.from_pretrained(tmp_path).eval()
    assert again.layout == LAYOUT
    one, two = world(told, SIZE), again(told, SIZE)
    for name in ("frame", "address", "text"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    silent = encoder(words=False)
    silent.save_pretrained(tmp_path / "silent")
    hushed = told.withhold(texts=torch.ones(9, dtype=torch.bool))
    assert torch.equal(
        silent(hushed, SIZE).frame, ConditionEncoder.from_pretrained(tmp_path / "silent")(hushed, SIZE).frame
    )


def test_a_grown_world_understands_its_old_bodies_as_before() -> None:
    world = encoder()
    robot = Embodiment("robot", size=6, low=(-1.0,) * 6, high=(1.0,) * 6, pose_size=14, cameras={"wrist": 60.0})
    layout = LAYOUT.adding(robot).adding(Embodiment("maze", "discrete", size=3))
    more = world.grown(layout).eval()
    for seed, body, camera in ((0, ARM, "fixed"), (1, CAR, "eye"), (2, GAME, None)):
        given = window(np.random.default_rng(seed), body=body)
        one = world(Facts.of_window(given, LAYOUT, body.name, camera), SIZE)
        two = more(Facts.of_window(given, layout, body.name, camera), SIZE)
        assert_close(one.frame, two.frame)
        assert torch.equal(one.address, two.address)
        assert torch.equal(one.text, two.text)
    more(Facts.of_window(window(np.random.default_rng(0), body=robot), layout, "robot", "wrist"), SIZE)
    with pytest.raises(BadOption, match="begins with"):
        world.grown(Layout((robot,)))


def test_senses_are_told_to_the_denoiser_and_never_to_what_foresees_them() -> None:
    world, told = encoder(), facts()
    other = replace(told, poses=torch.cat([told.poses[..., :7], told.poses[..., 7:] + 1], -1))
    assert torch.equal(world.tell(told)[0], world.tell(other)[0])
    frame, changed = world(told, SIZE).frame, world(other, SIZE).frame
    arms = told.embodiment == LAYOUT.index(ARM.name)
    assert not torch.isclose(frame, changed)[arms].all(-1).any()
    nobody = torch.ones(told.rows, dtype=torch.bool)
    assert torch.equal(world(told.withhold(poses=nobody), SIZE).frame, world.tell(told)[0])


@pytest.mark.parametrize("harm", ["cut", "missing", "config", "version", "wrong"])
def test_a_harmed_checkpoint_is_refused(tmp_path, harm: str) -> None:
    encoder().save_pretrained(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif harm == "missing":
        weights.unlink()
    elif harm == "config":
        config.write_text(config.read_text()[:20])
    elif harm == "version":
        config.write_text(config.read_text().replace('"version": 1', '"version": 7'))
    else:
        config.write_text(config.read_text().replace('"width": 12', '"width": 13'))
    with pytest.raises(BadCheckpoint):
        ConditionEncoder.from_pretrained(tmp_path)
