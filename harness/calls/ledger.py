"""The ledger of calls: one SQLite file a run, in which every reply is kept before it is used and every try is counted.

    with Ledger(Path("run/calls.sqlite")) as ledger:
        print(ledger.totals("edu_score"), ledger.recent("edu_score").per_second)

A reply that is in it is never paid again. A process that is killed loses only the calls that were in flight; those were
written down before they were made, and the next process counts them as lost, with the most they can have cost.

All processes of a machine share one file (WAL, one short write at a time, the others wait): only so is a budget one
number, and what one rank paid is there for the next. SQLite must not lie on a network file system; ranks on other
machines keep a ledger each, and `take_over` brings them together. Not for use across a fork.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

from harness.calls.endpoint import Budget
from harness.calls.owners import is_gone, owner
from harness.calls.spending import Cost, Recent, Totals

VERSION = 1
BUSY_S = 60.0
"""A process waits this long for others to finish their writes."""

WHERE = "WHERE (? IS NULL OR stage = ?)"
SPENT = """
    SELECT (SELECT COALESCE(SUM(dollars + unseen_dollars), 0) FROM totals)
         + (SELECT COALESCE(SUM(dollars), 0) FROM in_flight),
           (SELECT COALESCE(SUM(input_tokens + output_tokens + unseen_tokens), 0) FROM totals)
         + (SELECT COALESCE(SUM(tokens), 0) FROM in_flight)
"""
COUNTS = "input_tokens, cached_tokens, output_tokens, dollars, unpriced, unseen_tokens, unseen_dollars"
SUMS = f"{COUNTS}, seconds, tries"
ADD_TO_TOTALS = f"ON CONFLICT DO UPDATE SET {', '.join(f'{s} = {s} + excluded.{s}' for s in SUMS.split(', '))}"
TRY = f"key, stage, endpoint, model, outcome, started, ended, {COUNTS}"
FLYING = "SELECT number, key, stage, endpoint, model, started, owner, expires, tokens, dollars FROM in_flight"


class LedgerError(RuntimeError):
    """A ledger that cannot be opened, read or written; the message names the file, the reason and the mend."""


@dataclass(frozen=True)
class Ticket:
    """A try in flight: what `settle` needs."""

    number: int
    key: bytes
    stage: str
    endpoint: str
    model: str
    started: float


class Ledger:
    """One run's ledger, open; see the module's text. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._reported():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
            self.count_lost()
        except BaseException:
            self._base.close()
            raise

    def _prepare(self) -> None:
        with self._reported():
            if self._base.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise LedgerError(f"{self.path}: its file system has no WAL. Put the ledger on a local disk.")
            self._base.execute("PRAGMA synchronous = NORMAL")
            version = self._base.execute("PRAGMA user_version").fetchone()[0]
        if version == VERSION:
            return
        if version != 0:
            raise LedgerError(f"{self.path}: a ledger of version {version}; this program knows {VERSION}. Use another.")
        with self._writing() as base:
            for statement in _schema():
                base.execute(statement)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"{self.path}: {error}. Look whether it is a ledger, whether the disk has room, and what else holds "
                "the file. Every reply that was handed on is kept."
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, alone; committed when the block ends."""
        with self._lock, self._reported():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._lock, self._reported():
            return self._base.execute(query, values).fetchall()

    def outcome(self, key: bytes) -> dict[str, Any] | None:
        """What was kept for a question: the fields of a reply or of a final failure; None where there is nothing."""
        rows = self._rows("SELECT outcome FROM outcomes WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def begin(
        self, key: bytes, names: tuple[str, str, str], most: Cost, budget: Budget, longest_s: float
    ) -> Ticket | int:
        """Write down a try before it is made.

        Where it might go beyond `budget` nothing is written, and the number of tries in flight is returned: as they
        end, they may leave room. `names` are stage, endpoint and model; `most` is the most it can cost, `longest_s` the
        longest it can last.
        """
        now = time.time()
        with self._writing() as base:
            if budget != Budget():
                dollars, tokens = base.execute(SPENT).fetchone()
                if not budget.holds(dollars + most.unseen_dollars, tokens + most.unseen_tokens):
                    return int(base.execute("SELECT COUNT(*) FROM in_flight").fetchone()[0])
            row = (None, key, *names, owner(), now, now + longest_s, most.unseen_tokens, most.unseen_dollars)
            number = base.execute(f"INSERT INTO in_flight VALUES ({_marks(row)})", row).lastrowid
        return Ticket(number or 0, key, *names, now)

    def settle(self, ticket: Ticket, outcome: str, cost: Cost, keep: dict[str, Any] | None = None) -> None:
        """Count a try as ended ("answered", or why not), and keep its reply, in one commit."""
        with self._writing() as base:
            _count(base, ticket, outcome, cost, time.time())
            if keep is not None:
                _keep(base, ticket.key, ticket.stage, keep)

    def fail(self, key: bytes, stage: str, failure: dict[str, Any]) -> None:
        """Keep a final failure, so that a rerun does not pay for it again."""
        with self._writing() as base:
            _keep(base, key, stage, failure)

    def forget_failures(self, stage: str) -> int:
        """Forget a stage's final failures, so that they are asked anew; how many there were."""
        with self._writing() as base:
            query = "DELETE FROM outcomes WHERE stage = ? AND json_extract(outcome, '$.reason') IS NOT NULL"
            return base.execute(query, (stage,)).rowcount

    def count_lost(self) -> int:
        """Count the tries whose process is gone, or that are long over, as lost; how many there were."""
        now = time.time()
        if not any(now > row[7] or is_gone(row[6]) for row in self._rows(FLYING)):
            return 0
        lost = 0
        with self._writing() as base:
            for *ticket, name, expires, tokens, dollars in base.execute(FLYING).fetchall():
                if now > expires or is_gone(name):
                    cost = Cost(unseen_tokens=tokens, unseen_dollars=dollars)
                    _count(base, Ticket(*ticket), "lost in flight", cost, now)
                    lost += 1
        return lost

    def in_flight(self) -> int:
        """Tries in flight, of all processes."""
        return int(self._rows("SELECT COUNT(*) FROM in_flight")[0][0])

    def totals(self, stage: str | None = None) -> Totals:
        """What a stage (None: the whole run) has spent in all its processes and runs."""
        tries = dict(self._rows(f"SELECT outcome, SUM(tries) FROM totals {WHERE} GROUP BY outcome", stage, stage))
        columns = [f"COALESCE(SUM({name}), 0)" for name in f"{COUNTS}, seconds".split(", ")]
        return Totals(tries, *self._rows(f"SELECT {', '.join(columns)} FROM totals {WHERE}", stage, stage)[0])

    def recent(self, stage: str | None = None, seconds: float = 60.0) -> Recent:
        """What was answered within the last `seconds` (or since the first of these replies)."""
        now = time.time()
        query = f"SELECT COUNT(*), MIN(started) FROM tries {WHERE} AND ended > ? AND outcome = 'answered'"
        answered, first = self._rows(query, stage, stage, now - seconds)[0]
        return Recent(answered, min(seconds, max(now - first, 1e-3)) if answered else seconds)

    def take_over(self, other: Path) -> int:
        """Copy what another, finished ledger has kept and counted; how many outcomes were new here.

        Taking the same one twice changes nothing. Raises LedgerError where it has grown since it was taken.
        """
        with closing(Ledger(other)):  # refuses what is no ledger, and counts what was lost there
            pass
        with self._lock, self._reported():
            self._base.execute("ATTACH ? AS other", (str(other),))
            try:
                with self._writing() as base:
                    return _take_over(base, other)
            finally:
                self._base.execute("DETACH other")


