"""Out of Inspect logs, a training set: the traces that were graded right, as chat rows for TRL.

    dabstep training-set LOG... --output FOLDER [--held-out QUESTION_SET]... [--benchmark FOLDER] [--per-question 1]
    dabstep rejection-sampling LOG... --output FOLDER [--per-question 4]

A training set is a folder with `rows.jsonl` (`{"messages", "tools", ...}` a line) and `card.json` (how many traces came
in, how many were dropped for which reason, from which logs). Which traces are kept is said in `pipeline/curation`, what
blocks in `pipeline/gates`; the stage `curate` goes by the same. A source (a world) of a held-out question set stops
everything: the set is then not written at all.

Rejection sampling is the same over several rollouts of each question: of the right ones several may be kept, and tries
that say the same count once (`Rules.distinct`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.records import Trace
from harness.trace import chat_row
from pipeline.curation.collect import Collected, collect
from pipeline.curation.rules import Rules
from pipeline.gates.licence import LICENCES
from pipeline.view import Account, Card, gates_of, stop_for_sources, write_view


def build_training_set(
    logs: Sequence[Path],
    output: Path,
    held_out: Iterable[Path] = (),
    rules: Rules | None = None,
    benchmark: Path | None = None,
    licences: Iterable[str] = LICENCES,
    blind_logs: Sequence[Path] = (),
) -> Card:
    """Write the training set and return its card.

    Raises TrainingSetError when no trace is left, or when a trace's source is that of a held-out question; GateError
    for a benchmark's folder that is none.
    """
    held_out = list(held_out)
    stop_for_sources(logs, held_out)
    gates = gates_of(benchmark, held_out, licences, blind_logs)
    found, rows, used = Collected(), list[dict[str, Any]](), set[str]()
    for trace in collect(logs, rules or Rules(), gates, found):
        rows.append(_row(trace))
        used.add(trace.licence)
    return write_view(output, "rows.jsonl", rows, Account(logs, found.traces, found.dropped, used), gates)


def _row(trace: Trace) -> dict[str, Any]:
    about = {"question_id": trace.question_id, "source_id": trace.source_id, "family": trace.family}
    return {**chat_row(trace), **about, "teacher": trace.model, "executor": trace.executor}
