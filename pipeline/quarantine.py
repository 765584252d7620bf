"""The quarantine: every row that a stage dropped, with the stage, the reason and a sample of what was wrong.

    for dropped in read_quarantine(run):        # a run's folder
        print(dropped.stage, dropped.reason, dropped.id)
    for line in summary(run):                   # counts by stage and reason, each with samples

The reason is a short phrase that is the same for all rows dropped on the same ground ("no code cells"), for it is
counted; what is special about this row goes into the sample. Rows lie in `STAGE/00017.dropped.jsonl.zst`, one file a
rank, beside the rows that were kept; DuckDB reads them all: `select * from 'RUN/stages/*/*.dropped.jsonl.zst'`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator

from harness.records import Record

SAMPLE_CHARACTERS = 300
_UNPRINTABLE = re.compile(r"[^\S ]+|[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


class Dropped(Record):
    """A row that went no further. `sample` is cut to 300 characters on one line, without control characters."""

    stage: str
    reason: str = Field(min_length=1)
    id: str
    sample: str = ""

    @field_validator("sample", mode="before")
    @classmethod
    def _one_line(cls, sample: object) -> str:
        text = _UNPRINTABLE.sub(" ", str(sample)[: 4 * SAMPLE_CHARACTERS]).strip()
        return text if len(text) <= SAMPLE_CHARACTERS else text[: SAMPLE_CHARACTERS - 1] + "…"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The record of one stored line."""
        return cls.model_validate_json(line)


@dataclass(frozen=True)
class ReasonCount:
    """How many rows a stage dropped on one ground, with the first few of them."""

    stage: str
    reason: str
    count: int
    samples: tuple[Dropped, ...]


def read_quarantine(run: Path, stage: str | None = None) -> Iterator[Dropped]:
    """What the finished ranks of a run dropped, in the order of stages and ranks; of one stage where it is named."""
    from pipeline.runs.layout import DROPPED, stage_folders
    from pipeline.runs.store import read_lines

    for name, folder in stage_folders(run):
        if stage in (None, name):
            for file in sorted(folder.glob(f"*{DROPPED}")):
                yield from map(Dropped.from_line, read_lines(file))


def summary(run: Path, stage: str | None = None, samples: int = 3) -> list[ReasonCount]:
    """Counts by stage and reason, the most frequent reason of a stage first, each with its first `samples` rows."""
    counts: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], list[Dropped]] = {}
    order: dict[str, int] = {}
    for dropped in read_quarantine(run, stage):
        key = (dropped.stage, dropped.reason)
        order.setdefault(dropped.stage, len(order))
        counts[key] = counts.get(key, 0) + 1
        if len(kept := first.setdefault(key, [])) < samples:
            kept.append(dropped)
    keys = sorted(counts, key=lambda key: (order[key[0]], -counts[key], key[1]))
    return [ReasonCount(*key, counts[key], tuple(first[key])) for key in keys]
