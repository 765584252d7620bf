"""Meta Kaggle's CSV tables in DuckDB: columns by name, memory bounded, lines that are none counted.

    tables = MetaKaggle(Path("meta-kaggle"), memory_gb=2, spill=folder)
    tables.view("KernelVersionDatasetSources")           # a view of that name, all columns text
    tables.query("select count(*) from KernelVersionDatasetSources")
    tables.unreadable                                    # {"DatasetVersions": 12}, what no query saw

The tables are read by streaming, however large; sorts and joins that need more than the memory spill to disk. Numbers
are `number(column)`, since some dumps write 3 as 3.0.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import duckdb

# Table: columns that it must have, and columns that some dumps have and that are empty elsewhere.
COLUMNS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "KernelVersionDatasetSources": (("KernelVersionId", "SourceDatasetVersionId"), ()),
    "DatasetVersions": (
        ("Id", "DatasetId", "VersionNumber", "LicenseName", "TotalCompressedBytes"),
        ("Slug", "Title", "Subtitle", "TotalUncompressedBytes"),
    ),
    "Datasets": (("Id", "OwnerUserId", "OwnerOrganizationId"), ("Slug",)),
    "Users": (("Id", "UserName"), ()),
    "Organizations": (("Id", "Slug"), ()),
    "KernelVersionCompetitionSources": (("KernelVersionId", "SourceCompetitionId"), ()),
    "KernelVersionKernelSources": (("KernelVersionId", "SourceKernelVersionId"), ()),
    "DatasetTags": (("DatasetId", "TagId"), ()),
    "Tags": (("Id", "Name"), ()),
}
OPTIONAL = frozenset({"KernelVersionCompetitionSources", "KernelVersionKernelSources", "DatasetTags", "Tags"})
MOST_UNREADABLE = 0.001
# Each thread of DuckDB holds buffers of its own.
GB_PER_THREAD = 0.25


class TableError(ValueError):
    """A table that is missing, lacks a column, or can hardly be read; the message names it, the reason and the mend."""


class MetaKaggle:
    """The tables of one folder. Close it, or use it in a `with`."""

    def __init__(self, folder: Path, memory_gb: float, spill: Path) -> None:
        import duckdb

        self.folder = folder
        self.unreadable: dict[str, int] = {}
        self._views: list[str] = []
        spill.mkdir(parents=True, exist_ok=True)
        settings: dict[str, Any] = {
            "memory_limit": f"{memory_gb}GB",
            "temp_directory": str(spill),
            "preserve_insertion_order": False,
            # DuckDB would fetch extensions that it lacks.
            "autoinstall_known_extensions": False,
            "threads": max(1, min(os.cpu_count() or 1, int(memory_gb / GB_PER_THREAD))),
        }
        self.connection: duckdb.DuckDBPyConnection = duckdb.connect(config=settings)
        # What a join holds in memory is its right side, whatever DuckDB guesses of the sizes of files.
        self.connection.execute("set disabled_optimizers = 'join_order,build_side_probe_side'")
        self.connection.execute("create macro number(text) as try_cast(try_cast(text as double) as bigint)")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.connection.close()

    def has(self, table: str) -> bool:
        """Whether the folder holds a table."""
        return (self.folder / f"{table}.csv").is_file()

    def view(self, table: str) -> None:
        """Make a table readable under its name. One that may be left out, and is, has no rows.

        Raises TableError where it is missing or lacks a column.
        """
        needed, optional = COLUMNS[table]
        if table in OPTIONAL and not self.has(table):
            empty = ", ".join(f"null::varchar as {_name(column)}" for column in needed)
            self.connection.execute(f"create view {_name(table)} as select {empty} where false")
            return
        path = self.folder / f"{table}.csv"
        header = read_header(path)
        if missing := [column for column in needed if column not in header]:
            raise TableError(
                f"{path}: no column {', '.join(missing)}; it has {', '.join(header)}. Take Meta Kaggle's file as it is."
            )
        given = [_name(column) for column in (*needed, *optional) if column in header]
        absent = [f"null::varchar as {_name(column)}" for column in optional if column not in header]
        types = ", ".join(f"{_text(column)}: 'VARCHAR'" for column in header)
        self.connection.execute(
            f"create view {_name(table)} as select {', '.join([*given, *absent])} from read_csv({_text(str(path))}, "
            f"auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', max_line_size = 4194304, "
            f"columns = {{{types}}}, store_rejects = true, rejects_table = {_text('lines_' + table)}, "
            f"rejects_scan = {_text('scans_' + table)})"
        )
        self._views.append(table)

    def query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement. Raises TableError for what DuckDB cannot read, or for a lack of memory or disk."""
        import duckdb

        try:
            return self.connection.execute(statement, list(values)).fetchall()
        except duckdb.Error as error:
            raise TableError(f"{self.folder}: {str(error).splitlines()[0]}") from error

    def check_lines(self) -> None:
        """Count in `unreadable` the lines that no statement saw. Raises TableError where they are more than one in a
        thousand: then the file is not what it seems.
        """
        known = {name for (name,) in self.query("select table_name from duckdb_tables()")}
        for table in self._views:
            if f"lines_{table}" not in known:
                continue
            ((bad,),) = self.query(f"select count(distinct line) from {_name('lines_' + table)}")
            if not bad:
                continue
            self.unreadable[table] = bad
            ((good,),) = self.query(f"select count(*) from {_name(table)}")
            if bad > MOST_UNREADABLE * (good + bad) and bad > 1:
                raise TableError(
                    f"{self.folder / table}.csv: {bad:,} of {good + bad:,} lines are no rows of this table. Download "
                    "it again."
                )


def read_header(path: Path) -> list[str]:
    """The names in a CSV file's first line. Raises TableError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except FileNotFoundError:
        raise TableError(f"{path}: there is no such table. Give the folder of Meta Kaggle's CSV files.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: cannot be read ({error}). Give the folder of Meta Kaggle's CSV files.") from None
    if not header:
        raise TableError(f"{path}: is empty. Download Meta Kaggle again.")
    return header


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
