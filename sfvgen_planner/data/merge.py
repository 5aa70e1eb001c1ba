"""Several data sets made into one: the linked files are copied, one after the other."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sfvgen_planner.data.atomic import replacing
from sfvgen_planner.data.dataset import Dataset
from sfvgen_planner.data.index import episode_path
from sfvgen_planner.errors import BadOption

_MAY_DIFFER = {"name", "task", "phrases", "compression", "env_spec"}


def merge(sources: Sequence[Path | str], out: Path | str, name: str) -> Dataset:
    """A new data set `out` with the episodes of all `sources`, numbered anew in that order.

    Pictures, poses, actions and rates must agree. Tasks may differ: each episode's card says which is its own.
    """
    if not sources:
        raise BadOption("no data sets to merge", "one or more", "Name the folders to merge.")
    out = Path(out)
    if out.exists():
        raise BadOption(f"{out}, which exists", "a new folder", "Choose another name for the merged data set.")
    datasets = [Dataset(source) for source in sources]
    first = datasets[0].description
    for dataset in datasets[1:]:
        if differences := [field for field in first.differences(dataset.description) if field not in _MAY_DIFFER]:
            raise BadOption(
                f"{dataset.root}, whose {' and '.join(differences)} differ from those of {datasets[0].root}",
                "data sets whose spaces and rates agree",
                "Merge those that agree, or record again with the same settings.",
            )
    described = [dataset.description for dataset in datasets]
    tasks = list(dict.fromkeys(each.task for each in described))
    phrases = tuple(dict.fromkeys(phrase for each in described for phrase in each.phrases))
    spec = first.env_spec if all(each.env_spec == first.env_spec for each in described) else ""
    together = replace(first, name=name, task="+".join(tasks), phrases=phrases, env_spec=spec)
    # Made beside `out` and renamed: a merge that is killed leaves nothing that looks like a data set.
    unfinished = out.with_name(f".{out.name}.merging")
    shutil.rmtree(unfinished, ignore_errors=True)
    merged = Dataset.create(unfinished, together)
    paths = [dataset.path(position) for dataset in datasets for position in range(len(dataset))]
    for number, path in enumerate(paths):
        _copy(path, episode_path(merged.root, number))
    merged.flush()
    unfinished.rename(out)
    return Dataset(out)


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as partial, source.open("rb") as reader, partial.open("wb") as writer:
        while block := reader.read(1 << 20):
            writer.write(block)
