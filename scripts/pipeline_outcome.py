"""What a finished run of the pipeline holds, and what of it two runs must share. Read by `killed_pipeline.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import parquet

from harness.calls.ledger import Ledger
from pipeline.evaluation import Evaluation, evaluate
from pipeline.quarantine import read_quarantine
from pipeline.runs.layout import stage_folders
from pipeline.runs.stages import shards
from pipeline.runs.store import read_rows

USABLE_OR_NOT = ("answered", "cut off", "wrong schema", "no JSON", "empty reply")
"""Outcomes of tries in the ledger that had a reply, which was paid."""


@dataclass
class Paid:
    """Replies that the provider gave out: to the pipeline's own calls, and as turns of evaluations."""

    replies: int = 0
    turns: int = 0

    def __sub__(self, other: Paid) -> Paid:
        return Paid(self.replies - other.replies, self.turns - other.turns)

    def __add__(self, other: Paid) -> Paid:
        return Paid(self.replies + other.replies, self.turns + other.turns)


@dataclass
class Outcome:
    """A finished run as it is compared, and what of the provider's replies it holds."""

    rows: dict[str, list[dict[str, Any]]]
    dropped: dict[str, list[dict[str, Any]]]
    published: dict[str, list[dict[str, Any]]]
    partial: list[str]
    holds: Paid
    most_turns: int


def outcome_of(run: Path) -> Outcome:
    """A finished run, without the names of its logs, which hold the time."""
    turns = [turns for folder in run.glob("stages/*/*/*/logs") for turns in _turns(folder.parent)]
    with Ledger(run / "calls.sqlite") as ledger:
        tries = ledger.totals().tries
    dataset = run / "dataset"
    return Outcome(
        rows={
            name: [_comparable(row.model_dump(mode="json")) for shard in shards(folder) for row in read_rows(shard)]
            for name, folder in stage_folders(run)
        },
        dropped={
            name: [dropped.model_dump(mode="json") for dropped in read_quarantine(run, name)]
            for name, _ in stage_folders(run)
        },
        published={
            str(file.relative_to(dataset)): parquet.read_table(file).to_pylist()
            for file in sorted(dataset.rglob("*.parquet"))
        },
        partial=[str(path.relative_to(run)) for path in run.rglob("*.partial")],
        holds=Paid(sum(tries.get(outcome, 0) for outcome in USABLE_OR_NOT), sum(turns)),
        most_turns=max(turns, default=0),
    )


def _turns(evaluation: Path) -> list[int]:
    """The model's turns in each sample of a finished evaluation."""
    from inspect_ai.log import read_eval_log

    log = evaluate(Evaluation("none/none"), evaluation)  # which finds it whole, and runs nothing
    samples = read_eval_log(str(log)).samples or []
    return [sum(message.role == "assistant" for message in sample.messages) for sample in samples]


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    if row.get("traced"):
        row["traced"]["log"] = ""
    return row


def without_the_best_try(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The rows but for which try was the best: over an endpoint that misbehaves a broken turn makes a try longer."""
    return {
        name: [row | {"curated": row["curated"] and row["curated"] | {"epoch": 0}} for row in own]
        for name, own in rows.items()
    }


def without_messages(published: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The published rows without their messages: a broken turn is part of a trace, and its row is the same row."""
    return {
        name: [{key: value for key, value in row.items() if key != "messages"} for row in rows]
        for name, rows in published.items()
    }
