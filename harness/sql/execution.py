"""A model's SQL, run where it can do no harm: in a kernel's isolation, read-only, bounded in time and rows.

    async with await SqlTables.open({"parcels": Path("parcels.csv"), "tariffs": Path("tariffs.json")}) as tables:
        result = await tables.run("SELECT count(*) FROM parcels")
        result.whole.rows        # ((480,),)

DuckDB runs inside a bwrap kernel, which sees the tables' files and nothing else of the host, has no network, and is
killed where a query does not stop. Inside, DuckDB's own access to files is off and its settings are locked, and a query
is one SELECT over tables in memory. It judges nothing (`reward.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from harness.kernel.bwrap import BwrapKernel
from harness.kernel.protocol import CellResult, Limits

Status = Literal["ok", "error", "refused", "too many rows", "timeout"]
Value = str | int | float | bool | None
SUFFIXES = (".csv", ".json")


class SqlTablesError(ValueError):
    """Tables that cannot be read; the message names the file and the reason."""


@dataclass(frozen=True)
class SqlLimits:
    """Bounds of a query: seconds, rows, characters of its result, megabytes of its database."""

    seconds: float = 5.0
    rows: int = 10_000
    characters: int = 4_000_000
    memory_mb: int = 512


@dataclass(frozen=True)
class Rows:
    """A result: column names and rows, in the order in which they came."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class SqlResult:
    """What became of a query. `whole` and `half` are its results on all rows of the tables and on about half of them.

    `order` has what its outermost ORDER BY names, a column's name or position, None for an expression; it is None
    without one.
    """

    status: Status
    message: str = ""
    whole: Rows | None = None
    half: Rows | None = None
    order: tuple[str | int | None, ...] | None = None


class SqlTables:
    """Tables in a kernel; queries run one after another."""

    def __init__(self, kernel: BwrapKernel, tables: Mapping[str, str], limits: SqlLimits) -> None:
        self._kernel, self._tables, self._limits = kernel, dict(tables), limits

    @classmethod
    async def open(cls, tables: Mapping[str, Path], limits: SqlLimits | None = None) -> Self:
        """Start a kernel and read the tables (name -> CSV or JSON file).

        Raises SqlTablesError for a file that is no table, KernelUnavailable, FileNotFoundError.
        """
        limits = limits or SqlLimits()
        for name, path in tables.items():
            if path.suffix not in SUFFIXES:
                raise SqlTablesError(f"{path}: the table {name!r} must be a {' or '.join(SUFFIXES)} file.")
        files = {f"{number}{path.suffix}": path for number, path in enumerate(tables.values())}
        kernel = await BwrapKernel.create(files, Limits(cell_s=60.0, output_chars=limits.characters))
        opened = cls(kernel, {name: f"input/{file}" for name, file in zip(tables, files, strict=True)}, limits)
        try:
            await opened._read_tables()
        except BaseException:
            await kernel.close()
            raise
        return opened

    async def run(self, sql: str) -> SqlResult:
        """Run one query; never raises for what it says."""
        result = await self._kernel.run(f"print(answer({sql!r}, {self._limits.rows}))", self._limits.seconds)
        if result.status == "died":
            await self._read_tables()
        if result.status in ("timeout", "died"):
            return SqlResult("timeout", result.note or "")
        if result.status != "ok" or result.cut_chars:
            told = result.error.message if result.error else "its result is too long"
            return SqlResult("too many rows" if result.cut_chars else "error", told)
        return _read(json.loads(result.stdout))

    async def close(self) -> None:
        """End the kernel."""
        await self._kernel.close()

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def _read_tables(self) -> None:
        for code in (_guest(), f"print(opened({self._tables!r}, {self._limits.memory_mb}))"):
            result: CellResult = await self._kernel.run(code)
            if result.status != "ok":
                told = result.error.message if result.error else result.note
                raise SqlTablesError(f"the tables {', '.join(self._tables)} cannot be read: {told}")


def _guest() -> str:
    return resources.files(__package__).joinpath("guest.py").read_text(encoding="utf-8")


def _read(found: dict[str, Any]) -> SqlResult:
    if found["status"] != "ok":
        return SqlResult(found["status"], found.get("message", ""))
    order = tuple(found["order"]) if found["order"] is not None else None
    return SqlResult("ok", whole=_rows(found["whole"]), half=_rows(found["half"]), order=order)


def _rows(found: dict[str, Any]) -> Rows:
    return Rows(tuple(found["columns"]), tuple(map(tuple, found["rows"])))
