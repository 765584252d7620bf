"""Out of Inspect logs, chat rows as other trainers' set builders write them: `{messages, task_type, source}`.

    dabstep chat-rows LOG... --output FOLDER [--general FILE --general-share 2] [--banned FILE] [--form react]

A folder with `chat.jsonl` and `metadata.json`. Traces are those of a training set (`pipeline/curation`); general chat
may be mixed in, so many rows for each of ours. The gates look three times: at a row as a whole, at each message alone
(what is hidden among much else is found there), and at the file as it stands on disk, read back, before it gets its
name. What is found in a row drops the row, counted; what is found in the file stops everything.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from harness.react_form import react_messages
from harness.records import Trace
from harness.trace import chat_row
from pipeline.curation.collect import Collected, Gates, collect
from pipeline.curation.rules import Rules
from pipeline.gates.contamination import Finding
from pipeline.gates.licence import LICENCES
from pipeline.preference_pairs import TASK_TYPE
from pipeline.view import Account, Card, TrainingSetError, card_of, gates_of, lines_of, stop_for_sources, write_whole

Form = Literal["tools", "react"]
GENERAL = "general"
ROWS, METADATA = "chat.jsonl", "metadata.json"


@dataclass(frozen=True)
class Export:
    """How rows are written and mixed. `general` is a file of chat rows, `general_share` how many for each of ours."""

    form: Form = "tools"
    general: Path | None = None
    general_share: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise ValueError(f"form: {self.form!r}; there are {', '.join(get_args(Form))}.")


def build_chat_rows(
    logs: Sequence[Path],
    output: Path,
    held_out: Iterable[Path] = (),
    export: Export | None = None,
    rules: Rules | None = None,
    benchmark: Path | None = None,
    banned: Path | None = None,
    licences: Iterable[str] = LICENCES,
) -> Card:
    """Write the rows and return their card, which metadata.json holds; errors as for `build_training_set`."""
    held_out, export = list(held_out), export or Export()
    stop_for_sources(logs, held_out)
    terms = banned.read_text(encoding="utf-8").splitlines() if banned else []
    gates = gates_of(benchmark, held_out, licences, banned=terms)
    account, found, ours = Account(logs), Collected(), list[dict[str, Any]]()
    for trace in collect(logs, rules or Rules(distinct=True), gates, found):
        row = _row(trace, export.form)
        if (finding := _in_messages(row, gates)) is not None:
            found.dropped[f"in a message: {finding.reason}"] += 1
        else:
            ours.append(row)
            account.licences.add(trace.licence)
    account.traces, account.dropped = found.traces, found.dropped
    theirs = _general(export, len(ours), gates, account)
    rows = ours + theirs
    random.Random(export.seed).shuffle(rows)
    card_of(ours, account, gates, {})  # refuses a set without a trace
    settings = {**asdict(export), "general": str(export.general) if export.general else None}
    kinds = {kind: sum(row["task_type"] == kind for row in rows) for kind in (TASK_TYPE, GENERAL)}
    card = card_of(rows, account, gates, settings | {"task_types": kinds})
    _write_checked(output, lines_of(rows), card, gates)
    return card


def _row(trace: Trace, form: Form) -> dict[str, Any]:
    messages = react_messages(trace) if form == "react" else chat_row(trace)["messages"]
    row: dict[str, Any] = {"messages": messages, "task_type": TASK_TYPE, "source": trace.source}
    return row if form == "react" else row | {"tools": chat_row(trace)["tools"]}


def _general(export: Export, ours: int, gates: Gates, account: Account) -> list[dict[str, Any]]:
    """General chat rows that pass the gates, as many as are wanted, or all there are."""
    if export.general is None:
        return []
    rows = []
    for number, line in enumerate(export.general.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            messages = json.loads(line)["messages"]
            row: dict[str, Any] = {"messages": [{"role": m["role"], "content": m["content"]} for m in messages]}
        except (ValueError, KeyError, TypeError):
            raise TrainingSetError(f"{export.general}:{number}: no chat row with messages. Mend that line.") from None
        row |= {"task_type": GENERAL, "source": json.loads(line).get("source") or export.general.stem}
        if (finding := _in_messages(row, gates)) is not None:
            account.dropped[f"general row: {finding.reason}"] += 1
        else:
            rows.append(row)
    wanted = round(ours * export.general_share)
    random.Random(f"{export.seed} general").shuffle(rows)
    account.dropped["general row: more than asked for"] += max(len(rows) - wanted, 0)
    return rows[:wanted]


def _in_messages(row: dict[str, Any], gates: Gates) -> Finding | None:
    """What speaks against any message of a row, each looked at alone, as a question and as a text."""
    for text in _texts(row):
        if (finding := gates.contamination.finding(text, None, text)) is not None:
            return finding
    return None


def _texts(row: dict[str, Any]) -> Iterator[str]:
    for message in row["messages"]:
        if message["role"] != "system":  # ours
            yield message["content"]
        yield from (call["function"]["arguments"] for call in message.get("tool_calls") or [])


def _write_checked(output: Path, data: bytes, card: Card, gates: Gates) -> None:
    """Write the file, read it back, look at it as a whole, and only then give it its name."""
    partial = output / (ROWS + ".partial")
    output.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(data)
    there = partial.read_bytes()
    rows = [json.loads(line) for line in there.decode().splitlines()]
    finding = next((found for row in rows if (found := _in_messages(row, gates)) is not None), None)
    if finding is None and (hashlib.sha256(there).hexdigest(), len(rows)) != (card.sha256, card.rows):
        finding = Finding("it is not what was written", f"{len(rows)} rows of {card.rows}")
    if finding is not None:
        partial.unlink()
        raise TrainingSetError(f"{output / ROWS}: {finding.reason} ({finding.detail}). The file was removed.")
    write_whole(output / METADATA, json.dumps(asdict(card), indent=2, ensure_ascii=False).encode())
    partial.replace(output / ROWS)
