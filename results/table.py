"""The results table, in Markdown for files and in rich for the terminal.

    print(to_markdown(read()))
    Console().print(to_rich(read(), "Held-out questions"))

Both are made from the same cells, so they cannot differ. A score never stands without its k and n (a published figure
whose k is not known says so), and a run on incomplete data is marked in its row. Rows are shown in the order given:
what is worth comparing is the reader's choice; whether two rows differ is not decided here.
Where questions were asked several times, *Right* counts attempts, *Asked* says of how many questions, and the intervals
are over the questions (`results/repeats.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from harness.records import BrokenOff, Result
from results.intervals import Share

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Column:
    """A column of the table: its heading, its cell for a row, whether it is a figure (set to the right)."""

    heading: str
    cell: Callable[[Result], str]
    figure: bool = True


def columns(results: Sequence[Result]) -> list[Column]:
    """The columns that these rows need; those that would say the same in every row are left out."""

    def differ(cell: Callable[[Result], str]) -> bool:
        return len({cell(row) for row in results}) > 1

    optional = [
        Column("Task", lambda row: row.task, figure=False),
        Column("Split", lambda row: row.split, figure=False),
        Column("Scaffold", lambda row: row.scaffold, figure=False),
        Column("Exposure", lambda row: row.exposure, figure=False),
    ]
    shown = [
        Column("Model", name_of, figure=False),
        *(column for column in optional if differ(column.cell)),
        Column("Right", _right),
        Column("%", _percent),
        Column("95% interval", _bounds),
    ]
    if any(row.epochs > 1 for row in results):
        shown.append(Column("Asked", _asked))
        for k in sorted({told.k for row in results for told in row.pass_at}):
            shown.append(Column(f"pass@{k}", partial(_pass_at, k=k)))
    if any(row.kind == "run" for row in results):  # published figures do not tell these
        shown += [
            Column("Errors", lambda row: _count(row.errors)),
            Column("Tokens", lambda row: _count(row.tokens)),
            Column("Time", lambda row: duration(row.wall_s)),
        ]
    if any(row.cost_usd is not None or row.cost_basis == "unpriced" for row in results):
        shown.append(Column("Cost", dollars))
    if any(remarks(row) for row in results):
        shown.append(Column("Remarks", remarks, figure=False))
    return shown


def to_markdown(results: Sequence[Result]) -> str:
    """A Markdown table of the rows, ending in a line end. Raises ValueError when there are none."""
    shown = columns(_some(results))
    lines = [
        [column.heading for column in shown],
        ["---:" if column.figure else "---" for column in shown],
        *([_plain(column.cell(row)) for column in shown] for row in results),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_rich(results: Sequence[Result], title: str | None = None) -> Table:
    """A terminal table of the rows. Raises ValueError when there are none."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    shown = columns(_some(results))
    for column in shown:
        table.add_column(column.heading, justify="right" if column.figure else "left", no_wrap=column.figure)
    for row in results:
        style = "yellow" if row.incomplete_data else None
        # Text, not str: a model's name may hold square brackets, which rich would take for markup.
        table.add_row(*(Text(column.cell(row)) for column in shown), style=style)
    return table


NOT_GIVEN = "–"


def name_of(row: Result) -> str:
    """What a row is called; one that was measured on incomplete data never goes without saying so."""
    return (row.checkpoint or row.model) + (" (incomplete data)" if row.incomplete_data else "")


def share_of(row: Result) -> Share | None:
    """A row's k of n, where it is known; of attempts, with an interval over the questions, where they are repeated."""
    if row.k is None or row.n is None:
        return None
    return Share(row.k, row.n, row.interval if row.epochs > 1 else None)


def remarks(row: Result) -> str:
    """What a reader must know before comparing this row with another; empty when there is nothing."""
    said = []
    if row.kind == "reported":
        said.append(f"reported, not run here: {row.source}")
    if row.incomplete_data:
        said.append(f"without {', '.join(row.incomplete_data)}")
    if row.broken_off:
        said.append(_lost(row.broken_off))
    if row.note:
        said.append(row.note)
    return "; ".join(said)


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: "8.3 s", "4 min 05 s", "2 h 07 min"."""
    if seconds is None:
        return NOT_GIVEN
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _right(row: Result) -> str:
    share = share_of(row)
    return f"{share.k}/{share.n}" if share else "k not given"


def _percent(row: Result) -> str:
    share = share_of(row)
    return f"{100 * share.value if share else row.percent:.1f}"


def _bounds(row: Result) -> str:
    share = share_of(row)
    return f"{100 * share.interval.low:.1f} to {100 * share.interval.high:.1f}" if share else NOT_GIVEN


def _asked(row: Result) -> str:
    """Questions, and how often each was asked."""
    return f"{_count(row.questions)} x {row.epochs}"


def _pass_at(row: Result, k: int) -> str:
    """pass@k in percent with its interval over the questions."""
    for told in row.pass_at:
        if told.k == k:
            return f"{100 * told.value:.1f} ({100 * told.interval.low:.1f} to {100 * told.interval.high:.1f})"
    return NOT_GIVEN


def dollars(row: Result) -> str:
    """Dollars, or why there are none."""
    if row.cost_usd is not None:
        return f"${row.cost_usd:,.2f}"
    return row.cost_basis or NOT_GIVEN


def _lost(broken: BrokenOff) -> str:
    """What killed attempts cost for nothing, and what of it nobody knows."""
    times = "once" if broken.times == 1 else f"{broken.times} times"
    said = f"broken off {times}: {broken.tokens:,} tokens of questions asked again are counted"
    if broken.unanswered_calls:
        said += f", {broken.unanswered_calls} calls under way then are not known"
    if broken.unread:
        said += f", what {broken.unread} of these attempts lost is not known"
    return said


def _count(number: int | None) -> str:
    return NOT_GIVEN if number is None else f"{number:,}"


def _plain(cell: str) -> str:
    """A cell that cannot break out of its Markdown row."""
    return " ".join(cell.replace("|", "\\|").split())


def _some(results: Sequence[Result]) -> Sequence[Result]:
    if not results:
        raise ValueError("there are no results to put into a table.")
    return results
