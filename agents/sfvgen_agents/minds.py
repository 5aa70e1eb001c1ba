"""The worlds an agent may think with. A mind has seen what its episodes showed; a plan only asks it."""

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from sfvgen_agents.dreaming import Dreaming, Foreseeing
from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory import Bank, Memory, MemoryConfig, Seen, merged, remember, start, view_of
from sfvgen_planner.memory.keeping import begun
from sfvgen_planner.memory.rows import put
from sfvgen_planner.planning.objectives import latents_of
from sfvgen_planner.types import POSE_CAMERA, Context, Imagine, Plan, Rollout, Window
from sfvgen_planner.world.facts import Facts
from sfvgen_planner.world.finding import find, look_back
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig
from sfvgen_planner.world.things import Found, spread
from sfvgen_planner.world.wanting import posture_of, wanted

Rows = NDArray[np.bool_]
VAGUE, MAYBE = 0.012, 5
"""Metres of doubt from which on a thing is looked for along its ray, at so many places."""
EARLIER = 16
"""Windows of an episode that a mind keeps to replay, and for new ones to be told apart from."""


class Mind(Protocol):
    """B episodes."""

    past: int
    """how many frames it looks back on"""

    def begin(self, rows: Rows, context: Context) -> None:
        """New episodes begin in these rows [B], with the last of these frames: what was remembered there is gone."""

    def saw(self, window: Window, rows: Rows) -> None:
        """These rows [B] have lived through a chunk: a window of 2 x 8 true frames for each row."""

    def imagine(self, steps: int) -> Imagine:
        """The world as it is remembered now, with so many denoising steps. What it imagines is never remembered."""

    def foresee(self) -> Imagine:
        """The same for who asks only where the body will be: poses, quickly; all else may be 0 or missing."""

    def translate(self, context: Context, plan: Plan) -> NDArray[np.float32]:
        """[B, T, A]: the actions that lead through what a plan in words expects to happen."""

    def picture(self, context: Context, plan: Plan) -> NDArray[np.uint8]:
        """uint8 [B, T, h, w, 3]: what a plan made just now, after these frames, expects to see."""

    def kept_places(self) -> NDArray[np.float64] | None:
        """[K, 3] metres from where its first episode began: where the frames that are kept of it were seen, oldest
        first; None where none are."""

    def place_of(self, context: Context, name: str) -> NDArray[np.float64] | None:
        """[3] metres in the frame of the senses: where the last of these frames shows a thing, "the red cube"; [S, 3]
        if it may be nearer or farther as well, from the fingertips on; None where it does not."""

    def old_place_of(self, name: str) -> NDArray[np.float64] | None:
        """The same, of the oldest frame that is kept of its first episode and shows it; None where none does."""


