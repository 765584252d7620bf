"""The account of one rank: every row that came in is kept or dropped, once, or the rank has failed.

The steps of a rank share one account. It knows the ids of rows that came in and have not yet gone out, writes rows to
the shard and the quarantine, and ends with the marker's counts. It says how far the rank is in `00017.progress`, for
whoever watches; that file is never read as a result.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError

from harness.records import Record
from pipeline.quarantine import Dropped
from pipeline.row import NotebookRow, parent_id
from pipeline.runs.layout import DROPPED, IDS, MARKER, PROGRESS, ROWS, of_rank
from pipeline.runs.store import RowWriter, StoreError, read_rows, whole_file

PROGRESS_S = 0.5
SHOWN_IDS = 5


class AccountError(RuntimeError):
    """A stage lost a row, made one it did not state, or gave one out twice; the message names the rows."""


class Counts(Record):
    """What a rank or a stage did: read + made = kept + dropped. Times in seconds, money in dollars.

    `figures` are what else a stage counts, such as data sets; a name that begins with "bytes" is shown as such.
    """

    read: int = 0
    made: int = 0
    kept: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)
    figures: dict[str, int] = Field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def dropped_rows(self) -> int:
        """How many rows were dropped, for whatever reason."""
        return sum(self.dropped.values())

    def __add__(self, other: Counts) -> Counts:
        tallies = ("dropped", "figures")
        sums = {name: getattr(self, name) + getattr(other, name) for name in Counts.model_fields if name not in tallies}
        for name in tallies:
            sums[name] = dict(Counter(getattr(self, name)) + Counter(getattr(other, name)))
        return Counts(**sums)


class Marker(Record):
    """A finished rank's last file: that it is there says that the rank's other files are whole."""

    rank: int
    counts: Counts


def read_progress(folder: Path, rank: int) -> Counts | None:
    """How far an unfinished rank said it is, or None where it has said nothing yet."""
    try:
        return Counts.model_validate_json(of_rank(folder, rank, PROGRESS).read_bytes())
    except (OSError, ValidationError):
        return None


def read_marker(folder: Path, rank: int) -> Marker | None:
    """A rank's marker, or None while it is not finished."""
    path = of_rank(folder, rank, MARKER)
    return Marker.model_validate_json(path.read_bytes()) if path.exists() else None


def read_whole_shard(folder: Path, rank: int) -> Iterator[NotebookRow]:
    """The rows of a finished rank. Raises StoreError when the shard does not hold as many as the marker says."""
    marker = read_marker(folder, rank)
    path = of_rank(folder, rank, ROWS)
    if marker is None:
        raise StoreError(f"{path}: that rank is not finished. Run its stage first.")
    count = 0
    for row in read_rows(path):
        count += 1
        yield row
    if count != marker.counts.kept:
        raise StoreError(f"{path}: {count} rows, but its marker says {marker.counts.kept}. Remove both and run again.")


def id_hash(row_id: str) -> bytes:
    """Eight bytes for an id, as the files of ids hold them."""
    return hashlib.blake2b(row_id.encode(), digest_size=8).digest()


