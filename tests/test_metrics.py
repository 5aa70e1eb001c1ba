"""Measures of videos: known answers, independent computations, honest names."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfvgen_planner.errors import BadCheckpoint, BadOption, BadVideo, MissingExtra
from sfvgen_planner.metrics.adherence import action_adherence, explained, phrase_adherence
from sfvgen_planner.metrics.cuts import scene_cuts
from sfvgen_planner.metrics.figures import Figure, fvd, fvd_name, src, src_name
from sfvgen_planner.metrics.frechet import frechet, frechet_distance, gaussian_distance
from sfvgen_planner.metrics.quality import gradient_energy, psnr, relative_sharpness, ssim
from sfvgen_planner.metrics.revisits import revisits, scene_revisit_consistency, view_codes
from sfvgen_planner.metrics.scripted import load_i3d, load_resnet18, lpips
from sfvgen_planner.metrics.video import as_video

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")

CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


# --- frame against frame ---------------------------------------------------------------------------------------------


def test_equal_videos_are_perfect() -> None:
    video = noise(2, 3, 16, 12)
    assert torch.isinf(psnr(video, video)).all()
    torch.testing.assert_close(ssim(video, video), torch.ones(2, 3))
    torch.testing.assert_close(relative_sharpness(video, video), torch.ones(3))
    assert frechet_distance(video.reshape(-1, 24), video.reshape(-1, 24)) == pytest.approx(0, abs=1e-6)


def test_psnr_known_answer() -> None:
    # One grey level off everywhere: 20 log10(255) = 48.13 dB; half of white: 6.02 dB.
    black = np.zeros((1, 1, 4, 4, 3), np.uint8)
    assert psnr(black, black + 1).item() == pytest.approx(48.1308, abs=1e-4)
    assert psnr(black.astype(np.float64), black + 0.5).item() == pytest.approx(6.0206, abs=1e-4)


def test_psnr_is_that_of_torchmetrics() -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio

    a, b = (torch.from_numpy(noise(2, 3, 8, 8, seed=s)).float() / 255 for s in (1, 2))
    for row in range(2):
        for frame in range(3):
            expected = peak_signal_noise_ratio(b[row, frame], a[row, frame], data_range=1.0)
            torch.testing.assert_close(psnr(a, b)[row, frame], expected)


def test_ssim_by_hand() -> None:
    # Two flat pictures have no variance or covariance: (2 a b + c1) / (a^2 + b^2 + c1), c1 = 0.01^2.
    a, b = np.full((1, 1, 16, 16, 3), 0.2), np.full((1, 1, 16, 16, 3), 0.6)
    assert ssim(a, b).item() == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4), abs=1e-5)


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 6), st.integers(2, 6))
def test_a_figure_for_each_frame_and_rows_are_independent(b: int, t: int, h: int, w: int) -> None:
    real, fake = noise(b, t, h, w), noise(b, t, h, w, seed=1)
    values = psnr(real, fake)
    assert values.shape == (b, t)
    torch.testing.assert_close(values[-1:], psnr(real[-1:], fake[-1:]))


def test_blur_is_less_sharp_and_blank_is_zero() -> None:
    video = torch.from_numpy(noise(2, 3, 16, 16)).float() / 255
    blurred = video.clone()
    blurred[:, :, 1:, 1:] = (
        video[:, :, 1:, 1:] + video[:, :, :-1, 1:] + video[:, :, 1:, :-1] + video[:, :, :-1, :-1]
    ) / 4
    assert (relative_sharpness(video, blurred) < 0.5).all()
    assert (relative_sharpness(video, torch.full_like(video, 0.5)) == 0).all()


def test_gradient_energy_by_hand() -> None:
    stripes = np.zeros((1, 1, 4, 5, 3))
    stripes[..., 1::2, :] = 1  # every horizontal step is 1, every vertical one 0
    assert gradient_energy(stripes).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((1, 2, 4, 4, 1), np.uint8),
        np.zeros((1, 0, 4, 4, 3), np.uint8),
        np.zeros((1, 2, 4, 4, 3), np.int32),
        np.full((1, 2, 4, 4, 3), 255.0),
        np.full((1, 2, 4, 4, 3), np.nan),
    ],
)
def test_what_is_no_video_is_refused(bad: Any) -> None:
    with pytest.raises(BadVideo):
        as_video(bad)


def test_pairs_must_fit_and_ssim_needs_room() -> None:
    with pytest.raises(BadVideo, match="one shape"):
        psnr(noise(1, 2, 4, 4), noise(2, 2, 4, 4))
    with pytest.raises(BadVideo, match="larger"):
        ssim(noise(1, 1, 8, 8), noise(1, 1, 8, 8))
    with pytest.raises(BadVideo, match="blank"):
        relative_sharpness(np.zeros((1, 1, 4, 4, 3)), noise(1, 1, 4, 4))


@pytest.mark.parametrize("measure", ["ssim", "cuts"])
def test_without_the_extra_one_is_told_what_to_install(measure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def importing(name: str, package: str | None = None) -> Any:
        if name.startswith(("torchmetrics", "scenedetect")):
            raise ImportError(f"No module named {name!r}")
        return real_import(name, package)

    import importlib

    real_import = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", importing)
    video = noise(1, 2, 16, 16)
    with pytest.raises(MissingExtra, match=r'pip install "sfvgen-planner\[metrics\]"'):
        ssim(video, video) if measure == "ssim" else scene_cuts(video[0])
    assert psnr(video, video).isinf().all()
    assert issubclass(MissingExtra, builtins.ImportError)


# --- sets of features ------------------------------------------------------------------------------------------------


def test_gaussians_along_the_axes_have_a_closed_form() -> None:
    # Diagonal covariances: the distance is the sum of (m1 - m2)^2 + (s1 - s2)^2.
    m1, m2, s1, s2 = np.array([0.0, 1, 2]), np.array([1.0, 1, 0]), np.array([1.0, 2, 3]), np.array([2.0, 2, 0])
    expected = np.square(m1 - m2).sum() + np.square(s1 - s2).sum()
    assert gaussian_distance(m1, np.diag(s1**2), m2, np.diag(s2**2)) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(0, 10_000))
def test_gaussians_at_any_angle_agree_with_the_unsymmetric_root(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(size=(size, size + 2)) for _ in range(2))
    c1, c2 = a @ a.T, b @ b.T
    # tr (C1 C2)^1/2 from the eigenvalues of the product itself, which is not symmetric.
    root = np.sqrt(np.linalg.eigvals(c1 @ c2).astype(complex)).sum().real
    found = gaussian_distance(np.zeros(size), c1, np.zeros(size), c2)
    assert found == pytest.approx(np.trace(c1) + np.trace(c2) - 2 * root, rel=1e-7, abs=1e-7)


def test_samples_of_known_gaussians() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(0, 1, (20_000, 4)), rng.normal(0.5, 2, (20_000, 4))
    found = frechet(real, fake)
    assert found.distance == pytest.approx(4 * (0.25 + 1), rel=0.03)
    assert 0 < found.floor < 0.01
    assert found.enough
    assert frechet_distance(fake, real) == pytest.approx(found.distance, rel=1e-9)


def test_a_shift_costs_its_square_however_few_directions_vary() -> None:
    flat = np.zeros((50, 8))
    flat[:, 0] = np.arange(50)
    assert frechet_distance(flat, flat + 3) == pytest.approx(8 * 9, rel=1e-9)


def test_the_floor_falls_with_clips_and_is_the_same_for_one_seed() -> None:
    rng = np.random.default_rng(1)
    many = rng.normal(size=(4000, 16))
    floors = [frechet(many[:n], many[:n]).floor for n in (100, 1000, 4000)]
    assert floors[0] > 3 * floors[1] > 6 * floors[2] > 0
    assert frechet(many, many, seed=3) == frechet(many, many, seed=3)
    assert not frechet(many[:999], many).enough


@pytest.mark.parametrize("shape", [(10, 65), (1, 4), (10,), (10, 0)])
def test_too_many_features_or_too_few_clips_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadOption, match="at most 64"):
        frechet(np.zeros(shape), np.zeros(shape))


def test_features_must_be_alike_and_finite() -> None:
    with pytest.raises(BadOption, match="equally many"):
        frechet(np.zeros((5, 3)), np.zeros((5, 4)))
    with pytest.raises(BadOption, match="not finite"):
        frechet(np.full((5, 3), np.nan), np.zeros((5, 3)))


# --- a whole video ---------------------------------------------------------------------------------------------------


def test_two_hard_cuts_are_two() -> None:
    colours = [(220, 40, 40), (20, 20, 60), (240, 240, 240)]
    video = np.concatenate([np.full((20, 32, 32, 3), colour, np.uint8) for colour in colours])
    assert scene_cuts(video) == 2
    assert scene_cuts(video[:20]) == 0
    assert scene_cuts(video[::4], shortest=1) == 2
    assert scene_cuts(video / 255) == 2


def path_there_and_back() -> Any:
    """Poses along a line to 5 and back, in steps of 1, looking ahead; the quaternion's sign flips half-way."""
    x = np.array([0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0], float)
    poses = np.zeros((11, 7))
    poses[:, 0], poses[:, 3] = x, np.where(np.arange(11) > 5, -1, 1)
    return poses


