"""Laws of sentences: any can be said, the same words mean the same, and CLIP is CLIP."""

from collections import Counter

import pytest
import torch
from condition_fakes import SENTENCES, SMALL
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, trainers
from torch.testing import assert_close
from transformers import CLIPTextModel

from sfvgen_planner.errors import BadCheckpoint, BadOption
from sfvgen_planner.world.text import END, TextEncoder, _learn_merges, learn_tokenizer


def small(seed: int = 0, sentences: tuple[str, ...] = SENTENCES) -> TextEncoder:
    return TextEncoder.small(SMALL, sentences, torch.Generator().manual_seed(seed)).eval()


def test_equal_sentences_and_seeds_make_equal_encoders() -> None:
    one, two = small(), small(sentences=SENTENCES[::-1] * 2)
    assert one.tokenizer.get_vocab() == two.tokenizer.get_vocab()
    for a, b in zip(one([*SENTENCES, ""]), two([*SENTENCES, ""]), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one([""])[1], small(seed=1)([""])[1])


def test_making_one_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    small()
    assert torch.equal(torch.rand(2), expected)


def test_new_words_become_tokens_and_old_sentences_are_read_as_before(tmp_path) -> None:
    encoder, new = small(), ("stir the Soup, slowly", f"{SENTENCES[0]} slowly")
    grown = encoder.grown(SENTENCES, new)
    assert len(grown.tokenizer.tokenize("stir the soup, slowly")) == 5
    assert len(encoder.tokenizer.tokenize("stir the soup, slowly")) > 5
    assert grown.tokenizer.tokenize("souper")[0] != "soup", "a new word is no part of another"
    for before, after in zip(encoder([*SENTENCES]), grown([*SENTENCES]), strict=True):
        assert torch.equal(before, after)
    assert grown.grown(new, new) is grown
    encoder.frozen = True
    assert encoder.grown(SENTENCES, new) is encoder
    grown.save_pretrained(tmp_path)
    again = TextEncoder.from_pretrained(tmp_path)
    assert torch.equal(again([*new])[1], grown([*new])[1])


@given(sentence=st.text(st.characters(exclude_categories=["Cs"]), max_size=3))
@settings(max_examples=50, deadline=None)
def test_any_script_can_be_said(sentence: str) -> None:
    words = learned()
    ids = words(sentence)["input_ids"]
    end = words.eos_token_id
    assert ids[0] == words.bos_token_id
    assert ids.index(end) == len(ids) - 1, "no word is unknown: CLIP would end there"


_LEARNED: list = []


def learned():
    if not _LEARNED:
        _LEARNED.append(learn_tokenizer(SENTENCES, 40))
    return _LEARNED[0]


def test_frequent_words_become_one_token() -> None:
    words = learn_tokenizer(["move left", "move right", "move left a little"], 100)
    assert words.tokenize("Move  LEFT") == ["move</w>", "left</w>"]
    assert words.decode(words("move left")["input_ids"], skip_special_tokens=True) == "move left"
    assert len(learn_tokenizer([], 100)) == 2 + 512


def test_pairs_are_joined_as_the_reference_does() -> None:
    # Counts without ties, so that the order is the algorithm's and not the implementation's.
    words = {"aaab": 7, "abd": 20, "dca": 41, "ccb": 88}
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=4 + 5, special_tokens=[], show_progress=False)
    tokenizer.train_from_iterator([word for word, times in words.items() for _ in range(times)], trainer)
    expected = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])][4:]
    merges = _learn_merges(Counter({tuple(word): times for word, times in words.items()}), 5)
    assert [a + b for a, b in merges] == expected


def test_a_sentence_means_the_same_in_any_company() -> None:
    text = small()
    tokens, pooled = text([*SENTENCES, "drive on"])
    alone, summed = text(["drive on"])
    assert tokens.shape == (4, SMALL.longest, SMALL.width)
    assert_close(tokens[3:], alone)
    assert_close(tokens[1:2], alone)
    assert_close(pooled[3:], summed)


def test_pooled_is_the_token_that_ends_the_sentence() -> None:
    text = small()
    tokens, pooled = text(list(SENTENCES))
    ends = [row.index(text.tokenizer.convert_tokens_to_ids(END)) for row in text.ids(list(SENTENCES)).tolist()]
    assert len(set(ends)) > 1
    assert_close(pooled, torch.stack([tokens[i, end] for i, end in enumerate(ends)]))


def test_a_small_one_learns_and_a_frozen_one_does_not(tmp_path) -> None:
    text = small().train()
    text(["drive on"])[1].sum().backward()
    assert all(p.grad is not None for name, p in text.named_parameters() if "layers" in name)
    text.save_pretrained(tmp_path)
    frozen = TextEncoder.from_pretrained(tmp_path).train()
    assert not frozen.training
    assert not frozen(["drive on"])[1].requires_grad
    assert_close(frozen(["drive on"])[1], text(["drive on"])[1], rtol=0, atol=0)


def test_transformers_reads_what_was_saved(tmp_path) -> None:
    text = small()
    text.save_pretrained(tmp_path)
    plain = CLIPTextModel.from_pretrained(tmp_path).eval()
    ids = text.ids(list(SENTENCES))
    assert torch.equal(plain(input_ids=ids).pooler_output, text(list(SENTENCES))[1])
    # The layout of diffusers' pipelines is understood as well.
    text.model.save_pretrained(tmp_path / "pipe" / "text_encoder")
    text.tokenizer.save_pretrained(tmp_path / "pipe" / "tokenizer")
    assert torch.equal(TextEncoder.from_pretrained(tmp_path / "pipe").eval()([""])[0], text([""])[0])


def test_bad_input_is_named(tmp_path) -> None:
    with pytest.raises(BadOption, match="20 at most"):
        small()(["xyz " * 30])
    with pytest.raises(BadCheckpoint, match="no readable CLIP"):
        TextEncoder.from_pretrained(tmp_path / "nowhere")
    small().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    state = load_file(weights)
    state.pop(next(name for name in state if "layers.0" in name))
    save_file(state, weights, {"format": "pt"})
    with pytest.raises(BadCheckpoint, match="without the weights"):
        TextEncoder.from_pretrained(tmp_path)
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(BadCheckpoint, match="no readable CLIP"):
        TextEncoder.from_pretrained(tmp_path)
