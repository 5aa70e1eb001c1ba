"""`sfvgen train`: what it refuses, and a whole small run from recorded episodes to a world that dreams."""

from dataclasses import replace
from pathlib import Path

import pytest
from data_fakes import described, random_episode

from sfvgen_experiments.bench.slow import main as bench_slow
from sfvgen_experiments.collect import Collect, record
from sfvgen_experiments.train import Train, TrainCodec, fovy_of, main, main_codec
from sfvgen_planner.data import Dataset
from sfvgen_planner.errors import BadOption


def test_imported_data_is_refused_with_a_reason(tmp_path: Path) -> None:
    with Dataset.create(tmp_path / "mine" / "set-v0", described(name="mine/set-v0")) as dataset:
        dataset.append(replace(random_episode(0), card={"task": "video", "poses": "unknown"}))
    with pytest.raises(BadOption, match="imported without poses"):
        fovy_of(dataset)


def test_no_data_is_refused() -> None:
    with pytest.raises(BadOption, match="sfvgen collect"):
        main_codec(TrainCodec())


@pytest.mark.slow
def test_from_episodes_to_dreams(tmp_path: Path) -> None:
    """The commands of docs/world.md, small: record, train codec and world, measure on the test split alone."""
    folders = {}
    for split in ("train", "test"):
        folders[split] = str(tmp_path / split / "reach")
        record(Collect(task="reach", episodes=2, behaviour="random", split=split, length="medium", out=folders[split]))  # type: ignore[arg-type]
    codec, world = str(tmp_path / "codec"), str(tmp_path / "world")
    main_codec(TrainCodec(data=(folders["train"],), out=codec, steps=2, batch=4, threads=1))
    main(Train(data=(folders["train"],), codec=codec, out=world, steps=2, batch=2, dim=32, depth=1, threads=1))
    options = {"world": f"{world}/world", "windows": 2, "steps": 1, "threads": 1, "out": str(tmp_path / "slow.json")}
    figures = bench_slow(data=(folders["test"],), **options)["rows"]["reach"]  # type: ignore[arg-type]
    assert figures["copied"]["n"] == 2
    assert 0 < figures["dream"]["mean"] < 60
    assert (tmp_path / "slow.json").exists()
    with pytest.raises(BadOption, match="Held out means held out"):
        bench_slow(data=(folders["train"],), **options)  # type: ignore[arg-type]
    main(
        Train(data=(folders["train"],), init=f"{world}/world", out=str(tmp_path / "tuned"), steps=1, batch=2, threads=1)
    )