class LearnedMind:
    """A learned world; with a memory config it also remembers what it sees, and with a bank an episode begins with what
    was remembered of the `nearest` places like its first one."""

    def __init__(
        self,
        world: WorldModel,
        body: str,
        *,
        camera: str | None = "fixed",
        memory: MemoryConfig | None = None,
        rows: int = 1,
        seed: int = 0,
        bank: Bank | None = None,
        nearest: int = 1,
    ) -> None:
        if bank is not None and memory is None:
            raise BadOption("a bank without a memory", "both, or neither", "Say how episodes are remembered.")
        self.bank, self.nearest = bank, nearest
        self.world, self.body, self.camera = world, body, camera
        self.layout = world.encoder.layout
        self.past = int(world.config.past)
        self.seeds = torch.arange(rows, dtype=torch.int64) + seed
        self.memory: Memory | None = None if memory is None else start(world, memory, rows=rows)
        self._earlier: list[Seen] = []
        self._merged: tuple[Memory, WorldModel] | None = None

    def begin(self, rows: Rows, context: Context) -> None:
        """Forgets, and recalls where there is a bank."""
        if self.memory is None:
            return
        gone = torch.from_numpy(rows).to(self.memory.seeds.device)
        self.memory = self.memory.reset(gone)
        self._earlier = [replace(one, weight=torch.where(gone, 0, one.weights)) for one in self._earlier]
        if self.memory.album is not None:
            self.memory = replace(self.memory, album=begun(self.world, self.memory.album, self._first(rows, context)))
        for row in np.flatnonzero(rows) if self.bank is not None else ():
            view = view_of(self.world, self.body, context.pixels[row, -1], context.poses[row, -1])
            found = self.bank.recall(view, self.nearest).memory  # type: ignore[union-attr]
            self.memory = put(self.memory, torch.tensor([int(row)], device=found.seeds.device), found)

    @torch.no_grad()
    def saw(self, window: Window, rows: Rows) -> None:
        """Remembers."""
        if self.memory is None or not rows.any():
            return
        facts = Facts.of_window(window, self.layout, self.body, self.camera).to(self._device())
        latents = self.world.codec.encode(torch.as_tensor(window.pixels, device=self._device()))
        weight = torch.from_numpy(rows.astype(np.float32)).to(latents)
        seen = Seen(latents, facts, self.past, weight)
        self.memory = remember(self.world, self.memory, seen, self._earlier)
        self._earlier = [*self._earlier, seen][-EARLIER:]

    def imagine(self, steps: int) -> Imagine:
        """One episode's memory is merged into the weights, where they can hold it; several are factors beside them."""
        world, factors = self.world, None
        if self.memory is not None and self.memory.rows == 1 and self.memory.config.operator == "lowrank":
            world, factors = self._remembering(self.memory), self.memory.beside
        elif self.memory is not None:
            factors = self.memory.factors
        return Dreaming(world, factors, self.body, self.camera, SamplerConfig(steps), self.seeds)

    def foresee(self) -> Imagine:
        """Without a picture."""
        return Foreseeing(self.world, self.body, self.camera)

    @torch.no_grad()
    def translate(self, context: Context, plan: Plan) -> NDArray[np.float32]:
        """Inverse dynamics of the frames that are expected, and of the last one seen."""
        after = latents_of(plan.rollout)[:, 0]
        seen = self.world.codec.encode(torch.as_tensor(context.pixels, device=self._device())[:, -1:])
        before = torch.cat([seen, after[:, :-1]], 1)
        number = self.layout.index(self.body)
        told = self.world.inverse(before, after, torch.full((len(after),), number, device=after.device))
        one = self.layout[self.body]
        actions = told[..., : one.size].cpu().numpy()
        return np.asarray(np.clip(actions, one.low, one.high), np.float32)

    @torch.no_grad()
    def picture(self, context: Context, plan: Plan) -> NDArray[np.uint8]:
        """Decoded only here, and dreamt too where candidates were judged unseen."""
        dreamt = plan.rollout if plan.rollout.latents is not None else self.imagine(1)(context, plan.actions)
        return np.asarray(self.decoded(latents_of(dreamt))[:, 0].cpu())

    def kept_places(self) -> NDArray[np.float64] | None:
        """Of the first row's album."""
        album = None if self.memory is None else self.memory.album
        if album is None:
            return None
        cameras = album.frames(0)[1]
        return np.asarray(cameras[:, :3].double().cpu()) * self.layout[self.body].length

    def place_of(self, context: Context, name: str) -> NDArray[np.float64] | None:
        """Of the first row's last picture."""
        found = find(self.world, self.body, context, (name,), self.camera)
        if (place := _shown(found)) is None or float(found.doubt[0, 0].norm()) < VAGUE:
            return place
        eye = self.world.things.eye[[self.layout.index(self.body)]]
        places = np.asarray(spread(found, eye, MAYBE)[0, 0].double().cpu())
        here = np.asarray(context.poses[0, -1, POSE_CAMERA : POSE_CAMERA + 3])
        far = np.linalg.norm(places[[0, -1]] - here, axis=-1)
        return places if far[0] <= far[1] else places[::-1]

    def old_place_of(self, name: str) -> NDArray[np.float64] | None:
        """Of the first row's album."""
        album = None if self.memory is None else self.memory.album
        if album is None or not (album.given[0] > 0).any():
            return None
        return _shown(look_back(self.world, self.body, *album.frames(0), (name,)))

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """[B, N, T, C, h, w] -> uint8 [B, N, T, h, w, 3]."""
        frames: torch.Tensor = self.world.codec.decode(latents.flatten(0, 1))
        return frames.reshape(*latents.shape[:2], *frames.shape[1:])

    def goal_latents(self, images: Any) -> torch.Tensor:
        """uint8 [B, h, w, 3] -> [B, C, h, w], for `GoalImage`."""
        with torch.no_grad():
            encoded: torch.Tensor = self.world.codec.encode(torch.as_tensor(images, device=self._device())[:, None])
        return encoded[:, 0]

    @torch.no_grad()
    def apart(self, rollout: Rollout, images: Any) -> torch.Tensor:
        """[B, N, T]: how far the body is, frame by frame, from its posture in pictures uint8 [B, h, w, 3]."""
        asked = wanted(self.world, self.body, torch.as_tensor(images))
        poses = torch.as_tensor(rollout.poses).to(asked)
        return posture_of(asked).apart(self.world.pose_head.senses(poses, self.layout.index(self.body)))

    def _first(self, rows: Rows, context: Context) -> Seen:
        """The frame that these rows begin with."""
        poses = torch.as_tensor(context.poses, device=self._device())[:, -1:]
        facts = Facts.of_poses(poses, self.layout, self.body, self.camera)
        with torch.no_grad():
            latents = self.world.codec.encode(torch.as_tensor(context.pixels, device=self._device())[:, -1:])
        return Seen(latents, facts, weight=torch.from_numpy(rows.astype(np.float32)).to(latents))

    def _remembering(self, memory: Memory) -> WorldModel:
        """The world with this memory in its weights; made once for all plans until something else is remembered."""
        if self._merged is None or self._merged[0] is not memory:
            self._merged = memory, merged(self.world, memory)
        return self._merged[1]

    def _device(self) -> torch.device:
        return next(self.world.parameters()).device


def _shown(found: Found) -> NDArray[np.float64] | None:
    """[3]: where the first picture [R] that shows the one thing asked for has it; None if none does."""
    there = torch.nonzero(found.seen[:, 0] > 0)
    return None if len(there) == 0 else np.asarray(found.place[there[0, 0], 0].double().cpu())
