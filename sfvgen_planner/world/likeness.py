"""How much a picture is as a sentence says: the cosine of any CLIP model on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizerFast

from sfvgen_planner.errors import BadCheckpoint

MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures that OpenAI's CLIP was trained on, and with it all of its kind."""


class Likeness(nn.Module):
    """Frozen."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model, self.tokenizer = model.eval().requires_grad_(False), tokenizer

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "Likeness":
        """A `CLIPModel` and its tokenizer, side by side."""
        try:
            model, told = CLIPModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
            tokenizer = CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers, safetensors and json each raise their own
            given = f"{folder}, which holds no readable CLIP ({type(error).__name__}: {error})"
            raise BadCheckpoint(given, "a CLIPModel and its tokenizer", "Save both with save_pretrained().") from error
        if lacking := sorted(map(str, told["missing_keys"])):
            raise BadCheckpoint(f"{folder} without the weights {lacking[:3]}", "all of a CLIPModel", "Save it again.")
        return cls(model, tokenizer)

    @torch.no_grad()
    def forward(self, pictures: Tensor, sentences: Sequence[str]) -> Tensor:
        """uint8 [B, ..., h, w, 3] and B sentences -> [B, ...], each picture with its row's sentence."""
        device, size = self.model.logit_scale.device, int(self.model.config.vision_config.image_size)
        flat = pictures.to(device).reshape(-1, *pictures.shape[-3:]).movedim(-1, 1).float() / 255
        scaled = F.interpolate(flat, (size, size), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        mean, spread = (scaled.new_tensor(one).reshape(1, 3, 1, 1) for one in (MEAN, SPREAD))
        seen = _unit(self.model.get_image_features(pixel_values=(scaled - mean) / spread))
        words = self.tokenizer([*sentences], padding=True, truncation=True, return_tensors="pt").to(device)
        said = _unit(self.model.get_text_features(**words))
        rows = seen.reshape(len(sentences), -1, seen.shape[-1])
        alike: Tensor = (rows * said[:, None]).sum(-1)
        return alike.reshape(pictures.shape[:-3])


def _unit(features: Any) -> Tensor:
    # Newer releases of transformers wrap the projected features.
    told: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return F.normalize(told, dim=-1)
