"""Laws of foreseen poses: they compose exactly, hang on no heading, and learn how a body moves."""

import math
from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from condition_fakes import ARM, CAR, LAYOUT, encoder, facts, poses
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from sfvgen_planner.errors import BadCheckpoint, BadOption
from sfvgen_planner.types import Window
from sfvgen_planner.world.address import stilled
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.layout import LEAST, Embodiment, Layout, Motion
from sfvgen_planner.world.pose import (
    compose,
    drift,
    going_on,
    measure_motion,
    metres_between,
    multiply,
    radians_between,
    step_between,
    turn_of,
    turned_by,
    unit,
)
from sfvgen_planner.world.pose_head import PoseConfig, PoseHead, foresee, pose_loss


def head(layout: Layout = LAYOUT) -> PoseHead:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return PoseHead(PoseConfig(condition=12, width=24), layout).double()


def doubled(told: Facts) -> Facts:
    return replace(told, poses=told.poses.double(), vectors=told.vectors.double())


def told(seed: int, frames: int) -> Tensor:
    return torch.randn(6, frames, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seen(frames: int = 4) -> Facts:
    """Arm and car; the game's camera is unknown."""
    some = facts(frames=frames)
    return doubled(Facts.stack([Facts.of_poses(some.poses[:3, :, :9], LAYOUT, "arm", "sweep"),
                                Facts.of_poses(some.poses[3:6, :, :7], LAYOUT, "car", "eye")]))  # fmt: skip


@given(seed=st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_steps_compose_as_mujoco_turns(seed: int) -> None:
    before, after = (torch.from_numpy(x).double() for x in poses(np.random.default_rng(seed), 2))
    for pose in (before, after):  # MuJoCo takes a quaternion as it is: at 1e-6, float32's rounding of its length shows
        pose[3:7] = F.normalize(pose[3:7], dim=0)
    step = step_between(before, after)
    again = compose(before, step, after[7:])
    assert_close(again[:3], after[:3], rtol=0, atol=1e-7)
    assert float(radians_between(again, after)) < 1e-6
    difference, back = np.empty(3), np.empty(4)
    mujoco.mju_subQuat(difference, after[3:].numpy(), before[3:].numpy())
    assert_close(step[3:], torch.from_numpy(difference), rtol=0, atol=1e-6)
    mujoco.mju_negQuat(back, before[3:].numpy())
    way = np.empty(3)
    mujoco.mju_rotVecQuat(way, (after - before)[:3].numpy(), back)
    assert_close(step[:3], torch.from_numpy(way), rtol=0, atol=1e-6)
    assert float(radians_between(before, after)) == pytest.approx(np.linalg.norm(difference), abs=1e-6)
    assert_close(turn_of(turned_by(step[3:])), step[3:], rtol=0, atol=1e-7)


@given(angle=st.floats(0, math.pi), sign=st.sampled_from([-1, 1]))
@settings(max_examples=30, deadline=None)
def test_the_angle_between_views_is_the_shortest(angle: float, sign: int) -> None:
    a = torch.tensor([0.0, 0, 0, 1, 0, 0, 0], dtype=torch.float64)
    b = torch.tensor([3.0, 4, 0, sign * math.cos(angle / 2), 0, sign * math.sin(angle / 2), 0], dtype=torch.float64)
    assert float(radians_between(a, b)) == pytest.approx(angle, abs=1e-7)
    assert float(metres_between(a, b)) == pytest.approx(5)


def test_a_network_that_says_nothing_leaves_the_pose_where_it_is() -> None:
    model, past = head(), seen()
    torch.nn.init.zeros_(model.move.weight)
    torch.nn.init.zeros_(model.move.bias)
    foreseen = model(past, told(0, 4), told(1, 9))
    last = past.poses[:, -1:].expand(-1, 9, -1)
    assert torch.equal(foreseen[..., :3], last[..., :3])
    assert torch.equal(foreseen[..., 7:], last[..., 7:])
    assert float(radians_between(foreseen, last).detach().max()) < 1e-7


def test_turn_the_world_and_what_is_foreseen_turns_along() -> None:
    model, past = head(), seen()
    here, there = torch.from_numpy(poses(np.random.default_rng(7), 2)).double()

    def moved(pose: Tensor) -> Tensor:
        step = step_between(here, pose)
        return compose(there.expand_as(pose[..., :7]), step, pose[..., 7:])

    one = model(past, told(0, 4), told(1, 5))
    two = model(replace(past, poses=moved(past.poses)), told(0, 4), told(1, 5))
    assert_close(two[..., :3], moved(one)[..., :3], rtol=0, atol=1e-6)
    assert_close(two[..., 7:], one[..., 7:], rtol=0, atol=1e-6)
    assert float(radians_between(two, moved(one)).detach().max()) < 1e-6


def test_only_a_camera_on_a_tripod_is_told_how_far_it_has_turned() -> None:
    past = seen()
    past.poses[..., :3] = 0
    turned = past.poses.clone()
    turned[..., 3:7] = unit(multiply(torch.tensor([0.6, 0, 0.8, 0], dtype=torch.float64), past.poses[..., 3:7]))
    for metres, matters in ((0.5, False), (LEAST, True)):
        layout = Layout(tuple(replace(body, motion=replace(body.motion, metres=metres)) for body in (ARM, CAR)))
        model = head(layout)
        one, two = (model(replace(past, poses=poses), told(0, 4), told(1, 5)) for poses in (past.poses, turned))
        assert torch.allclose(one[..., 7:], two[..., 7:], atol=1e-6) is not matters


@given(k=st.integers(0, 4))
@settings(max_examples=5, deadline=None)
def test_an_action_moves_its_own_frame_and_later_ones_only(k: int) -> None:
    model, past, happens = head(), seen(), told(1, 5)
    other = happens.clone()
    other[:, k] += 1
    one, two = (model(past, told(0, 4), frames) for frames in (happens, other))
    assert torch.equal(one[:, :k], two[:, :k])
    assert (one[:, k] != two[:, k]).any(-1).all()


def test_candidates_and_rows_are_alone() -> None:
    model, past = head(), seen()
    happens = torch.cat([told(1, 5), told(2, 5)])  # rows 2i and 2i + 1 are candidates of row i
    both = model(past, told(0, 4), happens)
    for row in range(6):
        name, camera, size = (("arm", "sweep", 9), ("car", "eye", 7))[row // 3]
        alone = doubled(Facts.of_poses(past.poses[row : row + 1, :, :size], LAYOUT, name, camera))
        assert_close(
            model(alone, told(0, 4)[row : row + 1], happens[2 * row : 2 * row + 2]), both[2 * row : 2 * row + 2]
        )
    assert_close(both, model(past.repeat(2), told(0, 4).repeat_interleave(2, 0), happens))


def test_an_unknown_past_is_foreseen_as_unknown_and_hurts_nobody() -> None:
    world, past = encoder(), facts(frames=3)
    blank = replace(past, poses=torch.where(past.poses_known[..., None], past.poses, torch.nan))
    new = foresee(world, head().float(), blank, facts(1, frames=4))
    assert torch.equal(new.poses[6:], stilled(new.poses[6:], new.poses_known[6:]))
    assert new.poses.isfinite().all()
    assert new.poses_known.all(1).tolist() == [True] * 6 + [False] * 3
    assert not world.address(new, (2, 2))[6:].any()
    everyone = torch.ones(9, dtype=torch.bool)
    silent = facts(1, frames=4).withhold(actions=everyone, texts=everyone)
    assert foresee(world, head().float(), past, silent).poses.isfinite().all()


def test_the_loss_counts_known_poses_in_the_bodys_units() -> None:
    motion = Motion(0.5, 0.1, (0.0, 0.0), (1.0, 1.0), (0.2, 0.4))
    layout = Layout((replace(ARM, motion=motion), CAR))
    model, truth = head(layout), doubled(Facts.of_poses(seen().poses[:3, :1], layout, "arm", "sweep"))
    assert float(pose_loss(model, truth.poses, truth)) == pytest.approx(0, abs=1e-9)
    far = truth.poses.clone()
    far[:, :, 0] += 5.0
    far[0] = torch.nan
    senses = far.clone()
    senses[..., 7] += 0.4
    known = torch.tensor([[False], [True], [True]])
    blind = replace(truth, poses_known=known, poses=truth.poses.masked_fill(~known[..., None], torch.nan))
    far, senses = torch.nan_to_num(far), torch.nan_to_num(senses)
    # Huber's: 5 m are 10 units, 10 - 1/2; and a sense off by 2 units, 2 - 1/2, half of the senses.
    assert float(pose_loss(model, far, blind)) == pytest.approx(9.5)
    assert float(pose_loss(model, senses, blind)) == pytest.approx(9.5 + 1.5 / 2)
    perfect = truth.poses.clone().requires_grad_()
    pose_loss(model, perfect, truth).backward()
    assert perfect.grad.isfinite().all()


def test_drift_is_told_at_the_frames_asked_for() -> None:
    truth = torch.zeros(2, 3, 10, 8, dtype=torch.float64)
    truth[..., 3] = 1
    off = truth.clone()
    off[..., :, 0] = torch.arange(1.0, 11) * 0.1
    off[..., 3], off[..., 4] = math.cos(0.05), math.sin(0.05)
    off[..., 7] = 2
    (one,) = drift(off, truth, (8, 64))
    assert one.frames == 8
    for found, expected in ((one.metres, 0.8), (one.degrees, math.degrees(0.1)), (one.senses, 2.0)):
        assert_close(found, torch.full((2, 3), expected, dtype=torch.float64))
    assert not drift(off[..., :7], truth[..., :7], (8,))[0].senses.any()


def test_what_goes_on_as_before_keeps_its_step_in_its_own_frame() -> None:
    heading = 0.1 * torch.arange(12.0, dtype=torch.float64)
    nothing = torch.zeros_like(heading)
    turn = torch.stack([(heading / 2).cos(), nothing, nothing, (heading / 2).sin()], -1)
    circle = torch.cat([heading.sin()[:, None], -heading.cos()[:, None], nothing[:, None], turn, heading[:, None]], -1)
    assert_close(going_on(circle[:2][None], 10)[0], circle[2:])


def test_motion_is_measured_in_the_cameras_frame() -> None:
    heading = 0.1 * torch.arange(50.0, dtype=torch.float64)
    circle = torch.stack([heading.sin(), -heading.cos(), 0 * heading], -1) * 20
    turn = torch.stack([(heading / 2).cos(), 0 * heading, 0 * heading, (heading / 2).sin()], -1)
    motion = measure_motion([torch.cat([circle, turn, heading[:, None]], -1).numpy()])
    assert motion.metres == pytest.approx(2 * 20 * math.sin(0.05))
    assert motion.radians == pytest.approx(0.1)
    assert motion.step == pytest.approx((0.1,))
    assert motion.spread == pytest.approx((float(heading.std(correction=0)),))
    still = np.zeros((5, 8), np.float32)
    still[:, 3] = 1
    assert measure_motion([still]).metres > 0


def unicycle(rng: np.random.Generator, rows: int, frames: int) -> Window:
    """A car that obeys at once: it turns, then drives where it looks (along -z; up is y)."""
    actions = rng.uniform(-1, 1, (rows, frames, 2)).astype(np.float32)
    actions[..., 1] = 2 + 2 * actions[..., 1]
    heading = np.cumsum(0.3 * actions[..., 0], 1)
    way = np.stack([-np.sin(heading), 0 * heading, -np.cos(heading)], -1) * 0.1 * actions[..., 1:]
    nothing = np.zeros_like(heading)
    turn = np.stack([np.cos(heading / 2), nothing, np.sin(heading / 2), nothing], -1)
    pose = np.concatenate([np.cumsum(way, 1), turn], -1).astype(np.float32)
    return Window(np.zeros((rows, frames, 1)), pose, actions, (("",) * frames,) * rows, np.ones(rows, int))


def test_it_learns_a_unicycle_in_seconds() -> None:
    rng = np.random.default_rng(0)
    layout = Layout((replace(CAR, motion=measure_motion(unicycle(rng, 20, 20).poses)),))
    world = encoder(layout, words=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PoseHead(PoseConfig(condition=12, width=48), layout)
    optimizer = torch.optim.Adam([*model.parameters(), *world.parameters()], 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, 150)

    def foreseen(rows: int) -> tuple[Tensor, Facts]:
        whole = Facts.of_window(unicycle(rng, rows, 10), layout, "car", "eye")
        return foresee(world, model, whole[:2], whole[2:]).poses, whole[2:]

    for _ in range(150):
        loss = pose_loss(model, *foreseen(32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        predicted, truth = foreseen(200)
    (end,) = drift(predicted, truth.poses, (8,))
    assert end.metres.mean() < 0.1, "of about 1.4 m driven"
    assert end.degrees.mean() < 4, "of about 28 degrees turned"


def obedient(rows: int, frames: int, seed: int) -> Facts:
    """A body on a tripod whose two senses follow two actions and each other, exactly."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (rows, frames, ARM.size)).astype(np.float32)
    mix = np.random.default_rng(0).uniform(-0.5, 0.5, (ARM.size + 2, 2))
    pose = np.zeros((rows, frames, ARM.pose_size), np.float32)
    pose[..., 3] = 1
    for k in range(1, frames):
        pose[:, k, 7:] = pose[:, k - 1, 7:] + np.concatenate([actions[:, k], pose[:, k - 1, 7:]], -1) @ mix
    window = Window(np.zeros((rows, frames, 1)), pose, actions, (("",) * frames,) * rows, np.ones(rows, int))
    return doubled(Facts.of_window(window, LAYOUT, "arm", "sweep"))


def test_it_begins_with_the_straight_way_that_fits_best() -> None:
    """Tips of fingers were once foreseen hardly better than standing still, after an hour of training."""
    model, world = head(), encoder().double()
    torch.nn.init.zeros_(model.move.weight)
    torch.nn.init.zeros_(model.move.bias)
    facts = obedient(50, 6, 1)
    model.begin(facts, world.units(facts))
    unseen = obedient(20, 6, 2)
    foreseen = foresee(world, model, unseen[:2], unseen[2:]).poses
    error, still = ((one - unseen.poses[:, 2:])[..., 7:].abs().max() for one in (foreseen, unseen.poses[:, 1:2]))
    assert error < 0.02 * still
    learned = model.straight.detach().clone()
    model.begin(unseen, world.units(unseen))
    assert torch.equal(model.straight, learned), "what was learned stays"
    assert not learned[1].any(), "nothing is known of a body that was not seen"


def test_a_grown_head_moves_its_old_bodies_as_before() -> None:
    model, past = head(), seen()
    torch.nn.init.normal_(model.straight)
    layout = LAYOUT.adding(Embodiment("robot", pose_size=15, cameras={"wrist": 60.0}))
    more = model.grown(layout)
    wide = replace(past, poses=torch.nn.functional.pad(past.poses, (0, 6)))
    one, two = model(past, told(0, 4), told(1, 5)), more(wide, told(0, 4), told(1, 5))
    assert_close(two, torch.nn.functional.pad(one, (0, 6)))
    with pytest.raises(BadOption, match="begins with"):
        model.grown(Layout((CAR,)))


def test_saved_and_loaded_it_foresees_the_same(tmp_path) -> None:
    model, past = head().float(), seen()
    torch.nn.init.normal_(model.first, generator=torch.Generator().manual_seed(0))
    model.save_pretrained(tmp_path)
    model = model.double()
    again = PoseHead.from_pretrained(tmp_path, LAYOUT).double()
    assert torch.equal(model(past, told(0, 4), told(1, 5)), again(past, told(0, 4), told(1, 5)))
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        PoseHead.from_pretrained(tmp_path, LAYOUT)


def test_bad_input_is_named() -> None:
    model, past = head(), seen()
    with pytest.raises(BadOption, match="past and a future"):
        model(past, told(0, 3), told(1, 5))
    with pytest.raises(BadOption, match="past and a future"):
        model(past, told(0, 4), told(1, 5)[:5])
    with pytest.raises(BadOption, match="one shape"):
        drift(torch.zeros(1, 8, 7), torch.zeros(1, 9, 7))
    with pytest.raises(BadOption, match="units above 0"):
        Motion(metres=0.0)
    with pytest.raises(BadOption, match="without a step"):
        measure_motion([np.zeros((1, 7))])
