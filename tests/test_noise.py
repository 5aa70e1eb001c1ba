"""Laws of keyed noise: published vectors, an independent Philox, normality, and that only the key counts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.noise import keyed_noise, philox, split

WORD = 2**32
words = st.integers(0, WORD - 1)
seeds64 = st.integers(-(2**63), 2**63 - 1)


def plain_philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox 4x32-10 as the paper writes it, in Python's unbounded integers."""
    left, right = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * counter[0], WORD)
        high1, low1 = divmod(0xCD9E8D57 * counter[2], WORD)
        counter = [high1 ^ counter[1] ^ left, low1, high0 ^ counter[3] ^ right, low0]
        left, right = (left + 0x9E3779B9) % WORD, (right + 0xBB67AE85) % WORD
    return counter


def ours(counter: list[int], key: list[int]) -> list[int]:
    return [int(w) for w in philox(tuple(map(torch.tensor, counter)), tuple(map(torch.tensor, key)))]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([WORD - 1] * 4, [WORD - 1] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_published_vectors(counter: list[int], key: list[int], expected: str) -> None:
    assert " ".join(f"{word:08x}" for word in ours(counter, key)) == expected
    assert plain_philox(counter, key) == ours(counter, key)


@given(st.lists(words, min_size=4, max_size=4), st.lists(words, min_size=2, max_size=2))
def test_philox_is_the_plain_one(counter: list[int], key: list[int]) -> None:
    assert ours(counter, key) == plain_philox(counter, key)


def draw(seeds, first, frames=3, shape=(2, 3, 3), step=0, dtype=torch.float64):
    return keyed_noise(torch.tensor(seeds), torch.tensor(first), frames, shape, step=step, dtype=dtype)


@given(seeds64, st.integers(0, 10**6), st.integers(0, 10**6))
def test_noise_is_box_muller_of_the_key(seed: int, frame: int, step: int) -> None:
    found = draw([seed], [frame], 2, (1, 3, 3), step).flatten(2)[0]
    for t in range(2):
        expected = []
        for block in range(3):
            w = plain_philox([block, frame + t, step, 0], [seed % WORD, (seed >> 32) % WORD])
            for i in (0, 2):
                radius = math.sqrt(-2 * math.log((w[i] + 1) / WORD))
                turn = 2 * math.pi * w[i + 1] / WORD
                expected += [radius * math.cos(turn), radius * math.sin(turn)]
        np.testing.assert_allclose(found[t].numpy(), expected[:9], rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.lists(seeds64, min_size=1, max_size=5), st.integers(0, 99), st.integers(1, 4), st.randoms())
def test_neither_batch_nor_order_nor_chunking_changes_a_number(seeds, first, frames, random) -> None:
    together = draw(seeds, [first] * len(seeds), frames)
    order = random.sample(range(len(seeds)), len(seeds))
    assert torch.equal(draw([seeds[i] for i in order], [first] * len(seeds), frames), together[order])
    for row, seed in enumerate(seeds):
        each = [draw([seed], [first + t], 1) for t in range(frames)]
        assert torch.equal(torch.cat(each, 1)[0], together[row])


def test_single_precision_is_the_double_rounded() -> None:
    double, single = (draw(list(range(8)), [0] * 8, 8, (4, 8, 8), dtype=d) for d in (torch.float64, torch.float32))
    assert torch.equal(double.float(), single)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same() -> None:
    seeds, first = torch.arange(16), torch.arange(16)
    one, other = (keyed_noise(seeds.to(d), first.to(d), 8, (4, 8, 8), dtype=torch.float32) for d in ("cpu", "cuda"))
    assert torch.equal(one, other.cpu())


def test_the_numbers_are_normal() -> None:
    x = draw(list(range(32)), [0] * 32, 8, (16, 8, 8)).flatten()
    n = x.numel()
    assert abs(x.mean()) < 4 / n**0.5
    assert abs(x.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((x**3).mean()) < 4 * (15 / n) ** 0.5
    assert abs((x**4).mean() - 3) < 4 * (96 / n) ** 0.5
    # Kolmogorov and Smirnov's distance to the normal distribution, at the level of .1 %.
    cdf = torch.special.ndtr(x.sort().values)
    assert (cdf - (torch.arange(n) + 0.5) / n).abs().max() < 1.95 / n**0.5


def test_seeds_frames_steps_and_pixels_next_to_each_other_are_independent() -> None:
    base = draw(list(range(64)), [0] * 64, 8, (4, 8, 8))
    step = draw(list(range(64)), [0] * 64, 8, (4, 8, 8), step=1)
    flat = base.flatten()
    pairs = [(base[1:], base[:-1]), (base[:, 1:], base[:, :-1]), (base, step), (flat[1:], flat[:-1])]
    for one, other in pairs:
        for power in (1, 2):
            a, b = one.flatten() ** power, other.flatten() ** power
            assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 4 / a.numel() ** 0.5


def test_candidates_share_their_noise_or_not() -> None:
    seeds, first = torch.tensor([5, 7]), torch.tensor([0, 8])
    one = keyed_noise(seeds, first, 4, (2, 4, 4), dtype=torch.float32)
    shared = keyed_noise(seeds.repeat_interleave(3), first.repeat_interleave(3), 4, (2, 4, 4), dtype=torch.float32)
    assert torch.equal(shared, one.repeat_interleave(3, 0))
    own = split(seeds, 3)
    assert torch.equal(own[:, :2], split(seeds, 2))
    assert torch.equal(own[1:], split(seeds[1:], 3))
    assert len({*own.flatten().tolist(), 5, 7}) == 8
    assert split(torch.arange(100), 100).unique().numel() == 10_000


@pytest.mark.parametrize(
    ("seeds", "first", "frames", "shape"),
    [
        (torch.zeros(2), torch.zeros(2), 1, (1, 1, 1)),
        (torch.zeros(2, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), 1, (1, 1, 1)),
        (torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.int64), 1, (1, 1, 1)),
        (torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), -1, (1, 1, 1)),
        (torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), 1, (0, 1, 1)),
    ],
)
def test_a_bad_key_is_named(seeds, first, frames, shape) -> None:
    with pytest.raises(BadOption):
        keyed_noise(seeds, first, frames, shape, dtype=torch.float32)
