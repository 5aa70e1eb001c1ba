"""The slow world as one value: codec, conditions, denoiser, heads. What it imagines with, a planner only calls."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sfvgen_planner.errors import BadOption
from sfvgen_planner.types import FRAMES_PER_CHUNK, POSE_CAMERA, Actions, Context, Imagine, Rollout
from sfvgen_planner.world.ahead import Sighting
from sfvgen_planner.world.causal import CausalConfig, CausalDenoiser
from sfvgen_planner.world.codec import KLCodec
from sfvgen_planner.world.conditions import Conditions
from sfvgen_planner.world.denoiser import Cache, Denoised
from sfvgen_planner.world.detail import Detail
from sfvgen_planner.world.diffusion import PROCESSES, Process
from sfvgen_planner.world.dreamt import Dreamt
from sfvgen_planner.world.encoder import ConditionEncoder
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.growing import take_over, without_lacking
from sfvgen_planner.world.habits import HabitHead
from sfvgen_planner.world.inverse import InverseDynamics
from sfvgen_planner.world.layout import Layout
from sfvgen_planner.world.lowrank import LowRank
from sfvgen_planner.world.noise import keyed_noise
from sfvgen_planner.world.outcome import Evidence, OutcomeHead
from sfvgen_planner.world.pose_head import PoseConfig, PoseHead, foresee
from sfvgen_planner.world.posture import PostureHead
from sfvgen_planner.world.sampler import SamplerConfig, guided, sample
from sfvgen_planner.world.things import ThingHead
from sfvgen_planner.world.unet3d import UNet3DConfig, UNet3DDenoiser

VERSION = 1
SHIPPED = Path(__file__).parents[1] / "pretrained" / "world"
"""The world that comes with the package."""
DENOISERS = {"causal": (CausalConfig, CausalDenoiser), "unet3d": (UNet3DConfig, UNet3DDenoiser)}


@dataclass(frozen=True)
class WorldConfig:
    """What a world is, besides its weights."""

    kind: Literal["causal", "unet3d"] = "causal"
    denoiser: CausalConfig | UNet3DConfig = field(default_factory=CausalConfig)
    process: Process = PROCESSES["flow"]
    past: int = 8
    """frames of context a chunk is dreamt from"""


class WorldModel(nn.Module):
    """Everything that was trained together. The codec is frozen; the denoiser is where memories are written."""

    def __init__(self, config: WorldConfig, codec: KLCodec, encoder: ConditionEncoder) -> None:
        super().__init__()
        sizes, layout = config.denoiser, encoder.layout
        if sizes.channels != codec.channels or sizes.frame_size != encoder.width:
            raise BadOption(
                f"a denoiser of {sizes.channels} channels and conditions of {sizes.frame_size}",
                f"{codec.channels} and {encoder.width}",
                "Take them from the codec and the encoder.",
            )
        if isinstance(sizes, CausalConfig) and sizes.copies and config.process.predict != "clean":
            raise BadOption("copies=True", "a process that predicts clean latents", "Use PROCESSES['clean'].")
        bodies = len(layout.embodiments)
        self.config, self.codec, self.encoder = config, codec.requires_grad_(False), encoder
        self.denoiser: Any = DENOISERS[config.kind][1](sizes)
        if isinstance(sizes, CausalConfig) and sizes.copies and sizes.fine > 1:
            self.denoiser.carry.see_through(codec.unfolding(sizes.fine))
        self.pose_head = PoseHead(PoseConfig(encoder.width), layout)
        features = sizes.dim if isinstance(sizes, CausalConfig) else self.denoiser.feature_size
        senses, moved = layout.pose_size - POSE_CAMERA, self.pose_head.moved_size
        self.outcome = OutcomeHead(self.shape, senses, moved, features, encoder.width, bodies)
        self.posture = PostureHead(self.shape, senses, bodies)
        self.inverse = InverseDynamics(sizes.channels, sizes.height, sizes.width, layout.action_size, bodies)
        words = encoder.text_width or 1
        self.habits = HabitHead(self.shape, senses, layout.action_size, words, bodies)
        self.things = ThingHead(self.shape, senses, words, bodies)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w) of a frame's latents."""
        sizes = self.config.denoiser
        return sizes.channels, sizes.height, sizes.width

    def conditions(self, facts: Facts) -> Conditions:
        """What the denoiser is told."""
        sizes = self.config.denoiser
        told: Conditions = self.encoder(facts, sizes.grid if isinstance(sizes, CausalConfig) else self.shape[1:])
        return told

    @torch.no_grad()
    def dream(
        self,
        past: Tensor,
        known: Facts,
        new: Facts,
        seeds: Tensor,
        sampler: SamplerConfig,
        memory: LowRank | None = None,
        first: int = 0,
        foreseen: bool = True,
        sighting: Sighting | None = None,
    ) -> Dreamt:
        """T frames after `past` [R, Tp, C, h, w], chunk by chunk, never leaving latent space.

        `known` [R, Tp] and `new` [R * N, T] say what happens into each frame; `seeds` int64 [R * N] key the noise, and
        `first` is the number of the first new frame in its episode: a dream goes on the same whatever it is cut into.
        Poses in `new` count for nothing unless `foreseen` is False: then they are how it was. `sighting` (R rows)
        is what was last seen of places, if that was not the last frame of the past.
        """
        chunks: list[Dreamt] = []
        times = new.rows // known.rows
        seen = self.sighted(past, known) if sighting is None else sighting
        for start in range(0, new.frames, FRAMES_PER_CHUNK):
            facts = new[start : start + FRAMES_PER_CHUNK]
            if foreseen:
                facts = foresee(self.encoder, self.pose_head, known, facts)
            seen = seen.repeat(times)
            chunks.append(self._chunk(past, known, facts, seeds, first + start, sampler, memory, seen))
            past = torch.cat([past.repeat_interleave(times, 0), chunks[-1].latents], 1)[:, -self.config.past :]
            known, times = Facts.join(known.repeat(times), facts)[-self.config.past :], 1
        return Dreamt.joined(chunks)

    def sighted(self, latents: Tensor, facts: Facts) -> Sighting:
        """The last of frames [R, T, C, h, w], as places are read off it."""
        return Sighting(latents[:, -1:], self.encoder.cameras(facts[-1:])[:, 0])

    def _chunk(
        self,
        past: Tensor,
        known: Facts,
        facts: Facts,
        seeds: Tensor,
        first: int,
        sampler: SamplerConfig,
        memory: LowRank | None,
        sighting: Sighting,
    ) -> Dreamt:
        """The frames that `facts` [R * N, T] speak of, the first of them number `first` of its episode; `sighting`, of
        R * N rows too, is what was last seen of places."""
        cache = self.denoiser.prefill(past, self.conditions(known), memory)
        conditions, begin = self.conditions(facts), torch.full_like(seeds, first)
        clean, features = self.sampled(cache, conditions, facts, seeds, begin, sampler, memory, past.dtype)
        times = facts.rows // known.rows
        before = past[:, -1:].repeat_interleave(times, 0)
        known, told = known[-1:].repeat(times), conditions.frame
        seen = Evidence.of(self.encoder, self.pose_head, before, known, clean, facts, features, told, sighting)
        return Dreamt(clean, facts, self.outcome(seen), (seen,))

    def sampled(
        self,
        cache: Cache,
        conditions: Conditions,
        facts: Facts,
        seeds: Tensor,
        first: Tensor,
        sampler: SamplerConfig,
        memory: LowRank | None,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """Clean latents [R, T, C, h, w] of frames that follow a cache, and the denoiser's features [R, T, D].

        `conditions` are those of `facts`; seeds and `first`, the frames' first numbers, are int64 [R * S]: where S is
        above 1, every row is dreamt so many times.
        """
        samples, unsaid = len(seeds) // facts.rows, conditions
        if sampler.guidance != 1:
            everywhere = torch.ones_like(facts.named)
            unsaid = self.conditions(facts.withhold(actions=everywhere, texts=everywhere))
        if samples > 1:
            conditions, unsaid = conditions.repeat(samples), unsaid.repeat(samples)
        conditions = self.denoiser.ready(cache, conditions, memory)
        unsaid = replace(unsaid, ready=conditions.ready)  # words and actions move no camera
        features: list[Tensor] = []

        def told(noisy: Tensor, level: Tensor) -> Tensor:
            answer: Denoised = self.denoiser.denoise(cache, noisy, level, conditions, memory)
            features[:] = [answer.features]
            return answer.output

        def untold(noisy: Tensor, level: Tensor) -> Tensor:
            answer: Denoised = self.denoiser.denoise(cache, noisy, level, unsaid, memory)
            return answer.output

        def noise(step: int) -> Tensor:
            return keyed_noise(seeds, first, facts.frames, self.shape, step=step, dtype=dtype)

        process, denoise = self.config.process, guided(told, untold, sampler.guidance)
        clean = sample(denoise, noise(0), sampler.levels(process), process, eta=sampler.eta, fresh=noise)
        return clean, features[0]

    def imagine_with(
        self,
        memory: LowRank | None,
        *,
        body: str,
        camera: str | None = "fixed",
        sampler: SamplerConfig | None = None,
        seeds: Tensor | None = None,
        pixels: bool = True,
    ) -> Imagine:
        """Binds a memory, and whose eyes it is seen with: `imagine(context, actions) -> Rollout`.

        With `camera` None nobody knows where it looks, as in imported data.
        `seeds` int64 [B] key the noise of each episode; its candidates share them (common random numbers).
        """
        chosen, layout = sampler or SamplerConfig(steps=1), self.encoder.layout

        def imagine(context: Context, actions: Actions) -> Rollout:
            device = next(self.parameters()).device
            frames = torch.as_tensor(context.pixels, device=device)[:, -self.config.past :]
            poses = torch.as_tensor(context.poses, device=device)[:, -self.config.past :]
            batch, candidates = int(actions.values.shape[0]), int(actions.values.shape[1])
            if len(frames) != batch:
                raise BadOption(f"a context of {len(frames)} rows", f"{batch}, as actions", "Slice them alike.")
            known = Facts.of_poses(poses, layout, body, camera)
            new = Facts.of_actions(actions, layout, body, camera).to(device)
            keys = torch.zeros(batch, dtype=torch.int64) if seeds is None else seeds
            dreamt = self.dream(
                self.codec.encode(frames), known, new, keys.to(device).repeat_interleave(candidates), chosen, memory
            )
            seen = Detail.of(self.codec, frames[:, -1]).repeat(candidates) if pixels else None

            def parted(value: Tensor) -> Tensor:
                return value.reshape(batch, candidates, *value.shape[1:])

            return Rollout(
                poses=parted(dreamt.facts.poses[..., : layout[body].pose_size]),
                rewards=parted(dreamt.judged.reward),
                success=parted(dreamt.judged.success),
                terminated=parted(dreamt.judged.terminated),
                latents=parted(dreamt.latents),
                pixels=None if seen is None else parted(seen.upon(self.codec.decode(dreamt.latents))),
            )

        return imagine

    def grown(self, layout: Layout) -> "WorldModel":
        """For a layout with more bodies at its end. What was learned stays; a head whose sizes change begins anew."""
        world = WorldModel(self.config, self.codec, self.encoder.grown(layout))
        world.pose_head = self.pose_head.grown(layout)
        take_over(world, {name: value for name, value in self._own().items() if not name.startswith("pose_head.")})
        return world

    def save_pretrained(self, folder: Path | str) -> None:
        """A folder in diffusers' manner: JSON and safetensors, no pickle; call `half()` on a copy first to ship it."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.codec.save_pretrained(folder / "codec")
        self.encoder.save_pretrained(folder / "conditions")
        told = {"version": VERSION, **asdict(self.config)}
        (folder / "world.json").write_text(json.dumps(told, indent=2))
        save_file(self._own(), folder / "model.safetensors")

    @staticmethod
    def from_pretrained(folder: Path | str | None = None) -> "WorldModel":
        """Back from a folder, or the shipped world; what is missing, torn or of another version is named."""
        folder = SHIPPED if folder is None else Path(folder)
        hint = "Restore the checkpoint from a copy."
        try:
            told = json.loads((folder / "world.json").read_text())
            version, kind = told.pop("version"), told["kind"]
            sizes = DENOISERS[kind][0](**told["denoiser"])
            config = WorldConfig(kind, sizes, Process(**told["process"]), told["past"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadOption(f"{folder}, which cannot be read ({error})", "a world's folder", hint) from error
        if version != VERSION:
            raise BadOption(f"{folder} of version {version!r}", f"version {VERSION}", "Use the release that wrote it.")
        encoder = ConditionEncoder.from_pretrained(folder / "conditions")
        world = WorldModel(config, KLCodec.from_pretrained(folder / "codec"), encoder)
        try:
            state = load_file(folder / "model.safetensors")
        except (OSError, SafetensorError) as error:
            raise BadOption(f"{folder / 'model.safetensors'} ({error})", "this world's weights", hint) from error
        wanted = without_lacking(world._own(), state)
        wrong = sorted({*wanted} ^ {*state}) or [name for name in wanted if wanted[name].shape != state[name].shape]
        if wrong:
            raise BadOption(f"{folder / 'model.safetensors'} with wrong {wrong[:3]}", "this world's weights", hint)
        world.load_state_dict({**world.state_dict(), **state})
        return world.float().eval()

    def _own(self) -> dict[str, Tensor]:
        """Weights that neither codec nor encoder saves."""
        state = self.state_dict()
        return {
            name: value.contiguous() for name, value in state.items() if not name.startswith(("codec.", "encoder."))
        }
