"""Tables as text, and as one page of plain HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from sfvgen_experiments.bench.report import cell
from sfvgen_planner.metrics.statistics import Interval

Cells = tuple[str, ...]

STYLE = """body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0 .4rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #dfdcd3; }
th:first-child, td:first-child { text-align: left; } td.theirs { color: #5d6673; } p { color: #5d6673; }"""


@dataclass(frozen=True)
class Table:
    """One table: ours, and what the paper published in the same columns."""

    title: str
    note: str
    columns: Cells
    ours: Mapping[str, Cells]
    theirs: Mapping[str, Cells]

    def text(self) -> str:
        """For a terminal."""
        lines = [("", *self.columns), *((name, *row) for name, row in self.ours.items())]
        lines += [(f"paper: {name}", *row) for name, row in self.theirs.items()]
        widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
        rows = ["  ".join(each.ljust(width) for each, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([f"\n{self.title}", self.note, *(row.rstrip() for row in rows)])

    def html(self) -> str:
        """For a page."""
        head = "".join(f"<th>{escape(name)}</th>" for name in ("", *self.columns))
        rows = [_row(name, row, "ours") for name, row in self.ours.items()]
        rows += [_row(f"paper: {name}", row, "theirs") for name, row in self.theirs.items()]
        body = "\n".join(rows)
        return f"<h2>{escape(self.title)}</h2>\n<p>{escape(self.note)}</p>\n<table><tr>{head}</tr>\n{body}\n</table>"


def page(tables: Sequence[Table], bars: Sequence[str], about: str) -> str:
    """The whole of it."""
    parts = "\n".join(table.html() for table in tables)
    told = "\n".join(f"<li>{escape(bar)}</li>" for bar in bars)
    head = '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>sfvgen-planner: four tables</title>'
    last = f"<h2>Bars</h2>\n<ul>{told}</ul>"
    return f"{head}\n<style>{STYLE}</style>\n<h1>Four tables</h1>\n<p>{escape(about)}</p>\n{parts}\n{last}\n"


def told(value: Mapping[str, Any] | None, digits: int) -> str:
    """A mean and half its interval's width, as benchmarks write them into JSON."""
    return cell(None if value is None else Interval.from_json(value), digits)


def _row(name: str, cells: Cells, kind: str) -> str:
    told = "".join(f'<td class="{kind}">{escape(one)}</td>' for one in (name, *cells))
    return f"<tr>{told}</tr>"
