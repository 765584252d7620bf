"""Which notebooks are the same, or nearly: by bytes, by code, or by most of its lines; the best of each is kept.

    signature = sign(data, code_lines(notebook))      one notebook: a few hundred bytes for each hundred lines
    table = SignatureTable.of(signatures)             all of a rank, as columns; save(), load(), concatenated()
    fates = judge(table, quality)                     who is kept, who stands for whom, and how like they are

Lines are hashed; candidates are found by MinHash in 28 bands of 4 rows (Broder 1997; Leskovec, Rajaraman, Ullman,
*Mining of Massive Datasets*, ch. 3), and every one is checked by the exact Jaccard index of its lines: the sketch
proposes, it never decides. A notebook is dropped only for one that is kept and is itself that much like it, so chains
of likeness do not merge what is different. Notebooks of few telling lines are compared by their whole code alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from pipeline.reading.code_lines import telling_lines

BANDS, ROWS = 28, 4
LEAST_LINES = 6
LEAST_CODE_LINES = 3
MOST_COMPARED = 64

KEPT, SAME_BYTES, SAME_CODE, NEAR = range(4)

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

# Fixed for all time: signatures of different ranks and days are compared with each other.
_draw = np.random.Generator(np.random.PCG64(20240229))
_FACTORS: U64 = _draw.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_SUMMANDS: U64 = _draw.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
_MIXERS: U64 = _draw.integers(0, 2**63, ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


class Signature(NamedTuple):
    """What is compared of a notebook. `code` is 0 and `bands` None where there are too few lines."""

    data: int
    code: int
    lines: U64
    bands: U64 | None


def sign(data: bytes, lines: Sequence[str]) -> Signature:
    """The signature of a notebook's bytes and code lines."""
    whole = "\n".join(lines).encode("utf-8", "replace")
    code = xxhash.xxh3_64_intdigest(whole) if len(lines) >= LEAST_CODE_LINES else 0
    hashes = {xxhash.xxh3_64_intdigest(line.encode("utf-8", "replace")) for line in telling_lines(lines)}
    own = np.fromiter(hashes, np.uint64, len(hashes))
    own.sort()
    return Signature(xxhash.xxh3_64_intdigest(data), code, own, _bands(own) if len(own) >= LEAST_LINES else None)


def _bands(lines: U64) -> U64:
    """One number a band, equal for two notebooks with the chance (Jaccard index) ** ROWS."""
    least = (lines[None, :] * _FACTORS[:, None] + _SUMMANDS[:, None] >> np.uint64(20)).min(axis=1)
    bands: U64 = (least.reshape(BANDS, ROWS) * _MIXERS).sum(axis=1, dtype=np.uint64)
    return bands


@dataclass(frozen=True)
class SignatureTable:
    """Signatures as columns. `lines[starts[i]:starts[i + 1]]` are the sorted line hashes of row i."""

    data: U64
    code: U64
    bands: U64
    starts: I64
    lines: U64

    def __len__(self) -> int:
        return len(self.data)

    @classmethod
    def of(cls, signatures: Iterable[Signature]) -> SignatureTable:
        """The table of some signatures."""
        rows = list(signatures)
        none = np.zeros(BANDS, np.uint64)
        return cls(
            data=np.array([row.data for row in rows], np.uint64),
            code=np.array([row.code for row in rows], np.uint64),
            bands=np.array([none if row.bands is None else row.bands for row in rows], np.uint64).reshape(-1, BANDS),
            starts=np.cumsum([0, *(len(row.lines) for row in rows)], dtype=np.int64),
            lines=np.concatenate([np.empty(0, np.uint64), *(row.lines for row in rows)]),
        )

    def save(self, file: IO[bytes]) -> None:
        """Write the table to an open file."""
        np.savez(file, data=self.data, code=self.code, bands=self.bands, starts=self.starts, lines=self.lines)

    @classmethod
    def load(cls, file: IO[bytes]) -> SignatureTable:
        """The table that `save` wrote."""
        with np.load(file, allow_pickle=False) as columns:
            return cls(**{name: columns[name] for name in ("data", "code", "bands", "starts", "lines")})

    @classmethod
    def concatenated(cls, tables: Sequence[SignatureTable]) -> SignatureTable:
        """One table of many, in their order."""
        if not tables:
            return cls.of([])
        offsets = np.cumsum([0, *(len(table.lines) for table in tables)], dtype=np.int64)
        starts = [table.starts[:-1] + offset for table, offset in zip(tables, offsets, strict=False)]
        return cls(
            data=np.concatenate([table.data for table in tables]),
            code=np.concatenate([table.code for table in tables]),
            bands=np.concatenate([table.bands for table in tables]),
            starts=np.concatenate([*starts, offsets[-1:]]),
            lines=np.concatenate([table.lines for table in tables]),
        )

    def likeness(self, left: int, right: int) -> float:
        """The exact Jaccard index of the lines of two rows."""
        a, b = self._lines_of(left), self._lines_of(right)
        shared = len(np.intersect1d(a, b, assume_unique=True))
        return shared / (len(a) + len(b) - shared) if shared else 0.0

    def could_reach(self, left: int, right: int, least: float) -> bool:
        """Whether the numbers of lines allow a likeness of `least`."""
        a, b = len(self._lines_of(left)), len(self._lines_of(right))
        return min(a, b) >= least * max(a, b)

    def _lines_of(self, row: int) -> U64:
        return self.lines[self.starts[row] : self.starts[row + 1]]


