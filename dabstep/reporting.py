"""`dabstep report LOG...`: one HTML page of some logs, to open, keep and send.

    dabstep report logs/baseline/*.eval logs/scaffold/*.eval logs/trained/*.eval --labels baseline,scaffold,trained

The table, whether differences can be seen (runs over the same questions), cost, published figures beside those of the
benchmark, a learning curve where the runs are a training's checkpoints, and the questions of one run as notebooks. What
each part is: `results/report.py`. It reads logs and writes the page, nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dabstep.failure import fail

if TYPE_CHECKING:
    from harness.records import Result
    from results.comparison import Comparisons
    from results.curve import Curve
    from results.report import Report

PAGE = Path("results/runs/report.html")
BENCHMARK = "dabstep_"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(report)


def report(
    logs: Annotated[list[Path], typer.Argument(help="Evaluation logs (.eval), in the order of their rows.")],
    output: Annotated[Path, typer.Option(help="The page.")] = PAGE,
    title: Annotated[str, typer.Option(help="Its heading.")] = "",
    labels: Annotated[str, typer.Option(help="What to call the runs: A,B,...")] = "",
    notebooks_of: Annotated[
        str, typer.Option(help="Label of the run whose questions are shown as notebooks; the last unless given.")
    ] = "",
    every_pair: Annotated[bool, typer.Option("--every-pair", help="Compare not only with the first.")] = False,
    published: Annotated[bool, typer.Option(help="Published figures beside runs of the benchmark.")] = True,
) -> None:
    """Write one self-contained HTML page: table, comparison, cost, and every question's notebook one click away."""
    from results.report import write_report

    names = [name.strip() for name in labels.split(",")] if labels else []
    try:
        page = make_report(logs, title, names, notebooks_of, every_pair, published)
        write_report(output, page)
    except (ValueError, OSError, RuntimeError) as error:
        raise fail(error) from None
    typer.echo(f"{output}: {len(page.results)} runs, {len(page.traces)} questions")


@dataclass(frozen=True)
class Run:
    """One log: what it is called, its row (None where nobody could grade it), and why there is none."""

    label: str
    log: Path
    row: Result | None
    unscored: str = ""


def make_report(
    logs: Sequence[Path],
    title: str = "",
    labels: Sequence[str] = (),
    notebooks_of: str = "",
    every_pair: bool = False,
    published: bool = True,
) -> Report:
    """Gather what the page shows. Raises ValueError for logs that cannot be read, or labels that do not fit."""
    from harness.trace import read_traces
    from results.report import Report
    from results.reported import reported_rows

    runs = read_runs(logs, labels)
    rows = [run.row for run in runs if run.row is not None]
    shown = _chosen(runs, notebooks_of)
    benchmark = any(row.task.startswith(BENCHMARK) for row in rows)
    return Report(
        title=title or ", ".join(dict.fromkeys(row.task for row in rows)) or "Runs without a score",
        results=rows,
        summary=f"{len(runs)} runs, read from their logs.",
        curve=_curve(runs),
        traces=[trace for run in shown for trace in read_traces(run.log)],
        traces_of=shown[-1].label,
        comparisons=_comparisons(runs, every_pair),
        reported=reported_rows() if published and benchmark else (),
        notes=[run.unscored for run in runs if run.unscored],
    )


def read_runs(logs: Sequence[Path], labels: Sequence[str] = ()) -> list[Run]:
    """A row of each log under its label; a log without an answer key has none, and says so.

    Raises ValueError where labels and logs do not count the same.
    """
    from results.from_log import Unscored, read_log, result_from_log
    from results.table import name_of

    if labels and len(labels) != len(logs):
        raise ValueError(f"--labels names {len(labels)} runs, but {len(logs)} logs are given.")
    runs = []
    for number, log in enumerate(logs):
        try:
            row = result_from_log(log, checkpoint=labels[number] if labels else _epoch_label(log))
        except Unscored as unscored:
            label = labels[number] if labels else _epoch_label(log) or read_log(log)[0].eval.model
            runs.append(Run(label, log, None, str(unscored)))
        else:
            runs.append(Run(name_of(row), log, row))
    return runs


def _chosen(runs: Sequence[Run], label: str) -> list[Run]:
    """The run whose questions are shown: all logs of that name, such as one for easy and one for hard."""
    label = label or runs[-1].label
    chosen = [run for run in runs if run.label == label]
    if not chosen:
        raise ValueError(f"--notebooks-of {label}: the runs are {', '.join(dict.fromkeys(run.label for run in runs))}.")
    return chosen


def _comparisons(runs: Sequence[Run], every_pair: bool) -> list[Comparisons]:
    """One comparison for each set of questions that several runs were asked."""
    from results.comparison import compare
    from results.outcomes import labelled, outcomes_from_log

    def questions(run: Run) -> tuple[str, str]:
        return (run.row.task, run.row.data_hash or "") if run.row else ("", "")

    graded = sorted((run for run in runs if run.row is not None), key=questions)
    made = []
    for _, same in groupby(graded, key=questions):
        group = sorted(same, key=runs.index)
        if len(group) > 1:
            names = [run.label for run in group]
            outcomes = [outcomes_from_log(run.log) for run in group]
            # Runs of one name (a model through two scaffolds) are told apart by what their logs say.
            made.append(
                compare(labelled(outcomes, names if len(set(names)) == len(names) else ()), every_pair=every_pair)
            )
    return made


def _curve(runs: Sequence[Run]) -> Curve | None:
    """The learning curve, where three or more runs are checkpoints of known epochs that were asked the same."""
    from results.curve import Curve, Point, Series
    from results.table import share_of

    series: dict[str, list[Point]] = {}
    for run in runs:
        epoch, share = epoch_of(run.log), share_of(run.row) if run.row else None
        if run.row is not None and epoch is not None and share is not None:
            series.setdefault(f"{run.row.task}, {run.row.split}", []).append(Point(epoch, share))
    drawn = tuple(
        Series(name, sorted(points, key=lambda point: point.epoch))
        for name, points in series.items()
        if len({point.epoch for point in points}) == len(points) >= 3
    )
    return Curve(drawn) if drawn else None


def epoch_of(log: Path) -> float | None:
    """Which epoch of its training the log's checkpoint is, by the trainer's own record; None for any other model."""
    from inspect_ai.log import read_eval_log

    provider, _, folder = read_eval_log(log, header_only=True).eval.model.partition("/")
    if provider != "checkpoint":
        return None
    try:
        return float(json.loads((Path(folder) / "trainer_state.json").read_text(encoding="utf-8"))["epoch"])
    except (OSError, ValueError, KeyError):
        return 0.0 if Path(folder).name == "epoch-0" else None


def _epoch_label(log: Path) -> str | None:
    from results.from_log import read_log

    read_log(log)  # says what is wrong with it, if anything is
    epoch = epoch_of(log)
    return None if epoch is None else "untrained" if epoch == 0 else f"epoch {epoch:g}"
