"""`DreamVectorEnv`: B dreams at once as one Gymnasium vector environment. `DreamEnv` is its batch of one."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from sfvgen_envs.checks import one_of
from sfvgen_envs.dream import telling
from sfvgen_envs.dream.basis import Dream
from sfvgen_envs.dream.config import DreamConfig
from sfvgen_envs.dream.ends import Judgement, judged
from sfvgen_envs.dream.given import checked_actions, checked_mask, checked_memory, checked_seeds, starts_of
from sfvgen_envs.dream.going import advanced, entered, frames_shown, last_shown, nearer, nothing
from sfvgen_envs.dream.imitated import imitated, make_task, picture_of
from sfvgen_envs.dream.snapshot import check_snapshot
from sfvgen_envs.dream.starts import DataStarts, Start, Starts, TaskStarts
from sfvgen_envs.dream.state import DreamState
from sfvgen_planner.errors import BadOption
from sfvgen_planner.memory.start import identity
from sfvgen_planner.world.model import WorldModel

Array = Any
"""numpy, or a tensor on the world's device where `obs_type` is "torch"."""
OPTIONS = ("reset_mask", "goal", "variation", "context", "elapsed", "instruction", "memory", "snapshot")
FIXED = ("goal", "variation")


class DreamVectorEnv(VectorEnv[Any, Any, Any]):
    """B dreams of one task. Row i is what the single environment of that row's seed is.

    Spaces, time limit and actions are the task's. Observation: `pixels` from the codec, `pose` as foreseen, and, where
    asked for, `features` and `goal` (see `config.KEYS`). Reward and end are what the world says. Info holds nothing a
    dream cannot know: `instruction` (what was told when the episode began), `goal` where a start has one, and as
    predictions `success_predicted` (a probability) and, with doubts, `uncertainty`.
    """

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        *,
        world: WorldModel | Path | str | None = None,
        starts: Starts | Path | str = "task",
        split: Literal["train", "test"] = "train",
        length: Literal["short", "medium", "long"] = "medium",
        camera: str = "fixed",
        config: DreamConfig | None = None,
        obs_type: Literal["numpy", "torch"] = "numpy",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        device: torch.device | str | None = None,
        render_mode: str | None = "rgb_array",
    ) -> None:
        """`world`: one, or its folder, or None for the shipped one. `starts`: "task" (the real task's first frames),
        the folder of a data set (the first frames of its episodes), or a function."""
        one_of("obs_type", obs_type, ("numpy", "torch"))
        one_of("render_mode", render_mode or "rgb_array", ("rgb_array",))
        if num_envs < 1:
            raise BadOption(f"num_envs={num_envs}", "1 or more", "Say how many dreams.")
        loaded = world if isinstance(world, WorldModel) else WorldModel.from_pretrained(world)
        loaded = (loaded if device is None else loaded.to(device)).eval()
        real = make_task(task, split=split, length=length, camera=camera, size=picture_of(loaded))
        self.dream = Dream(loaded, config or DreamConfig(), imitated(real, loaded), identity(loaded))
        if not isinstance(starts, Path | str):
            self._starts: Starts = starts
        else:
            known = self.dream.imitated
            self._starts = TaskStarts(real) if starts == "task" else DataStarts(starts, known, length)
        self.obs_type, self.render_mode = obs_type, render_mode
        self.single_action_space = self.dream.imitated.action
        self.single_observation_space = telling.observation_space(self.dream)
        self._set_rows(num_envs, AutoresetMode(autoreset_mode))
        self._state: DreamState | None = None
        self._shut = False

    # Gymnasium's contract.

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins episodes, of all rows or of those in `options["reset_mask"]` (bool [B]).

        `goal` and `variation` are the real task's own, for the scene that is begun with. `options["context"]` is what a
        real episode looks like now (see `given.starts_of`), with `elapsed` steps taken, an `instruction` and a `memory`
        where there are any; `options["snapshot"]` goes on from what `snapshot()` returned.
        """
        self._check_open()
        options = options or {}
        for key in options:
            one_of("option", key, OPTIONS)
        mask = checked_mask(options.get("reset_mask"), self.num_envs)
        if "snapshot" in options:
            if len(options) > 1 or seed is not None:
                raise BadOption("a snapshot and more", "a snapshot alone", "It holds seeds and memory.")
            self.restore(options["snapshot"])
            return self._observed(), self._info(mask)
        seeds = checked_seeds(seed, self.num_envs)
        starts = starts_of(options, self.num_envs, self.dream.imitated)
        for row, one in enumerate(seeds):
            if one is not None and mask[row]:
                self.randoms[row], _ = seeding.np_random(one)
        fixed = {key: options[key] for key in FIXED if key in options}
        if fixed and starts is not None:
            raise BadOption(f"{sorted(fixed)} and a context", "one of them", "A context shows its scene.")
        self._begin(mask, seeds, starts, options.get("memory"), fixed)
        return self._observed(), self._info(mask)

    def step(self, actions: Array) -> tuple[Any, Array, Array, Array, dict[str, Any]]:
        """One action [B, A], one frame a row; what follows an episode's end is up to the autoreset mode."""
        ended = self.state.over.cpu().numpy()
        box, device = self.dream.imitated.action, self.dream.device
        told = checked_actions(actions, (self.num_envs,), box, device)
        if self.autoreset_mode == AutoresetMode.DISABLED:
            self._check_going()
        elif ended.any():
            self._begin(ended)
        # A row that begins anew in this step ignores its action.
        found, predicted = self._go(told[:, None], ~ended, writes=True)
        everyone, predicted = np.ones(self.num_envs, bool), {key: value[:, 0] for key, value in predicted.items()}
        info = self._info(everyone, predicted)
        if self.autoreset_mode == AutoresetMode.SAME_STEP and bool(found.over.any()):
            done = found.over.cpu().numpy()
            final = telling.final(self._observed(), info, done)
            self._begin(done)
            begun = {key: torch.where(found.over, 0, value) for key, value in predicted.items()}
            info = {**self._info(everyone, begun), **final}
        return self._observed(), *(self._out(one[:, 0]) for one in _told(found)), info

    def step_sequence(self, actions: Array, *, writes: bool = False) -> tuple[Any, Array, Array, Array, dict[str, Any]]:
        """H actions [B, H, A] in one go, for planners: every result is [B, H, ...].

        What is left of each chunk is dreamt together, as `WorldModel.dream` does, so numbers differ from those of H
        single steps. Memory is not written unless `writes` says so. After an episode's end its last frame is repeated,
        rewards are 0 and `terminated` or `truncated` stay True; nothing is reset.
        """
        self._check_going()
        frames = int(np.shape(actions)[1]) if np.ndim(actions) == 3 else 1
        told = checked_actions(actions, (self.num_envs, frames), self.dream.imitated.action, self.dream.device)
        everyone = np.ones(self.num_envs, bool)
        found, predicted = self._go(told, everyone, writes=writes)
        observed = telling.observation(frames_shown(self.dream, self.state, found.made), self._out)
        return observed, *(self._out(one) for one in _told(found)), self._info(everyone, predicted)

    def render(self) -> tuple[NDArray[np.uint8], ...]:
        """The last picture of each row."""
        pixels = self.state.shown.pixels
        if pixels is None:
            raise BadOption("no pixels in what is observed", "pixels", "Say DreamConfig(observe=('pixels', ...)).")
        return tuple(pixels.cpu().numpy().copy())

    def close_extras(self, **kwargs: Any) -> None:
        """Nothing goes on after it."""
        self._shut, self._state = True, None

    # What a dream can do and a real task cannot.

    @property
    def state(self) -> DreamState:
        """All that these dreams are now."""
        self._check_open()
        if self._state is None:
            raise gym.error.ResetNeeded("The dream has no episode yet; call reset() first.")
        return self._state

    def snapshot(self) -> DreamState:
        """A value to go on from, bit for bit, here or in another environment like this one; caches are left out."""
        return replace(self.state.bare, random=tuple(dict(rng.bit_generator.state) for rng in self.randoms))

    def restore(self, snapshot: DreamState) -> None:
        """Goes on from there. Caches are made again: the past is looked at, and the same frames are appended."""
        self._check_open()
        check_snapshot(snapshot, nothing(self.dream, self.num_envs))
        self._state = snapshot
        for rng, state in zip(self.randoms, snapshot.random, strict=True):
            rng.bit_generator.state = state

    def fork(self, count: int, seeds: Sequence[int] | None = None) -> "DreamVectorEnv":
        """Each row `count` times in a row, as another environment; this one never hears of what happens there.

        The branches share their noise (common random numbers) unless each is given a seed, and memory and what was
        looked at until they change it. They are not reset by themselves.
        """
        if count < 1 or (seeds is not None and len(seeds) != count * self.num_envs):
            raise BadOption(
                f"{count} branches of {self.num_envs} rows and {'no' if seeds is None else len(seeds)} seeds",
                "1 or more, and no seeds or one for each branch",
                "Leave seeds out to share the noise.",
            )
        keys = None if seeds is None else torch.tensor([int(one) for one in seeds], device=self.dream.device)
        other, random = copy(self), [rng.bit_generator.state for rng in self.randoms for _ in range(count)]
        other._set_rows(self.num_envs * count, AutoresetMode.DISABLED)
        other._state = self.state.fork(count, keys)
        for rng, one in zip(other.randoms, random, strict=True):
            rng.bit_generator.state = one
        return other

    # How it is done.

    def _set_rows(self, rows: int, mode: AutoresetMode) -> None:
        self.num_envs, self.autoreset_mode = rows, mode
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": self.dream.imitated.fps, "autoreset_mode": mode}
        self.action_space = batch_space(self.single_action_space, rows)
        self.observation_space = batch_space(self.single_observation_space, rows)
        self.randoms: list[np.random.Generator] = [np.random.default_rng() for _ in range(rows)]

    def _begin(
        self,
        mask: NDArray[np.bool_],
        seeds: Sequence[int | None] | None = None,
        starts: Sequence[Start] | None = None,
        memory: Any = None,
        fixed: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """New episodes in these rows. Only a start is drawn row by row, by the row's own generator."""
        state = nothing(self.dream, self.num_envs) if self._state is None else self._state
        known = checked_memory(memory, state.memory, mask)
        rows: list[int] = np.flatnonzero(mask).tolist()
        asked = [None] * self.num_envs if seeds is None else seeds
        if starts is None:
            chosen = [self._starts(self.randoms[row], asked[row], fixed) for row in rows]
        else:
            chosen = [starts[row] for row in rows]
        keys = torch.tensor([int(self.randoms[row].integers(2**63)) for row in rows], device=self.dream.device)
        index = torch.tensor(rows, device=self.dream.device)
        self._state = entered(self.dream, state, index, chosen, keys, known)

    def _go(self, actions: Tensor, moving: NDArray[np.bool_], *, writes: bool) -> tuple[Judgement, dict[str, Tensor]]:
        """What becomes of H actions [B, H, A], and what is predicted beside it, [B, H] each."""
        dream, state = self.dream, self.state
        goes = torch.from_numpy(moving).to(dream.device)
        rows, before = goes.nonzero()[:, 0], state.elapsed
        started, (state, made) = state, advanced(dream, state, dream.happens(actions), rows, writes)
        made = nearer(dream, started, made) if dream.config.reward == "goal" else made
        found = judged(dream.config, dream.imitated.horizon, before, started.lasting, made, goes)
        state = last_shown(dream, state, rows, found.made) if len(rows) else state
        self._state = replace(state.without(found.over), over=state.over | found.over, lasting=found.lasting)
        doubts = {"uncertainty": found.made.doubt} if dream.config.doubts else {}
        predicted = {"success_predicted": found.made.success, **doubts}
        return found, {key: torch.where(goes[:, None], value, 0) for key, value in predicted.items()}

    def _observed(self) -> dict[str, Array]:
        return telling.observation(self.state.shown, self._out)

    def _info(self, mask: NDArray[np.bool_], predicted: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        if predicted is None:
            predicted = telling.unpredicted(self.num_envs, self.dream.config.doubts, self.dream.device)
        return telling.info(self.state.told, predicted, mask, self._out)

    def _out(self, value: Tensor) -> Array:
        """As the user wants it, and his own to write into."""
        if value.dtype == torch.float64:
            value = value.float()
        return value.clone() if self.obs_type == "torch" else value.cpu().numpy().copy()

    def _check_going(self) -> None:
        over = self.state.over
        if bool(over.any()):
            rows = over.nonzero()[:, 0].tolist()
            raise gym.error.ResetNeeded(f"Rows {rows} have ended; call reset(options={{'reset_mask': ...}}) first.")

    def _check_open(self) -> None:
        if self._shut:
            raise gym.error.ClosedEnvironmentError("The dream is closed; make another one.")


def _told(found: Judgement) -> tuple[Tensor, Tensor, Tensor]:
    return found.reward, found.terminated, found.truncated
