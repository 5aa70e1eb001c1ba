"""Laws of sampling: diffusers' DDIM, Euler by hand, exact recovery, and convergence."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.diffusion import FLOW, PAPER, PROCESSES, Process, V
from sfvgen_planner.world.noise import keyed_noise
from sfvgen_planner.world.sampler import PAPER_SAMPLER, SamplerConfig, guided, sample
from sfvgen_planner.world.schedule import leading, trailing

SHAPE = (2, 3, 2, 2, 2)
ALL = [*PROCESSES.values(), Process("scaled_linear", "v"), Process("linear", "flow"), Process("straight", "v")]


def gaussian(seed: int, shape=SHAPE) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def toy(noisy: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """A network of no sense that reads both its arguments."""
    return torch.tanh(noisy * 0.7 + level[..., None, None, None] - 0.3)


def keyed(step: int) -> torch.Tensor:
    return keyed_noise(torch.arange(2), torch.zeros(2, dtype=torch.int64), 3, (2, 2, 2), step=step, dtype=torch.float64)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("curve", "predict"), [("linear", "epsilon"), ("scaled_linear", "epsilon"), ("linear", "v")])
def test_fifty_steps_are_diffusers_fifty_steps(curve, predict, eta) -> None:
    theirs = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule=curve,
        clip_sample=False,
        prediction_type="epsilon" if predict == "epsilon" else "v_prediction",
    )
    theirs.set_timesteps(50)
    theirs.alphas_cumprod = theirs.alphas_cumprod.double()
    expected = [gaussian(0)]
    for index, t in enumerate(theirs.timesteps):
        level = torch.full(SHAPE[:2], (int(t) + 1) / 1000, dtype=torch.float64)
        answer = toy(expected[-1], level)
        noise = keyed(index + 1)
        expected.append(theirs.step(answer, int(t), expected[-1], eta=eta, variance_noise=noise).prev_sample)
    seen = []

    def watched(noisy, level):
        seen.append(noisy)
        return toy(noisy, level)

    found = sample(watched, gaussian(0), PAPER_SAMPLER.levels(PAPER), Process(curve, predict), eta=eta, fresh=keyed)
    assert len(seen) == 50
    # diffusers keeps its table in single precision.
    for ours, other in zip([*seen, found], expected, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-3, atol=1e-4)


def test_flow_is_eulers_method() -> None:
    for levels in (trailing(1), trailing(2), trailing(4), trailing(4, shift=3.0)):
        z = gaussian(0).numpy()
        for here, there in zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True):
            z = z + (there - here) * np.tanh(z * 0.7 + here - 0.3)
        np.testing.assert_allclose(sample(toy, gaussian(0), levels, FLOW), z, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("process", ALL)
@pytest.mark.parametrize("steps", [1, 2, 4, 50])
def test_a_world_of_one_point_is_reached_from_anywhere(process, steps) -> None:
    point = gaussian(7)

    def posterior(noisy, level):
        a, s = process.signal(level, noisy)
        return process.target(point, (noisy - a * point) / s, level)

    for levels in (trailing(steps), leading(steps)):
        for eta in (0.0, 1.0):
            found = sample(posterior, gaussian(1), levels, process, eta=eta, fresh=keyed)
            torch.testing.assert_close(found, point, rtol=1e-7, atol=1e-7)


def normal_world(process: Process, mean: float, deviation: float):
    """The exact posterior mean where every pixel is drawn from N(mean, deviation^2)."""

    def denoise(noisy, level):
        a, s = process.signal(level, noisy)
        power = (a * deviation).square() + s.square()
        clean = mean + a * deviation**2 / power * (noisy - a * mean)
        noise = s / power * (noisy - a * mean)
        return process.target(clean, noise, level)

    return denoise


@pytest.mark.parametrize("process", [FLOW, Process("straight", "v"), V, Process("cosine", "flow")])
def test_error_halves_with_the_step(process) -> None:
    # The flow carries N(0, 1) to N(1, .25) by moving quantiles: z -> 1 + z / 2.
    noise = gaussian(2)
    denoise = normal_world(process, 1.0, 0.5)
    coarse, fine = (
        float((sample(denoise, noise, trailing(steps), process) - (1 + 0.5 * noise)).abs().mean()) for steps in (40, 80)
    )
    assert coarse < 0.02
    assert coarse / fine == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("process", [PAPER, FLOW, V])
def test_stochastic_steps_keep_the_distribution(process) -> None:
    rows, first = torch.arange(16), torch.zeros(16, dtype=torch.int64)

    def fresh(step):
        return keyed_noise(rows, first, 8, (4, 4, 4), step=step, dtype=torch.float64)

    found = sample(normal_world(process, 1.0, 0.5), fresh(0), trailing(300), process, eta=1.0, fresh=fresh)
    assert found.mean() == pytest.approx(1, abs=0.03)
    assert found.std() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("process", ALL)
def test_rows_are_independent(process) -> None:
    def run(rows):
        def fresh(step):
            return keyed_noise(rows, torch.zeros_like(rows), 3, (2, 2, 2), step=step, dtype=torch.float64)

        return sample(toy, fresh(0), trailing(4), process, eta=0.7, fresh=fresh)

    whole = run(torch.arange(4))
    for row in range(4):
        torch.testing.assert_close(run(torch.tensor([row]))[0], whole[row], rtol=1e-12, atol=1e-12)


def test_the_same_latents_come_of_the_same_key() -> None:
    one, two = (sample(toy, keyed(0), trailing(4), FLOW, eta=0.5, fresh=keyed) for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_latents_keep_their_type(dtype) -> None:
    levels = []

    def denoise(noisy, level):
        levels.append(level)
        return noisy * 0.5

    assert sample(denoise, gaussian(0).to(dtype), trailing(4), V).dtype == dtype
    assert {level.dtype for level in levels} == {torch.promote_types(dtype, torch.float32)}
    assert levels[1][0, 0] == 0.75


def test_guidance_mixes_what_both_see() -> None:
    def other(noisy, level):
        return toy(noisy, level) * 0.2 - 0.1

    assert guided(toy, other, 1.0) is toy
    assert guided(toy, other, 0.0) is other
    noisy, level = gaussian(0), torch.full(SHAPE[:2], 0.6, dtype=torch.float64)
    for process in ALL:
        with_it, without = (process.to_clean(noisy, f(noisy, level), level) for f in (toy, other))
        mixed = process.to_clean(noisy, guided(toy, other, 3.0)(noisy, level), level)
        torch.testing.assert_close(mixed, without + 3 * (with_it - without))


def test_configs_give_their_levels() -> None:
    assert torch.equal(PAPER_SAMPLER.levels(PAPER), leading(50))
    assert torch.equal(SamplerConfig(steps=2, shift=3.0).levels(FLOW), trailing(2, 3.0))


@pytest.mark.parametrize(
    "levels", [[1.0], [0.0, 1.0], [1.0, 0.5], [1.2, 0.0], [1.0, 0.5, 0.5, 0.0], [[1.0, 0.0]], [float("nan"), 0.0]]
)
def test_levels_that_do_not_fall_to_zero_are_refused(levels) -> None:
    with pytest.raises(BadOption):
        sample(toy, gaussian(0), torch.tensor(levels), FLOW)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SamplerConfig(spacing="even"),
        lambda: SamplerConfig(eta=2.0),
        lambda: sample(toy, gaussian(0), trailing(2), FLOW, eta=0.5),
        lambda: sample(lambda z, level: z[:1], gaussian(0), trailing(2), FLOW),
        lambda: sample(toy, gaussian(0), trailing(2), FLOW, eta=0.5, fresh=lambda step: gaussian(step)[:1]),
    ],
)
def test_what_does_not_fit_is_named(make) -> None:
    with pytest.raises(BadOption):
        make()
