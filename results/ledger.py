"""The ledger: one JSON line for every run, appended and never changed.

    append([result_from_log("logs/x.eval")])     # -> results/runs/ledger.jsonl (not committed)
    record(read(RUNS)[-1:])                      # -> results/ledger.jsonl (committed)

One writer at a time (an advisory lock on the file), every row checked before a byte is written, one line a row, synced
to disk. A line that a killed writer left torn is never read as a row nor written on: `read` refuses, `append` and
`repair` set it aside beside the ledger. It does not stop a person from editing the file, and nothing here deletes rows.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.records import Interval, Result
from results.from_log import LogError, reasons, result_from_log
from results.intervals import interval
from results.repeats import BOOTSTRAP, WILSON

__all__ = [
    "COMMITTED",
    "RUNS",
    "LedgerError",
    "LogError",
    "append",
    "append_new",
    "portable_name",
    "read",
    "record",
    "repair",
    "result_from_log",
]

RUNS = Path("results/runs/ledger.jsonl")
COMMITTED = Path("results/ledger.jsonl")

logger = logging.getLogger(__name__)


class LedgerError(ValueError):
    """A row or a ledger that cannot be used; the message names the file, the line or row, the reason and the mend."""


def append(rows: Iterable[Result | Mapping[str, Any]], path: Path = RUNS) -> None:
    """Check `rows` and add them to the ledger at `path`: all of them, or none when one is refused or the disk is full.

    Raises LedgerError naming the row and what it lacks. A torn last line is set aside first (see `repair`).
    """
    data = b"".join(_line(row, number) for number, row in enumerate(rows, start=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path, fcntl.LOCK_EX) as file:
        _set_torn_line_aside(file, path)
        end = file.seek(0, os.SEEK_END)
        try:
            if file.write(data) != len(data):
                raise LedgerError(f"{path}: the disk took only a part of the rows, so none was kept. Make room.")
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(end)
            raise


def append_new(rows: Iterable[Result], path: Path = RUNS) -> None:
    """Append the rows whose log has no row there yet: a rerun that only looks again adds nothing."""
    known = {row.log for row in read(path)} if path.exists() else set()
    append([row for row in rows if row.log not in known], path)


def read(path: Path = RUNS) -> list[Result]:
    """Every row of the ledger, in the order of writing.

    Raises LedgerError naming the file and line for a ledger that is missing, or a line that is torn or no row.
    """
    if not path.is_file():
        raise LedgerError(f"{path}: there is no ledger yet. Run an evaluation that records one, such as `make demo`.")
    with _locked(path, fcntl.LOCK_SH) as file:
        data = file.read()
    lines = data.decode(errors="replace").split("\n")
    if lines.pop():
        raise LedgerError(
            f"{path}:{len(lines) + 1}: the last line is torn (its writer was killed). The next append sets it aside, "
            "or call results.ledger.repair."
        )
    return [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def repair(path: Path = RUNS) -> str | None:
    """Set a torn last line aside in `PATH.torn` and return it; None when the ledger was whole.

    A last row that lacks nothing but its line end gets that, and is kept.
    """
    with _locked(path, fcntl.LOCK_EX) as file:
        return _set_torn_line_aside(file, path)


def record(rows: Iterable[Result], path: Path = COMMITTED) -> list[Result]:
    """Copy chosen rows to the committed ledger and return those that were new there.

    Absolute paths are shortened to their last part: a committed row names no machine's folders.
    """
    known = {_content(row) for row in read(path)} if path.is_file() else set()
    new: dict[str, Result] = {}
    for row in rows:
        portable = row.model_copy(
            update={name: portable_name(getattr(row, name)) for name in ("model", "checkpoint", "log")}
        )
        if _content(portable) not in known:
            new.setdefault(_content(portable), portable)
    append(new.values(), path)
    return list(new.values())


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[FileIO]:
    """The ledger, open under a lock that ends with the block (or with the process). Unbuffered: a write is a write."""
    with open(path, "rb" if kind == fcntl.LOCK_SH else "a+b", buffering=0) as file:
        fcntl.flock(file, kind)
        file.seek(0)
        yield file


def _set_torn_line_aside(file: FileIO, path: Path) -> str | None:
    file.seek(0)
    data = file.read()
    start = data.rfind(b"\n") + 1
    torn = data[start:]
    if not torn:
        return None
    try:
        Result.model_validate_json(torn)
    except ValidationError:
        aside = path.with_name(path.name + ".torn")
        with aside.open("ab") as out:
            out.write(torn + b"\n")
        file.truncate(start)
        logger.warning("%s: its last line was torn (a writer was killed) and now lies in %s.", path, aside.name)
        return torn.decode(errors="replace")
    file.write(b"\n")
    return None


def _line(row: Result | Mapping[str, Any], number: int) -> bytes:
    """A row as its line, after every check that the record itself and the ledger make."""
    where = f"row {number}"
    try:
        result = Result.model_validate(row.model_dump() if isinstance(row, Result) else row)
    except ValidationError as error:
        raise LedgerError(f"{where}: {reasons(error)}.") from None
    _check_figures(result, where)
    return result.model_dump_json().encode() + b"\n"


def _parse(line: str, where: str) -> Result:
    try:
        result = Result.model_validate_json(line)
    except ValidationError as error:
        raise LedgerError(f"{where}: not a row of the ledger ({reasons(error)}). Mend or remove that line.") from None
    _check_figures(result, where)
    return result


def _check_figures(row: Result, where: str) -> None:
    """Refuse figures that contradict each other, such as an interval of some other k and n."""
    if row.k is None or row.n is None:
        return
    if not 0 <= row.k <= row.n or row.n == 0:
        raise LedgerError(f"{where}: k={row.k} of n={row.n} is no share.")
    if row.kind == "run" and not 0 <= (row.errors or 0) <= row.n - row.k:
        raise LedgerError(
            f"{where}: {row.errors} errors do not fit into the {row.n - row.k} questions not answered right."
        )
    if row.percent is not None and abs(row.percent - 100 * row.k / row.n) > 0.06:
        raise LedgerError(f"{where}: percent={row.percent} is not {row.k}/{row.n}, which is {100 * row.k / row.n:.1f}.")
    if row.epochs > 1:
        _check_repeats(row, where)
    elif row.interval is not None and row.interval.method == "wilson":
        _check_wilson(row.interval, row.k, row.n, where)


def _check_repeats(row: Result, where: str) -> None:
    """Refuse repeated questions whose figures take attempts for questions, or do not fit the number of attempts."""
    k, n, questions = row.k or 0, row.n or 0, row.questions or 0
    if questions * row.epochs != n:
        raise LedgerError(f"{where}: n={n} attempts are not {row.epochs} at each of some number of questions.")
    if row.interval is None or row.interval.method not in (WILSON, BOOTSTRAP):
        raise LedgerError(
            f"{where}: its interval takes the {n} attempts for questions; {questions} were asked. "
            "Use results.repeats.interval_over_questions."
        )
    if row.interval.method == WILSON:
        _check_wilson(row.interval, k / row.epochs, questions, where)
    for told in row.pass_at:
        if not 1 <= told.k <= row.epochs or not 0 <= told.value <= 1:
            raise LedgerError(f"{where}: pass@{told.k}={told.value:g} cannot be told from {row.epochs} attempts.")


def _check_wilson(given: Interval, k: float, n: int, where: str) -> None:
    right = interval(k, n, given.level)
    if abs(right.low - given.low) + abs(right.high - given.high) > 1e-6:
        raise LedgerError(
            f"{where}: the interval {given.low:.4f} to {given.high:.4f} is not the Wilson interval "
            f"of {k:g}/{n}, which is {right.low:.4f} to {right.high:.4f}."
        )


def _content(row: Result) -> str:
    """What makes two rows the same row: everything but when it was recorded, and by which version of the record."""
    return row.model_dump_json(exclude={"recorded_at", "schema_version"})


def portable_name(name: str | None) -> str | None:
    """A path, or a model name such as "checkpoint//home/x/epoch-3", without the folders of this machine."""
    provider, slash, rest = (name or "").partition("/")
    if not slash or (provider and not rest.startswith("/")):
        return name
    return f"{provider}/{Path(rest).name}" if provider else Path(rest).name