class Account:
    """See the module's docstring. The rank's writer opens it; until then it can be pickled with the steps."""

    def __init__(self, stage: str, folder: Path, fan_out: bool = False) -> None:
        self.stage = stage
        self.folder = folder
        self.fan_out = fan_out

    @contextmanager
    def opened(self, rank: int) -> Iterator[Self]:
        """A rank from its first row to its marker; no file is left when the block fails.

        Raises AccountError at the end for rows that were neither kept nor dropped.
        """
        self._rank = rank
        self._inside: set[str] = set()
        self._gone: set[str] = set()
        self._ids: list[bytes] = []
        self._dropped: Counter[str] = Counter()
        self._figures: Counter[str] = Counter()
        self._read = self._made = self._input_tokens = self._output_tokens = 0
        self._dollars = 0.0
        self._began = (time.monotonic(), time.process_time())
        with (
            self._saying_progress(),
            RowWriter(of_rank(self.folder, rank, ROWS)) as self._rows,
            RowWriter(of_rank(self.folder, rank, DROPPED)) as self._quarantine,
        ):
            yield self
            self._check_nothing_is_lost()
        with whole_file(of_rank(self.folder, rank, IDS)) as file:
            file.write(b"".join(self._ids))
        with whole_file(of_rank(self.folder, rank, MARKER)) as file:
            file.write(Marker(rank=rank, counts=self.counts()).model_dump_json().encode() + b"\n")

    def read(self, row_id: str) -> None:
        """A row came in. Raises AccountError for an id that came in before."""
        if row_id in self._inside or row_id in self._gone:
            raise AccountError(f"{self._where}: the row {row_id!r} came in twice. Ids must be unique.")
        self._inside.add(row_id)
        self._read += 1

    def keep(self, row: NotebookRow) -> None:
        """A row goes on to the next stage. Raises AccountError for a row that did not come in, or went out before."""
        self._leave(row.id)
        self._ids.append(id_hash(row.id))
        self._rows.write(row)

    def drop(self, dropped: Dropped) -> None:
        """A row goes no further. Raises AccountError as `keep` does."""
        self._leave(dropped.id)
        self._dropped[dropped.reason] += 1
        self._quarantine.write(dropped)

    def spent(self, *, input_tokens: int = 0, output_tokens: int = 0, dollars: float = 0.0) -> None:
        """Something was paid for this rank's rows, failed tries included."""
        self._input_tokens += input_tokens
        self._output_tokens += output_tokens
        self._dollars += dollars

    def count(self, name: str, number: int = 1) -> None:
        """Add to a figure of the stage's own."""
        self._figures[name] += number

    def set_figures(self, figures: Mapping[str, int]) -> None:
        """Set figures that are known as a whole, such as those of a ledger that outlived an earlier try."""
        self._figures.update({name: number - self._figures[name] for name, number in figures.items()})

    def counts(self) -> Counts:
        """What this rank has done until now."""
        return Counts(
            read=self._read,
            made=self._made,
            kept=len(self._ids),
            dropped=dict(self._dropped),
            figures={name: number for name, number in self._figures.items() if number},
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            dollars=self._dollars,
            seconds=round(time.monotonic() - self._began[0], 3),
            cpu_seconds=round(time.process_time() - self._began[1], 3),
        )

    @property
    def _where(self) -> str:
        return f"stage {self.stage}, rank {self._rank}"

    def _leave(self, row_id: str) -> None:
        """Settle a row that came in, or one that was made of it."""
        parent = parent_id(row_id)
        if row_id in self._gone:
            raise AccountError(f"{self._where}: the row {row_id!r} goes out a second time.")
        if row_id in self._inside:
            self._inside.remove(row_id)
        elif self.fan_out and parent in self._inside:
            self._inside.remove(parent)
            self._gone.add(parent)
        elif self.fan_out and parent in self._gone:
            self._made += 1
        else:
            raise AccountError(
                f"{self._where}: the row {row_id!r} goes out, but never came in. A stage that makes several rows of "
                "one says fan_out and names them ID#1, ID#2, ..."
            )
        self._gone.add(row_id)

    def _check_nothing_is_lost(self) -> None:
        if self._inside:
            some = ", ".join(sorted(self._inside)[:SHOWN_IDS])
            raise AccountError(
                f"{self._where}: {len(self._inside)} rows came in and were neither kept nor dropped ({some}). "
                "The stage must hand each row on, or drop it with a reason."
            )

    @contextmanager
    def _saying_progress(self) -> Iterator[None]:
        path, stop = of_rank(self.folder, self._rank, PROGRESS), threading.Event()

        def say() -> None:
            while not stop.wait(PROGRESS_S):
                with whole_file(path, durable=False) as file:
                    file.write(self.counts().model_dump_json().encode())

        thread = threading.Thread(target=say, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            path.unlink(missing_ok=True)