def test_a_path_that_returns_revisits() -> None:
    pairs = revisits(view_codes(path_there_and_back(), 1.0), near=0.1, far=2.5)
    assert pairs == [(2, 8), (1, 9), (0, 10)]
    assert revisits(np.arange(10.0)[:, None], 0.1, 2.0) == []
    assert revisits(np.zeros((10, 1)), 0.1, 2.0) == []


@given(st.floats(0, np.pi))
def test_turning_costs_from_0_to_2(angle: float) -> None:
    poses = np.array([[0, 0, 0, 1, 0, 0, 0], [0, 0, 0, np.cos(angle / 2), 0, 0, np.sin(angle / 2)]])
    apart = np.linalg.norm(np.diff(view_codes(poses, 3.0), axis=0))
    assert apart == pytest.approx(2 * np.sin(angle / 2), abs=1e-9)


def test_src_known_answers() -> None:
    features = torch.tensor([[1.0, 0], [0, 1], [2, 0], [0, -3], [1, 1]])
    assert scene_revisit_consistency(features, [(0, 2)]) == pytest.approx(1)
    assert scene_revisit_consistency(features, [(0, 1)]) == pytest.approx(0)
    assert scene_revisit_consistency(features, [(1, 3)]) == pytest.approx(-1)
    assert scene_revisit_consistency(features, [(0, 2), (0, 4)]) == pytest.approx((1 + np.sqrt(0.5)) / 2)


