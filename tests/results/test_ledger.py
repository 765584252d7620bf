"""The ledger takes only rows that can be trusted later, loses none, and never mixes a torn line with a whole one."""

from __future__ import annotations

import fcntl
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harness.records import Interval, Result
from results.intervals import interval
from results.ledger import LedgerError, append, read, record, repair

Row = Callable[..., Result]


def test_rows_come_back_as_they_were_written(row: Row, tmp_path: Path) -> None:
    ledger = tmp_path / "runs" / "ledger.jsonl"
    rows = [row(0, 72), row(54, 72, note="twenty | bars\nand a line end")]
    append(rows[:1], ledger)
    append(rows[1:], ledger)
    assert read(ledger) == rows
    assert len(ledger.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "field",
    [
        "k",
        "n",
        "errors",
        "interval",
        "tokens",
        "cost_basis",
        "wall_s",
        "commit",
        "data_hash",
        "model_hash",
        "log",
        "task",
        "split",
        "model",
    ],
)
def test_a_run_that_lacks_a_field_is_refused_by_its_name(field: str, row: Row, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    fields = {name: value for name, value in row().model_dump().items() if name != field}
    with pytest.raises(LedgerError, match=rf"row 2: .*\b{field}\b"):
        append([row(), fields], ledger)
    assert not ledger.exists(), "a refused row takes its whole batch with it"


def test_a_published_figure_needs_its_source_and_percent_but_no_k(row: Row, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    published: dict[str, Any] = {
        **{name: getattr(row(), name) for name in ("task", "split", "model", "scaffold", "exposure", "recorded_at")},
        "kind": "reported",
        "percent": 75.0,
    }
    with pytest.raises(LedgerError, match="source"):
        append([published], ledger)
    append([published | {"source": "the authors' blog, 2025-09"}], ledger)
    assert read(ledger)[0].k is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"interval": Interval(low=0.7, high=0.8)}, "not the Wilson interval of 54/72"),
        ({"errors": 19}, "19 errors do not fit"),
        ({"percent": 76.4}, "which is 75.0"),
        ({"k": 0, "n": 0, "interval": interval(0, 1)}, "no share"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_figures_that_contradict_each_other_are_refused(
    changes: dict[str, Any], word: str, row: Row, tmp_path: Path
) -> None:
    with pytest.raises(LedgerError, match=word):
        append([row().model_dump() | changes], tmp_path / "ledger.jsonl")


WRITER = """
import sys
from pathlib import Path
from harness.records import Result
from results.ledger import append
row, ledger, writer = Result.model_validate_json(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
print("ready", flush=True)
sys.stdin.readline()
for number in range(200):
    append([row.model_copy(update={"note": f"{writer}.{number} " + "x" * 5_000})], ledger)
"""


def test_two_processes_that_append_at_once_lose_nothing(row: Row, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, row().model_dump_json(), ledger, writer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for writer in "12"
    ]
    for process in writers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in writers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in writers:
        process.communicate()
        assert process.returncode == 0
    notes = [(kept.note or "").split()[0] for kept in read(ledger)]
    assert len(notes) == 400
    for writer in "12":
        own = [note for note in notes if note.startswith(f"{writer}.")]
        assert own == [f"{writer}.{number}" for number in range(200)], "each writer's rows stay in order"


def test_a_writer_waits_for_its_turn(row: Row, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    writer = threading.Thread(target=append, args=([row()], ledger))
    with ledger.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        assert ledger.read_bytes() == b""
    writer.join(10)
    assert read(ledger) == [row()]


def test_a_torn_line_is_refused_on_reading(row: Row, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    append([row()], ledger)
    with ledger.open("a") as out:
        out.write('{"schema_version":1,"kind":"ru')
    with pytest.raises(LedgerError, match=r"ledger\.jsonl:2: the last line is torn"):
        read(ledger)


def test_the_next_append_sets_a_torn_line_aside(row: Row, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = tmp_path / "ledger.jsonl"
    append([row()], ledger)
    with ledger.open("a") as out:
        out.write('{"schema_version":1,"kind":"ru')
    with caplog.at_level(logging.WARNING):
        append([row(1, 72)], ledger)
    assert [kept.k for kept in read(ledger)] == [54, 1]
    assert (tmp_path / "ledger.jsonl.torn").read_text() == '{"schema_version":1,"kind":"ru\n'
    assert "torn" in caplog.text


def test_repair_keeps_a_last_row_that_lacks_only_its_line_end(row: Row, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    append([row()], ledger)
    ledger.write_text(ledger.read_text().rstrip("\n"))
    assert repair(ledger) is None
    assert read(ledger) == [row()]
    assert not (tmp_path / "ledger.jsonl.torn").exists()


def test_a_spoiled_line_is_named(row: Row, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    spoiled = json.loads(row().model_dump_json()) | {"k": 80}
    ledger.write_text(row().model_dump_json() + "\n" + json.dumps(spoiled) + "\n")
    with pytest.raises(LedgerError, match=r"ledger\.jsonl:2: .*k=80"):
        read(ledger)


def test_a_ledger_that_is_not_there_is_no_empty_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no ledger yet"):
        read(tmp_path / "ledger.jsonl")


def test_recording_copies_new_rows_once_and_names_no_folder_of_this_machine(row: Row, tmp_path: Path) -> None:
    committed = tmp_path / "ledger.jsonl"
    ours = row(model="checkpoint//home/me/epoch-3", log="/home/me/logs/easy.eval")
    assert [kept.log for kept in record([ours, ours], committed)] == ["easy.eval"]
    later = ours.model_copy(update={"recorded_at": "2026-02-01T12:00:00+00:00"})
    other = row(model="openai/gpt-5", log="logs/easy.eval")
    assert record([later, other], committed) == [other]
    assert [kept.model for kept in read(committed)] == ["checkpoint/epoch-3", "openai/gpt-5"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"cost_basis": None}, "needs cost_basis"),
        ({"cost_basis": "prices"}, "needs cost_usd"),
        ({"cost_basis": "local", "cost_usd": 1.0}, "contradicts cost_basis='local'"),
    ],
)
def test_a_run_says_what_it_cost_or_why_that_is_not_known(
    changes: dict[str, Any], word: str, row: Row, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with pytest.raises(LedgerError, match=word):
        append([row().model_dump() | changes], ledger)
    append([row(cost_usd=1.5, cost_basis="prices"), row(cost_basis="unpriced")], ledger)
    assert [kept.cost_usd for kept in read(ledger)] == [1.5, None]


def test_rows_of_the_first_version_stay_readable(row: Row, tmp_path: Path) -> None:
    new = {"epochs", "pass_at", "settings", "cost_basis", "broken_off"}
    old = json.loads(row().model_dump_json(exclude=new)) | {"schema_version": 1}
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text(json.dumps(old) + "\n")
    append([row()], ledger)
    first, second = read(ledger)
    assert (first.schema_version, first.cost_basis, first.epochs, first.questions) == (1, None, 1, 72)
    assert second.schema_version == 2


REPEATED = {
    "epochs": 4,
    "k": 54,
    "n": 72,
    "interval": Interval(low=0.55, high=0.9, method="bootstrap over questions"),
    "pass_at": [{"k": 2, "value": 0.85, "interval": Interval(low=0.7, high=0.95)}],
}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"interval": interval(54, 72)}, "takes the 72 attempts for questions; 18 were asked"),
        ({"n": 70}, "70 attempts are not 4 at each"),
        ({"interval": Interval(low=0.6, high=0.8, method="wilson over questions")}, "Wilson interval of 13.5/18"),
        ({"pass_at": [{"k": 8, "value": 0.9, "interval": Interval(low=0.7, high=0.95)}]}, "pass@8=0.9 cannot be told"),
    ],
)
def test_attempts_that_pass_for_questions_are_refused(
    changes: dict[str, Any], word: str, row: Row, tmp_path: Path
) -> None:
    append([row().model_dump() | REPEATED], tmp_path / "ledger.jsonl")
    with pytest.raises(LedgerError, match=word):
        append([row().model_dump() | REPEATED | changes], tmp_path / "ledger.jsonl")


