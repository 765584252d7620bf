"""The ledger of downloads: what became of each data set, its bytes, and when Kaggle may be asked again.

    ledger = Downloads(path, budget=100 * GB)
    ledger.begin(handle, foretold, rank)         # False: it does not fit into what is left of the budget
    ledger.paid(handle, 1_000_000, archive)      # False: the budget is spent
    ledger.end(handle, "fetched")                # or a reason
    ledger.pause(30), ledger.seconds_to_wait()   # what a 429 asks of all ranks

One SQLite file for all ranks of a run, also on other machines: rollback journal, since WAL needs shared memory.
Bytes are what reached the disk, those of failed tries included. What a killed process has not said, the next one that
goes on with the archive says.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
create table if not exists downloads (
    handle text primary key, outcome text, detail text not null default '', reserved integer not null default 0,
    paid integer not null default 0, archive integer not null default 0, attempts integer not null default 0,
    rank integer not null, ended real
);
create table if not exists pace (id integer primary key check (id = 1), not_before real not null);
insert or ignore into pace values (1, 0);
"""
FETCHED = "fetched"


@dataclass(frozen=True)
class Download:
    """One line: `outcome` is FETCHED, a reason, or None while nobody has ended it.

    `paid` is how many bytes came, in all tries; `archive` how large the unfinished archive was when last looked at.
    """

    handle: str
    outcome: str | None
    detail: str
    paid: int
    archive: int
    attempts: int
    rank: int


class Downloads:
    """Opened by each process for itself; safe to share the file."""

    def __init__(self, path: Path, budget: int) -> None:
        self._budget = budget
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=120, isolation_level=None)
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def begin(self, handle: str, foretold: int, rank: int, archive: int = 0) -> bool:
        """Reserve what a download is foretold to take; `archive` is what is there of it from another run.

        False where the budget has no room for it.
        """
        with self._writing():
            self._connection.execute(
                "insert or ignore into downloads (handle, rank, archive) values (?, ?, ?)", (handle, rank, archive)
            )
            (own,) = self._connection.execute("select paid from downloads where handle = ?", (handle,)).fetchone()
            if self._used() - own + max(own, foretold) > self._budget:
                return False
            self._connection.execute(
                "update downloads set reserved = ?, outcome = null where handle = ?", (foretold, handle)
            )
            return True

    def attempt(self, handle: str) -> None:
        """Count a try."""
        with self._writing():
            self._connection.execute("update downloads set attempts = attempts + 1 where handle = ?", (handle,))

    def paid(self, handle: str, count: int, archive: int) -> bool:
        """Add bytes that came, with the archive's size now. False where all ranks together are over the budget."""
        with self._writing():
            self._connection.execute(
                "update downloads set paid = paid + ?, archive = ? where handle = ?", (count, archive, handle)
            )
            return self._used() <= self._budget

    def end(self, handle: str, outcome: str, detail: str = "") -> None:
        """Say what became of a data set; its reservation ends."""
        with self._writing():
            self._connection.execute(
                "update downloads set outcome = ?, detail = ?, reserved = 0, ended = ? where handle = ?",
                (outcome, detail[:500], time.time(), handle),
            )

    def get(self, handle: str) -> Download | None:
        """A data set's line."""
        found = self._lines("where handle = ?", handle)
        return found[0] if found else None

    def of_rank(self, rank: int) -> list[Download]:
        """The lines of the data sets that a rank was the first to begin: each is of one rank, and stays so."""
        return self._lines("where rank = ? order by handle", rank)

    def last_outcomes(self, count: int) -> list[str]:
        """The latest outcomes of all ranks, the last one first."""
        rows = self._connection.execute(
            "select outcome from downloads where ended is not null order by ended desc limit ?", (count,)
        )
        return [outcome for (outcome,) in rows]

    def pause(self, seconds: float) -> None:
        """Let no rank ask Kaggle for some time."""
        with self._writing():
            self._connection.execute("update pace set not_before = max(not_before, ?)", (time.time() + seconds,))

    def seconds_to_wait(self) -> float:
        """How long Kaggle is not to be asked yet."""
        (moment,) = self._connection.execute("select not_before from pace").fetchone()
        return max(0.0, float(moment) - time.time())

    def _used(self) -> int:
        (used,) = self._connection.execute("select coalesce(sum(max(paid, reserved)), 0) from downloads").fetchone()
        return int(used)

    def _lines(self, where: str, value: str | int) -> list[Download]:
        rows = self._connection.execute(
            f"select handle, outcome, detail, paid, archive, attempts, rank from downloads {where}", (value,)
        )
        return [Download(*row) for row in rows]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")
