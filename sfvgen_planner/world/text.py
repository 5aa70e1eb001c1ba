"""Sentences: a CLIP text encoder, either small with a vocabulary learned from given sentences, or any one by path."""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizerFast

from sfvgen_planner.errors import BadCheckpoint, BadOption

BEGIN, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
WORD = re.compile(r"[^\W\d_]+")
Word = tuple[str, ...]
Pair = tuple[str, str]


@dataclass(frozen=True)
class TextConfig:
    """A small CLIP text encoder."""

    width: int = 96
    layers: int = 3
    heads: int = 4
    longest: int = 24
    """tokens of a sentence, beginning and end included: always so many, padded as CLIP pads"""
    merges: int = 512
    """byte pairs joined at most; fewer where the sentences have no more"""


class TextEncoder(nn.Module):
    """Sentences -> tokens [S, L, X] and pooled [S, X]. Frozen, it is no part of the training."""

    def __init__(self, model: Any, tokenizer: Any, *, frozen: bool) -> None:
        super().__init__()
        self.model, self.tokenizer, self.frozen = model, tokenizer, frozen
        self.requires_grad_(not frozen)

    @classmethod
    def small(cls, config: TextConfig, sentences: Iterable[str], generator: torch.Generator) -> "TextEncoder":
        """A fresh one; a pure function of its arguments, whatever the order of the sentences."""
        tokenizer = learn_tokenizer(sentences, config.merges)
        settings = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.width,
            projection_dim=config.width,
            intermediate_size=4 * config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            max_position_embeddings=config.longest,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        seed = int(torch.randint(2**31, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return cls(CLIPTextModel(settings), tokenizer, frozen=False)

    @classmethod
    def from_pretrained(cls, folder: Path | str, *, frozen: bool = True) -> "TextEncoder":
        """Any `CLIPTextModel` with its tokenizer on disk, side by side or as `text_encoder/` and `tokenizer/`."""
        folder = Path(folder)
        parts = (folder / "text_encoder", folder / "tokenizer")
        model, words = parts if parts[0].is_dir() else (folder, folder)
        expected, hint = "config.json, model.safetensors and the tokenizer's files", "Save one with save_pretrained()."
        try:
            loaded, told = CLIPTextModel.from_pretrained(model, local_files_only=True, output_loading_info=True)
            tokenizer = CLIPTokenizerFast.from_pretrained(words, local_files_only=True)
        except Exception as error:  # transformers, safetensors and json each raise their own
            given = f"{folder}, which holds no readable CLIP text encoder ({type(error).__name__}: {error})"
            raise BadCheckpoint(given, expected, hint) from error
        # transformers would draw what it does not find, and say so in a warning only.
        if lacking := sorted(map(str, told["missing_keys"])):
            raise BadCheckpoint(f"{folder} without the weights {lacking[:3]} ({len(lacking)} in all)", expected, hint)
        return cls(loaded, tokenizer, frozen=frozen)

    def save_pretrained(self, folder: Path | str) -> None:
        """Model and tokenizer, side by side, as transformers writes them."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @property
    def width(self) -> int:
        """X."""
        return int(self.model.config.hidden_size)

    @property
    def longest(self) -> int:
        """L."""
        return int(self.model.config.max_position_embeddings)

    def grown(self, known: Iterable[str], new: Iterable[str]) -> "TextEncoder":
        """With a token for each word that only `new` sentences have; the `known` ones are read as before.

        Spelt out letter by letter, a sentence of new words would soon be too long. A frozen encoder is left alone.
        """
        old = {word for sentence in known for word in WORD.findall(sentence.lower())}
        words = {word for sentence in new for word in WORD.findall(sentence.lower())} - old
        spelt = sorted(word for word in words if len(self.tokenizer.tokenize(word)) > 1)
        if self.frozen or not spelt:
            return self
        model, tokenizer = deepcopy(self.model), deepcopy(self.tokenizer)
        tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in spelt])
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        return TextEncoder(model, tokenizer, frozen=False)

    def train(self, mode: bool = True) -> "TextEncoder":
        """A frozen encoder stays as it was given."""
        super().train(mode and not self.frozen)
        return self

    def ids(self, sentences: list[str]) -> Tensor:
        """int64 [S, L], on the CPU."""
        told = self.tokenizer(sentences)["input_ids"]
        longest, length = max(zip(map(len, told), sentences, strict=True)), self.longest
        if longest[0] > length:
            raise BadOption(
                f"the sentence {longest[1][:80]!r} of {longest[0]} tokens", f"{length} at most", "Say it shorter."
            )
        pad = int(self.tokenizer.eos_token_id if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id)
        return torch.tensor([row + [pad] * (length - len(row)) for row in told])

    @torch.no_grad()
    def words(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        """[S, L, X] of each token alone, as the dictionary has it, and bool [S, L]: is there one. However long."""
        dictionary = self.model.get_input_embeddings().weight.detach()
        told = self.tokenizer(sentences, add_special_tokens=False)["input_ids"]
        longest = max(map(len, told), default=0)
        ids = torch.tensor(
            [row + [-1] * (longest - len(row)) for row in told], dtype=torch.int64, device=dictionary.device
        )
        return dictionary[ids.clamp(min=0)], ids >= 0

    def forward(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        """Tokens [S, L, X] and pooled [S, X]. The padding is seen, as by every model trained on CLIP's tokens."""
        ids = self.ids(sentences).to(next(self.model.parameters()).device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            seen = self.model(input_ids=ids)
        return seen.last_hidden_state, seen.pooler_output


def learn_tokenizer(sentences: Iterable[str], merges: int) -> Any:
    """CLIP's tokenizer with a vocabulary of all bytes and the most frequent pairs of these sentences."""
    cut = _tokenizer([]).backend_tokenizer
    words: Counter[Word] = Counter()
    for sentence in sorted(set(sentences)):
        for word, _ in cut.pre_tokenizer.pre_tokenize_str(cut.normalizer.normalize_str(sentence)):
            words[(*word[:-1], word[-1] + WORD_END)] += 1
    return _tokenizer(_learn_merges(words, merges))


def _learn_merges(words: Counter[Word], count: int) -> list[Pair]:
    """Byte-pair encoding as published: join the most frequent pair, again and again; of equals the first by name."""
    merges: list[Pair] = []
    while len(merges) < count:
        pairs: Counter[Pair] = Counter()
        for word, times in words.items():
            for pair in pairwise(word):
                pairs[pair] += times
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({_joined(word, best): times for word, times in words.items()})
    return merges


def _joined(word: Word, pair: Pair) -> Word:
    out: list[str] = []
    for part in word:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return tuple(out)


def _tokenizer(merges: list[Pair]) -> Any:
    # Every byte is a token, so no sentence of any script is unknown: CLIP would read "unknown" as the sentence's end.
    letters = sorted(ByteLevel.alphabet())
    tokens = dict.fromkeys([BEGIN, END, *letters, *(letter + WORD_END for letter in letters)])
    tokens.update(dict.fromkeys(a + b for a, b in merges))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
        Path(folder, "merges.txt").write_text("\n".join(["#version: 0.2", *(f"{a} {b}" for a, b in merges)]) + "\n")
        return CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