@dataclass(frozen=True)
class Fates:
    """A row's fate: KEPT or why not; the kept row that stands for it, and how like it is; its family's best row.

    Families are connected by likeness: what is kept of one family belongs on the same side of a split.
    """

    fate: npt.NDArray[np.int8]
    stands_for: I64
    likeness: npt.NDArray[np.float32]
    family: I64
    family_size: I64


def judge(table: SignatureTable, quality: I64, least_likeness: float = 0.6) -> Fates:
    """Decide for every row whether it is kept; of those that are alike, the first of the highest `quality`."""
    families = _Families(len(table))
    for column in (table.data, table.code):
        for group in _equal(column, np.flatnonzero(column)):
            for row in group[1:]:
                families.join(int(group[0]), int(row))
    _join_near(table, families, least_likeness)
    return _choose(table, families, quality, least_likeness)


class _Families:
    """Disjoint sets of rows."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def root(self, row: int) -> int:
        above = self._above
        while above[row] != row:
            above[row] = above[above[row]]
            row = above[row]
        return row

    def join(self, left: int, right: int) -> None:
        left, right = self.root(left), self.root(right)
        self._above[max(left, right)] = min(left, right)

    def members(self) -> Iterator[list[int]]:
        """The sets, each in the order of its rows."""
        sets: dict[int, list[int]] = {}
        for row in range(len(self._above)):
            sets.setdefault(self.root(row), []).append(row)
        yield from sets.values()


def _equal(keys: U64, rows: I64) -> Iterator[I64]:
    """The groups of two and more of `rows` whose keys are equal, each in the order of its rows."""
    if len(rows) < 2:
        return
    ordered = rows[np.argsort(keys[rows], kind="stable")]
    edges = np.flatnonzero(np.diff(keys[ordered])) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(ordered)]])
    for group in np.flatnonzero(ends - starts > 1):
        yield ordered[starts[group] : ends[group]]


def _join_near(table: SignatureTable, families: _Families, least: float) -> None:
    """Join the rows that share a band and are as like as asked."""
    enough = np.diff(table.starts) >= LEAST_LINES
    comparable = np.array([row for row in np.flatnonzero(enough) if families.root(int(row)) == row], np.int64)
    unlike: set[tuple[int, int]] = set()
    for band in range(BANDS):
        for group in _equal(table.bands[:, band], comparable):
            compared: list[int] = []
            for row in map(int, group):
                if any(families.root(row) == families.root(other) for other in compared):
                    continue
                for other in compared:
                    if (other, row) in unlike:
                        continue
                    if table.could_reach(other, row, least) and table.likeness(other, row) >= least:
                        families.join(other, row)
                        break
                    unlike.add((other, row))
                else:
                    if len(compared) < MOST_COMPARED:
                        compared.append(row)


def _choose(table: SignatureTable, families: _Families, quality: I64, least: float) -> Fates:
    """Of each family the best row, and every further one that is not like enough to a kept one."""
    count = len(table)
    fates = Fates(
        fate=np.zeros(count, np.int8),
        stands_for=np.arange(count, dtype=np.int64),
        likeness=np.ones(count, np.float32),
        family=np.arange(count, dtype=np.int64),
        family_size=np.ones(count, np.int64),
    )
    for members in families.members():
        if len(members) == 1:
            continue
        ordered = sorted(members, key=lambda row: (-int(quality[row]), row))
        fates.family[members], fates.family_size[members] = ordered[0], len(members)
        kept: list[int] = []
        for row in ordered:
            fate, other, likeness = _compared(table, row, kept, least)
            if fate == KEPT:
                kept.append(row)
            else:
                fates.fate[row], fates.stands_for[row], fates.likeness[row] = fate, other, likeness
    return fates


def _compared(table: SignatureTable, row: int, kept: list[int], least: float) -> tuple[int, int, float]:
    """(fate, the kept row that stands for it, likeness)."""
    for fate, column in ((SAME_BYTES, table.data), (SAME_CODE, table.code)):
        for other in kept:
            if column[row] and column[row] == column[other]:
                return fate, other, 1.0
    for other in kept[:MOST_COMPARED]:
        if table.could_reach(row, other, least) and (likeness := table.likeness(row, other)) >= least:
            return NEAR, other, likeness
    return KEPT, row, 1.0
