"""Why a question was not answered right: every failed trace gets one reason, by rules that read nothing but the log.

    failure_of(trace)                      # Failure.CRASHED, or None where nothing failed
    counts = count_failures(read_traces("logs/one.eval"))
    counts.of(Failure.FORM), counts.n      # (3, 288)

The rules are tried in the order in which `Failure` names its members; the first that applies is the reason. A trace has
failed when it was graded wrong or when something broke; a question that was answered but has no key has not.
The rules say what the log shows, not what the model meant: `SHOWN`, for one, is that a cell displayed exactly the right
answer, not that the model knew it. Which column a right solution reads is in no log, so `COLUMN` is only the case that
can be decided: the last cell asked for a column that is not there.
Whether a wrong answer holds the right value in a wrong form is decided by `results/answer_forms.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.kernel.protocol import CellResult
from harness.records import Trace
from results.answer_forms import right_in_another_form, same_value
from results.families import NO_FAMILY


class Failure(StrEnum):
    """The reasons, in the order in which they are tried; the value is what tables call it."""

    BROKEN = "run failed"
    TURNS = "out of turns"
    TOKENS = "out of tokens"
    TIME = "out of time"
    CONTEXT = "out of context"
    BUDGET = "out of budget"
    FORM = "right value, wrong form"
    GAVE_UP = "gave up"
    COLUMN = "no such column"
    CRASHED = "last cell crashed"
    NO_ANSWER = "no answer"
    SHOWN = "right value shown, another given"
    GUESSED = "answered without a cell"
    VALUE = "wrong value"


MEANING: Mapping[Failure, str] = {
    Failure.BROKEN: "the sample ended with an error, was stopped from outside, or could not be graded",
    Failure.TURNS: "no answer within the limit of turns, or the baseline was asked for one after its last step",
    Failure.TOKENS: "no answer within the limit of tokens",
    Failure.TIME: "no answer within the limit of time",
    Failure.CONTEXT: "no answer before the model's context was full",
    Failure.BUDGET: "no answer within the limit of cost",
    Failure.FORM: "the value is right once units, rounding, brackets, words or the way to write a date are set aside",
    Failure.GAVE_UP: "the answer, or the last word where there is none, says that there is none",
    Failure.COLUMN: "the last cell asked for a column or key that is not there",
    Failure.CRASHED: "the last cell ended with another error, at its time limit, or with its kernel",
    Failure.NO_ANSWER: "the model stopped without giving an answer",
    Failure.SHOWN: "a cell displayed exactly the right answer, but another was given",
    Failure.GUESSED: "an answer was given and no cell was run",
    Failure.VALUE: "another value than the right one, for none of the reasons above",
}
"""What each reason says, in a sentence for a table's legend."""

LIMITS: Mapping[str, Failure] = {
    "turn": Failure.TURNS,
    "message": Failure.TURNS,
    "token": Failure.TOKENS,
    "time": Failure.TIME,
    "working": Failure.TIME,
    "model_length": Failure.CONTEXT,
    "context": Failure.CONTEXT,
    "cost": Failure.BUDGET,
    "operator": Failure.BROKEN,
    "custom": Failure.BROKEN,
}
"""A trace's stop reason, where it is a limit, and what that means."""

_NONE_GIVEN = re.compile(
    r"(?:the )?(?:(?:final )?answer(?: is)?:? )?"
    r"(?:not applicable|n/?a|none|null|nan|nil|unknown|undefined|unanswered|no answer|not (?:available|found|possible)"
    r"|error|\?+|-+)?"
)
_CANNOT = re.compile(
    r"\b(?:i(?: am|'m) (?:unable|not able|not sure)"
    r"|i (?:can ?not|can't|could not|couldn't|do not know|don't know|give up)"
    r"|(?:can ?not|can't|could not|couldn't) be (?:determined|answered|computed|calculated|found)"
    r"|(?:unable|impossible|not possible) to (?:determine|answer|compute|calculate|find|say)"
    r"|(?:not enough|insufficient) (?:information|data))\b"
)
_NO_COLUMN = re.compile(
    r"not (?:found )?in (?:index|axis|the columns)|Usecols do not match|are in the \[(?:columns|index)\]"
    r"|Missing column provided|name '[^']*' is not defined in the query|is not a column"
)
_NO_ATTRIBUTE = re.compile(r"'(?:DataFrame|Series|GroupBy|DataFrameGroupBy|SeriesGroupBy)' object has no attribute")


