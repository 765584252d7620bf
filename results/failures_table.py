"""Failures as tables: why questions were not answered right, by reason and by family, and which ones they are.

    show_failures(Path("logs/one.eval"), Console())
    show_questions(Path("logs/one.eval"), "gave up", Console())

Reasons and their rules are those of `results/failures.py`. A share is always of all attempts, right ones included.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.trace import read_traces
from results.failures import MEANING, Failure, FailureCounts, count_failures, failure_of

if TYPE_CHECKING:
    from rich.console import Console

ANSWER_CHARS = 60


def show_failures(log: Path, console: Console, *, markdown: bool = False) -> FailureCounts:
    """Print a log's failures by reason and by family, and give them. Raises TraceError for what is no log of ours."""
    counts = count_failures(read_traces(log))
    said = f"{log}: {counts.all_failed()} of {counts.total} attempts failed"
    said += f", {counts.unscored} have no key to be graded by" if counts.unscored else ""
    tables = [table for table in (by_reason(counts), by_family(counts)) if len(table) > 1]
    if markdown:
        lines = "\n\n".join([said, *map(to_markdown, tables)])
        console.print(lines, highlight=False, markup=False, soft_wrap=True)
        return counts
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    for table in tables:
        console.print(_rich(table))
    return counts


def show_questions(log: Path, reason: str, console: Console) -> None:
    """Print the questions of a log that failed for a reason, with answer and right answer.

    Raises ValueError for a reason that there is not, TraceError for what is no log of ours.
    """
    if reason not in set(Failure):
        raise ValueError(f"--reason {reason!r}: there is no such reason. There are: {', '.join(Failure)}.")
    rows = [["Question", "Epoch", "Family", "Answer", "Right answer"]]
    for trace in read_traces(log):
        if failure_of(trace) == reason:
            said = [trace.verdict.answer, trace.verdict.target]
            told = ["–" if text is None else _short(text) for text in said]
            rows.append([trace.question_id, str(trace.epoch), trace.family or "–", *told])
    console.print(f"{log}: {len(rows) - 1} × {reason}: {MEANING[Failure(reason)]}", markup=False, highlight=False)
    if len(rows) > 1:
        console.print(_rich(rows))


def by_reason(counts: FailureCounts) -> list[list[str]]:
    """A heading, and a row for each reason that occurs: k/n, percent of all attempts, what it means."""
    n = counts.total
    return [["Reason", "Failed", "%", "Meaning"]] + [
        [reason, f"{counts.of(reason)}/{n}", f"{100 * counts.of(reason) / n:.1f}", MEANING[reason]]
        for reason in counts.reasons
    ]


def by_family(counts: FailureCounts) -> list[list[str]]:
    """A heading, and a row for each family in which something failed: k/n failed, and how many for which reason."""
    rows = [["Family", "Failed", "Reasons"]]
    for family, n in counts.n.items():
        if failed := counts.all_failed(family):
            each = [f"{count} {reason}" for reason in counts.reasons if (count := counts.of(reason, family))]
            rows.append([family, f"{failed}/{n}", "; ".join(each)])
    return rows


def to_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first of them the heading, as a Markdown table."""
    head, *body = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rich(rows: Sequence[Sequence[str]]) -> object:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in rows[0]:
        table.add_column(heading)
    for row in rows[1:]:
        table.add_row(*map(Text, row))  # Text, not str: a question's id may hold what rich would take for markup
    return table


def _short(text: str) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= ANSWER_CHARS else f"{text[: ANSWER_CHARS - 1]}…"