def _take_over(base: sqlite3.Connection, path: Path) -> int:
    name, tries = base.execute("SELECT name, (SELECT COUNT(*) FROM other.tries) FROM other.identity").fetchone()
    taken = base.execute("SELECT tries FROM taken WHERE name = ?", (name,)).fetchone()
    if taken is not None:
        if taken[0] != tries:
            raise LedgerError(
                f"{path}: it has grown since it was taken over. Take ledgers over when their runs are done."
            )
        return 0
    base.execute("INSERT INTO taken VALUES (?, ?)", (name, tries))
    base.execute(f"INSERT INTO tries ({TRY}) SELECT {TRY} FROM other.tries")
    columns = f"stage, endpoint, model, outcome, {SUMS}"
    base.execute(f"INSERT INTO totals ({columns}) SELECT {columns} FROM other.totals WHERE true {ADD_TO_TOTALS}")
    return base.execute("INSERT OR IGNORE INTO outcomes SELECT * FROM other.outcomes").rowcount


def _count(base: sqlite3.Connection, ticket: Ticket, outcome: str, cost: Cost, ended: float) -> None:
    """Move a try from those in flight to the list and the sums."""
    usage, unpriced = cost.usage, int(cost.dollars is None)
    tokens = (usage.input_tokens, usage.cached_tokens, usage.output_tokens)
    counts = (*tokens, cost.dollars or 0.0, unpriced, cost.unseen_tokens, cost.unseen_dollars)
    names = (ticket.stage, ticket.endpoint, ticket.model, outcome)
    row = (ticket.key, *names, ticket.started, ended, *counts)
    sums = (*names, *counts, max(0.0, ended - ticket.started), 1)
    base.execute("DELETE FROM in_flight WHERE number = ?", (ticket.number,))
    base.execute(f"INSERT INTO tries ({TRY}) VALUES ({_marks(row)})", row)
    base.execute(
        f"INSERT INTO totals (stage, endpoint, model, outcome, {SUMS}) VALUES ({_marks(sums)}) {ADD_TO_TOTALS}", sums
    )


def _keep(base: sqlite3.Connection, key: bytes, stage: str, outcome: dict[str, Any]) -> None:
    """As JSON in ASCII: replies may hold lone surrogates, which SQLite cannot store as text."""
    text = json.dumps(outcome, separators=(",", ":"))
    base.execute("INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?)", (key, stage, text))


def _marks(values: tuple[Any, ...]) -> str:
    return ", ".join("?" * len(values))


@cache
def _schema() -> list[str]:
    text = resources.files("harness.calls").joinpath("ledger.sql").read_text(encoding="utf-8")
    return [statement for statement in text.split(";\n") if statement.strip()]
