"""What differs between two runs of the same cell without meaning anything, and how it is set aside.

    set_aside(code, "<Fee at 0x7f3a10c2b5e0>", "<Fee at 0x7f99d1be2a90>", spans)   # ("memory addresses",)
    set_aside(code, "12", "13", spans)                                             # None: they differ

Rules are applied to both texts, one after another, until they are equal; what is told is those that it took. They are
narrow on purpose: a date in a table is compared, only one of the run's own day is taken for its clock.

- *memory addresses*: `at 0x7f3a10c2b5e0`
- *temporary names*: `/tmp/tmpab12cd34`, `ipykernel_123`, `/proc/123`
- *places of libraries*: what stands before `site-packages/` or `python3.11/` in a path, and line numbers after it
- *IPython's timings*: the lines of `%time` and `%timeit`
- *the clock*: dates and times from the day before a run began to the day after it ended; Unix times in that span
- *measured durations*: in a cell that reads a clock, numbers of a line that speaks of time or holds nothing else
- *order of a set*: the items of `{...}` without colons

It knows nothing of logs and decides nothing about scores.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

MASK = "·"

_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,16}\b|\b0x[57][0-9a-f]{10,11}\b")
_TEMPORARY = re.compile(r"\btmp[a-z0-9_]{8}\b|\bipykernel_\d+|(?<=/proc/)\d+")
_LIBRARY = re.compile(r"[^\s'\"<>]*/(site-packages|dist-packages|python3\.\d+)/([^\s'\":]*)(:\d+|\", line \d+)?")
_TIMING = re.compile(
    r"^(?:CPU times: .*|Wall time: .*|Compiler *: .*|.* per loop \(mean ± .*|.* per loop)$", re.MULTILINE
)
_DATE = re.compile(r"\b(20\d\d)-(\d\d)-(\d\d)\b(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_UNIX_TIME = re.compile(r"\b[12]\d{9}(?:\.\d+)?\b")
_READS_CLOCK = re.compile(
    r"\btime\.(?:time|monotonic|perf_counter|process_time|thread_time)|\bperf_counter\(|%%?time|\btimeit\b"
    r"|\.(?:now|utcnow|today)\("
)
_OF_TIME = re.compile(
    r"\b(?:time|took|elapsed|duration|seconds?|secs?|s|ms|µs|us|ns|minutes?)\b|\d(?:s|ms|µs|us|ns)\b", re.I
)
_DECIMAL = re.compile(r"\d+\.\d+(?:e[+-]?\d+)?", re.IGNORECASE)
_SET = re.compile(r"\{([^{}:\n]*,[^{}:\n]*)\}")


@dataclass(frozen=True)
class Span:
    """When a run took place; both ends with their time zone."""

    start: datetime
    end: datetime

    def holds(self, moment: datetime) -> bool:
        """Whether the moment lies in it, or up to a day beside it (a kernel's time zone may be any)."""
        return self.start - timedelta(days=1) <= moment <= self.end + timedelta(days=1)

    def holds_day(self, day: date) -> bool:
        """Whether the day is one of the run's, or next to one."""
        return (self.start - timedelta(days=1)).date() <= day <= (self.end + timedelta(days=1)).date()


Rule = Callable[[str, str, Span], str]
"""(text, code, span) -> text without what the rule sets aside."""


def set_aside(code: str, recorded: str, replayed: str, spans: tuple[Span, Span]) -> tuple[str, ...] | None:
    """The rules that it takes to make two outputs of a cell equal: none where they are, None where they cannot be.

    Args:
        code: The cell.
        recorded: What it displayed then.
        replayed: What it displays now.
        spans: When that was, and when this is.
    """
    if _equal_by(RULES, code, recorded, replayed, spans) is False:
        return None
    needed = list(RULES)
    for rule in list(RULES):
        without = [each for each in needed if each != rule]
        if _equal_by(without, code, recorded, replayed, spans):
            needed = without
    return tuple(needed)


def hint(code: str) -> str:
    """Why a cell may well display something else each time; empty where its code gives no reason."""
    if _READS_CLOCK.search(code):
        return "the cell reads a clock"
    if re.search(r"\brandom\b|\brng\b|\.sample\(|\buuid|\burandom\b|\bsecrets\b", code):
        return "the cell draws at random"
    if re.search(r"\bid\(|\bhash\(|\bgetpid\(|\blistdir\(|\bglob\b", code):
        return "the cell asks the system for something that has no fixed value or order"
    return ""


def _equal_by(rules: list[str] | dict[str, Rule], code: str, one: str, other: str, spans: tuple[Span, Span]) -> bool:
    for name in rules:
        one, other = RULES[name](one, code, spans[0]), RULES[name](other, code, spans[1])
    return one == other


def _addresses(text: str, code: str, span: Span) -> str:
    return _ADDRESS.sub(MASK, text)


def _temporary_names(text: str, code: str, span: Span) -> str:
    return _TEMPORARY.sub(MASK, text)


def _libraries(text: str, code: str, span: Span) -> str:
    return _LIBRARY.sub(lambda found: f"{MASK}/{found[2]}", text)


def _timings(text: str, code: str, span: Span) -> str:
    return _TIMING.sub(MASK, text)


def _clock(text: str, code: str, span: Span) -> str:
    def day(found: re.Match[str]) -> str:
        try:
            ours = span.holds_day(date(int(found[1]), int(found[2]), int(found[3])))
        except ValueError:  # no such day
            ours = False
        return MASK if ours else found[0]

    def moment(found: re.Match[str]) -> str:
        return MASK if span.holds(datetime.fromtimestamp(float(found[0]), UTC)) else found[0]

    return _UNIX_TIME.sub(moment, _DATE.sub(day, text))


def _durations(text: str, code: str, span: Span) -> str:
    if not _READS_CLOCK.search(code):
        return text

    def masked(line: str) -> str:
        timed = _OF_TIME.search(line) or _DECIMAL.fullmatch(line.strip())
        return _DECIMAL.sub(MASK, line) if timed else line

    return "\n".join(map(masked, text.split("\n")))


def _set_order(text: str, code: str, span: Span) -> str:
    return _SET.sub(lambda found: f"{{{', '.join(sorted(item.strip() for item in found[1].split(',')))}}}", text)


RULES: dict[str, Rule] = {
    "memory addresses": _addresses,
    "temporary names": _temporary_names,
    "places of libraries": _libraries,
    "IPython's timings": _timings,
    "the clock": _clock,
    "measured durations": _durations,
    "order of a set": _set_order,
}
