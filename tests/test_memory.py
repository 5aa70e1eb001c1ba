"""A memory is a value: it is written by remembering and by nothing else, and slow weights are never written."""

from dataclasses import replace
from math import inf

import pytest
import torch
from memory_fakes import SMALL, before_and_after, config_for, seen, world_of

from sfvgen_planner.errors import BadMemory, BadOption, UnknownName
from sfvgen_planner.memory import DEFAULT, PAPER, Memory, MemoryConfig, Seen, merged, remember, start
from sfvgen_planner.memory.config import KINDS, VARIANTS
from sfvgen_planner.memory.guard import shares, sizes
from sfvgen_planner.memory.remember import cropped, drawn, losses
from sfvgen_planner.memory.start import identity, layers
from sfvgen_planner.world.causal import CausalConfig, CausalDenoiser
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

BOTH = pytest.mark.parametrize("kind", ["causal", "unet3d"])


def same(one: Memory, other: Memory) -> bool:
    pairs = zip(one.trained.tensors, other.trained.tensors, strict=True)
    return torch.equal(one.trained.steps, other.trained.steps) and all(
        torch.equal(mine[name], theirs[name]) for mine, theirs in pairs for name in mine
    )


def dreamt(world: WorldModel, window: Seen, memory: Memory | None) -> torch.Tensor:
    new = window.facts[window.past :]
    past, known = window.latents[:, : window.past], window.facts[: window.past]
    seeds = torch.zeros(window.rows, dtype=torch.int64)
    factors = None if memory is None else memory.factors
    return world.dream(past, known, new, seeds, SamplerConfig(2), factors).latents


@BOTH
def test_a_zero_memory_changes_nothing_and_a_written_one_does(kind: str) -> None:
    world = world_of(kind)
    window, memory = seen(world, 2), start(world, config_for(kind), 2)
    plain = dreamt(world, window, None)
    assert torch.equal(dreamt(world, window, memory), plain)
    written = remember(world, memory, window)
    assert written.version != memory.version
    assert not torch.equal(dreamt(world, window, written), plain)


@BOTH
def test_slow_weights_and_the_memory_given_are_never_written(kind: str) -> None:
    world = world_of(kind)
    before = {name: value.clone() for name, value in world.state_dict().items()}
    memory = start(world, config_for(kind), 2)
    kept, version = memory.trained.each(torch.clone), memory.version
    remember(world, memory, seen(world, 2))
    assert all(torch.equal(value, before[name]) for name, value in world.state_dict().items())
    assert all(parameter.grad is None for parameter in world.parameters())
    assert same(memory, replace(memory, trained=kept))
    assert memory.version == version


@BOTH
@pytest.mark.parametrize("process", ["flow", "clean"])
def test_a_chunk_becomes_easier_on_the_same_noise(kind: str, process: str) -> None:
    config = replace(config_for(kind), updates=1, replay=0, clip=inf, rise=inf)
    was, less = before_and_after(world_of(kind, process), config)
    assert (less < was).all()


def test_a_cache_made_before_remembering_is_refused_after_it() -> None:
    world = world_of()
    window, memory = seen(world, 1), start(world, SMALL, 1)
    told = world.conditions(window.facts)
    cache = world.denoiser.prefill(window.latents[:, :2], told[:2], memory.factors)
    after = remember(world, memory, window).factors
    with pytest.raises(BadOption, match="prefill"):
        world.denoiser.denoise(cache, window.latents[:, 2:], window.latents.new_ones(1, 4), told[2:], after)


def test_remembering_repeats_itself_and_knows_its_seed() -> None:
    world = world_of()
    window = seen(world, 1)
    one, again = (remember(world, start(world, SMALL, 1), window) for _ in range(2))
    assert same(one, again)
    assert one.version == again.version
    other = remember(world, start(world, SMALL, 1, seeds=torch.tensor([5])), window)
    assert other.version != one.version


def test_remembering_works_where_gradients_are_off() -> None:
    world = world_of()
    expected = remember(world, start(world, SMALL, 1), seen(world, 1))
    with torch.inference_mode():
        found = remember(world, start(world, SMALL, 1), seen(world, 1))
        found = remember(world, found, seen(world, 1, seed=1))
    assert same(found, remember(world, expected, seen(world, 1, seed=1)))


def test_actions_are_withheld_and_poses_are_the_key() -> None:
    world = world_of()
    window = seen(world, 1)
    undone = replace(window, facts=window.facts.withhold(actions=torch.ones(1, dtype=torch.bool)))
    nowhere = replace(window, facts=window.facts.withhold(poses=torch.ones(1, dtype=torch.bool)))

    def written(config: MemoryConfig, one: Seen) -> str:
        return remember(world, start(world, config, 1), one).version

    full, original = SMALL, replace(SMALL, variant="original")
    assert written(full, window) == written(full, undone) != written(full, nowhere)
    assert written(original, window) != written(original, undone)
    blind = replace(SMALL, address=False)
    assert written(blind, window) == written(blind, nowhere)


