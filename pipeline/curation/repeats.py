"""Questions that several notebooks lead to: of those that ask the same of the same data set, one stays.

    repeats([Asked("a#1", "What is the mean price?", "5.5", ("data set ann/shop",), place), ...])   # {"b#2": "a#1"}

Two questions are the same where their words are, or where they are alike in wording as the contamination gate has it
(`pipeline/gates/wording.py`), name the same numbers and have answers that agree by the one grader: templates make
questions alike that ask for different things, and then the answers differ. Which one stays does not depend on the
order in which they come. A paraphrase in other words is not found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.grader import is_correct
from pipeline.gates.wording import LIKE, Wordings, words

_NUMBER = re.compile(r"\d*\.\d+|\d+")
_ANSWER = re.compile(r"[-+$]?\s*(\d*\.\d+|\d+)\s*%?")


@dataclass(frozen=True)
class Asked:
    """A question as it is compared. Only questions with a source in common are; of several the one with the least
    `place` stays, and of those the one whose id comes first."""

    id: str
    question: str
    answer: str
    sources: tuple[str, ...]
    place: tuple[float, ...] = ()


def repeats(asked: Iterable[Asked]) -> dict[str, str]:
    """The ids of questions that ask what another asks, each with the id of the one that stays."""
    found: dict[str, str] = {}
    worded: dict[tuple[str, tuple[str, ...]], str] = {}
    alike: dict[tuple[str, str], Wordings[Asked]] = {}
    for one in sorted(asked, key=lambda one: (one.place, one.id)):
        names = [(source, words(one.question)) for source in one.sources]
        places = [(source, key) for source in one.sources for key in _answer_keys(one.answer)]
        near = (other.id for place in places if place in alike for other in _same(one, alike[place]))
        if (kept := next((worded[name] for name in names if name in worded), None) or next(near, None)) is not None:
            found[one.id] = kept
            continue
        worded |= dict.fromkeys(names, one.id)
        for place in places:
            alike.setdefault(place, Wordings()).add(one, one.question)
    return found


def _same(one: Asked, kept: Wordings[Asked]) -> Iterator[Asked]:
    numbers = sorted(_NUMBER.findall(one.question))
    for other, _ in kept.like(one.question, LIKE):
        if sorted(_NUMBER.findall(other.question)) == numbers and is_correct(one.answer, other.answer):
            yield other


def _answer_keys(answer: str) -> tuple[str, ...]:
    """Keys of which two answers that agree have one in common: of a number its first two digits, rounded both ways.

    So a question is compared with those of like answers only, not with all that notebooks ask of a popular data set.
    """
    text = " ".join(answer.casefold().split())
    number = _ANSWER.fullmatch(text.replace(",", ""))
    if number is None:
        return (text,)
    value = float(number[1])
    if not 1e-3 < value < math.inf:
        return ("0" if value < 1 else "inf",)
    digit = 10.0 ** (math.floor(math.log10(value)) - 1)
    down = math.floor(value / digit)
    return f"{down * digit:.2g}", f"{(down + 1) * digit:.2g}"
