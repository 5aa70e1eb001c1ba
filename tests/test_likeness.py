"""Pictures as sentences say: CLIP's own cosine, row by row, and as an objective."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel
from world_fakes import tiny_world

from sfvgen_agents.minds import LearnedMind
from sfvgen_agents.wishes import objective_of
from sfvgen_planner.errors import BadCheckpoint, BadOption
from sfvgen_planner.planning import Goal
from sfvgen_planner.world.likeness import Likeness
from sfvgen_planner.world.text import learn_tokenizer

SENTENCES = ("a red ball", "a blue cube on the disc")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = learn_tokenizer(SENTENCES, 40)
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }
    text = {"vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "image_size": 32, "patch_size": 8}
    heads = {"num_attention_heads": 2}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**text, **heads, **special, "max_position_embeddings": 24},
        vision_config={**vision, **heads},
        projection_dim=12,
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 48, 48, 3)).astype(np.uint8)


def test_it_is_what_transformers_says(saved: Path) -> None:
    """Against CLIPModel's own forward, with pictures prepared by pillow as CLIP's own processor does."""
    shown = pictures(2)
    ours = Likeness.from_pretrained(saved)(torch.from_numpy(shown), SENTENCES)
    likeness = Likeness.from_pretrained(saved)
    resized = [np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC)) for one in shown]
    processor = CLIPImageProcessor(do_resize=False, do_center_crop=False)
    values = np.stack([(one / 255 - processor.image_mean) / processor.image_std for one in resized])
    words = likeness.tokenizer([*SENTENCES], padding=True, return_tensors="pt")
    with torch.no_grad():
        told = likeness.model(pixel_values=torch.from_numpy(values).movedim(-1, 1).float(), **words)
    want = told.logits_per_image.diagonal() / likeness.model.logit_scale.exp()
    assert torch.allclose(ours, want, atol=0.02), "pillow rounds to whole colours"


def test_every_row_has_its_own_sentence(saved: Path) -> None:
    likeness, shown = Likeness.from_pretrained(saved), torch.from_numpy(pictures(2, 3, 1))
    both = likeness(shown, SENTENCES)
    assert both.shape == (2, 3, 1)
    for row in range(2):
        assert torch.allclose(both[row], likeness(shown[row : row + 1], SENTENCES[row : row + 1])[0], atol=1e-6)
    assert not torch.allclose(both, likeness(shown, SENTENCES[::-1]), atol=1e-3)


def test_as_an_objective_it_looks_at_how_a_dream_ends(saved: Path) -> None:
    world = tiny_world()
    mind = LearnedMind(world, "toy")
    rollout: Any = SimpleNamespace(latents=torch.randn(2, 3, 8, *world.shape))
    scores = objective_of("text", mind, clip=str(saved))(rollout, Goal(text=SENTENCES))
    last = world.codec.decode(rollout.latents[:, :, -1:].flatten(0, 1)).reshape(2, 3, 16, 16, 3)
    assert np.allclose(scores, Likeness.from_pretrained(saved)(last, SENTENCES), atol=1e-5)
    with pytest.raises(BadOption, match="clip="):
        objective_of("text", mind)


def test_what_is_no_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="no readable CLIP"):
        Likeness.from_pretrained(tmp_path / "nowhere")
