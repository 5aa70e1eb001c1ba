"""The few frozen values everything speaks.

Letters: B batch, N candidates, T frames, H planned actions, A action size, P pose size; h w picture height and width.
Arrays are numpy on the CPU; a learned world may hand out torch tensors of the same shapes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from sfvgen_planner.errors import BadAction

Array: TypeAlias = Any
"""A numpy array or a torch tensor: whatever has a shape and a dtype."""

FRAMES_PER_CHUNK = 8
"""f_g: frames of one chunk, one per action. A phrase lasts exactly one chunk."""

POSE_CAMERA = 7
"""`pose[:7]` is the camera: position (3) and unit quaternion w x y z (4), relative to the episode's start."""


@dataclass(frozen=True)
class Things:
    """Where K things stand that words can name, in each frame of an episode: to learn from, agents never see it."""

    names: tuple[str, ...]
    """as one says them: "the red cube\""""
    places: Array
    """float32 [T+1, K, 3]: their middles in metres, in the frame of the body's senses"""
    shown: Array
    """int32 [T+1, K]: pixels that show them; 0 for what is hidden, or out of the picture"""
    eye: Array
    """float32 [7]: the camera of the first frame, as poses have it, in the frame of the places"""


@dataclass(frozen=True)
class Episode:
    """One recorded episode: T steps, hence T + 1 observations."""

    pixels: Array
    """uint8 [T+1, h, w, 3]"""
    poses: Array
    """float32 [T+1, P]"""
    actions: Array
    """float32 [T, A], or int64 [T] where actions are ids; `actions[t]` leads from frame t to frame t + 1"""
    rewards: Array
    """float32 [T]"""
    terminated: Array
    """bool [T]"""
    truncated: Array
    """bool [T]"""
    success: Array
    """bool [T]: was the task solved after step t"""
    instructions: tuple[str, ...]
    """T sub-goals in words: what the agent was told when it chose action t"""
    phrases: tuple[str, ...]
    """T action texts, constant over each chunk: what it did, in words ("" where nobody knows)"""
    card: dict[str, Any] = field(default_factory=dict)
    """Where it comes from: task, seed, split, behaviour, scene, ... (JSON values)"""
    things: Things | None = None
    """where named things stood, if somebody wrote it down"""

    def __len__(self) -> int:
        return len(self.rewards)


@dataclass(frozen=True)
class Window:
    """T consecutive frames of one episode (or of B: every field then has a leading B)."""

    pixels: Array
    """uint8 [T, h, w, 3]"""
    poses: Array
    """float32 [T, P]"""
    actions: Array
    """float32 [T, A]: the action that led INTO each frame (zeros for the first frame of an episode)"""
    phrases: tuple[Any, ...]
    """T action texts, as for `actions`"""
    start: Array
    """int: which frame of the episode the window begins with"""


@dataclass(frozen=True)
class Context:
    """What B episodes look like now: the last Tp frames of each."""

    pixels: Array
    """uint8 [B, Tp, h, w, 3]"""
    poses: Array
    """float32 [B, Tp, P]"""


@dataclass(frozen=True)
class Actions:
    """N candidate action sequences for each of B episodes, of one of three kinds."""

    kind: Literal["vector", "discrete", "phrase"]
    values: Array
    """vector: float [B, N, H, A]; discrete: int ids [B, N, H]; phrase: int ids [B, N, H / 8], one per chunk"""

    def __post_init__(self) -> None:
        dims = {"vector": 4, "discrete": 3, "phrase": 3}
        if self.kind not in dims:
            raise BadAction(f"actions of kind {self.kind!r}", f"one of {list(dims)}", "Set `kind`.")
        if self.values.ndim != dims[self.kind]:
            letters = {"vector": "[B, N, H, A]", "discrete": "[B, N, H]", "phrase": "[B, N, H / 8]"}[self.kind]
            raise BadAction(f"{self.kind} actions of shape {list(self.values.shape)}", letters, "Add the missing axes.")

    @property
    def frames(self) -> int:
        """How many frames these actions last."""
        steps = int(self.values.shape[2])
        return steps * FRAMES_PER_CHUNK if self.kind == "phrase" else steps


@dataclass(frozen=True)
class Rollout:
    """What the world answers: T new frames for each of B x N candidates.

    After an episode ends inside a rollout its last frame is repeated, rewards are 0 and `terminated` stays True.
    """

    poses: Array
    """float32 [B, N, T, P]"""
    rewards: Array
    """float32 [B, N, T]"""
    success: Array
    """bool, or a probability, [B, N, T]"""
    terminated: Array
    """bool, or a probability, [B, N, T]"""
    pixels: Array | None = None
    """uint8 [B, N, T, h, w, 3], where somebody decoded them"""
    latents: Array | None = None
    """float [B, N, T, C, h, w], where a learned world dreamt them"""
    doubt: Array | None = None
    """float [B, N, T]: how much several dreams of the same differ, where somebody dreamt several"""
    actions: Actions | None = None
    """what leads there, where a planner noted it"""


Imagine: TypeAlias = Callable[[Context, Actions], Rollout]
"""All a planner knows of a world."""


@dataclass(frozen=True)
class Plan:
    """A planner's result for B episodes."""

    actions: Actions
    """the chosen sequences, N = 1"""
    score: Array
    """float [B]"""
    rollout: Rollout
    """what it expects to happen, N = 1"""
    warm: Any = None
    """what the next plan may begin from; the planner's own"""
    trace: Any = None
    """how it was found: `planning.search.Trace`"""