def failure_of(trace: Trace) -> Failure | None:
    """Why the trace failed, by the first rule that applies; None where it was graded right, or could not be graded."""
    verdict = trace.verdict
    if verdict.correct or (verdict.correct is None and verdict.target is None and trace.stop_reason != "error"):
        return None
    if trace.stop_reason == "error" or verdict.correct is None:
        return Failure.BROKEN
    if verdict.answer is None and trace.stop_reason in LIMITS:
        return LIMITS[trace.stop_reason]
    if trace.scaffold == "baseline" and _asked_after_its_last_step(trace):
        return Failure.TURNS
    if verdict.answer is not None and right_in_another_form(verdict.answer, verdict.target or "", _asked(trace)):
        return Failure.FORM
    if _gave_up(trace):
        return Failure.GAVE_UP
    if trace.cells and trace.cells[-1].status != "ok":
        return Failure.COLUMN if _asked_for_no_column(trace.cells[-1]) else Failure.CRASHED
    if verdict.answer is None:
        return Failure.NO_ANSWER
    if any(_shows(cell, verdict.target or "") for cell in trace.cells):
        return Failure.SHOWN
    return Failure.VALUE if trace.cells else Failure.GUESSED


@dataclass(frozen=True)
class FailureCounts:
    """Failures by family and reason.

    Attributes:
        n: By family, how many traces there are, those that did not fail included.
        failed: By family, how many failed for each reason.
        unscored: How many traces have no right answer to be graded by; they are in n.
    """

    n: Mapping[str, int]
    failed: Mapping[str, Mapping[Failure, int]]
    unscored: int = 0

    @property
    def total(self) -> int:
        """All traces."""
        return sum(self.n.values())

    @property
    def reasons(self) -> list[Failure]:
        """The reasons that occur, in the order of the rules."""
        return [reason for reason in Failure if self.of(reason)]

    def of(self, reason: Failure, family: str | None = None) -> int:
        """How many traces failed for a reason, of one family or of all."""
        families = self.failed if family is None else [family]
        return sum(self.failed[name].get(reason, 0) for name in families)

    def all_failed(self, family: str | None = None) -> int:
        """How many traces failed, of one family or of all."""
        return sum(self.of(reason, family) for reason in Failure)


def count_failures(traces: Iterable[Trace]) -> FailureCounts:
    """Count the reasons, by family in alphabetical order. Every trace is in n, whatever became of it."""
    n: Counter[str] = Counter()
    failed: dict[str, Counter[Failure]] = {}
    unscored = 0
    for trace in traces:
        family = trace.family or NO_FAMILY
        n[family] += 1
        reasons = failed.setdefault(family, Counter())
        if (reason := failure_of(trace)) is not None:
            reasons[reason] += 1
        elif not trace.verdict.correct:
            unscored += 1
    return FailureCounts({name: n[name] for name in sorted(n)}, {name: failed[name] for name in sorted(n)}, unscored)


def _asked(trace: Trace) -> str:
    return f"{trace.question}\n{trace.guidelines}"


def _asked_after_its_last_step(trace: Trace) -> bool:
    """Whether smolagents had to ask for the answer in words: then no cell gave it, and it is the last message, or none.

    A code block that calls `final_answer` gives it from a cell, so there the message is more than the answer.
    """
    answer = trace.verdict.answer
    if answer is None:
        return trace.stop_reason == "no answer"
    spoken = [message.content.strip() for message in trace.messages if message.role == "assistant"]
    return spoken[-1:] == [answer.strip()]


def _gave_up(trace: Trace) -> bool:
    answer = trace.verdict.answer
    if answer is None:
        spoken = [message for message in trace.messages if message.role == "assistant"]
        answer = spoken[-1].content if spoken else ""
        return bool(_CANNOT.search(_plain(answer)))
    return bool(_NONE_GIVEN.fullmatch(_plain(answer).rstrip(".! ")) or _CANNOT.search(_plain(answer)))


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("’", "'").split())


def _asked_for_no_column(cell: CellResult) -> bool:
    if cell.error is None:
        return False
    name, message = cell.error.name, cell.error.message
    if name == "AttributeError":
        return bool(_NO_ATTRIBUTE.search(message))
    return name in ("KeyError", "UndefinedVariableError") or (
        name in ("ValueError", "IndexError") and bool(_NO_COLUMN.search(message))
    )


def _shows(cell: CellResult, target: str) -> bool:
    """Whether a cell displays exactly the right answer: as its result, or alone on a printed line."""
    lines = [cell.result or "", *cell.stdout.splitlines()]
    return bool(target.strip()) and any(same_value(line, target) for line in lines)
