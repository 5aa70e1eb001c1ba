"""Laws of the paper's denoiser: the UNet it is built on computes what it always did, and rows, candidates and
memories in one batch give what separate runs give."""

import copy
from dataclasses import replace

import pytest
import torch
from diffusers import UNet3DConditionModel
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world import unet3d
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.denoiser import Cache, Denoised
from sfvgen_planner.world.leak import leak
from sfvgen_planner.world.lowrank import LowRank
from sfvgen_planner.world.modelscope import from_modelscope
from sfvgen_planner.world.unet3d import UNet3DConfig, UNet3DDenoiser

TINY = UNet3DConfig(
    channels=4,
    height=4,
    width=6,
    frame_size=5,
    address_size=6,
    text_size=7,
    frame_channels=2,
    block_out_channels=(8, 16),
    cross_attention_size=12,
    attention_head_dim=4,
    norm_num_groups=4,
    window=8,
    chunk=3,
)
EXACT = {"rtol": 1e-8, "atol": 1e-12}
LAYERS = (
    r".*(to_[qkv]|to_out\.0|net\.0\.proj|net\.2|proj_in|proj_out|time_emb_proj|linear_[12]|samplers\.0\.conv"
    r"|conv_shortcut|resnets\.\d+\.(conv1|conv2)|conv_in|temp_convs.*\.(conv1\.2|conv[234]\.3))|conv_out|frame_in|text_in"
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def told(rows, frames, seed=0, config=TINY, text=True):
    frame = random(rows, frames, config.frame_size, seed=seed)
    address = random(rows, frames, config.address_size, config.height, config.width, seed=seed + 1)
    return Conditions(frame, address, random(rows, 3, config.text_size, seed=seed + 2) if text else None)


def latents(rows, frames, seed=0, config=TINY):
    return random(rows, frames, config.channels, config.height, config.width, seed=seed)


def levels(rows, frames):
    return torch.linspace(0.9, 0.3, rows, dtype=torch.float64)[:, None].repeat(1, frames)


def pick(conditions, rows):
    text = None if conditions.text is None else conditions.text[rows]
    return Conditions(conditions.frame[rows], conditions.address[rows], text)


def rattled(config=TINY):
    """No layer at zero, as after training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = UNet3DDenoiser(config).double()
    with torch.no_grad():
        for seed, parameter in enumerate(made.parameters()):
            parameter += 0.1 * random(*parameter.shape, seed=seed)
    return made.eval()


def plain_unet(made):
    """The same network as diffusers alone would have it."""
    plain = UNet3DConditionModel.from_config(made.unet.config).double().eval()
    last = {f"conv_out.{k}": v for k, v in made.conv_out.state_dict().items()}
    plain.load_state_dict(dict(made.unet.state_dict()) | last)
    return plain


@pytest.fixture(scope="module")
def denoiser():
    return rattled()


@pytest.fixture(scope="module", autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def scene(denoiser):
    """Two rows of two past frames, and three new ones for each."""
    cache = denoiser.prefill(latents(2, 2), told(2, 2))
    return cache, latents(2, 3, 5), levels(2, 3), told(2, 3, 5)


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 2), past=st.integers(0, 5), new=st.integers(1, 3), n=st.integers(1, 3), text=st.booleans())
def test_any_past_and_future_is_one_window_of_the_plain_unet_and_only_the_future_is_answered(
    denoiser, rows, past, new, n, text
):
    context, before = latents(rows, past, 1), told(rows, past, 1)
    noisy, level, after = latents(rows * n, new, 2), levels(rows * n, new), told(rows * n, new, 2, text=text)
    kept = context.clone()
    cache = denoiser.prefill(context, before)
    answer = denoiser.denoise(cache, noisy, level, after)
    assert (cache.rows, cache.frames, cache.version) == (rows, past, "none")
    assert torch.equal(cache.content.latents, kept)
    plain = plain_unet(denoiser)
    for row in range(rows * n):
        own = row // n
        window = torch.cat([kept[own], noisy[row]])
        frame = torch.cat([before.frame[own], after.frame[row]]) @ denoiser.frame_in.weight.T + denoiser.frame_in.bias
        mask = torch.cat([torch.zeros(past), torch.ones(new)]).double() * level[row, 0]
        size = (TINY.height, TINY.width)
        extra = [frame[..., None, None].expand(-1, -1, *size), mask[:, None, None, None].expand(-1, 1, *size)]
        given_in = torch.cat([window, torch.cat([before.address[own], after.address[row]]), *extra], 1)
        words = denoiser.text_in(after.text[row]) if text else denoiser.no_text
        expected = plain(given_in.transpose(0, 1)[None], level[row, 0] * 999, words[None]).sample[0].transpose(0, 1)
        torch.testing.assert_close(answer.output[row], expected[past:], rtol=1e-6, atol=1e-6)
    assert answer.features.shape == (rows * n, new, denoiser.feature_size)


def test_features_are_what_the_last_layer_reads_averaged_over_the_picture(denoiser, scene):
    seen = []
    other = copy.deepcopy(denoiser)
    other.conv_out.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    answer = other.denoise(*scene)
    torch.testing.assert_close(answer.features, seen[0].unflatten(0, (2, 5))[:, 2:].mean((3, 4)), **EXACT)


def test_a_row_knows_nothing_of_its_neighbours(denoiser):
    context, before, noisy, level, after = latents(3, 2), told(3, 2), latents(3, 2, 7), levels(3, 2), told(3, 2, 7)
    together = denoiser.denoise(denoiser.prefill(context, before), noisy, level, after)
    for row in range(3):
        one = slice(row, row + 1)
        cache = denoiser.prefill(context[one], pick(before, one))
        alone = denoiser.denoise(cache, noisy[one], level[one], pick(after, one))
        torch.testing.assert_close(together.output[one], alone.output, **EXACT)
        torch.testing.assert_close(together.features[one], alone.features, **EXACT)


def test_candidates_of_a_row_share_its_past(denoiser):
    context, before, noisy, level, after = latents(2, 3), told(2, 3), latents(6, 2), levels(6, 2), told(6, 2)
    shared = denoiser.denoise(denoiser.prefill(context, before), noisy, level, after)
    own = torch.tensor([0, 0, 0, 1, 1, 1])
    separate = denoiser.denoise(denoiser.prefill(context[own], pick(before, own)), noisy, level, after)
    assert torch.equal(shared.output, separate.output)


def test_appending_is_prefilling_with_the_last_frames_that_leave_room_for_a_chunk(denoiser):
    context, before, new, after = latents(2, 4), told(2, 4), latents(4, 3, 3), told(4, 3, 3)
    cache = denoiser.append(denoiser.prefill(context, before), new, after)
    own = torch.tensor([0, 0, 1, 1])
    whole = torch.cat([context[own], new], 1)[:, -5:]
    whole_told = Conditions.join(pick(before, own), after)[2:]
    fresh = denoiser.prefill(whole, whole_told)
    assert (cache.rows, cache.frames) == (fresh.rows, fresh.frames) == (4, 5)
    given_to = latents(4, 3), levels(4, 3), told(4, 3)
    assert torch.equal(denoiser.denoise(cache, *given_to).output, denoiser.denoise(fresh, *given_to).output)


def test_weights_of_the_modelscope_format_compute_what_they_did(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        pretrained = UNet3DConditionModel(
            in_channels=4,
            out_channels=4,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=1024,
            attention_head_dim=4,
        ).eval()
        for parameter in pretrained.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    pretrained.save_pretrained(tmp_path)
    config = replace(TINY, text_size=1024, cross_attention_size=1024)
    made = from_modelscope(tmp_path, config).eval()
    past, new = latents(2, 3).float(), latents(2, 4, 9).float()
    before, after = (
        Conditions(c.frame.float(), c.address.float(), c.text.float())
        for c in (told(2, 3, config=config), told(2, 4, config=config))
    )
    level = levels(2, 4).float()
    answer = made.denoise(made.prefill(past, before), new, level, after).output
    video = torch.cat([past, new], 1).transpose(1, 2)
    expected = pretrained(video, level[:, 0] * 999, after.text).sample.transpose(1, 2)[:, 3:]
    torch.testing.assert_close(answer, expected, rtol=0, atol=1e-6)

    with torch.enable_grad():
        made.denoise(made.prefill(past, before), new, level, after).output.square().mean().backward()
    learnt = made.unet.conv_in.weight.grad[:, config.channels :]
    assert learnt.abs().amax((0, 2, 3)).min() > 0, "every condition can be learnt from the first step on"


@pytest.mark.parametrize("damage", ["absent", "truncated", "tensor gone", "other sizes", "other latents"])
def test_damaged_or_foreign_weights_are_refused_by_name(tmp_path, damage):
    plain = UNet3DConditionModel(**_tiny_unet() | ({"in_channels": 5} if damage == "other latents" else {}))
    weights = plain.state_dict()
    if damage == "tensor gone":
        del weights["mid_block.resnets.0.conv1.weight"]
    plain.save_pretrained(tmp_path, state_dict=weights) if damage != "absent" else None
    config = replace(TINY, layers_per_block=2) if damage == "other sizes" else TINY
    if damage == "truncated":
        file = tmp_path / "diffusion_pytorch_model.safetensors"
        file.write_bytes(file.read_bytes()[:-1000])
    if damage == "tensor gone":
        from safetensors.torch import save_file

        save_file(weights, tmp_path / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadOption, match="weights at"):
        from_modelscope(tmp_path, config)


def _tiny_unet():
    return {k: v for k, v in rattled().unet.config.items() if k[0] != "_"} | {"in_channels": 4}


def test_a_discrete_process_finds_its_own_indices():
    config = replace(TINY, whole_timesteps=True)
    made = rattled(config).float()
    seen = []
    made.unet.time_proj.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    index = torch.arange(1000)
    for some in index.split(250):
        level = ((some + 1) / 1000)[:, None]
        none = Conditions(torch.zeros(250, 1, 5), torch.zeros(250, 1, 6, 4, 6))
        made(torch.zeros(250, 1, 4, 4, 6), level, none)
    assert torch.equal(torch.cat(seen), index.float())


def test_learning_mode_draws_no_hidden_numbers(denoiser, scene):
    learning = copy.deepcopy(denoiser).train()
    assert torch.equal(learning.denoise(*scene).output, denoiser.denoise(*scene).output)


def rememberable(made):
    """Every linear layer and convolution, by name."""
    return [(n, layer) for n, layer in made.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv3d)]


def adapters(made, memories, rank=2):
    """Memories as plain PEFT adapters, each on its own copy, and the same stacked."""
    lora = LoraConfig(r=rank, lora_alpha=rank, target_modules=LAYERS, init_lora_weights=False)
    copies = [inject_adapter_in_model(lora, copy.deepcopy(made)).double().eval() for _ in range(memories)]
    down, up = {}, {}
    for name, layer in copies[0].named_modules():
        if hasattr(layer, "lora_A"):
            layers = [one.get_submodule(name) for one in copies]
            down[name] = torch.stack([x.lora_A["default"].weight for x in layers])
            up[name] = torch.stack([x.lora_B["default"].weight.flatten(1) for x in layers])
    return copies, LowRank(down, up, "three")


@pytest.mark.parametrize("candidates", [1, 2])
def test_memories_in_one_batch_are_separate_plain_peft_runs(denoiser, candidates):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        copies, memory = adapters(denoiser, 3)
    assert set(memory.down) == {name for name, _ in rememberable(denoiser)}
    n = candidates
    context, before, noisy, level, after = (
        latents(3, 2),
        told(3, 2),
        latents(3 * n, 3),
        levels(3 * n, 3),
        told(3 * n, 3),
    )
    together = denoiser.denoise(denoiser.prefill(context, before, memory), noisy, level, after, memory)
    without = denoiser.denoise(denoiser.prefill(context, before), noisy, level, after)
    assert (together.output - without.output).abs().flatten(1).amax(1).min() > 1e-3
    for row in range(3 * n):
        own, one = slice(row // n, row // n + 1), slice(row, row + 1)
        peft = copies[row // n]
        cache = peft.prefill(context[own], pick(before, own))
        alone = peft.denoise(cache, noisy[one], level[one], pick(after, one))
        torch.testing.assert_close(together.output[one], alone.output, **EXACT)
        torch.testing.assert_close(together.features[one], alone.features, **EXACT)


def zeros(made, only=""):
    """Two memories with B = 0 in every layer whose name has `only` in it."""
    shapes = {name: layer.weight.shape for name, layer in rememberable(made) if only in name}
    down = {name: random(2, 2, *shape[1:]) for name, shape in shapes.items()}
    up = {name: torch.zeros(2, shape[0], 2, dtype=torch.float64) for name, shape in shapes.items()}
    return LowRank(down, up, "zero")


def test_a_zero_memory_changes_not_one_bit(denoiser, scene):
    memory = zeros(denoiser)
    cache = denoiser.prefill(latents(2, 2), told(2, 2), memory)
    assert torch.equal(denoiser.denoise(cache, *scene[1:], memory).output, denoiser.denoise(*scene).output)


def test_without_memory_it_is_the_model_that_never_heard_of_memories(denoiser, scene, monkeypatch):
    monkeypatch.setattr(unet3d, "name_rows", lambda model: model)
    plain = UNet3DDenoiser(TINY).double().eval()
    plain.load_state_dict(denoiser.state_dict())
    assert type(plain.conv_out) is nn.Conv2d
    assert torch.equal(plain.denoise(*scene).output, denoiser.denoise(*scene).output)


def test_a_cache_of_another_memory_is_refused(denoiser, scene):
    memory = zeros(denoiser)
    for use in (denoiser.denoise, lambda c, x, _, told, m: denoiser.append(c, x, told, m)):
        with pytest.raises(BadOption, match="prefill"):
            use(*scene, memory)


def test_memories_that_do_not_divide_the_rows_are_refused_although_the_frames_would_hide_it(denoiser):
    memory = zeros(denoiser, only="resnets.0.conv1")
    cache = denoiser.prefill(latents(3, 1), told(3, 1), memory)
    with pytest.raises(BadOption, match="3 rows under 2 memories"):
        denoiser.denoise(cache, latents(3, 3), levels(3, 3), told(3, 3), memory)


@pytest.mark.parametrize(("past", "new"), [(8, 1), (6, 3), (0, 9), (3, 0)])
def test_a_window_too_long_or_empty_is_refused(denoiser, past, new):
    with pytest.raises(BadOption, match="together"):
        denoiser.denoise(
            denoiser.prefill(latents(1, past), told(1, past)), latents(1, new), levels(1, new), told(1, new)
        )


@pytest.mark.parametrize(
    "level",
    [torch.tensor([[0.1, 0.2, 0.1]] * 2), torch.full((2, 3), 1.5), torch.full((2, 3), torch.nan), torch.ones(2)],
)
def test_a_level_per_frame_or_out_of_range_is_refused(denoiser, scene, level):
    cache, noisy, _, conditions = scene
    with pytest.raises(BadOption, match="levels"):
        denoiser.denoise(cache, noisy, level.double(), conditions)


def test_shapes_and_types_that_do_not_fit_are_refused_not_broadcast(denoiser, scene):
    cache, noisy, level, good = scene
    spoilt = [
        (noisy[:, :, :1], good),
        (noisy[..., :1], good),
        (noisy.float(), good),
        (noisy, good[:2]),
        (noisy, replace(good, text=good.text[:1])),
        (noisy, replace(good, text=good.text[..., :1])),
        (noisy, replace(good, frame=good.frame[..., :1])),
        (noisy, replace(good, address=good.address[:, :, :1])),
        (noisy, replace(good, address=good.address.float())),
    ]
    for one, conditions in spoilt:
        with pytest.raises(BadOption):
            denoiser.denoise(cache, one, level, conditions)
    with pytest.raises(BadOption, match="cache of 2 rows"):
        denoiser.denoise(cache, latents(3, 3), levels(3, 3), told(3, 3))


@pytest.mark.parametrize("wrong", [{"block_out_channels": (8, 18)}, {"chunk": 9}, {"chunk": 0}])
def test_sizes_that_cannot_be_built_are_refused(wrong):
    with pytest.raises(BadOption):
        replace(TINY, **wrong)


class RunningSum:
    """Answers each frame with the sum of all actions so far: causal, and with a leak known by hand."""

    def denoise(self, cache, noisy, level, conditions, memory=None):
        output = conditions.frame.cumsum(1)[..., None, None].expand_as(noisy)
        return Denoised(output, output.mean((3, 4)))


def test_leak_is_zero_before_the_action_of_a_causal_denoiser_and_its_relative_change_after():
    noisy = torch.zeros(2, 4, 1, 3, 3)
    ones = Conditions(torch.ones(2, 4, 1), torch.zeros(2, 4, 1, 3, 3))
    threes = replace(ones, frame=torch.full((2, 4, 1), 3.0))
    found = leak(RunningSum(), Cache(2, 0, "none", None), noisy, torch.ones(2, 4), ones, threes)
    expected = [[2 / (frame + 1) if frame >= k else 0 for frame in range(4)] for k in range(4)]
    assert torch.equal(found.tril(-1), torch.zeros(2, 4, 4))
    torch.testing.assert_close(found, torch.tensor([expected] * 2))


def test_a_video_unet_leaks_into_every_earlier_frame(denoiser, scene):
    found = leak(denoiser, *scene, told(2, 3, 9))
    assert found.shape == (2, 3, 3)
    assert (found > 0).all()
