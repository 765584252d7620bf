"""What a question must keep to, looked at without a model: why one is dropped, or None.

    rules = QuestionRules(row.markdown)
    rules.fault(question)                  # "quote is not in that output", ...
    rules.repeats(question, kept)          # whether it asks for what a kept one asks for

Reasons are few and stable, for they are counted. What the rules let pass is not thereby right: `verify` looks at that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.grader import is_correct
from pipeline.asking.code_facts import computing
from pipeline.asking.shown import output_of, read_cells
from pipeline.row import AskedQuestion

ALIKE = 0.95
"""Share of telling words in common from which two questions are one; ALIKE_SAME_ANSWER where their answers agree."""
ALIKE_SAME_ANSWER = 0.6
SHORTEST_QUOTE = 1
LONGEST_ANSWER = 300
NOT_APPLICABLE = "not applicable"

_METRIC = re.compile(
    r"\b(accuracy|f1(?:[- ]?score)?|auc|roc(?:[- ]auc)?|rmse|mse|mae|mape|r2|r\^2|r²|r-squared|log[- ]?loss|"
    r"(?:training|validation|test|train|val|model'?s?) (?:loss|score|error)|confusion matrix|(?:precision|recall) "
    r"(?:score|of the)|silhouette|perplexity|cross[- ]validat\w+|hyper-?parameters?|learning rate|epochs?|"
    r"(?:best|trained|fitted|final) (?:model|classifier|regressor)|feature importances?)\b",
    re.IGNORECASE,
)
_NOTEBOOK = re.compile(
    r"\b(notebook|this (?:analysis|plot|chart|graph|figure)|cell \d+|the (?:output|plot|chart|figure|author)|"
    r"(?:shown|printed|displayed|seen|mentioned) (?:above|below)|according to the (?:code|plot|chart|figure))\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[\w.]+")
_COMMON = re.compile(
    r"a|an|and|are|as|by|for|from|how|in|is|many|much|of|on|that|the|their|to|was|were|what|which|with"
)


class QuestionRules:
    """The rules over one rendered notebook."""

    def __init__(self, markdown: str) -> None:
        self._cells = read_cells(markdown)
        code = [cell for cell in self._cells if cell.kind == "python"]
        self._computing = dict(zip((cell.number for cell in code), computing([c.content for c in code]), strict=True))

    def fault(self, question: AskedQuestion) -> str | None:
        """The first rule that a question breaks, as a reason."""
        return _fault_of_form(question) or _fault_of_words(question) or self._fault_of_evidence(question)

    def repeats(self, question: AskedQuestion, kept: Iterable[AskedQuestion]) -> bool:
        """Whether a kept question asks for the same."""
        return any(_same(question, other) for other in kept)

    def _fault_of_evidence(self, question: AskedQuestion) -> str | None:
        if not question.evidence:
            return "no evidence"
        for shown in question.evidence:
            output = output_of(self._cells, shown.cell)
            if output is None:
                return "evidence from a cell without output"
            if len(quote := _flat(shown.quote)) < SHORTEST_QUOTE or quote not in _flat(output):
                return "quote is not in that output"
        if question.answer_kind != "not-applicable":
            if not any(self._computing.get(shown.cell, True) for shown in question.evidence):
                return "trivial look-up"
            if not _visible(question, " ".join(shown.quote for shown in question.evidence)):
                return "answer is not in the quotes"
        return None


def _fault_of_form(question: AskedQuestion) -> str | None:
    answer, kind = question.answer.strip(), question.answer_kind
    if not question.question.strip() or not answer:
        return "empty question or answer"
    if len(answer) > LONGEST_ANSWER:
        return "answer too long"
    fits = {
        "number": bool(_NUMBER.fullmatch(answer.replace("%", "").strip()))
        and _decimals(answer) <= (question.decimals or 0),
        "yes-no": answer.lower() in ("yes", "no"),
        "not-applicable": answer.lower() == NOT_APPLICABLE,
        "list": answer.lower() != NOT_APPLICABLE,
        "text": answer.lower() not in ("yes", "no", NOT_APPLICABLE),
    }
    return None if fits[kind] else "answer does not fit its kind"


def _fault_of_words(question: AskedQuestion) -> str | None:
    text = question.question
    if _METRIC.search(text):
        return "asks for a model's metric"
    if _NOTEBOOK.search(text):
        return "speaks of the notebook"
    answer = question.answer.strip().lower()
    tells = question.answer_kind in ("number", "text", "list") and len(answer) >= 3
    if tells and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text.lower()):
        return "answer given away"
    return None


def _visible(question: AskedQuestion, quotes: str) -> bool:
    """Whether the quotes show the answer: a number as it rounds, a text or each item of a list as it stands."""
    if question.answer_kind == "yes-no":
        return True
    if question.answer_kind == "number":
        wanted = _value(question.answer)
        digits = question.decimals or 0
        values = [_value(found) for found in _NUMBER.findall(quotes)]
        # A share that is shown as 0.231 may be asked for in percent.
        scales = (1.0, 100.0) if "percent" in (question.question + question.guidelines).lower() else (1.0,)
        close = 0.5000001 * 10**-digits
        return any(abs(value * scale - wanted) <= close for value in values for scale in scales)
    items = re.split(r"[,;]", question.answer) if question.answer_kind == "list" else [question.answer]
    return all(_flat(item).lower() in _flat(quotes).lower() for item in items)


def _same(one: AskedQuestion, other: AskedQuestion) -> bool:
    ours, theirs = _telling(one.question), _telling(other.question)
    likeness = len(ours & theirs) / max(len(ours | theirs), 1)
    return likeness >= ALIKE or (likeness >= ALIKE_SAME_ANSWER and is_correct(one.answer, other.answer))


def _telling(text: str) -> set[str]:
    return {word.strip(".") for word in _WORD.findall(text.lower()) if not _COMMON.fullmatch(word)}


def _flat(text: str) -> str:
    return " ".join(text.split())


def _decimals(answer: str) -> int:
    return len(answer.replace("%", "").strip().partition(".")[2])


def _value(text: str) -> float:
    return float(text.replace(",", "").replace("%", "").strip() or "nan")
