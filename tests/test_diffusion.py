"""Laws of the process and its masked loss, against numpy and diffusers."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import assume, given
from hypothesis import strategies as st

from sfvgen_planner.errors import BadOption, UnknownName
from sfvgen_planner.world.diffusion import FLOW, PAPER, PROCESSES, Process, V, masked_loss, new_frames
from sfvgen_planner.world.schedule import draw_levels, leading, log_alpha_bar, trailing

ALL = [*PROCESSES.values(), Process("scaled_linear", "v"), Process("linear", "flow"), Process("straight", "v")]
SHAPE = (2, 3, 2, 2, 2)


def some(seed: int = 0, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]


def at(level: float, shape=SHAPE) -> torch.Tensor:
    return torch.full(shape[:2], level, dtype=torch.float64)


@pytest.mark.parametrize(
    ("curve", "named"), [("linear", "linear"), ("scaled_linear", "scaled_linear"), ("cosine", "squaredcos_cap_v2")]
)
def test_alpha_bar_is_that_of_diffusers(curve, named) -> None:
    theirs = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule=named).alphas_cumprod
    ours = log_alpha_bar(curve, 0.00085, 0.012, 1000).exp()
    assert ours[0] == 1
    np.testing.assert_allclose(ours[1:], theirs, rtol=3e-4 if curve == "cosine" else 2e-5, atol=1e-8)


@pytest.mark.parametrize(("process", "kind"), [(PAPER, "linear"), (Process("linear", "v"), "linear")])
def test_noising_and_targets_are_those_of_diffusers(process, kind) -> None:
    theirs = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule=kind)
    clean, noise = some()
    steps = torch.tensor([[0, 400, 999], [1, 20, 980]])
    level = (steps + 1).double() / 1000
    flat = [x.flatten(0, 1) for x in (clean, noise)]
    expected = theirs.add_noise(*flat, steps.flatten()).reshape(SHAPE)
    torch.testing.assert_close(process.noised(clean, noise, level), expected, rtol=1e-4, atol=1e-5)
    asked = noise if process.predict == "epsilon" else theirs.get_velocity(*flat, steps.flatten()).reshape(SHAPE)
    torch.testing.assert_close(process.target(clean, noise, level), asked, rtol=1e-4, atol=1e-5)


def test_flow_is_the_straight_line() -> None:
    clean, noise = some()
    torch.testing.assert_close(FLOW.noised(clean, noise, at(0.3)), 0.7 * clean + 0.3 * noise)
    torch.testing.assert_close(FLOW.target(clean, noise, at(0.3)), noise - clean)
    assert torch.equal(FLOW.noised(clean, noise, at(1)), noise)


@pytest.mark.parametrize("process", ALL)
def test_a_clean_frame_is_clean_to_the_bit(process) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        clean, noise = (x.to(dtype) for x in some())
        noised = process.noised(clean, noise, at(0).float())
        assert noised.dtype == dtype
        assert torch.equal(noised, clean)


@pytest.mark.parametrize("process", ALL)
@given(level=st.floats(0, 1), dtype=st.sampled_from([torch.float32, torch.float64]), seed=st.integers(0, 99))
def test_what_is_asked_gives_clean_and_noise_back(process, level, dtype, seed) -> None:
    assume(process.predict != "clean" or level > 0.1)  # n = (z - a x) / s: rounding of size 1 / s
    clean, noise = (x.to(dtype) for x in some(seed))
    levels = at(level).to(dtype)
    noisy, output = process.noised(clean, noise, levels), process.target(clean, noise, levels)
    exact = 1e-4 if dtype == torch.float32 else 1e-12
    # x = (z - s n) / a: epsilon has rounding of size 1 / a, 25 at the paper's last step.
    torch.testing.assert_close(process.to_clean(noisy, output, levels), clean, rtol=exact, atol=exact)
    torch.testing.assert_close(process.to_noise(noisy, output, levels), noise, rtol=exact, atol=exact)


@given(st.sampled_from(ALL[:3]), st.floats(0, 1), st.floats(0, 1))
def test_signal_only_falls(process, one, other) -> None:
    low, high = sorted((one, other))
    (a_low, s_low), (a_high, s_high) = (process.signal(at(x), some()[0]) for x in (low, high))
    assert (a_low >= a_high - 1e-12).all()
    assert (s_low <= s_high + 1e-12).all()


def test_rows_and_frames_have_their_own_levels() -> None:
    clean, noise = some()
    level = torch.linspace(0, 1, 6, dtype=torch.float64).reshape(2, 3)
    for process in ALL:
        whole = process.noised(clean, noise, level)
        for r in range(2):
            for t in range(3):
                one = [x[r : r + 1, t : t + 1] for x in (clean, noise, level)]
                assert torch.equal(process.noised(*one), whole[r : r + 1, t : t + 1])


def test_loss_is_the_mean_over_each_rows_new_frames() -> None:
    output, target = some(3)
    past = torch.tensor([2, 0])
    loss = masked_loss(output, target, new_frames(past, 3))
    error = (output.numpy() - target.numpy()) ** 2
    np.testing.assert_allclose(loss, [error[0, 2:].mean(), error[1].mean()], rtol=1e-12)
    weight = torch.arange(1.0, 7.0, dtype=torch.float64).reshape(2, 3)
    weighted = masked_loss(output, target, new_frames(past, 3), weight)
    frame = error.mean((2, 3, 4))
    np.testing.assert_allclose(weighted, [frame[0, 2] * 3, (frame[1] * [4, 5, 6]).mean()], rtol=1e-12)


def test_past_frames_have_no_say_and_no_gradient() -> None:
    output, target = some(4)
    output[:, 0] = torch.nan
    output.requires_grad_()
    loss = masked_loss(output, target, new_frames(torch.tensor([1, 3]), 3))
    loss.sum().backward()
    assert loss[0] > 0
    assert loss[1] == 0
    assert torch.equal(output.grad[:, 0], torch.zeros_like(output.grad[:, 0]))
    assert output.grad[0, 1:].abs().min() > 0


@pytest.mark.parametrize("level", [0.05, 0.5, 0.95])
def test_min_snr_weights_are_the_published_ones(level) -> None:
    for process, divisor in ((PAPER, lambda snr: snr), (V, lambda snr: snr + 1)):
        a, s = process.signal(at(level), at(level))
        snr = (a / s).square()
        torch.testing.assert_close(process.min_snr(at(level)), snr.clamp(max=5) / divisor(snr))
    # For any process it is the loss of x, weighted by min(snr, 5).
    clean, noise = some()
    for process in ALL:
        noisy, answer = process.noised(clean, noise, at(level)), some(9)[0]
        a, s = process.signal(at(level), clean)
        of_x = (a / s).square().clamp(max=5) * (process.to_clean(noisy, answer, at(level)) - clean).square()
        weight = process.min_snr(at(level))[..., None, None, None]
        torch.testing.assert_close(weight * (answer - process.target(clean, noise, at(level))).square(), of_x)


def test_training_may_follow_inference() -> None:
    process = Process("linear", "v", train_steps=77)
    clean, noise = some()
    with torch.inference_mode():
        process.noised(clean, noise, at(0.5))
    clean.requires_grad_()
    process.noised(clean, noise, at(0.5)).sum().backward()
    assert clean.grad is not None


@pytest.mark.parametrize("how", ["uniform", "stratified", "leaning", "high"])
def test_drawn_levels_lie_where_they_should(how) -> None:
    levels = draw_levels(how, (1000, 3), torch.Generator().manual_seed(1))
    assert torch.equal(levels, draw_levels(how, (1000, 3), torch.Generator().manual_seed(1)))
    assert levels.min() > (0.399 if how == "high" else 0)
    assert levels.max() <= 1
    u = ((1 - levels) / {"leaning": 1.0, "high": 0.6}.get(how, 1)).sqrt() if how in ("leaning", "high") else levels
    assert abs(u.mean() - 0.5) < 0.03
    if how != "uniform":
        parts = (u * 1000).double()
        # One level in each thousandth of every column (but for single precision at its edges).
        gaps = parts.sort(0).values - torch.arange(1000)[:, None]
        assert (gaps > -0.1).all()
        assert (gaps < 1.1).all()
        assert abs(torch.corrcoef(torch.stack([u[:, 0], u[:, 1]]))[0, 1]) < 0.15


def test_levels_to_visit() -> None:
    theirs = DDIMScheduler()
    theirs.set_timesteps(50)
    np.testing.assert_allclose(leading(50)[:-1] * 1000 - 1, theirs.timesteps, atol=1e-9)
    assert trailing(4).tolist() == [1, 0.75, 0.5, 0.25, 0]
    np.testing.assert_allclose(trailing(2, shift=3), [1, 3 * 0.5 / (1 + 2 * 0.5), 0])
    assert leading(1).tolist() == [0.001, 0]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Process("cubic", "v"), UnknownName),
        (lambda: Process("linear", "score"), UnknownName),
        (lambda: Process("straight", "epsilon"), BadOption),
        (lambda: Process("linear", "v", beta_start=0.1, beta_end=0.01), BadOption),
        (lambda: FLOW.noised(*some(), at(0.5)[:, :1]), BadOption),
        (lambda: FLOW.noised(*some(), at(1).long()), BadOption),
        (lambda: FLOW.noised(some()[0], some()[1][:1], at(0.5)), BadOption),
        (lambda: FLOW.to_clean(some()[0], some()[1][:, :1], at(0.5)), BadOption),
        (lambda: masked_loss(*some(), torch.ones(2, 3)), BadOption),
        (lambda: masked_loss(*some(), torch.ones(2, 1, dtype=torch.bool)), BadOption),
        (lambda: masked_loss(*some(), torch.ones(2, 3, dtype=torch.bool), torch.ones(2)), BadOption),
        (lambda: draw_levels("low", (2,), torch.Generator()), UnknownName),
        (lambda: trailing(0), BadOption),
        (lambda: trailing(2, shift=0), BadOption),
        (lambda: leading(1001), BadOption),
    ],
)
def test_what_does_not_fit_is_named(make, error) -> None:
    with pytest.raises(error):
        make()
