"""Episodes as latents: encoded once, kept on disk beside the run, read as windows."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from sfvgen_planner.data.atomic import replacing
from sfvgen_planner.data.dataset import Dataset
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.bodies import camera_of
from sfvgen_planner.types import Episode, Window
from sfvgen_planner.world.codec import KLCodec

ENCODED_AT_ONCE = 64


@dataclass(frozen=True)
class LatentWindow:
    """B windows of T frames of one body, seen through one camera."""

    latents: torch.Tensor
    """float32 [B, T, C, h, w]"""
    window: Window
    """poses, actions into each frame and phrases; its `pixels` are empty"""
    rewards: torch.Tensor
    """float32 [B, T]: of the step into each frame; 0 for an episode's first"""
    success: torch.Tensor
    """bool [B, T]"""
    terminated: torch.Tensor
    """bool [B, T]"""
    body: str
    camera: str | None
    """None where nobody knows the poses"""


class LatentSet:
    """One data set's latents, in memory as float16 (2 KB a frame at 16 x 8 x 8)."""

    def __init__(
        self,
        dataset: Dataset,
        codec: KLCodec,
        folder: Path,
        most: int | None = None,
        only: Sequence[int] | None = None,
    ) -> None:
        """Encodes what `folder` does not hold yet of the first `most` episodes, or of those at the positions `only`;
        another codec has another folder, and many data sets may share one."""
        cards = dataset.cards
        bodies = {(str(card["task"]), camera_of(card)) for card in cards}
        if len(bodies) != 1:
            told = sorted(bodies, key=str)
            raise BadOption(f"{told} in one data set", "one task and one camera", "Record them apart.")
        ((self.body, self.camera),) = bodies
        place = folder / f"{Path(dataset.root).resolve().name}-{identity(codec)[:12]}"
        place.mkdir(parents=True, exist_ok=True)
        self.episodes: list[dict[str, Any]] = []
        first = range(len(dataset) if most is None else min(most, len(dataset)))
        for number in first if only is None else only:
            path = place / f"{dataset.path(number).stem}-{_fingerprint(dataset, number)}.safetensors"
            if not path.exists():
                encode_episode(dataset[number], codec, path)
            self.episodes.append(read_episode(path))

    def windows(self, length: int) -> NDArray[np.int64]:
        """[episodes] how many windows of this length each episode has."""
        return np.array([max(0, len(episode["latents"]) - length + 1) for episode in self.episodes])

    def sample(self, rng: np.random.Generator, count: int, length: int) -> LatentWindow:
        """`count` windows, each as likely as any other."""
        ends = np.cumsum(self.windows(length))
        if ends[-1] == 0:
            raise BadOption(f"windows of {length} frames", "an episode as long", "Record longer episodes.")
        return self.read([self._locate(ends, int(i)) for i in rng.integers(ends[-1], size=count)], length)

    def ends(self, rng: np.random.Generator, count: int, length: int) -> LatentWindow:
        """The last windows of `count` episodes that came to an end, each as likely as any other."""
        over = np.flatnonzero(self._over(length))
        if len(over) == 0:
            raise BadOption(f"ends after {length} frames", "an episode as long that came to an end", "Record some.")
        chosen = (int(number) for number in rng.choice(over, count))
        return self.read([(number, len(self.episodes[number]["latents"]) - length) for number in chosen], length)

    def ending(self, length: int) -> float:
        """The share of windows that end their episode."""
        return float(self._over(length).sum() / max(self.windows(length).sum(), 1))

    def _over(self, length: int) -> NDArray[np.bool_]:
        """[episodes] which are as long and came to an end."""
        ends = [bool(one["terminated"][-1]) for one in self.episodes]
        return np.array([many > 0 and end for many, end in zip(self.windows(length), ends, strict=True)], bool)

    def listed(self, count: int, length: int) -> LatentWindow:
        """The same `count` windows every time, spread evenly over the set."""
        ends = np.cumsum(self.windows(length))
        chosen = np.linspace(0, ends[-1] - 1, min(count, int(ends[-1]))).round().astype(int)
        return self.read([self._locate(ends, int(i)) for i in chosen], length)

    def read(self, places: Sequence[tuple[int, int]], length: int) -> LatentWindow:
        """Windows at (episode, first frame)."""
        parts = [(self.episodes[number], slice(start, start + length)) for number, start in places]

        def stacked(name: str) -> NDArray[Any]:
            return np.stack([episode[name][part] for episode, part in parts])

        starts = np.array([start for _, start in places])
        phrases = tuple(tuple(episode["phrases"][part]) for episode, part in parts)
        window = Window(np.empty(0, np.uint8), stacked("poses"), stacked("actions"), phrases, starts)
        return LatentWindow(
            torch.from_numpy(stacked("latents")).float(),
            window,
            torch.from_numpy(stacked("rewards")),
            torch.from_numpy(stacked("success")),
            torch.from_numpy(stacked("terminated")),
            self.body,
            self.camera,
        )

    @staticmethod
    def _locate(ends: NDArray[np.int64], index: int) -> tuple[int, int]:
        episode = int(np.searchsorted(ends, index, side="right"))
        return episode, index - (int(ends[episode - 1]) if episode else 0)


def _fingerprint(dataset: Dataset, number: int) -> str:
    """Of an episode and where it lies: other sets may have the same name, or have had the same place."""
    told = [str(Path(dataset.root).resolve()), asdict(dataset.entries[number])]
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def identity(codec: KLCodec) -> str:
    """A hash of a codec's weights and statistics."""
    digest = sha256()
    for name, value in sorted(codec.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def encode_episode(episode: Episode, codec: KLCodec, path: Path) -> None:
    """Everything of an episode but its pixels, by frame: what led INTO each frame, nothing into the first."""
    pixels = torch.from_numpy(np.asarray(episode.pixels))
    latents = torch.cat([codec.encode(part) for part in torch.split(pixels, ENCODED_AT_ONCE)])

    def into(values: Any) -> NDArray[Any]:
        values = np.asarray(values)
        return np.concatenate([np.zeros_like(values[:1]), values])

    tensors = {
        "latents": latents.half().numpy(),
        "poses": np.asarray(episode.poses, np.float32),
        "actions": into(episode.actions),
        "rewards": into(episode.rewards).astype(np.float32),
        "success": into(episode.success),
        "terminated": into(episode.terminated),
    }
    # safetensors writes an array's memory as it lies, whatever its strides.
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    with replacing(path) as partial:
        save_file(tensors, partial, {"phrases": json.dumps(["", *episode.phrases])})


def read_episode(path: Path) -> dict[str, Any]:
    """What `encode_episode` wrote: arrays by name, and the list of phrases."""
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in sorted(file.keys())} | {
            "phrases": json.loads(file.metadata()["phrases"])
        }