def test_variants_look_at_what_they_say() -> None:
    world = world_of()
    window, older = seen(world, 1), seen(world, 1, seed=1)

    def written(variant: str, one: Seen = window, earlier: tuple[Seen, ...] = ()) -> str:
        config = replace(SMALL, variant=variant, replay=0)  # type: ignore[arg-type]
        return remember(world, start(world, config, 1), one, earlier).version

    assert len({written(variant) for variant in ("full", "original", "frame", "jump", "off")}) == 5
    assert written("off") == start(world, SMALL, 1).version
    changed = window.latents.clone()
    changed[:, 0] += 1
    without = replace(window, latents=changed)
    assert written("frame") == written("frame", without)
    assert written("jump") == written("jump", without)
    assert written("full") != written("full", without)
    assert written("full", earlier=(older,)) == written("full")
    assert written("global", earlier=(older,) * 20) != written("global")
    assert written("global") == written("full")


def test_replay_looks_back_every_other_update() -> None:
    world = world_of()
    window, older = seen(world, 1), seen(world, 1, seed=1)
    memory = start(world, SMALL, 1)
    assert drawn(memory, window, [older] * 4).pick[0, 0].tolist() == [4, 4]
    assert (drawn(memory, window, [older] * 4).pick[0, 1] < 4).all()
    assert remember(world, memory, window, [older]).version != remember(world, memory, window).version
    short = seen(world, 1, frames=4, seed=1)
    assert remember(world, memory, window, [short]).version == remember(world, memory, window).version


def test_a_dreamt_chunk_moves_the_memory_less_and_weight_zero_not_at_all() -> None:
    world, config = world_of(), replace(SMALL, updates=1, rise=inf)
    window, memory = replace(seen(world, 3), weight=torch.tensor([1.0, 0.25, 0.0])), start(world, config, 3)
    same_rows = replace(window, latents=window.latents[:1].repeat(3, 1, 1, 1, 1))
    after = remember(world, memory, same_rows)
    assert after.trained.steps.tolist() == [1, 1, 0]
    moved = torch.stack([value.flatten(1).abs().amax(1) for value in after.factors.up.values()]).amax(0)
    torch.testing.assert_close(moved[1] / moved[0], torch.tensor(0.25, dtype=torch.float64), rtol=1e-4, atol=0)
    assert moved[2] == 0


def test_what_makes_a_chunk_harder_is_forgotten_again() -> None:
    """Row by row, on noise that no update has seen."""
    world, wild = world_of(), replace(SMALL, rate=1.5, rise=0.0, clip=inf, bound=inf)
    memory, window = start(world, wild, 8), seen(world, 8)
    unguarded = remember(world, replace(memory, config=replace(wild, rise=inf)), window)
    draw = drawn(memory, window)
    noise, level, now = draw.noise(wild.updates, window.latents), draw.level[:, -1], cropped(window, wild)
    was, after = (losses(world, one.trained.weights, wild, now, noise, level) for one in (memory, unguarded))
    kept = after <= was * (1 + wild.rise)
    assert kept.any()
    assert not kept.all()
    expected = replace(memory, trained=unguarded.trained.where(kept, memory.trained))
    assert same(remember(world, memory, window), expected)


def test_what_is_not_finite_is_never_learned() -> None:
    world = world_of()
    memory, window = start(world, replace(SMALL, rise=inf), 2), seen(world, 2)
    wrong = window.latents.clone()
    wrong[1] = 1e200  # finite, and its loss is not
    after = remember(world, memory, replace(window, latents=wrong))
    assert after.trained.steps.tolist() == [SMALL.updates, 0]
    assert all(value.isfinite().all() for value in after.trained.weights.values())


@BOTH
def test_a_memory_stays_small_beside_the_weights(kind: str) -> None:
    world = world_of(kind)
    config = replace(config_for(kind), rate=0.1, bound=0.05, rise=inf)
    memory = remember(world, start(world, config, 2), seen(world, 2))
    weights = memory.trained.weights
    found = shares(weights, sizes(world.denoiser, weights))
    assert max(float(share.max()) for share in found.values()) == pytest.approx(0.05)
    name, down = next(iter(memory.factors.down.items()))
    made = memory.factors.up[name] @ down.flatten(2)
    expected = made.flatten(1).norm(dim=1) / world.denoiser.get_parameter(f"{name}.weight").norm()
    torch.testing.assert_close(found[name], expected)


def test_an_anchor_holds_the_memory_back() -> None:
    world, window = world_of(), seen(world_of(), 1)

    def far(anchor: float) -> float:
        config = replace(SMALL, updates=8, anchor=anchor, rise=inf)
        memory = remember(world, start(world, config, 1), window)
        return sum(float((value - memory.start[name]).norm()) for name, value in memory.trained.weights.items())

    assert far(100.0) < 0.8 * far(0.0)


