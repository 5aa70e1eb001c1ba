"""The codec: shapes, statistics, and a folder that says the same when it is read again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_envs.table import COLOURS
from sfvgen_experiments.bench.codec import cubes_recovered, largest_patch
from sfvgen_planner.errors import BadImageSize
from sfvgen_planner.learning.codec import weighted
from sfvgen_planner.world.codec import CodecConfig, IdentityCodec, KLCodec

TINY = CodecConfig(channels=3, fold=2, widths=(8, 16), groups=4)
FLAT = CodecConfig(channels=5, fold=2, widths=(8,), groups=4)


def codec() -> KLCodec:
    torch.manual_seed(0)
    return KLCodec.fresh(TINY).eval()


def frames(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (*shape, 16, 24, 3), np.uint8))


def test_any_leading_axes_and_back() -> None:
    pixels = frames(2, 3)
    latents = codec().encode(pixels)
    assert latents.shape == (2, 3, 3, 4, 6)
    assert codec().decode(latents).shape == pixels.shape
    assert codec().decode(latents).dtype == torch.uint8


def test_frames_are_coded_one_by_one() -> None:
    pixels = frames(4)
    torch.testing.assert_close(codec().encode(pixels)[2:3], codec().encode(pixels[2:3]))


def test_measured_latents_have_unit_variance_together_and_pictures_stay_what_they_were() -> None:
    measured, plain, pixels = codec(), codec(), frames(64)
    before = plain.decode(plain.encode(pixels[:4]))
    measured.measure(pixels)
    latents = measured.encode(pixels)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.var((0, 2, 3)).mean(), torch.tensor(1.0), atol=1e-4, rtol=0)
    assert (measured.decode(measured.encode(pixels[:4])).int() - before.int()).abs().max() <= 1


def test_a_latent_counts_by_the_root_of_what_it_changes_in_the_picture() -> None:
    """In the linear code everything is known: components of singular value s have latents of variance ~ s."""
    torch.manual_seed(0)
    fresh, pixels = KLCodec.fresh(FLAT), frames(40)
    pixels[..., 1:] = pixels[..., 1:] // 4 + 90
    fresh.begin(pixels)
    sizes = fresh.linear.decode.weight[:, :, 0, 0].norm(dim=0)
    fresh.measure(pixels)
    variance = fresh.encode(pixels).var((0, 2, 3))
    torch.testing.assert_close(variance, sizes / sizes.mean(), rtol=0.03, atol=0)


def test_read_again_it_says_the_same(tmp_path: Path) -> None:
    written = codec()
    written.measure(frames(16))
    written.save_pretrained(tmp_path)
    read = KLCodec.from_pretrained(tmp_path)
    assert torch.equal(read.encode(frames(2)), written.encode(frames(2)))
    read.save_pretrained(tmp_path / "again")
    assert str(tmp_path) not in (tmp_path / "again" / "vae" / "config.json").read_text()
    assert not list(tmp_path.rglob("*.bin"))


def test_any_pretrained_autoencoder_by_path(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4, scaling_factor=0.25)
    vae.save_pretrained(tmp_path)
    read = KLCodec.from_pretrained(tmp_path)
    x = frames(1).permute(0, 3, 1, 2).float() / 127.5 - 1
    torch.testing.assert_close(read.encode(frames(1)), vae.encode(x).latent_dist.mode() * 0.25)


def test_before_training_it_is_the_best_linear_code() -> None:
    """Not a random network: principal components by numpy, of unit variance, and their reconstruction."""
    torch.manual_seed(0)
    fresh, pixels = KLCodec.fresh(FLAT), frames(40)
    fresh.begin(pixels)
    folded = fresh.unit(pixels)
    points = folded.movedim(1, -1).reshape(-1, 12).double().numpy()
    middle = points.mean(0)
    axes = np.linalg.eigh(np.cov((points - middle).T))[1][:, -5:]
    best = (points - middle) @ axes @ axes.T + middle
    with torch.no_grad():
        latents, told = fresh.posterior(folded)
        coded = fresh.pictured(latents).movedim(1, -1).reshape(-1, 12)
    np.testing.assert_allclose(coded.numpy(), best, atol=1e-4)
    torch.testing.assert_close(latents.var((0, 2, 3)), torch.ones(5), rtol=1e-2, atol=0)
    assert float(told.std.max()) < 0.05


def test_the_linear_code_is_saved_with_the_network(tmp_path: Path) -> None:
    written = KLCodec.fresh(FLAT).eval()
    written.begin(frames(8))
    written.measure(frames(16))
    written.save_pretrained(tmp_path)
    assert torch.equal(KLCodec.from_pretrained(tmp_path).encode(frames(2)), written.encode(frames(2)))


def cubes(*places: tuple[int, int]) -> NDArray[np.uint8]:
    """A grey picture with a red cube of 4 x 4 pixels at each place."""
    picture = np.full((64, 64, 3), 120, np.uint8)
    for row, column in places:
        picture[row : row + 4, column : column + 4] = (np.array(COLOURS["red"]) * 255).astype(np.uint8)
    return picture


def test_a_cube_is_recovered_where_it_was_as_it_was() -> None:
    real = cubes((20, 30))
    dark = real.copy()
    dark[20:24, 30:34] = dark[20:24, 30:34] // 2
    assert cubes_recovered(real, real) == [True]
    assert cubes_recovered(real, cubes((21, 30))) == [True]
    assert cubes_recovered(real, cubes((22, 30))) == cubes_recovered(real, cubes()) == [False]
    assert cubes_recovered(real, dark) == [False]
    assert cubes_recovered(cubes(), real) == []
    assert cubes_recovered(real, cubes((20, 30), (50, 50))) == [True]


def test_the_largest_patch_is_connected() -> None:
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 1, 1], [1, 0, 0, 0]], bool)
    assert np.array_equal(largest_patch(mask), mask & (np.arange(4) > 1))
    assert not largest_patch(np.zeros((3, 3), bool)).any()


def test_the_loss_weighs_details_more() -> None:
    picture = torch.zeros(1, 3, 16, 16)
    picture[..., 8:10, 8:10] = 1
    flat, detail = torch.zeros_like(picture), torch.zeros_like(picture)
    flat[..., 0:2, 0:2] = 0.5
    detail[..., 8:10, 8:10] = 0.5
    assert weighted(detail, picture) > 3 * weighted(flat, picture)


def test_the_identity_is_exact() -> None:
    identity, pixels = IdentityCodec(), frames(3)
    assert torch.equal(identity.decode(identity.encode(pixels)), pixels)


def test_wrong_pictures_are_refused() -> None:
    with pytest.raises(BadImageSize, match="multiple of 4"):
        codec().encode(frames(1)[:, :15])
    with pytest.raises(BadImageSize, match="uint8"):
        codec().encode(frames(1).float())
