"""The report's list of questions: which of a run's traces are shown as notebooks, and by what they can be filtered.

    listed = list_questions(traces)
    listed.questions[0].failure, listed.counts, listed.filters

A page keeps a size that a telephone can open (PAGE_CHARS of notebooks). What does not fit is left out by a rule, and
counted: failed, ungraded and solved questions take turns, and within each of them the families do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from markupsafe import Markup

from harness.records import Trace
from results.failures import Failure, failure_of
from results.families import NO_FAMILY
from results.notebook_html import Cell, notebook_cells, phrase, shortened

PAGE_CHARS = 6_000_000
"""Of all notebooks of a page, in characters of HTML."""
ANSWER_CHARS = 600
QUESTION_CHARS = 4_000
VERDICTS = {False: "failed", None: "ungraded", True: "solved"}
"""In the order in which they are listed: what went wrong is what people look for."""


@dataclass(frozen=True)
class ListedQuestion:
    """One question as a notebook, with what is said about it in the list."""

    trace: Trace
    failure: Failure | None
    question: Markup
    answer: str | None
    target: str | None
    cells: Sequence[Cell]

    @property
    def verdict(self) -> str:
        """In a word, which is also the name of its style."""
        return VERDICTS[self.trace.verdict.correct]

    @property
    def family(self) -> str:
        """Its family's name, also where it has none."""
        return self.trace.family or NO_FAMILY

    @property
    def chars(self) -> int:
        """About how much of the page it takes."""
        return len(self.question) + sum(
            len(cell.source) + sum(len(output.text) for output in cell.outputs) for cell in self.cells
        )


@dataclass(frozen=True)
class Filter:
    """Something by which the list can be filtered; `name` is also that of the attribute in the page."""

    name: str
    label: str
    values: Sequence[str]


@dataclass(frozen=True)
class QuestionList:
    """The questions shown, by verdict how many of how many that is, and the filters that have something to choose."""

    questions: Sequence[ListedQuestion]
    counts: Sequence[tuple[str, int, int]]
    filters: Sequence[Filter]


def list_questions(traces: Sequence[Trace], most: int | None = None, page_chars: int = PAGE_CHARS) -> QuestionList:
    """Choose what fits on the page, at most `most` questions of each verdict."""
    chosen: list[ListedQuestion] = []
    room = page_chars
    for trace in _in_turn([list(_by_family(traces, correct))[:most] for correct in VERDICTS]):
        listed = _listed(trace)
        room -= listed.chars
        if room < 0 and chosen:
            break
        chosen.append(listed)
    by_verdict = {word: [one for one in chosen if one.verdict == word] for word in VERDICTS.values()}
    questions = [one for shown in by_verdict.values() for one in shown]
    return QuestionList(
        questions=questions,
        counts=[
            (word, len(by_verdict[word]), of)
            for correct, word in VERDICTS.items()
            if (of := sum(trace.verdict.correct is correct for trace in traces))
        ],
        filters=_filters(questions),
    )


def _by_family(traces: Sequence[Trace], correct: bool | None) -> Iterator[Trace]:
    """The traces of one verdict: the first of each family in turn, then the second of each, and so on."""
    families: dict[str, list[Trace]] = {}
    for trace in traces:
        if trace.verdict.correct is correct:
            families.setdefault(trace.family or NO_FAMILY, []).append(trace)
    return _in_turn(list(families.values()))


def _in_turn(lists: Sequence[Sequence[Trace]]) -> Iterator[Trace]:
    return (trace for turn in zip_longest(*lists) for trace in turn if trace is not None)


def _filters(questions: Sequence[ListedQuestion]) -> list[Filter]:
    filters = [
        Filter("verdict", "Verdict", list(dict.fromkeys(one.verdict for one in questions))),
        Filter("level", "Level", sorted({one.trace.level for one in questions})),
        Filter("family", "Family", sorted({one.family for one in questions})),
        Filter(
            "failure",
            "Why it failed",
            [reason for reason in Failure if any(one.failure is reason for one in questions)],
        ),
    ]
    return [one for one in filters if len(one.values) > 1 or (one.name == "failure" and one.values)]


def _listed(trace: Trace) -> ListedQuestion:
    def cut(answer: str | None) -> str | None:
        return None if answer is None else shortened(answer, ANSWER_CHARS)

    return ListedQuestion(
        trace=trace,
        failure=failure_of(trace),
        question=phrase(trace.question, QUESTION_CHARS),
        answer=cut(trace.verdict.answer),
        target=cut(trace.verdict.target),
        cells=notebook_cells(trace),
    )
