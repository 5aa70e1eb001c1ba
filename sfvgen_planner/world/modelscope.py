"""Weights of the ModelScopeT2V format: a folder of diffusers' `UNet3DConditionModel` that reads only latents."""

from pathlib import Path
from typing import Any

from diffusers import UNet3DConditionModel

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.unet3d import UNet3DConfig, UNet3DDenoiser

MODELSCOPE = UNet3DConfig(
    channels=4,
    height=32,
    width=32,
    text_size=1024,
    block_out_channels=(320, 640, 1280, 1280),
    layers_per_block=2,
    cross_attention_size=1024,
    attention_head_dim=64,
    dropout=0.1,
    whole_timesteps=True,
)
"""Sizes of the published ModelScopeT2V weights; `dataclasses.replace` sets the conditions' ones."""


def from_modelscope(path: str | Path, config: UNet3DConfig) -> UNet3DDenoiser:
    """A denoiser with the weights of a folder: the same function, until it has learnt from its conditions."""
    pretrained = _pretrained(path)
    made = UNet3DDenoiser(config)
    theirs, ours = ({k: _plain(v) for k, v in u.config.items() if k[0] != "_"} for u in (pretrained, made.unet))
    ours |= {"in_channels": config.channels, "sample_size": theirs["sample_size"]}
    wrong = {k: v for k, v in theirs.items() if ours.get(k) != v}
    if wrong:
        raise BadOption(
            f"weights at {path} with {wrong}", f"{ {k: ours.get(k) for k in wrong} }", "Set the config accordingly."
        )
    weights = pretrained.state_dict()
    made.conv_out.load_state_dict({k: weights.pop(f"conv_out.{k}") for k in ("weight", "bias")})
    entry = made.unet.conv_in.weight.detach().clone()
    entry[:, : config.channels] = weights["conv_in.weight"]
    made.unet.load_state_dict(weights | {"conv_in.weight": entry})
    return made


def _pretrained(path: str | Path) -> Any:
    if not Path(path).is_dir():
        # diffusers would take it for a name on a hub.
        raise _unreadable(path, "no such folder")
    try:
        made, report = UNet3DConditionModel.from_pretrained(
            path, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # diffusers, safetensors and json each raise their own
        raise _unreadable(path, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}") from error
    wrong = [*report["missing_keys"], *report["unexpected_keys"]]
    if wrong:
        raise _unreadable(path, f"missing or unknown tensors {sorted(wrong)[:3]}")
    return made


def _unreadable(path: str | Path, why: str) -> BadOption:
    return BadOption(
        f"weights at {path} ({why})",
        "a folder with config.json and diffusion_pytorch_model.safetensors of a UNet3DConditionModel",
        "Give the folder of the UNet, and download it again if it is damaged.",
    )


def _plain(value: Any) -> Any:
    """JSON has lists where Python had tuples."""
    return tuple(value) if isinstance(value, list) else value
