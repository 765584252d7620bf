"""What all views of logs that train a model have in common: gates, rows and a card in a folder, no held-out source.

    gates = gates_of(benchmark, held_out, LICENCES, blind_logs)
    stop_for_sources(logs, held_out)                       # before anything is read for keeping
    card = write_view(folder, "pairs.jsonl", rows, Account(...), gates)

The views: `training_set.py`, `preference_pairs.py`, `rl_prompts.py`, `chat_export.py`. None has gates of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.records import read_questions
from harness.trace import read_traces
from pipeline.curation.collect import Gates
from pipeline.gates.contamination import Contamination
from pipeline.gates.licence import LICENCES
from pipeline.gates.shortcut import answered_blind


class TrainingSetError(ValueError):
    """A view of logs cannot be made; the message names what stands in the way and the mend."""


@dataclass(frozen=True)
class Card:
    """What a view holds and what was left out. `sha256` is that of its rows' file.

    `traces` came in; `dropped` counts those that led to no row, by reason. `gates`: what the gates compared with, in
    words. `settings`: what the rows were chosen by.
    """

    rows: int
    traces: int
    dropped: dict[str, int]
    logs: tuple[str, ...]
    licences: tuple[str, ...]
    sha256: str
    gates: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Account:
    """What came in and what was left out, filled in while rows are made."""

    logs: Sequence[Path]
    traces: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    licences: set[str] = field(default_factory=set)


def gates_of(
    benchmark: Path | None = None,
    held_out: Iterable[Path] = (),
    licences: Iterable[str] = LICENCES,
    blind_logs: Sequence[Path] = (),
    banned: Iterable[str] = (),
) -> Gates:
    """The gates of a view. Raises GateError for a benchmark's folder that is none, QuestionSetError."""
    return Gates(Contamination.of(benchmark, held_out, banned), tuple(licences), answered_blind(blind_logs))


def stop_for_sources(logs: Sequence[Path], held_out: Sequence[Path]) -> None:
    """Raises TrainingSetError for a log of a held-out source, whatever became of its traces."""
    barred = {question.source_id: str(folder) for folder in held_out for question in read_questions(folder)}
    for log in logs if barred else ():
        for question_id, source_id in _sources(log):
            if source_id in barred:
                raise TrainingSetError(
                    f"{log}: question {question_id} comes from {source_id}, which is held out by {barred[source_id]}. "
                    "Leave that log out; nothing was written."
                )


def _sources(log: Path) -> Iterator[tuple[str, str]]:
    """Question and source of each of a log's samples: by its summaries, which are quickly read, where these say it."""
    from inspect_ai.log import read_eval_log_sample_summaries

    summaries = read_eval_log_sample_summaries(str(log)) if log.is_file() else []
    if summaries and all("source_id" in summary.metadata for summary in summaries):
        yield from ((str(summary.id), str(summary.metadata["source_id"])) for summary in summaries)
    else:
        yield from ((trace.question_id, trace.source_id) for trace in read_traces(log))


def write_view(
    folder: Path,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    account: Account,
    gates: Gates,
    settings: Mapping[str, Any] | None = None,
) -> Card:
    """Write the card and then the rows, each under its name only when it is whole. Raises TrainingSetError for none."""
    card = card_of(rows, account, gates, settings or {})
    write_whole(folder / "card.json", json.dumps(asdict(card), indent=2, ensure_ascii=False).encode())
    write_whole(folder / name, lines_of(rows))
    return card


def card_of(rows: Sequence[Mapping[str, Any]], account: Account, gates: Gates, settings: Mapping[str, Any]) -> Card:
    """The card of rows. Raises TrainingSetError where there are none; it says why."""
    dropped = dict(+account.dropped)
    if not rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "the logs hold no samples"
        raise TrainingSetError(f"no trace is left of {account.traces}: {reasons}.")
    return Card(
        rows=len(rows),
        traces=account.traces,
        dropped=dropped,
        logs=tuple(log.name for log in account.logs),
        licences=tuple(sorted(account.licences)),
        sha256=hashlib.sha256(lines_of(rows)).hexdigest(),
        gates=gates.described(),
        settings=dict(settings),
    )


def lines_of(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