def test_a_learned_start_is_where_rows_begin_and_return() -> None:
    world = world_of()
    taught = remember(world, start(world, SMALL, 1), seen(world, 1))
    memory = start(world, SMALL, 2, theta0=taught.factors)
    window = seen(world, 1)
    assert torch.equal(dreamt(world, window, memory[:1]), dreamt(world, window, taught))
    back = remember(world, memory, seen(world, 2)).reset(torch.tensor([True, True]))
    assert same(back, memory)


@BOTH
def test_merged_for_a_plan_dreams_alike_and_leaves_the_world_alone(kind: str) -> None:
    world, window = world_of(kind), seen(world_of(kind), 1)
    memory, before = remember(world, start(world, config_for(kind), 1), window), identity(world)
    planned = merged(world, memory)
    torch.testing.assert_close(dreamt(planned, window, None), dreamt(world, window, memory), rtol=1e-8, atol=1e-10)
    assert identity(world) == before != identity(planned)
    theirs = {id(parameter) for parameter in world.parameters()}
    own = [name for name, parameter in planned.named_parameters() if id(parameter) not in theirs]
    assert len(own) == len(memory.factors.down)


def test_sizes_of_the_presets() -> None:
    shipped = CausalConfig(16, 16, 16, 128, 75, patch=4, dim=128, depth=5, copies=True, fine=4)
    world = world_of()
    world.denoiser = CausalDenoiser(shipped)
    assert start(world, DEFAULT, 1).numbers * 2 == 177_216 <= 256 * 1024
    assert start(world, PAPER, 1).numbers * 2 == 327_680
    assert (PAPER.rank, PAPER.rate, PAPER.updates, PAPER.address) == (32, 1e-4, 1, False)
    assert start(world_of(), SMALL, 3).numbers == 2 * 3 * (4 * (32 + 32) + 2 * (32 + 128))


def test_kinds_of_layers_of_the_video_unet() -> None:
    """Every kind finds its own, and no layer is of two kinds."""
    world, transformer = world_of("unet3d"), "unet.mid_block.temp_attentions.0.transformer_blocks.0"
    expected = {
        "attention": f"{transformer}.attn1.to_out.0",
        "mlp": f"{transformer}.ff.net.0.proj",
        "address": "unet.conv_in",
        "brush": "conv_out",
        "convolution": "unet.mid_block.resnets.0.conv2",
        "temporal_convolution": "unet.mid_block.temp_convs.0.conv4.3",
    }
    found = {kind: set(layers(world, (kind,))) for kind in KINDS}
    assert all(name in found[kind] for kind, name in expected.items())
    assert sum(map(len, found.values())) == len(set().union(*found.values()))
    assert set(layers(world, tuple(KINDS))) == set().union(*found.values())


def test_bad_input_is_named_and_the_memory_unharmed() -> None:
    world = world_of()
    memory, window = start(world, SMALL, 2), seen(world, 2)
    nan = window.latents.clone()
    nan[0, 0, 0, 0, 0] = torch.nan
    kept = memory.trained.each(torch.clone)
    bad = {
        "NaN": replace(window, latents=nan),
        "one new frame": Seen(window.latents[:, :0], window.facts[:0]),
        "2 rows": seen(world, 3),
        "Encode": replace(window, latents=window.latents[..., :2]),
        "finite numbers from 0": replace(window, weight=torch.tensor([1.0, -1.0])),
    }
    for told, one in bad.items():
        with pytest.raises(BadMemory, match=told):
            remember(world, memory, one)
    sat_out = replace(window, latents=nan, weight=torch.tensor([0.0, 1.0]))
    assert remember(world, memory, sat_out).trained.steps.tolist() == [0, SMALL.updates]
    other = world_of()
    next(other.denoiser.parameters()).data += 1
    with pytest.raises(BadMemory, match="this world"):
        remember(other, memory, window)
    with pytest.raises(BadMemory, match="another architecture"):
        remember(world_of("unet3d"), memory, window)
    with pytest.raises(BadMemory, match="rank"):
        remember(world, replace(memory, config=replace(SMALL, rank=4)), window)
    with pytest.raises(BadMemory, match="match nothing"):
        start(world, replace(SMALL, modules=("attention", "convolution")), 2)
    with pytest.raises(BadMemory, match="rows"):
        merged(world, memory)
    with pytest.raises(BadMemory, match="bool"):
        memory.reset(torch.tensor([True]))
    with pytest.raises(BadMemory, match="one of each"):
        Memory.stack([memory, start(world, replace(SMALL, rate=0.1), 1)])
    assert same(memory, replace(memory, trained=kept))


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"rate": 0.0}, {"clip": 0.0}, {"modules": ()}, {"rise": -1.0}])
def test_bad_configs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadOption):
        replace(DEFAULT, **wrong)  # type: ignore[arg-type]


def test_unknown_variants_are_refused() -> None:
    assert set(VARIANTS) > {"original", "global", "frame", "off"}
    with pytest.raises(UnknownName, match="global"):
        replace(DEFAULT, variant="globl")  # type: ignore[arg-type]
