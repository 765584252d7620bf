"""A comparison as tables for the terminal and the report, and as JSON.

    Console().print(to_rich(compare(runs)))
    json.dumps(as_json(compare(runs)))

One table has a row a run, the other a row a pair. The verdicts in words (`results/verdict.py`) belong under them: they
say what the figures allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from results.comparison import Comparison, Comparisons
from results.outcomes import Outcomes
from results.table import NOT_GIVEN
from results.verdict import p_text, verdict

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

Item = TypeVar("Item")


@dataclass(frozen=True)
class Grid:
    """A table as text: what it is called, headings, rows, and which columns are figures (set to the right)."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: tuple[bool, ...]


RUN: dict[str, Callable[[Outcomes], str]] = {
    "Right": lambda run: f"{run.k:,}/{run.n:,}",
    "%": lambda run: f"{100 * run.share:.1f}",
    "95% interval": lambda run: f"{100 * run.interval.low:.1f} to {100 * run.interval.high:.1f}",
    "Errors": lambda run: str(run.errors + run.unscored) if run.verdicts else NOT_GIVEN,
}
PAIR: dict[str, Callable[[Comparison], str]] = {
    "Difference (95%)": lambda pair: (
        f"{100 * pair.difference:+.1f} ({100 * pair.bounds.low:+.1f} to {100 * pair.bounds.high:+.1f})"
    ),
    "Won / lost": lambda pair: NOT_GIVEN if pair.gained is None else f"{pair.gained} / {pair.lost}",
    "p": lambda pair: p_text(pair.p),
}
LEGEND = (
    "Difference: percentage points more right answers. Won / lost: questions on which it did better / worse. "
    "p: mid-p McNemar where runs are paired. Holm p: corrected for comparing several pairs."
)


def grids(compared: Comparisons) -> tuple[Grid, Grid]:
    """The text of the runs' table and of the pairs'."""
    runs, pairs = compared.runs, compared.comparisons
    columns = dict(PAIR)
    if not any(pair.paired for pair in pairs):
        del columns["Won / lost"]
    if len(pairs) > 1:
        columns["Holm p"] = lambda pair: p_text(pair.corrected_p)
    alone = _grid("", ("Run", *RUN), [(run.label, *_cells(RUN, run)) for run in runs])
    if all(pair.first is runs[0] for pair in pairs):
        rows = [(pair.second.label, *_cells(columns, pair)) for pair in pairs]
        return alone, _grid(f"Against {runs[0].label}", ("Run", *columns), rows)
    rows = [(pair.second.label, pair.first.label, *_cells(columns, pair)) for pair in pairs]
    title = "Every pair" if len(pairs) == len(runs) * (len(runs) - 1) // 2 else "Pairs"
    return alone, _grid(title, ("Run", "Against", *columns), rows)


def _grid(title: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Grid:
    return Grid(title, headings, tuple(rows), tuple(heading not in ("Run", "Against") for heading in headings))


def _cells(columns: Mapping[str, Callable[[Item], str]], item: Item) -> tuple[str, ...]:
    return tuple(cell(item) for cell in columns.values())


def to_rich(compared: Comparisons) -> Group:
    """The tables for a terminal of 80 columns or more."""
    from rich.console import Group

    return Group(*(_rich(made) for made in grids(compared)))


def grid_markdown(made: Grid) -> str:
    """A grid as a Markdown table, ending in a line end; its title is left to the caller."""
    lines = [
        list(made.headings),
        ["---:" if figure else "---" for figure in made.figures],
        *([" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in made.rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rich(made: Grid) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(made.title) if made.title else None, box=box.SIMPLE_HEAD, title_justify="left")
    for heading, figure in zip(made.headings, made.figures, strict=True):
        table.add_column(
            heading, justify="right" if figure else "left", no_wrap=figure, min_width=None if figure else 10
        )
    for row in made.rows:
        # Text, not str: a label may hold square brackets, which rich would take for markup.
        table.add_row(*map(Text, row))
    return table


def as_json(compared: Comparisons) -> dict[str, Any]:
    """The comparison as JSON values, the verdicts in words among them."""
    return {
        "schema_version": 1,
        "level": 0.95,
        "runs": [_run_json(run) for run in compared.runs],
        "comparisons": [_comparison_json(comparison) for comparison in compared.comparisons],
        "left_out": compared.left_out,
        "notes": list(compared.notes),
    }


def _run_json(run: Outcomes) -> dict[str, Any]:
    bounds = run.interval
    counts = {"k": run.k, "n": run.n, "questions": run.questions, "errors": run.errors, "unscored": run.unscored}
    interval = {"low": bounds.low, "high": bounds.high, "method": bounds.method}
    return {"label": run.label, **counts, "share": run.share, "interval": interval, "source": run.source}


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    plain = ("paired", "difference", "p", "corrected_p", "pairs", "gained", "lost", "families", "needed", "differs")
    return {
        "first": comparison.first.label,
        "second": comparison.second.label,
        **{name: getattr(comparison, name) for name in plain},
        "interval": {"low": comparison.bounds.low, "high": comparison.bounds.high},
        "verdict": verdict(comparison),
        "notes": list(comparison.notes),
    }
