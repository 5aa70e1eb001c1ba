"""The causal denoiser: the past is computed once, the future never reaches back, rows never meet."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.causal import CausalConfig, CausalDenoiser
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.lowrank import LowRank, RowLinear

SIZES = {"channels": 3, "height": 4, "width": 4, "frame_size": 5, "address_size": 3, "dim": 16, "depth": 2, "heads": 2}
TINY = CausalConfig(**SIZES, window=12, looks=0.75, copies=True)


def denoiser(config: CausalConfig = TINY) -> CausalDenoiser:
    """Random everywhere, also where a fresh one starts from zero."""
    torch.manual_seed(0)
    model = CausalDenoiser(config).double()
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    return model.requires_grad_(False)


def inputs(rows: int, frames: int, seed: int = 0) -> tuple[Tensor, Tensor, Conditions]:
    draw = torch.Generator().manual_seed(seed)
    latents = torch.randn(rows, frames, 3, 4, 4, generator=draw, dtype=torch.float64)
    level = torch.rand(rows, frames, generator=draw, dtype=torch.float64)
    frame = torch.randn(rows, frames, 5, generator=draw, dtype=torch.float64)
    address = torch.randn(rows, frames, 3, 2, 2, generator=draw, dtype=torch.float64)
    camera = torch.zeros(rows, frames, 8, dtype=torch.float64)
    camera[..., 3], camera[..., 7] = 1, 0.4
    camera[..., :7] += 0.1 * torch.randn(rows, frames, 7, generator=draw, dtype=torch.float64)
    return latents, level, Conditions(frame, address, None, camera)


def rows_of(conditions: Conditions, rows: slice) -> Conditions:
    return Conditions(conditions.frame[rows], conditions.address[rows], None, conditions.cameras[rows])


def memory(model: CausalDenoiser, rows: int, rank: int = 2) -> LowRank:
    torch.manual_seed(1)
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, RowLinear)}
    down = {name: torch.randn(rows, rank, layer.in_features).double() for name, layer in layers.items()}
    up = {name: 0.1 * torch.randn(rows, layer.out_features, rank).double() for name, layer in layers.items()}
    return LowRank(down, up, "v1")


@settings(max_examples=15, deadline=None)
@given(past=st.integers(0, 6), new=st.integers(1, 6), rows=st.integers(1, 3), remembering=st.booleans())
def test_cached_equals_uncached(past: int, new: int, rows: int, remembering: bool) -> None:
    model = denoiser()
    latents, level, conditions = inputs(rows, past + new)
    level[:, :past] = 0
    used = memory(model, rows) if remembering else None
    whole = model(latents, level, conditions, used)
    cache = model.prefill(latents[:, :past], conditions[:past], used)
    parts = model.denoise(cache, latents[:, past:], level[:, past:], conditions[past:], used)
    torch.testing.assert_close(parts.output, whole.output[:, past:], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(parts.features, whole.features[:, past:], rtol=1e-10, atol=1e-10)
    assert not whole.output[:, :past].any(), "the past is given, nothing is answered for it"


def test_appending_equals_prefilling() -> None:
    model = denoiser()
    latents, _, conditions = inputs(2, 6)
    at_once = model.prefill(latents, conditions)
    in_parts = model.append(model.prefill(latents[:, :4], conditions[:4]), latents[:, 4:], conditions[4:])
    assert in_parts.frames == at_once.frames == 6
    for (k, v), (k2, v2) in zip(at_once.content.blocks, in_parts.content.blocks, strict=True):
        torch.testing.assert_close(k, k2, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(v, v2, rtol=1e-10, atol=1e-10)
    for name in ("latents", "camera", "told", "given"):
        assert torch.equal(getattr(at_once.content.last, name), getattr(in_parts.content.last, name))


def test_candidates_share_their_rows_past() -> None:
    model = denoiser()
    latents, _, conditions = inputs(2, 4)
    noisy, level, new = inputs(6, 3, seed=1)
    cache = model.prefill(latents, conditions)
    together = model.denoise(cache, noisy, level, new).output
    for row in range(6):
        own = model.prefill(
            latents[row // 3 : row // 3 + 1],
            rows_of(conditions, slice(row // 3, row // 3 + 1)),
        )
        one = slice(row, row + 1)
        alone = model.denoise(own, noisy[one], level[one], rows_of(new, one)).output
        torch.testing.assert_close(together[one], alone, rtol=1e-10, atol=1e-10)


@given(changed=st.integers(0, 5))
@settings(max_examples=6, deadline=None)
def test_changing_action_k_leaves_frames_before_k_exactly_alone(changed: int) -> None:
    model = denoiser()
    latents, level, conditions = inputs(2, 6)
    frame = conditions.frame.clone()
    frame[:, changed] += 1
    before, after = model(latents, level, conditions), model(latents, level, replace(conditions, frame=frame))
    assert torch.equal(before.output[:, :changed], after.output[:, :changed])
    assert not torch.equal(before.output[:, changed], after.output[:, changed])


def test_rows_never_meet() -> None:
    model = denoiser()
    latents, level, conditions = inputs(3, 5)
    before = model(latents, level, conditions).output
    latents[1] += 1
    after = model(latents, level, conditions).output
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[2], after[2])


def test_no_memory_is_bit_identical_to_a_world_without_the_feature() -> None:
    """Also a memory whose B is zero changes nothing; and none is left behind after use."""
    model = denoiser()
    latents, level, conditions = inputs(2, 5)
    plain = model(latents, level, conditions).output
    used = memory(model, 2)
    silent = LowRank(used.down, {name: torch.zeros_like(up) for name, up in used.up.items()}, "v0")
    assert not torch.equal(model(latents, level, conditions, used).output, plain)
    assert torch.equal(model(latents, level, conditions, silent).output, plain)
    assert torch.equal(model(latents, level, conditions).output, plain)


def test_each_row_is_under_its_own_memory_as_plain_peft_would_have_it() -> None:
    latents, level, conditions = inputs(3, 4)
    used = memory(denoiser(), 3)
    together = denoiser()(latents, level, conditions, used).output
    for row in range(3):
        plain = denoiser()
        inject_adapter_in_model(LoraConfig(r=2, lora_alpha=2, target_modules=list(used.down)), plain)
        weights = dict(plain.named_parameters())
        for name in used.down:
            weights[f"{name}.lora_A.default.weight"].data = used.down[name][row]
            weights[f"{name}.lora_B.default.weight"].data = used.up[name][row]
        one = slice(row, row + 1)
        alone = plain(latents[one], level[one], rows_of(conditions, one)).output
        torch.testing.assert_close(together[one], alone, rtol=1e-8, atol=1e-10)


def test_attention_knows_only_how_much_directions_differ() -> None:
    """Without the address among the inputs, a camera turned as a whole changes nothing, a frame turned alone does."""
    model = denoiser()
    model.address.weight.zero_()
    latents, level, conditions = inputs(2, 5)
    answer = model(latents, level, conditions).output
    shift = torch.randn(1, 1, 3, 1, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    turned = replace(conditions, address=conditions.address + shift)
    torch.testing.assert_close(model(latents, level, turned).output, answer, rtol=1e-9, atol=1e-9)
    alone = conditions.address.clone()
    alone[:, 0] += shift[:, 0]
    assert not torch.allclose(model(latents, level, replace(conditions, address=alone)).output, answer, atol=1e-3)


def test_a_stale_cache_is_refused() -> None:
    model = denoiser()
    latents, level, conditions = inputs(2, 6)
    cache = model.prefill(latents[:, :3], conditions[:3])
    with pytest.raises(BadOption, match="prefill"):
        model.denoise(cache, latents[:, 3:], level[:, 3:], conditions[3:], memory(model, 2))


def test_bad_shapes_are_refused() -> None:
    model = denoiser()
    latents, level, conditions = inputs(2, 13)
    with pytest.raises(BadOption, match="at most 12"):
        model(latents, level, conditions)
    with pytest.raises(BadOption, match="codec"):
        model(latents[:, :2, :2], level[:, :2], conditions[:2])
    cache = model.prefill(latents[:, :3], conditions[:3])
    with pytest.raises(BadOption, match="multiple of the cache's rows"):
        model.denoise(cache, latents[:1, 3:5], level[:1, 3:5], conditions[3:5])
    with pytest.raises(BadOption, match="memories"):
        model(latents[:, :4], level[:, :4], conditions[:4], memory(model, 3))
