"""Splits that share nothing: questions with a source in common are in the same split.

    split_of = assign({"q1": ["titanic", "family a"], "q2": ["titanic"], "q3": ["iris"]}, Shares(), seed=0)

Sources are the data sets of a question and the family of near-duplicate notebooks that it comes from. Questions that
share one, directly or by a chain of others, are one group, and a group is in one split. Which one follows from the
hash of the group's first source alone, so a group stays where it is when others are added; shares are met only roughly,
the more so where one data set has most of the questions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.row import Split


@dataclass(frozen=True)
class Shares:
    """The share of groups for validation and for test; the rest is for training."""

    validation: float = 0.02
    test: float = 0.02

    def __post_init__(self) -> None:
        if not (self.validation >= 0 and self.test >= 0 and self.validation + self.test < 1):
            raise ValueError(
                f"shares: validation {self.validation} and test {self.test} must not be negative, nor leave training "
                "without any."
            )


def assign(sources: Mapping[str, Iterable[str]], shares: Shares, seed: int = 0) -> dict[str, Split]:
    """The split of each question, by the sources of each. A question without a source is a group of its own."""
    group = _Groups()
    for question, named in sources.items():
        own = f"question {question}"
        group.find(own)
        for source in named:
            group.join(own, f"source {source}")
    firsts: dict[str, str] = {}
    for question, named in sources.items():
        root = group.find(f"question {question}")
        name = min(named, default=f"question {question}")
        firsts[root] = min(firsts.get(root, name), name)
    return {question: _split(firsts[group.find(f"question {question}")], shares, seed) for question in sources}


def _split(name: str, shares: Shares, seed: int) -> Split:
    digest = hashlib.blake2b(f"{seed} {name}".encode("utf-8", "replace"), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    if place < shares.test:
        return "test"
    return "validation" if place < shares.test + shares.validation else "train"


class _Groups:
    """Union-find."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, item: str) -> str:
        self._parent.setdefault(item, item)
        while (parent := self._parent[item]) != item:
            self._parent[item] = self._parent[parent]
            item = parent
        return item

    def join(self, one: str, other: str) -> None:
        self._parent[self.find(one)] = self.find(other)