@pytest.mark.parametrize("pairs", [[], [(0, 5)], [(-1, 2)]])
def test_src_needs_visits_of_this_video(pairs: list[tuple[int, int]]) -> None:
    with pytest.raises(BadOption):
        scene_revisit_consistency(torch.zeros(5, 2), pairs)


def test_bad_poses_are_refused() -> None:
    with pytest.raises(BadOption):
        view_codes(np.zeros((3, 6)), 1.0)
    with pytest.raises(BadOption):
        revisits(np.zeros((3, 2)), 2.0, 1.0)


# --- does it obey ----------------------------------------------------------------------------------------------------


def test_explained_is_r_squared() -> None:
    rng = np.random.default_rng(0)
    told = rng.normal(size=(30, 8, 2))
    read = told + rng.normal(0, 0.5, told.shape)
    flat_t, flat_r = told.reshape(-1, 2), read.reshape(-1, 2)
    expected = 1 - ((flat_t - flat_r) ** 2).sum() / ((flat_t - flat_t.mean(0)) ** 2).sum()
    assert explained(read, told) == pytest.approx(expected)
    assert explained(told, told) == 1
    assert explained(np.broadcast_to(flat_t.mean(0), told.shape), told) == pytest.approx(0, abs=1e-12)
    assert explained(-told, told) == 0
    assert explained(told / 2, told) == pytest.approx(0.75, abs=0.01)


