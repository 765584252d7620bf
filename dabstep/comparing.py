"""What logs say and whether they can be told apart: `dabstep table`, `failures`, `compare` and `record`.

    dabstep table LOG...                    k of n with intervals
    dabstep failures LOG...                 why questions were not answered right
    dabstep compare LOG LOG... --json FILE  question by question, with a verdict in words
    dabstep record LOG... --reported        rows for the committed ledger

What is printed is made in `results/`; only `record` and `--json` write anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dabstep.failure import fail

if TYPE_CHECKING:
    from rich.console import Console

    from results.comparison import Comparisons


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(table)
    app.command()(failures)
    app.command()(compare)
    app.command()(record)


def table(
    logs: Annotated[list[Path], typer.Argument(help="Evaluation logs (.eval), in the order of their rows.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="As a Markdown table.")] = False,
) -> None:
    """Print one table of what the logs say: k of n with its interval, errors, tokens, time. Writes nothing."""
    from rich.console import Console

    from results.from_log import LogError, result_from_log
    from results.provenance import ProvenanceError
    from results.table import to_markdown, to_rich

    try:
        rows = [result_from_log(log) for log in logs]
    except (LogError, ProvenanceError) as error:
        raise fail(error) from None
    if markdown:
        typer.echo(to_markdown(rows), nl=False)
    else:
        Console().print(to_rich(rows))


def failures(
    logs: Annotated[list[Path], typer.Argument(help="Evaluation logs (.eval).", exists=True)],
    reason: Annotated[
        str | None, typer.Option(help="List the questions that failed for this reason, by its name.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown tables.")] = False,
) -> None:
    """Say why questions were not answered right: one reason for each, by rules from the log; by reason and family."""
    from rich.console import Console

    from harness.trace import TraceError
    from results.failures_table import show_failures, show_questions

    try:
        for log in logs:
            if reason is None:
                show_failures(log, Console(), markdown=markdown)
            else:
                show_questions(log, reason, Console())
    except (TraceError, ValueError) as error:
        raise fail(error) from None


def compare(
    runs: Annotated[list[str], typer.Argument(help="Logs, JSON files of verdicts, or K/N where only that is known.")],
    labels: Annotated[str | None, typer.Option(help="What to call the runs: A,B,...")] = None,
    scorer: Annotated[str | None, typer.Option(help="Which score counts, where a log has several.")] = None,
    every_pair: Annotated[bool, typer.Option("--every-pair", help="Not only each run with the first.")] = False,
    only_shared: Annotated[
        bool, typer.Option("--only-shared", help="Leave out questions that not all runs were asked.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.", min=0)] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures and verdicts here.")] = None,
) -> None:
    """Compare runs on the same questions, each with the first: interval, test, and a verdict in words."""
    from rich.console import Console

    try:
        given = labels.split(",") if labels is not None else []
        compare_runs(
            runs,
            Console(),
            labels=[label.strip() for label in given],
            scorer=scorer,
            every_pair=every_pair,
            only_shared=only_shared,
            seed=seed,
            json_file=json_file,
        )
    except (ValueError, OSError) as error:
        raise fail(error) from None


def record(
    logs: Annotated[list[Path] | None, typer.Argument(help="Evaluation logs whose rows to record.")] = None,
    reported: Annotated[bool, typer.Option("--reported", help="Record the published figures, too.")] = False,
    ledger: Annotated[Path, typer.Option(help="The committed ledger.")] = Path("results/ledger.jsonl"),
) -> None:
    """Add rows to the committed ledger, those of runs and those of published figures; known rows are not repeated."""
    from results.from_log import result_from_log
    from results.ledger import record as record_rows
    from results.provenance import ProvenanceError
    from results.reported import reported_rows

    try:
        if not logs and not reported:
            raise ValueError("nothing to record. Give logs, or --reported for the published figures.")
        rows = [result_from_log(log) for log in logs or []] + (reported_rows() if reported else [])
        new = record_rows(rows, ledger)
    except (ValueError, ProvenanceError) as error:
        raise fail(error) from None
    typer.echo(f"{len(new)} new rows in {ledger}, {len(rows) - len(new)} were there already")


def compare_runs(
    runs: Sequence[str],
    console: Console,
    *,
    labels: Sequence[str] = (),
    scorer: str | None = None,
    every_pair: bool = False,
    only_shared: bool = False,
    seed: int = 0,
    json_file: Path | None = None,
) -> Comparisons:
    """Compare the runs and print what came out; `runs` are as `results.outcomes.read_outcomes` takes them.

    Raises ValueError (its kinds in `results`) for runs that cannot be read or compared, OSError for a JSON file that
    cannot be written. The JSON file appears under its name only when whole.
    """
    from rich.markup import escape

    from results.comparison import compare as compared_by_question
    from results.comparison_table import LEGEND, as_json, to_rich
    from results.outcomes import labelled, read_outcomes
    from results.verdict import verdict

    read = [read_outcomes(run, scorer) for run in runs]
    compared = compared_by_question(labelled(read, labels), every_pair=every_pair, only_shared=only_shared, seed=seed)
    if compared.left_out:
        console.print(f"[bold yellow]{escape(compared.left_out)}[/]", highlight=False)
    console.print(to_rich(compared))
    for comparison in compared.comparisons:
        console.print(f"[bold]{escape(verdict(comparison))}[/]", highlight=False)
    said = [note for comparison in compared.comparisons for note in comparison.notes]
    for note in dict.fromkeys([*compared.notes, *said]):
        console.print(escape(note), highlight=False)
    console.print(LEGEND, style="dim", highlight=False)
    if json_file is not None:
        partial = json_file.with_name(json_file.name + ".partial")
        partial.write_text(json.dumps(as_json(compared), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(json_file)
    return compared
