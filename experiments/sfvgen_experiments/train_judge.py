"""`sfvgen train-judge`: the network that measures what no pretrained one is at hand for."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from sfvgen_experiments.train import listening
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.judge import JudgeTraining, train_judge
from sfvgen_planner.learning.judge_scores import JudgeScores, is_test, score_judge
from sfvgen_planner.learning.run import RunConfig


@dataclass(frozen=True)
class TrainJudge:
    """Options of `sfvgen train-judge`."""

    data: tuple[str, ...]
    out: str = "outputs/judge"
    steps: int = 3000
    clips: int = 24
    rate: float = 0.004
    seed: int = 0
    threads: int = 2
    measured: int = 50
    checkpoint_seconds: float = 300.0

    def __post_init__(self) -> None:
        for name in ("steps", "clips", "rate", "threads", "measured", "checkpoint_seconds"):
            if getattr(self, name) <= 0:
                raise BadOption(f"{name}={getattr(self, name)}", "above 0", f"Set {name}.")


def main(config: TrainJudge) -> None:
    """Trains with a progress bar, measures, and writes `scores.json` beside the judge."""
    torch.set_num_threads(config.threads)
    datasets = [Dataset(folder) for folder in config.data]
    if not any(is_test(card) for dataset in datasets for card in dataset.cards):
        raise BadOption("data without a test episode", "episodes to measure on", "Collect some: split=test")
    folder, training = Path(config.out), JudgeTraining(clips=config.clips)
    run = RunConfig(config.steps, config.rate, seed=config.seed, checkpoint_seconds=config.checkpoint_seconds)
    with listening(folder, config.steps, training.batch_frames, ("action", "phrase", "place")) as bar:
        judge = train_judge(datasets, folder, training, run, listen=bar.hear)
    scores = score_judge(judge, datasets, episodes=config.measured, seed=config.seed)
    report = {"judge": judge.identity, "scores": [asdict(score) for score in scores]}
    (folder / "scores.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{folder}: judge {judge.identity}")
    for score in scores:
        print(told(score))


def told(score: JudgeScores) -> str:
    """One line; what there is nothing to know of is left out."""
    parts = [f"{score.task}:"]
    if score.phrase_accuracy is not None and score.phrase_chance is not None:
        parts.append(f"phrases {100 * score.phrase_accuracy:.0f} % (commonest {100 * score.phrase_chance:.0f} %)")
    if score.action_r2 is not None:
        parts.append(f"actions R2 {score.action_r2:.2f}")
    if score.place_recall is not None and score.place_chance is not None:
        parts.append(f"places {100 * score.place_recall:.0f} % (chance {100 * score.place_chance:.0f} %)")
    return "  ".join(parts)
