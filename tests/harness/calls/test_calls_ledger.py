"""The ledger: kept before it is used, counted however it ends, shared by processes, refused when it is none."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.calls.endpoint import Budget
from harness.calls.ledger import Ledger, LedgerError, Ticket
from harness.calls.owners import is_gone, owner
from harness.calls.reading import Usage
from harness.calls.spending import Cost, Recent

NAMES = ("score", "judge", "m")
MOST = Cost(unseen_tokens=100, unseen_dollars=0.5)


def begin(ledger: Ledger, key: bytes = b"k", budget: Budget | None = None, longest_s: float = 60) -> Ticket | int:
    return ledger.begin(key, NAMES, MOST, budget or Budget(), longest_s)


def begun(ledger: Ledger, key: bytes = b"k", longest_s: float = 60) -> Ticket:
    ticket = begin(ledger, key, longest_s=longest_s)
    assert isinstance(ticket, Ticket)
    return ticket


def test_tries_are_summed_by_stage_and_outcome(ledger: Ledger) -> None:
    ledger.settle(begun(ledger), "answered", Cost(Usage(10, 5, 2), 0.25), {"text": "a"})
    ledger.settle(begun(ledger), "429", Cost())
    ledger.settle(begun(ledger), "timed out", MOST)
    ledger.settle(begun(ledger), "wrong schema", Cost(Usage(10, 1), None))
    totals = ledger.totals("score")
    assert totals.tries == {"answered": 1, "429": 1, "timed out": 1, "wrong schema": 1}
    assert (totals.input_tokens, totals.output_tokens, totals.cached_tokens) == (20, 6, 2)
    assert (totals.dollars, totals.unpriced, totals.unseen_tokens, totals.unseen_dollars) == (0.25, 1, 100, 0.5)
    assert ledger.totals() == totals
    assert ledger.totals("other").answered == 0
    assert str(totals) == (
        "1 answered, 26 tokens, $0.25 (and at most $0.50 for replies that never came), 1 calls without a price; "
        "failed: 429 1, timed out 1, wrong schema 1"
    )


def test_what_is_in_flight_counts_into_the_budget_until_it_is_settled(ledger: Ledger) -> None:
    first = begun(ledger)
    assert begin(ledger, budget=Budget(dollars=0.99)) == 1  # one in flight, which may yet leave room
    assert begin(ledger, budget=Budget(tokens=199)) == 1
    ledger.settle(first, "answered", Cost(Usage(1, 1), 0.01))
    assert isinstance(begin(ledger, budget=Budget(dollars=0.99)), Ticket)


def test_what_a_killed_process_had_in_flight_is_counted_as_lost(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    code = (
        "import sys, pathlib, os, signal\n"
        "from tests.harness.calls.test_calls_ledger import *\n"
        "ledger = Ledger(pathlib.Path(sys.argv[1]))\n"
        "begun(ledger, b'1'); ledger.settle(begun(ledger, b'2'), 'answered', Cost(Usage(1, 1), 0.25), {'text': 'a'})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    with Ledger(path) as ledger:
        assert ledger.in_flight() == 0
        assert ledger.totals().tries == {"lost in flight": 1, "answered": 1}
        assert (ledger.totals().dollars, ledger.totals().unseen_dollars) == (0.25, 0.5)
        assert ledger.outcome(b"2") == {"text": "a"}


def test_what_lives_is_not_counted_as_lost_and_what_is_long_over_is(ledger: Ledger) -> None:
    begun(ledger, b"1", longest_s=60)
    begun(ledger, b"2", longest_s=-1)
    with Ledger(ledger.path) as second:
        assert second.totals().tries == {"lost in flight": 1}
        assert second.in_flight() == 1


def test_an_owner_is_gone_when_its_number_belongs_to_a_later_process() -> None:
    host, pid, born = owner().rsplit(" ", 2)
    assert not is_gone(owner())
    assert is_gone(f"{host} {pid} {int(born) - 1}")
    assert not is_gone(f"elsewhere {pid} 1")  # another machine's cannot be known
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_gone(f"{host} {ended.pid} {born}")


def test_processes_share_one_ledger_and_one_budget(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    code = (
        "import sys, pathlib\n"
        "from tests.harness.calls.test_calls_ledger import *\n"
        "ledger, began = Ledger(pathlib.Path(sys.argv[1])), 0\n"
        "for row in range(200):\n"
        "    ticket = begin(ledger, f'{sys.argv[2]}-{row}'.encode(), Budget(dollars=30))\n"
        "    if isinstance(ticket, Ticket):\n"
        "        ledger.settle(ticket, 'answered', Cost(Usage(1, 0), 0.1), {'text': 'x' * 500})\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    with Ledger(path) as ledger:
        assert 29.0 < ledger.totals().dollars <= 30.0
        assert ledger.totals().answered == len(ledger._rows("SELECT key FROM outcomes"))


def test_rate_and_time_left_come_from_the_last_minute(ledger: Ledger) -> None:
    assert ledger.recent("score").seconds_left(10) is None
    for number in range(4):
        ledger.settle(begun(ledger, bytes([number])), "answered", Cost())
    ledger.settle(begun(ledger), "500", Cost())
    time.sleep(0.1)
    recent = ledger.recent("score")
    assert recent.answered == 4
    assert 0.1 <= recent.seconds < 60
    assert recent.seconds_left(8) == pytest.approx(2 * recent.seconds)
    assert Recent(30, 60.0).seconds_left(15) == 30.0
    assert ledger.recent("other").answered == 0


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "rank-1.sqlite") as opened:
        yield opened


def test_a_ledger_takes_another_over_once(ledger: Ledger, other: Ledger) -> None:
    ledger.settle(begun(ledger, b"1"), "answered", Cost(Usage(1, 1), 0.5), {"text": "mine"})
    other.settle(begun(other, b"1"), "answered", Cost(Usage(1, 1), 0.5), {"text": "theirs"})
    other.settle(begun(other, b"2"), "answered", Cost(Usage(1, 1), 0.5), {"text": "new"})
    assert (ledger.take_over(other.path), ledger.take_over(other.path)) == (1, 0)
    assert ledger.outcome(b"1") == {"text": "mine"}
    assert ledger.outcome(b"2") == {"text": "new"}
    assert (ledger.totals().dollars, ledger.totals().answered) == (1.5, 3)  # what was paid twice was paid
    other.settle(begun(other, b"3"), "answered", Cost())
    with pytest.raises(LedgerError, match="has grown since"):
        ledger.take_over(other.path)


def test_what_is_no_ledger_is_refused_by_name(tmp_path: Path) -> None:
    text = tmp_path / "notes.sqlite"
    text.write_text("not a database at all, but long enough to be looked at" * 40)
    with pytest.raises(LedgerError, match=r"notes\.sqlite: file is not a database"):
        Ledger(text)
    later = tmp_path / "later.sqlite"
    with sqlite3.connect(later) as base:
        base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(LedgerError, match="a ledger of version 99; this program knows 1"):
        Ledger(later)
    with pytest.raises(LedgerError, match="unable to open"):
        Ledger(Path(os.devnull) / "calls.sqlite") if os.geteuid() else Ledger(tmp_path)


def test_a_full_disk_is_an_error_with_a_mend_and_leaves_nothing_half_done(ledger: Ledger) -> None:
    ticket = begun(ledger)
    pages = ledger._rows("PRAGMA page_count")[0][0]
    ledger._rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerError, match=r"full.*whether the disk has room"):
        ledger.settle(ticket, "answered", Cost(Usage(1, 1), 0.1), {"text": "x" * 100_000})
    assert (ledger.outcome(b"k"), ledger.totals().answered, ledger.in_flight()) == (None, 0, 1)
