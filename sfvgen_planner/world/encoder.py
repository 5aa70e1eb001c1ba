"""Facts -> Conditions: actions, ids, words, senses and the body's name as one vector per frame; poses as addresses."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from sfvgen_planner.errors import BadCheckpoint, BadOption
from sfvgen_planner.types import POSE_CAMERA
from sfvgen_planner.world import weights
from sfvgen_planner.world.address import AddressConfig, address, fourier, stilled
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.layout import Layout
from sfvgen_planner.world.sight import cameras
from sfvgen_planner.world.text import TextConfig, TextEncoder

VERSION = 1
SENSES = (-2, 1)
"""Octaves of a sense's waves: from 8 standard deviations to 1; a hand that moves by little is seen elsewhere."""
FELT = 1 + 2 * (SENSES[1] - SENSES[0] + 1)
"""Numbers that tell a sense."""


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes."""

    width: int = 128
    """E: numbers per frame"""
    address: AddressConfig = field(default_factory=AddressConfig)


class ConditionEncoder(nn.Module):
    """What is absent is told by its own learned vector; each frame is encoded by itself."""

    low: Tensor
    range: Tensor
    length: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, config: EncoderConfig, layout: Layout, text: TextEncoder | None = None) -> None:
        """Without `text` the world hears no words, and sentences are refused."""
        super().__init__()
        self.config, self.layout, self.text = config, layout, text
        width = config.width
        self.body = nn.Embedding(len(layout.embodiments) + 1, width)  # the last row: nobody says which
        self.values = nn.Linear(layout.action_size, width, bias=False)
        self.known = nn.Linear(layout.action_size, width)
        self.act = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.ids = nn.Embedding(layout.id_count + 1, width)  # the last row: absent
        senses = layout.pose_size - POSE_CAMERA
        self.feel = (
            nn.Sequential(nn.Linear(senses * FELT, width), nn.SiLU(), nn.Linear(width, width, bias=False))
            if senses
            else None
        )
        self.no_action = nn.Parameter(torch.zeros(width))
        self.no_text = nn.Parameter(torch.zeros(width))
        self.say = None if text is None else nn.Linear(text.width, width)
        self._set_units()

    def _set_units(self) -> None:
        """Bounds and lengths by body. They are the layout's, so they are not saved a second time."""
        size = self.layout.action_size
        low, span = torch.full((len(self.layout.embodiments), size), -1.0), []
        for row, body in enumerate(self.layout.embodiments):
            pairs = [
                (lo, hi) if hi - lo < float("inf") else (-1.0, 1.0) for lo, hi in zip(body.low, body.high, strict=True)
            ]
            low[row, : len(pairs)] = torch.tensor([lo for lo, _ in pairs])
            span.append([hi - lo for lo, hi in pairs] + [2.0] * (size - len(pairs)))
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("range", torch.tensor(span).reshape(low.shape), persistent=False)
        senses = self.layout.pose_size - POSE_CAMERA
        mean, spread = torch.zeros(len(low), senses), torch.ones(len(low), senses)
        for row, body in enumerate(self.layout.embodiments):
            own = len(body.motion.mean)
            mean[row, :own], spread[row, :own] = torch.tensor(body.motion.mean), torch.tensor(body.motion.spread)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("spread", spread, persistent=False)
        lengths = torch.tensor([body.length for body in self.layout.embodiments])
        self.register_buffer("length", lengths, persistent=False)

    @property
    def width(self) -> int:
        """E."""
        return self.config.width

    @property
    def address_features(self) -> int:
        """F."""
        return self.config.address.features

    @property
    def text_width(self) -> int | None:
        """X, where the world hears words."""
        return None if self.text is None else self.text.width

    def forward(self, facts: Facts, size: tuple[int, int]) -> Conditions:
        """Conditions for latents of `size` (h, w)."""
        frame, text = self.tell(facts)
        return Conditions(frame + self._felt(facts), self.address(facts, size), text, self.cameras(facts))

    def cameras(self, facts: Facts) -> Tensor:
        """[R, T, 8]: how each frame is seen, see `sight`; no weights in it."""
        return cameras(facts.poses, facts.poses_known, facts.fovy, self.length[facts.embodiment])

    def address(self, facts: Facts, size: tuple[int, int]) -> Tensor:
        """[R, T, F, h, w]; no weights in it."""
        length = self.length[facts.embodiment]
        return address(self.config.address, facts.poses, facts.poses_known, facts.fovy, length, size)

    def tell(self, facts: Facts) -> tuple[Tensor, Tensor | None]:
        """What happens into each frame [R, T, E]; the words [R, L, X] of each row's last frame.

        No senses: from this they are foreseen.
        """
        self._check(facts)
        nobody = len(self.layout.embodiments)
        body = self.body(torch.where(facts.named, facts.embodiment, nobody))[:, None]
        frame = body + self._actions(facts, body) + self.ids(facts.ids.remainder(self.layout.id_count + 1))
        if self.text is None or self.say is None:
            return frame + self.no_text, None
        return self._words(facts, frame, self.text, self.say)

    def _actions(self, facts: Facts, body: Tensor) -> Tensor:
        """[R, T, E]; the body's name helps to read its numbers."""
        known = facts.vectors_known.any(-1, keepdim=True)
        told = self.act(self.values(self.units(facts)) + self.known(facts.vectors_known.to(facts.vectors.dtype)) + body)
        return torch.where(known, told, self.no_action)

    def units(self, facts: Facts) -> Tensor:
        """[R, T, A] actions from -1 to 1; 0 where unknown."""
        low, span = self.low[facts.embodiment][:, None], self.range[facts.embodiment][:, None]
        return (2 * (facts.vectors - low) / span - 1) * facts.vectors_known

    def _felt(self, facts: Facts) -> Tensor:
        """[R, T, E] what the body senses in each frame; 0 where nobody knows."""
        if self.feel is None:
            return torch.zeros((), device=facts.poses.device)
        poses = stilled(facts.poses, facts.poses_known)[..., POSE_CAMERA:]
        mean, spread = self.mean[facts.embodiment][:, None], self.spread[facts.embodiment][:, None]
        units = ((poses - mean) / spread)[..., None]
        felt: Tensor = self.feel(torch.cat([units, fourier(units, SENSES)], -1).flatten(-2))
        return felt * facts.poses_known[..., None]

    def _words(self, facts: Facts, frame: Tensor, text: TextEncoder, say: nn.Linear) -> tuple[Tensor, Tensor]:
        """Every distinct sentence is encoded once; "" is CLIP's own way to say nothing."""
        distinct = sorted({sentence for row in facts.texts for sentence in row} | {""})
        number = {sentence: i for i, sentence in enumerate(distinct)}
        index = torch.tensor([[number[sentence] for sentence in row] for row in facts.texts], device=frame.device)
        index = index.reshape(facts.rows, facts.frames)
        tokens, pooled = text(distinct)
        said = torch.where((index == number[""])[..., None], self.no_text, say(pooled.to(frame.dtype))[index])
        last = index[:, -1] if facts.frames else torch.full_like(facts.embodiment, number[""])
        return frame + said, tokens[last].to(frame.dtype)

    def _check(self, facts: Facts) -> None:
        sizes = (facts.vectors.shape[2], facts.poses.shape[2])
        if sizes != (self.layout.action_size, self.layout.pose_size):
            raise BadOption(
                f"facts with actions and poses of {sizes}",
                f"{self.layout.action_size} and {self.layout.pose_size}, as this world's layout pads them",
                "Make the facts with `encoder.layout`.",
            )
        if self.text is None and any(sentence for row in facts.texts for sentence in row):
            raise BadOption("sentences for a world without a text encoder", "none", "Withhold them, or give it one.")

    @classmethod
    def fresh(
        cls,
        config: EncoderConfig,
        layout: Layout,
        text: TextConfig | None,
        sentences: Iterable[str],
        generator: torch.Generator,
    ) -> "ConditionEncoder":
        """One that has learned nothing; its vocabulary comes from the layout's phrases and `sentences`."""
        words = {*sentences, *(phrase for body in layout.embodiments for phrase in body.phrases)}
        spoken = None if text is None else TextEncoder.small(text, words, generator)
        seed = int(torch.randint(2**31, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return cls(config, layout, spoken)

    def grown(self, layout: Layout) -> "ConditionEncoder":
        """For a layout with more bodies at its end: what was known stays, and means the same to the bit."""
        self.layout.check_growth(layout)
        known, more = ([phrase for body in one.embodiments for phrase in body.phrases] for one in (self.layout, layout))
        new = ConditionEncoder(self.config, layout, None if self.text is None else self.text.grown(known, more))
        state, mine = new.state_dict(), self.state_dict()
        for name in sorted(self._own_names()):
            target, value = state[name], mine[name]
            if target.shape == value.shape:
                target.copy_(value)
            elif name.startswith(("values.", "known.", "feel.0.")):
                target.zero_()[:, : value.shape[1]] = value
            else:  # a table whose last row says "absent"
                target[: len(value) - 1], target[-1] = value[:-1], value[-1]
        return new.to(self.no_action.device)

    def save_pretrained(self, folder: Path | str) -> None:
        """layout.json, config.json, model.safetensors and text/."""
        folder = Path(folder)
        text = None if self.text is None else {"frozen": self.text.frozen}
        state = self.state_dict()
        weights.save(
            folder, VERSION, {**asdict(self.config), "text": text}, {name: state[name] for name in self._own_names()}
        )
        (folder / "layout.json").write_text(self.layout.to_json())
        if self.text is not None:
            self.text.save_pretrained(folder / "text")

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "ConditionEncoder":
        """Back from a folder."""
        folder = Path(folder)
        told = weights.read_config(folder, VERSION)
        try:
            layout = Layout.from_json((folder / "layout.json").read_text())
            octaves = AddressConfig(**{name: tuple(pair) for name, pair in told["address"].items()})
            config, spoken = EncoderConfig(told["width"], octaves), told["text"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadCheckpoint(
                f"{folder}, which cannot be read ({error})", "a condition encoder", weights.HINT
            ) from error
        text = None if spoken is None else TextEncoder.from_pretrained(folder / "text", frozen=spoken["frozen"])
        encoder = cls(config, layout, text)
        weights.load(encoder, folder, encoder._own_names())
        return encoder

    def _own_names(self) -> set[str]:
        """Without the text encoder's, which lie in its own folder."""
        return {name for name in self.state_dict() if not name.startswith("text.")}
