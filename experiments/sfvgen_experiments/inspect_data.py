"""`sfvgen inspect`: what is in a data set, in figures and on one sheet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfvgen_planner.data import Dataset, contact_sheet, repair, summary, write_picture


@dataclass(frozen=True)
class Inspect:
    """Options of `sfvgen inspect`."""

    data: str
    out: str | None = None
    rows: int = 8
    columns: int = 8
    repair: bool = False


def main(config: Inspect) -> None:
    """Prints the summary and writes the sheet."""
    root = Path(config.data)
    if config.repair:
        moved = repair(root)
        print(f"index written anew; {len(moved)} broken episodes set aside{''.join(f'{chr(10)}  {p}' for p in moved)}")
    dataset = Dataset(root)
    for line in told(summary(dataset)):
        print(line)
    if not len(dataset):
        return
    out = Path(config.out or f"outputs/inspect/{root.resolve().name}.png")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_picture(out, contact_sheet(dataset, config.rows, config.columns))
    print(f"sheet        {out}")


def told(report: dict[str, Any]) -> list[str]:
    """A summary in lines."""
    lines = [
        f"name         {report['name']} ({report['task']})",
        f"episodes     {report['episodes']}, {report['frames']} frames, {report['bytes'] / 1e6:.1f} MB",
    ]
    if report["episodes"]:
        lengths = f"{report['length_min']} to {report['length_max']} steps, median {report['length_median']:g}"
        lines += [
            f"length       {lengths}",
            f"return       {report['return_mean']:.2f} +- {report['return_std']:.2f}",
            f"solved       {100 * report['success_rate']:.0f} %",
        ]
    for key in ("task", "behaviour", "split"):
        for value, part in report.get(f"by_{key}", {}).items():
            lines.append(f"{key.ljust(12)} {value}: {part['episodes']}, {100 * part['success_rate']:.0f} % solved")
    return lines
