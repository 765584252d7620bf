"""Parquet for publishing: the columns and types of the schema, whatever the first rows look like; whole or absent."""

from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from pipeline.runs.parquet import ParquetError, write_parquet

SCHEMA = pyarrow.schema(
    [
        pyarrow.field("id", pyarrow.string(), nullable=False),
        ("score", pyarrow.int64()),
        ("files", pyarrow.list_(pyarrow.string())),
    ]
)


def row(number: int, **changed: object) -> dict:
    return {"id": f"n{number}", "score": number or None, "files": [], **changed}


def test_rows_come_back_with_the_types_of_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows = [row(0), row(1), row(2, files=["a.csv"]), row(3), {"id": "n4"}]
    assert write_parquet(path, rows, SCHEMA, rows_in_group=2) == 5
    table = parquet.read_table(path)
    assert table.schema == SCHEMA
    assert table.to_pylist() == [*rows[:4], {"id": "n4", "score": None, "files": None}]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row(3, extra=1), "row 4: extra: the schema has no such column"),
        (row(3, id=None), "row 4: id: must not be empty"),
        (row(3, score="many"), "rows 3 to 4 of rows.parquet"),
    ],
)
def test_a_row_that_does_not_fit_is_named_and_no_file_is_left(bad: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(ParquetError) as refused:
        write_parquet(tmp_path / "rows.parquet", [row(0), row(1), row(2), bad], SCHEMA, rows_in_group=2)
    assert said in str(refused.value)
    assert list(tmp_path.iterdir()) == []