def test_a_dream_that_obeys_as_the_world_does_has_ratio_1() -> None:
    rng = np.random.default_rng(0)
    told = rng.normal(size=(50, 2))
    real = told + rng.normal(0, 0.3, told.shape)
    assert action_adherence(real, real, told).ratio == 1
    assert action_adherence(rng.normal(size=told.shape), real, told).ratio < 0.3
    logits = np.eye(4)[np.arange(20) % 4]
    found = phrase_adherence(np.roll(logits, 1, 0), logits, np.arange(20) % 4)
    assert (found.made, found.real, found.ratio, found.n) == (0, 1, 0, 20)
    assert np.isnan(phrase_adherence(logits, np.roll(logits, 1, 0), np.arange(20) % 4).ratio)


def test_nonsense_cannot_adhere() -> None:
    with pytest.raises(BadOption, match="all the same"):
        explained(np.zeros((5, 2)), np.ones((5, 2)))
    with pytest.raises(BadOption, match="alike"):
        explained(np.zeros((5, 2)), np.ones((5, 3)))
    with pytest.raises(BadOption, match="outside"):
        phrase_adherence(np.zeros((2, 3)), np.zeros((2, 3)), np.array([0, 3]))


# --- names -----------------------------------------------------------------------------------------------------------


class _Fake(torch.nn.Module):
    """Answers features of the given width from the mean colour."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width


class FakeI3D(_Fake):
    def forward(self, x: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
        return x.flatten(1).mean(1, keepdim=True).expand(-1, self.width)


class FakeResNet(_Fake):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).mean(1).reshape(-1, 1, 1, 1).expand(-1, self.width, 1, 1)


class FakeLPIPS(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().mean(dim=(1, 2, 3), keepdim=True)


def scripted(module: torch.nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(module), str(path))
    return path


def test_scripts_are_called_as_they_are_published(tmp_path: Path) -> None:
    clips = noise(3, 9, 16, 16)
    i3d = load_i3d(scripted(FakeI3D(400), tmp_path / "i3d.pt"), CPU)
    np.testing.assert_allclose(i3d(clips)[:, 7], clips.reshape(3, -1).mean(1), rtol=1e-5)
    resnet = load_resnet18(scripted(FakeResNet(512), tmp_path / "resnet.pt"), CPU)
    assert resnet(clips[0]).shape == (9, 512)
    figure = lpips(
        np.zeros((2, 3, 8, 8, 3)), np.ones((2, 3, 8, 8, 3)), scripted(FakeLPIPS(), tmp_path / "lpips.pt"), CPU
    )
    assert (figure.name, figure.value, figure.n) == ("LPIPS", 2.0, 6)
    assert len({i3d.identity, resnet.identity, figure.by}) == 3


def test_a_figure_carries_no_name_it_has_not_earned(tmp_path: Path) -> None:
    i3d = load_i3d(scripted(FakeI3D(400), tmp_path / "i3d.pt"), CPU)
    resnet = load_resnet18(scripted(FakeResNet(512), tmp_path / "resnet.pt"), CPU)
    assert (fvd_name(i3d), fvd_name(resnet)) == ("FVD", "FVD(ResNet-18)")
    assert (src_name(i3d), src_name(resnet)) == ("SRC(I3D)", "SRC")
    features = torch.randn(20, 400, generator=torch.Generator().manual_seed(0))
    found = fvd(features, features, i3d)
    assert found.by == f"I3D:{i3d.identity}"
    assert found.warning == "20 clips; 1000 advised"
    assert found.floor is not None
    assert found.floor > found.value
    assert src(features, [(0, 1), (2, 2)], resnet).n == 2
    assert Figure("PSNR", 1.0, "frames", 3).to_json()["value"] == 1.0


def test_a_network_of_another_shape_is_not_what_it_is_called(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="as I3D does"):
        load_i3d(scripted(FakeI3D(512), tmp_path / "a.pt"), CPU)(noise(2, 8, 8, 8))
    with pytest.raises(BadOption, match="no file"):
        load_resnet18(tmp_path / "nothing.pt", CPU)
    (tmp_path / "b.pt").write_bytes(b"no script")
    with pytest.raises(BadCheckpoint, match="does not load"):
        load_i3d(tmp_path / "b.pt", CPU)
