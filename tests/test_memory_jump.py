"""Written as it will be read: new frames after a past from where they could not be seen."""

from dataclasses import replace
from math import inf

import pytest
import torch
from memory_fakes import SMALL, rows_of, seen, world_of

from sfvgen_planner.memory import remember, start
from sfvgen_planner.memory.adam import Tensors
from sfvgen_planner.memory.remember import cropped, drawn, losses

JUMP = replace(SMALL, variant="jump", updates=2, draws=4, replay=2, mixed=True, clip=inf, bound=inf, rise=inf)


def test_new_frames_after_the_past_of_another_window() -> None:
    world = world_of()
    there, here = seen(world, 2, seed=1), seen(world, 2, seed=2)
    both, past = there.behind(here), here.past
    assert torch.equal(both.latents, torch.cat([here.latents[:, :past], there.latents[:, past:]], 1))
    assert torch.equal(both.facts.poses[:, :past], here.facts.poses[:, :past])
    assert torch.equal(both.facts.poses[:, past:], there.facts.poses[:, past:])
    assert both.facts.poses_known.all()
    assert both.facts.vectors_known[:, :past].all()
    assert not both.facts.vectors_known[:, past:].any(), "what was done there does not lead from here"


def test_three_draws_of_four_jump_and_none_where_nothing_is_earlier() -> None:
    world = world_of()
    window = seen(world, 2)
    begun = start(world, JUMP, 2, seeds=torch.tensor([1, 2]))
    draw = drawn(begun, window, [window] * 3)
    assert (draw.after != draw.pick).tolist() == [[[True, True, True, False]] * 2] * 2
    assert (draw.after <= 3).all()
    many = drawn(replace(begun, config=replace(JUMP, updates=200)), window, [window] * 3)
    counts = torch.bincount(many.pick.flatten(), minlength=4) / many.pick.numel()
    assert (counts - 0.25).abs().max() < 0.05, "windows of the whole history, each as often as the last one"
    alone = drawn(begun, window)
    assert torch.equal(alone.after, alone.pick)
    for variant in ("full", "original", "global"):
        other = drawn(replace(begun, config=replace(JUMP, variant=variant)), window, [window] * 3)
        assert torch.equal(other.after, other.pick)


def test_no_past_of_another_episode() -> None:
    world = world_of()
    begun, window = start(world, JUMP, 2), seen(world, 2)
    other = replace(window, weight=torch.tensor([0.0, 1.0]))
    draw = drawn(begun, window, [other, window])
    assert (draw.after[0] > 0).all()
    assert (draw.after[1] == 0).any()


@pytest.mark.parametrize("process", ["flow", "clean"])
def test_the_loss_is_of_the_mix_and_of_what_is_drawn_after_a_clean_past(process: str) -> None:
    world = world_of(process=process)
    window = seen(world, 2)
    noise = torch.randn(window.latents.shape, generator=torch.Generator().manual_seed(0)).double()
    level = torch.tensor([[0.9], [0.4]], dtype=torch.float64)
    weights = start(world, JUMP, 2).trained.weights
    shown = cropped(window, JUMP)
    assert (shown.frames, shown.past) == (window.frames - window.past + 1, 1), "what is carried comes from one frame"
    told = losses(world, weights, JUMP, shown, noise[:, -shown.frames :], level)
    window = window.after(window.past - 1)
    noise = noise[:, -window.frames :]
    levels = level.repeat(1, window.frames)
    levels[:, : window.past] = 0
    noisy = world.config.process.noised(window.latents, noise, levels)
    assert torch.equal(noisy[:, : window.past], window.latents[:, : window.past])
    with torch.no_grad():
        answer = world.denoiser(noisy, levels, world.conditions(window.facts))
    target = world.config.process.target(window.latents, noise, levels)[:, window.past :]
    parts = [(one[:, window.past :] - target).square().flatten(1).mean(1) for one in (answer.output, answer.drawn)]
    torch.testing.assert_close(told, sum(parts) / 2)


def test_a_row_that_jumps_learns_the_same_in_any_company() -> None:
    world = world_of(process="clean")
    windows = [seen(world, 3, seed=number) for number in range(3)]
    begun = start(world, JUMP, 3, seeds=torch.tensor([5, 6, 7]))
    together = remember(world, begun, windows[2], windows[:2])
    one = slice(1, 2)
    alone = remember(world, begun[one], rows_of(windows[2], one), [rows_of(window, one) for window in windows[:2]])
    for name, value in alone.trained.weights.items():
        torch.testing.assert_close(value[0], together.trained.weights[name][1], rtol=1e-8, atol=1e-12)


def test_what_was_seen_is_easier_to_draw_from_elsewhere() -> None:
    """And easier under the own memory than under that of another episode."""
    world = world_of(process="clean")
    config = replace(JUMP, modules=("address", "brush"), optimiser="muon", rate=0.02, updates=60, replay=0)
    first, then = seen(world, 2, seed=1), seen(world, 2, seed=2)
    memory = remember(world, start(world, config, 2), then, [first])
    apart = cropped(then.behind(first), config)
    noise, level = torch.zeros_like(apart.latents), torch.ones(2, 1, dtype=torch.float64)
    weights = memory.trained.weights
    was, own, other = (
        losses(world, each, config, apart, noise, level)
        for each in (memory.reset(torch.ones(2, dtype=torch.bool)).trained.weights, weights, _swapped(weights))
    )
    assert (own < was).all()
    assert (own < other).all()


def _swapped(weights: Tensors) -> dict[str, torch.Tensor]:
    return {name: value.roll(1, 0) for name, value in weights.items()}
