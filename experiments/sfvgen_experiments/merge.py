"""`sfvgen merge`: several data sets made one."""

from dataclasses import dataclass

from sfvgen_planner.data.merge import merge


@dataclass(frozen=True)
class Merge:
    """Options of `sfvgen merge`."""

    data: tuple[str, ...]
    out: str
    name: str = "sfvgen/merged-v0"


def main(config: Merge) -> None:
    """Joins and says how much there is now."""
    merged = merge(config.data, config.out, config.name)
    steps = sum(entry.steps for entry in merged.entries)
    print(f"{config.out}: {len(merged)} episodes, {steps} steps, from {len(config.data)} data sets")
