"""What else is known of Kaggle's notebooks: the votes and medals of Meta Kaggle, and lists of files to read.

    table = read_popularity(Path("meta-kaggle"), numbers)     votes and medals of kernel versions, by their numbers
    wanted = read_file_list(Path("kaggle.parquet"))           BigCode's list: a column `file_id`, or a line an id

Meta Kaggle's tables are read by columns and in batches; of `KernelVersions.csv`, some gigabytes, only two columns. The
votes are those of the kernel, which all of its versions share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from pipeline.reading.sources import SourceError
from pipeline.row import Popularity

FILE_ID = "file_id"
UNKNOWN = -1
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PopularityTable:
    """Votes and medals (0 without one), a row a notebook; votes are UNKNOWN where the tables do not know it."""

    votes: I64
    medals: I64

    def __getitem__(self, row: int) -> Popularity | None:
        if self.votes[row] == UNKNOWN:
            return None
        return Popularity(votes=int(self.votes[row]), medal=int(self.medals[row]) or None)

    def save(self, file: IO[bytes]) -> None:
        """Write it to an open file."""
        np.save(file, np.stack([self.votes, self.medals]))

    @classmethod
    def load(cls, path: Path) -> PopularityTable:
        """The table in a file, which stays on disk: only the rows that are looked at are read."""
        return cls(*np.load(path, mmap_mode="r"))


def read_popularity(folder: Path, numbers: npt.ArrayLike) -> PopularityTable:
    """The popularity of kernel versions, in the order of `numbers`. Raises SourceError where a table is missing."""
    asked = np.asarray(numbers, np.int64)
    versions = _rows_of(folder / "KernelVersions.csv", ("Id", "ScriptId"), asked)
    kernels = _rows_of(folder / "Kernels.csv", ("Id", "TotalVotes", "Medal"), versions[:, 1])
    kernel = _looked_up(asked, versions)
    found = _looked_up(np.where(kernel[:, 0] == UNKNOWN, UNKNOWN, kernel[:, 0]), kernels)
    return PopularityTable(votes=found[:, 0], medals=np.maximum(found[:, 1], 0))


def read_file_list(path: Path) -> frozenset[str]:
    """The ids of a file list: a Parquet file with a column `file_id`, or a text file with an id a line.

    Raises SourceError where it is missing, has no such column, or is empty.
    """
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file list. Give a Parquet file or a text file.")
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        names = parquet.read_schema(path).names
        if FILE_ID not in names:
            raise SourceError(f"{path}: no column {FILE_ID}; it has {', '.join(names)}. Rename the one with the ids.")
        ids = frozenset(str(value) for value in parquet.read_table(path, columns=[FILE_ID])[FILE_ID].to_pylist())
    else:
        ids = frozenset(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if not ids:
        raise SourceError(f"{path}: the file list is empty, so that nothing would be read. Give another, or none.")
    return ids


def quality(popularity: Popularity | None, size: int) -> int:
    """How good a notebook is among its near duplicates: medal before votes before size, as one number."""
    medal = 4 - popularity.medal if popularity and popularity.medal else 0
    votes = max(popularity.votes, 0) if popularity else 0
    return (medal << 60) | (min(votes, (1 << 28) - 1) << 32) | min(size, (1 << 32) - 1)


def _looked_up(keys: I64, rows: I64) -> I64:
    """For each key the values of the row that begins with it, or UNKNOWN in all columns."""
    values = np.full((len(keys), rows.shape[1] - 1), UNKNOWN, np.int64)
    if len(rows):
        ordered = rows[np.argsort(rows[:, 0], kind="stable")]
        place = np.minimum(np.searchsorted(ordered[:, 0], keys), len(ordered) - 1)
        known = ordered[place, 0] == keys
        values[known] = ordered[place[known], 1:]
    return values


def _rows_of(path: Path, names: tuple[str, ...], wanted: I64) -> I64:
    """The named columns of a CSV file, of the rows whose first column is wanted."""
    kept = [np.empty((0, len(names)), np.int64)]
    for columns in _columns(path, names):
        rows = np.stack([_integers(column) for column in columns], axis=1)
        kept.append(rows[np.isin(rows[:, 0], wanted)])
    return np.concatenate(kept)


def _columns(path: Path, names: tuple[str, ...]) -> Iterator[list[object]]:
    """The named columns of a CSV file as text, batch by batch."""
    import pyarrow as pa
    from pyarrow import csv

    if not path.is_file():
        raise SourceError(f"{path}: not there. Give the folder of Meta Kaggle's CSV files, or leave it out.")
    types = dict.fromkeys(names, pa.string())
    try:
        reader = csv.open_csv(
            path,
            read_options=csv.ReadOptions(block_size=8 << 20),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(include_columns=list(names), column_types=types),
        )
        for batch in reader:
            yield [batch.column(name) for name in names]
    except (pa.ArrowInvalid, KeyError) as error:
        raise SourceError(f"{path}: not a table of Meta Kaggle ({error}). It needs {', '.join(names)}.") from error


def _integers(column: object) -> I64:
    """A column of numbers as text, some written 3.0, some empty, as integers; empty is 0."""
    import pyarrow.compute as pc

    blank = pc.fill_null(pc.equal(column, ""), True)
    numbers = pc.cast(pc.if_else(blank, "0", column), "float64")
    integers: I64 = numbers.to_numpy(zero_copy_only=False).astype(np.int64)
    return integers
