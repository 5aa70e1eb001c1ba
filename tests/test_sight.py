"""Where something was in an earlier picture: against rays, points and homographies worked out another way."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sfvgen_planner.world.address import pinhole, rotation
from sfvgen_planner.world.sight import cameras, places, shift, unknown


def camera(seed: int, turn: float = 0.2, way: float = 0.3, fovy: float = 40.0) -> Tensor:
    """[8] a little beside the start."""
    draw = torch.Generator().manual_seed(seed)
    pose = torch.zeros(1, 1, 7, dtype=torch.float64)
    pose[..., :3] = way * torch.randn(3, generator=draw, dtype=torch.float64)
    pose[..., 3] = 1
    pose[..., 4:7] = turn * torch.randn(3, generator=draw, dtype=torch.float64)
    pose[..., 3:7] /= pose[..., 3:7].norm()
    one = torch.ones(1, dtype=torch.float64)
    return cameras(pose, torch.ones(1, 1, dtype=torch.bool), fovy * one, one)[0, 0]


def seen(point: Tensor, by: Tensor, wide: float) -> tuple[float, float]:
    """Where a camera sees a point, by numpy."""
    turn, place = rotation(by[3:7]).numpy(), by[:3].numpy()
    x, y, z = turn.T @ (point.numpy() - place)
    return float(x / (-z * by[7] * wide)), float(-y / (-z * by[7]))


@given(seed=st.integers(0, 200), distance=st.floats(1.0, 8.0))
def test_a_point_is_found_where_the_earlier_camera_saw_it(seed: int, distance: float) -> None:
    now, then = camera(2 * seed), camera(2 * seed + 1)
    height, width = 4, 6
    nearness = torch.full((1, 1, height, width), 1 / distance, dtype=torch.float64)
    found = (places(nearness) + shift(now[None, None], then[None], nearness))[0, 0]
    rays = pinhole(torch.tensor(40.0, dtype=torch.float64), height, width)
    rays = rays / -rays[..., 2:]  # to a plane at distance 1 along the axis
    for row in range(height):
        for column in range(width):
            point = rotation(now[3:7]) @ (rays[row, column] * distance) + now[:3]
            if -(rotation(then[3:7]).T @ (point - then[:3]))[2] > 0.1 * distance:
                expected = seen(point, then, width / height)
                np.testing.assert_allclose(found[row, column].numpy(), expected, rtol=1e-9, atol=1e-9)


def test_what_is_far_away_turns_and_does_not_shift() -> None:
    """At nearness 0 the way between two cameras does not matter."""
    now, then = camera(0), camera(1)
    far = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    moved = now.clone()
    moved[:3] += 10
    assert torch.equal(shift(now[None, None], then[None], far), shift(moved[None, None], then[None], far))
    assert shift(now[None, None], then[None], far).abs().max() > 0.01


def test_the_same_camera_sees_everything_in_its_place() -> None:
    now = camera(3)
    near = torch.rand(1, 1, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(shift(now[None, None], now[None], near), torch.zeros(1, 1, 5, 7, 2).double())


def test_unknown_cameras_leave_everything_in_its_place() -> None:
    near = torch.rand(2, 3, 4, 4)
    nobody = unknown(near[:, :, 0, 0])
    told = torch.stack([camera(k).float() for k in range(2)])
    assert not shift(nobody, told, near).any()
    assert not shift(told[:, None].expand(-1, 3, -1), nobody[:, 0], near).any()


def test_what_comes_from_beside_the_camera_stays_finite() -> None:
    """A point beside or behind the earlier camera has no place in its picture; gradients stay finite there too."""
    now, then = camera(0), camera(0)
    now[2] += 5.0
    near = torch.linspace(0, 4, 16, dtype=torch.float64).reshape(1, 1, 4, 4).requires_grad_(True)
    found = shift(now[None, None], then[None], near)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert near.grad is not None
    assert torch.isfinite(near.grad).all()
