"""A recording and its replay side by side: which cells display something else, and which verdicts changed.

    compared = compare_logs("logs/one.eval", "logs/replayed.eval")
    compared.same, compared.set_aside, compared.differences, compared.not_played, compared.ends

Both are Inspect logs; the replay was made by the model `replay/LOG` (`harness/models/replay.py`). Cells are compared by
their place in the sample: status, and the text that a model reads of them. What a difference may be made of without
meaning anything is set aside by the rules of `harness/noise.py`, counted and named. Nothing is run or written here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

from inspect_ai.log import EvalLog, read_eval_log

from harness.kernel.protocol import CellResult
from harness.noise import Span, hint, set_aside
from harness.records import Trace, Verdict
from harness.trace import read_traces


@dataclass(frozen=True)
class Difference:
    """A cell that displays something else. `cell` counts from 1; `hint` says why it may, where its code tells."""

    question_id: str
    epoch: int
    cell: int
    code: str
    recorded: CellResult
    replayed: CellResult
    hint: str


@dataclass(frozen=True)
class End:
    """A sample that came to another end: another answer, or another verdict (then the score changes)."""

    question_id: str
    epoch: int
    recorded: Verdict
    replayed: Verdict
    stopped: tuple[str, str]

    @property
    def score_changed(self) -> bool:
        """Whether the verdict is another one, not only the answer."""
        return self.recorded.correct != self.replayed.correct


@dataclass
class Replayed:
    """What came of a replay.

    Attributes:
        samples: Recorded samples that were to be played.
        cells: Their recorded cells: same + set_aside + differences + not_played.
        same: Cells that display the same, to the letter.
        set_aside: By the rules that it took, cells that display the same apart from noise.
        differences: Cells that differ.
        not_played: By reason, recorded cells that did not run again.
        not_recorded: By reason, cells that ran and have no recorded output to be compared with.
        absent: Recorded samples that the replay does not have at all.
        other_prompts: Samples whose prompt is another than the recorded one.
        ends: Samples that came to another end.
    """

    samples: int = 0
    cells: int = 0
    same: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    not_played: Counter[str] = field(default_factory=Counter)
    not_recorded: Counter[str] = field(default_factory=Counter)
    absent: int = 0
    other_prompts: int = 0
    ends: list[End] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether anything came out otherwise, or could not be made to come out at all."""
        return bool(self.differences or self.ends or self.not_played or self.absent)


def compare_logs(recorded: str | Path, replayed: str | Path, ids: Iterable[str] | None = None) -> Replayed:
    """Compare a log with its replay; `ids` names the samples that were to be played, all of them unless given.

    Raises TraceError for a log that cannot be read as traces.
    """
    spans = _span(read_eval_log(str(recorded), header_only=True)), _span(read_eval_log(str(replayed), header_only=True))
    wanted = None if ids is None else set(ids)
    again = {(trace.question_id, trace.epoch): trace for trace in read_traces(replayed)}
    compared = Replayed()
    for trace in read_traces(recorded):
        if wanted is None or trace.question_id in wanted:
            add_sample(compared, trace, again.get((trace.question_id, trace.epoch)), spans)
    return compared


def add_sample(compared: Replayed, recorded: Trace, replayed: Trace | None, spans: tuple[Span, Span]) -> None:
    """Count one sample and its replay, None where there is none."""
    compared.samples += 1
    compared.cells += len(recorded.cells)
    if replayed is None:
        compared.absent += 1
        compared.not_played["the sample is not in the replay"] += len(recorded.cells)
        return
    for number, (then, now) in enumerate(zip(recorded.cells, replayed.cells, strict=False), start=1):
        rules = _compare_cells(then, now, spans)
        if rules is None:
            found = Difference(recorded.question_id, recorded.epoch, number, then.code, then, now, hint(then.code))
            compared.differences.append(found)
        elif rules:
            compared.set_aside[", ".join(rules)] += 1
        else:
            compared.same += 1
    missing = len(recorded.cells) - len(replayed.cells)
    if missing > 0:
        compared.not_played[f"the replay ended before them ({replayed.stop_reason})"] += missing
    elif missing < 0:
        compared.not_recorded[f"the recording ended during them ({recorded.stop_reason})"] -= missing
    compared.other_prompts += _prompt(recorded) != _prompt(replayed)
    then_said, now_said = recorded.verdict, replayed.verdict
    if (then_said.correct, then_said.answer) != (now_said.correct, now_said.answer):
        stopped = recorded.stop_reason, replayed.stop_reason
        compared.ends.append(End(recorded.question_id, recorded.epoch, then_said, now_said, stopped))


def _compare_cells(then: CellResult, now: CellResult, spans: tuple[Span, Span]) -> tuple[str, ...] | None:
    """The rules that make the two display the same; None where none does, or where other code ran."""
    if then.code != now.code or then.status != now.status:
        return None
    return set_aside(then.code, then.text(), now.text(), spans)


def _prompt(trace: Trace) -> list[str]:
    shown = takewhile(lambda message: message.role != "assistant", trace.messages)
    return [word for message in shown for word in message.content.split()]


def _span(header: EvalLog) -> Span:
    """From when the log was begun to when it was closed; a log that was broken off counts to now."""
    ends = header.stats.completed_at
    start = _moment(header.eval.created)
    return Span(start, max(_moment(ends), start) if ends else datetime.now(UTC))


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