ENDLESS = """
import sys
from itertools import count
from pathlib import Path
from harness.records import Result
from results.ledger import append
row, ledger, writer = Result.model_validate_json(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
for number in count():
    append([row.model_copy(update={"note": f"{writer}.{number} " + "x" * 20_000})], ledger)
    print(number, flush=True)
"""


def test_many_writers_killed_at_random_tear_and_lose_no_row(row: Row, tmp_path: Path) -> None:
    """Each writer says a row's number once `append` has returned; from then on the row must be there."""
    ledger, random = tmp_path / "ledger.jsonl", Random(7)
    command = [sys.executable, "-c", ENDLESS, row().model_dump_json(), str(ledger)]
    writers = [subprocess.Popen([*command, str(writer)], stdout=subprocess.PIPE, text=True) for writer in range(6)]
    for process in writers:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
    for process in random.sample(writers, len(writers)):
        time.sleep(random.uniform(0, 0.1))
        process.kill()
    said = [["0", *process.communicate()[0].split()] for process in writers]
    append([row(1, 72)], ledger)
    notes = [(kept.note or "").split()[0] for kept in read(ledger)[:-1]]
    assert len(notes) == len(set(notes))
    for writer, numbers in enumerate(said):
        kept = [note for note in notes if note.startswith(f"{writer}.")]
        assert kept[: len(numbers)] == [f"{writer}.{number}" for number in numbers]
        assert len(kept) <= len(numbers) + 1, "at most one row was written and not yet said"
