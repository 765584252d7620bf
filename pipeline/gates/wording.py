"""How alike texts are worded, whatever their case, punctuation and blanks: by their runs of five letters (Dice).

known = Wordings[str]()
known.add("q1", "Which village has the most ovens?")
next(known.like("Which villages have the most ovens?", LIKE), None)      # ("q1", 0.82), the most alike first
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

LETTERS = 5
LIKE = 0.75
"""Share of runs of five letters from which on a question is another one reworded a little."""
MOST_LOOKED_AT = 20
_WORD = re.compile(r"[^\W_]+")

T = TypeVar("T")


def words(text: str) -> tuple[str, ...]:
    """The words of a text, in small letters."""
    return tuple(_WORD.findall(text.casefold()))


def letters(text: str) -> frozenset[str]:
    """All runs of five letters, words set apart by a blank."""
    plain = " ".join(words(text))
    return frozenset(plain[start : start + LETTERS] for start in range(max(len(plain) - LETTERS + 1, 0)))


class Wordings(Generic[T]):
    """Texts, each of some item, that are found again by texts like them."""

    def __init__(self) -> None:
        self._items: list[tuple[T, int]] = []
        self._with: dict[str, list[int]] = {}

    def add(self, item: T, text: str) -> None:
        """Remember `text` for `item`."""
        runs = letters(text)
        for run in runs:
            self._with.setdefault(run, []).append(len(self._items))
        self._items.append((item, len(runs)))

    def like(self, text: str, least: float) -> Iterator[tuple[T, float]]:
        """Of the 20 that share most runs with `text`, those at least that much like it, each with its likeness."""
        runs, shared = letters(text), Counter[int]()
        for run in runs:
            shared.update(self._with.get(run, ()))
        for number, count in shared.most_common(MOST_LOOKED_AT):
            item, size = self._items[number]
            if (likeness := 2 * count / (len(runs) + size)) >= least:
                yield item, likeness
