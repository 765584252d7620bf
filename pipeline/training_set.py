"""Out of Inspect logs, a training set: the traces that were graded right, as chat rows for TRL.

    dabstep training-set LOG... --output FOLDER [--held-out QUESTION_SET]... [--benchmark FOLDER] [--per-question 1]

A training set is a folder with `rows.jsonl` (`{"messages", "tools", ...}` a line) and `card.json` (how many traces came
in, how many were dropped for which reason, from which logs). Which traces are kept is said in `pipeline/curation`, what
blocks in `pipeline/gates`; the stage `curate` goes by the same. A source (a world) of a held-out question set stops
everything: the set is then not written at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.records import Trace, read_questions
from harness.trace import chat_row, read_traces
from pipeline.curation.collect import Collected, Gates, collect
from pipeline.curation.rules import Rules
from pipeline.gates.contamination import Contamination
from pipeline.gates.licence import LICENCES
from pipeline.gates.shortcut import answered_blind


class TrainingSetError(ValueError):
    """The training set cannot be made; the message names what stands in the way and the mend."""


@dataclass(frozen=True)
class Card:
    """What a training set holds and what was left out. `sha256` is that of rows.jsonl.

    `gates`: what the gates compared with, in words.
    """

    rows: int
    traces: int
    dropped: dict[str, int]
    logs: tuple[str, ...]
    licences: tuple[str, ...]
    sha256: str
    gates: tuple[str, ...] = ()


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
    _stop_for_sources(logs, held_out)
    gates = Gates(Contamination.of(benchmark, held_out), tuple(licences), answered_blind(blind_logs))
    found, rows, used = Collected(), list[dict[str, Any]](), set[str]()
    for trace in collect(logs, rules or Rules(), gates, found):
        rows.append(_row(trace))
        used.add(trace.licence)
    if not rows:
        reasons = (
            ", ".join(f"{count} {reason}" for reason, count in found.dropped.items()) or "the logs hold no samples"
        )
        raise TrainingSetError(f"no trace is left of {found.traces}: {reasons}.")
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    card = Card(
        rows=len(rows),
        traces=found.traces,
        dropped=dict(found.dropped),
        logs=tuple(log.name for log in logs),
        licences=tuple(sorted(used)),
        sha256=hashlib.sha256(data).hexdigest(),
        gates=gates.described(),
    )
    _write(output / "card.json", json.dumps(asdict(card), indent=2).encode())
    _write(output / "rows.jsonl", data)
    return card


def _stop_for_sources(logs: Sequence[Path], held_out: Sequence[Path]) -> None:
    """Raises TrainingSetError for a log of a held-out source, whatever became of its traces."""
    barred = {question.source_id: str(folder) for folder in held_out for question in read_questions(folder)}
    for log in logs if barred else ():
        for trace in read_traces(log):
            if trace.source_id in barred:
                raise TrainingSetError(
                    f"{log}: question {trace.question_id} comes from {trace.source_id}, which is held out by "
                    f"{barred[trace.source_id]}. Leave that log out; nothing was written."
                )


def _row(trace: Trace) -> dict[str, Any]:
    about = {"question_id": trace.question_id, "source_id": trace.source_id, "family": trace.family}
    return {**chat_row(trace), **about, "teacher": trace.model, "executor": trace.executor}


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
