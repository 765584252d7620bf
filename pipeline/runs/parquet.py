"""Rows as Parquet, for publishing: an explicit schema, a batch of rows in memory, the file under its name when whole.

    count = write_parquet(path, rows, schema)      # rows: dictionaries; schema: a pyarrow schema

A row with a key that the schema lacks, without one that it requires, or with a value of another type is an error that
names the row: nothing is guessed from the first rows, and nothing is silently left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.runs.store import whole_file

if TYPE_CHECKING:
    import pyarrow

ROWS_IN_GROUP = 1000


class ParquetError(ValueError):
    """A row that does not fit the schema; the message names its number, the column and the reason."""


def write_parquet(
    path: Path, rows: Iterable[Mapping[str, Any]], schema: pyarrow.Schema, rows_in_group: int = ROWS_IN_GROUP
) -> int:
    """Write rows, `rows_in_group` in memory at a time, and return how many. Raises ParquetError, and leaves no file."""
    import pyarrow
    from pyarrow import parquet

    count = 0
    with whole_file(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        left = iter(rows)
        while batch := list(islice(left, rows_in_group)):
            for number, row in enumerate(batch, start=count + 1):
                _check_columns(row, schema, number)
            try:
                writer.write_table(pyarrow.Table.from_pylist([dict(row) for row in batch], schema=schema))
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError) as error:
                raise ParquetError(f"rows {count + 1} to {count + len(batch)} of {path.name}: {error}.") from None
            count += len(batch)
    return count


def _check_columns(row: Mapping[str, Any], schema: pyarrow.Schema, number: int) -> None:
    if unknown := row.keys() - set(schema.names):
        raise ParquetError(f"row {number}: {', '.join(sorted(unknown))}: the schema has no such column.")
    for field in schema:
        if not field.nullable and row.get(field.name) is None:
            raise ParquetError(f"row {number}: {field.name}: must not be empty.")
