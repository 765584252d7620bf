"""Out of Inspect logs, prompts for reinforcement learning: questions that a model gets right at times, as it saw them.

    dabstep rl-prompts LOG... --output FOLDER [--settled] [--most-common 0.05]

A folder with `prompts.jsonl` and `card.json`. A row: `prompt` (messages), `task_type`, `source`, `source_id`,
`question_id`, `family`, `level`, `answer`, `files` (name under /home/user/input -> path on this machine), and how many
of how many tries were right. `recipes/grpo.py` plays them in real kernels; the answer never gets into one.

A question of which all tries agree teaches a group of rollouts nothing and is left out (`settled` keeps it); with one
try nobody knows, and it is kept. So that guessing cannot pay, no answer is that of more than a share of the questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.records import Trace
from harness.trace import chat_row, read_traces
from pipeline.curation.collect import Gates
from pipeline.curation.rules import score_of
from pipeline.gates.licence import LICENCES
from pipeline.preference_pairs import TASK_TYPE
from pipeline.view import Account, Card, gates_of, stop_for_sources, write_view


@dataclass(frozen=True)
class Choice:
    """Which questions are kept; `most_common` is the largest share of them that may have one answer."""

    settled: bool = False
    most_common: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.most_common <= 1:
            raise ValueError(f"most_common: {self.most_common}; it is a share, above 0 and up to 1.")


def build_rl_prompts(
    logs: Sequence[Path],
    output: Path,
    held_out: Iterable[Path] = (),
    choice: Choice | None = None,
    benchmark: Path | None = None,
    licences: Iterable[str] = LICENCES,
    blind_logs: Sequence[Path] = (),
) -> Card:
    """Write the prompts and return their card, whose `dropped` counts questions and, once each, tries without a key.

    Errors as for `build_training_set`.
    """
    held_out, choice = list(held_out), choice or Choice()
    stop_for_sources(logs, held_out)
    gates = gates_of(benchmark, held_out, licences, blind_logs)
    account = Account(logs)
    kept = [row for row in _asked(logs, gates, account) if not _left_out(row, choice, account)]
    rows = _without_common(kept, choice, account)
    return write_view(output, "prompts.jsonl", rows, account, gates, asdict(choice))


def _asked(logs: Sequence[Path], gates: Gates, account: Account) -> list[dict[str, Any]]:
    """A row a question, with the tries of all logs."""
    rows: dict[str, dict[str, Any]] = {}
    barred: set[str] = set()
    for log in logs:
        for trace in read_traces(log):
            account.traces += 1
            if trace.verdict.correct is None or trace.verdict.target is None:
                account.dropped["unscored try"] += 1
            elif trace.stop_reason == "error":
                account.dropped["try that ended by error"] += 1
            elif trace.question_id in rows:
                _count(rows[trace.question_id], trace)
            elif not trace.files:  # another sandbox than ours, or a sample that Inspect recovered after a kill
                account.dropped["try whose files are not known"] += 1
            elif trace.question_id not in barred:
                row = _row(trace)
                if (reason := _objection(trace, row, gates)) is None:
                    rows[trace.question_id] = row
                    account.licences.add(trace.licence)
                else:
                    barred.add(trace.question_id)
                    account.dropped[reason] += 1
    return list(rows.values())


def _objection(trace: Trace, row: dict[str, Any], gates: Gates) -> str | None:
    shown = "\n".join(message["content"] for message in row["prompt"] if message["role"] != "system")
    finding = gates.finding(trace, shown)
    return finding.reason if finding else None


def _row(trace: Trace) -> dict[str, Any]:
    messages = chat_row(trace)["messages"]
    start = next((i for i, message in enumerate(messages) if message["role"] == "assistant"), len(messages))
    row = {
        "prompt": messages[:start],
        "task_type": TASK_TYPE,
        "source": trace.source,
        "source_id": trace.source_id,
        "question_id": trace.question_id,
        "family": trace.family,
        "level": trace.level,
        "answer": trace.verdict.target,
        "files": dict(trace.files),
        "right": 0,
        "tries": 0,
    }
    _count(row, trace)
    return row


def _count(row: dict[str, Any], trace: Trace) -> None:
    row["tries"] += 1
    row["right"] += int(score_of(trace).value)


def _left_out(row: dict[str, Any], choice: Choice, account: Account) -> bool:
    if choice.settled or row["tries"] < 2 or 0 < row["right"] < row["tries"]:
        return False
    account.dropped["every try is right" if row["right"] else "no try is right"] += 1
    return True


def _without_common(rows: list[dict[str, Any]], choice: Choice, account: Account) -> list[dict[str, Any]]:
    """Rows of which no answer is that of more than the share; the first ones of each answer stay."""
    most = max(1, int(choice.most_common * len(rows)))
    seen: Counter[str] = Counter()
    kept = []
    for row in rows:
        answer = row["answer"].strip().casefold()
        seen[answer] += 1
        if seen[answer] <= most:
            kept.append(row)
        else:
            account.dropped["too many questions have its answer"] += 1
    return kept
