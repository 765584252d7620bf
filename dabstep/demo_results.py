"""What the demo ends with: ledger rows, `result.json`, `table.md`, `curve.png`, `report.html` and a few notebooks.

Everything here is a view of the logs that the demo's evaluations left; see `results/` for what each view is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from dabstep.demo_parts import DemoSettings, Places, Scored, questions_of
from harness.files import write_whole
from harness.notebook import write_notebook
from harness.records import Result, Trace
from harness.trace import read_traces
from results.comparison import Comparisons, compare
from results.curve import Curve, Point, Series, draw
from results.families import most_frequent_guess
from results.from_log import result_from_log
from results.intervals import Share
from results.ledger import append_new
from results.outcomes import outcomes_from_log
from results.report import Report, write_report
from results.table import share_of, to_markdown, to_rich

NOTEBOOKS = 3


def show_results(
    places: Places, settings: DemoSettings, scored: Sequence[Scored], wall_s: float, console: Console
) -> Path:
    """Write every view and print the table. Returns the report's path."""
    rows = [_row(run, settings) for run in scored]
    append_new(rows, places.root.parent / "ledger.jsonl")
    main = [row for row, run in zip(rows, scored, strict=True) if run.question_set == "held-out"]
    rephrased = [row for row, run in zip(rows, scored, strict=True) if run.question_set == "rephrased"]
    guess = most_frequent_guess(questions_of(places, "held-out"))
    curve = _curve(scored, rows, guess)
    last = next(run for run in reversed(scored) if run.question_set == "held-out")
    traces = list(read_traces(last.log))
    table = to_markdown([*main, *rephrased])
    write_whole(places.root / "table.md", table + f"\nA guesser by family (its most frequent answer): {guess}\n")
    write_whole(places.root / "curve.png", draw(curve))
    summary = _summary(places, settings)
    report = Report(
        title="The whole circle, on two CPU cores",
        results=[*main, *rephrased],
        headline=[main[0], main[-1]],
        traces_of=f"epoch {settings.epochs}, held-out",
        summary=summary,
        curve=curve,
        baselines={"guesser by family": guess},
        traces=traces,
        comparisons=[_against_the_last(scored)],
        notes=[_rephrased_note(rephrased)],
    )
    write_report(places.root / "report.html", report)
    notebooks = _write_notebooks(places, traces)
    result = {
        "wall_s": round(wall_s, 1),
        "settings": asdict(settings),
        "checkpoints": [
            {"epoch": run.epoch, "k": row.k, "n": row.n, "errors": row.errors, "log": row.log}
            for row, run in zip(rows, scored, strict=True)
            if run.question_set == "held-out"
        ],
        "rephrased": [{"epoch": settings.epochs, "k": row.k, "n": row.n, "log": row.log} for row in rephrased],
        "guesser": {"k": guess.k, "n": guess.n},
    }
    write_whole(places.root / "result.json", json.dumps(result, indent=2) + "\n")
    console.print(to_rich([*main, *rephrased], title="Held-out questions about data the model never saw"))
    console.print(f"A guesser who knows each family's most frequent answer: {guess}", highlight=False)
    console.print(f"{wall_s / 60:.1f} minutes. Open {places.root / 'report.html'}", highlight=False)
    console.print(
        f"Also: {places.root / 'curve.png'}, {places.root / 'table.md'}, {notebooks[0].parent if notebooks else ''}, "
        f"inspect view --log-dir {places.root / 'logs'}",
        highlight=False,
        soft_wrap=True,
    )
    return places.root / "report.html"


def _row(run: Scored, settings: DemoSettings) -> Result:
    return result_from_log(run.log, checkpoint=_name(run), seeds=(settings.seed,))


def _name(run: Scored) -> str:
    return "untrained" if run.epoch == 0 else f"epoch {run.epoch}"


def _share(row: Result) -> Share:
    share = share_of(row)
    assert share is not None, "a run row has k and n"
    return share


def _curve(scored: Sequence[Scored], rows: Sequence[Result], guess: Share) -> Curve:
    points: dict[str, list[Point]] = {"held-out": [], "rephrased": []}
    for run, row in zip(scored, rows, strict=True):
        points[run.question_set].append(Point(run.epoch, _share(row)))
    labels = {"held-out": "held-out questions", "rephrased": "the same kinds in other words"}
    series = tuple(Series(labels[name], found) for name, found in points.items() if found)
    return Curve(series, baselines={"guesser by family": guess})


def _summary(places: Places, settings: DemoSettings) -> str:
    card = json.loads((places.training_set / "card.json").read_text())
    return (
        f"A Qwen3-style model of about a million parameters was trained from scratch on {card['rows']} traces, each of "
        f"them a solution that was run in an isolated kernel and agreed with its oracle. After each of "
        f"{settings.epochs} epochs its checkpoint answered {settings.held_out} held-out questions, by writing cells "
        f"that were really run, about {settings.held_out_worlds} worlds that no training question comes from "
        f"(seed {settings.seed}, questions' seed {settings.questions_seed})."
    )


def _against_the_last(scored: Sequence[Scored]) -> Comparisons:
    """The last epoch with each one before it: which of them it can be told from."""
    runs = [outcomes_from_log(run.log, _name(run)) for run in scored if run.question_set == "held-out"]
    return compare([runs[-1], *runs[:-1]])


def _rephrased_note(rephrased: Sequence[Result]) -> str:
    figures = "; ".join(str(_share(row)) for row in rephrased)
    return f"Worded in ways that no training question is, the last checkpoint answers {figures}."


def _write_notebooks(places: Places, traces: Sequence[Trace]) -> list[Path]:
    """A few solved and a few failed questions as notebooks, different families first."""
    written = []
    for verdict, word in ((True, "solved"), (False, "failed")):
        by_family = {trace.family: trace for trace in traces if trace.verdict.correct is verdict}
        for trace in list(by_family.values())[:NOTEBOOKS]:
            path = places.root / "notebooks" / f"{word}-{trace.family}.ipynb"
            path.parent.mkdir(exist_ok=True)
            write_notebook(trace, path)
            written.append(path)
    return written
