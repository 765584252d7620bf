"""Which data sets are fetched for a budget of bytes: those that most notebooks read for their size come first.

    plan = plan_bytes(wanted, budget=100 * GB)
    plan.admitted, plan.bytes                     # what is fetched; the bytes foretold

The plan depends on the notebooks and the tables alone, neither on what the cache holds nor on which rank is first, so
that every run of a configuration has the same rows. What a download really takes is watched in `downloads.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Wanted:
    """A data set that `notebooks` read; `bytes` is what Meta Kaggle says its download takes."""

    handle: str
    bytes: int
    notebooks: int


@dataclass(frozen=True)
class Plan:
    """What is fetched; `left_out` did not fit. Bytes as foretold by the tables."""

    admitted: tuple[Wanted, ...]
    left_out: tuple[Wanted, ...]

    @property
    def bytes(self) -> int:
        """What all downloads take."""
        return sum(wanted.bytes for wanted in self.admitted)


def plan_bytes(wanted: Iterable[Wanted], budget: int) -> Plan:
    """Admit by notebooks a byte, then by name, whatever still fits."""
    admitted, left_out, left = [], [], budget
    for one in sorted(wanted, key=lambda one: (-one.notebooks / max(one.bytes, 1), one.handle)):
        if one.bytes <= left:
            admitted.append(one)
            left -= one.bytes
        else:
            left_out.append(one)
    return Plan(tuple(admitted), tuple(left_out))
