"""The folder of a published data set: shards of Parquet by configuration and split, and the card, whole or not there.

    with Publication(RUN / "dataset") as publication:
        publication.add("default", "thinking", row)
        publication.finish(lambda counts: card)

Layout, as the Hub reads it: `data/thinking-00000.parquet` for the configuration `default`, `NAME/SPLIT-00000.parquet`
for the others, `README.md`. All is written beside the folder and takes its name at the end; one that was there before
is replaced then, not earlier.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.publishing.columns import notebooks_schema, traces_schema
from pipeline.runs.parquet import write_parquet
from pipeline.runs.store import whole_file

DEFAULT = "default"
NOTEBOOKS = "notebooks"
ROWS_IN_SHARD = 1000
SHARD_CHARACTERS = 200_000_000

Split = tuple[str, str]


class Publication:
    """See the module's docstring. At most a shard's rows of each split are in memory."""

    def __init__(self, folder: Path, rows_in_shard: int = ROWS_IN_SHARD) -> None:
        self.folder = folder
        self.counts: Counter[Split] = Counter()
        self._beside = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        self._rows_in_shard = rows_in_shard
        self._waiting: dict[Split, list[dict[str, Any]]] = {}
        self._size: Counter[Split] = Counter()
        self._shards: Counter[Split] = Counter()

    def __enter__(self) -> Self:
        for left in self.folder.parent.glob(f"{self.folder.name}.*.partial"):  # a killed process's
            shutil.rmtree(left)
        self._beside.mkdir(parents=True)
        return self

    def add(self, config: str, split: str, row: Mapping[str, Any]) -> None:
        """Add a row. Raises ParquetError for one that does not fit its table's columns, when its shard is written."""
        key = (config, split)
        self.counts[key] += 1
        self._waiting.setdefault(key, []).append(dict(row))
        self._size[key] += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(self._waiting[key]) >= self._rows_in_shard or self._size[key] >= SHARD_CHARACTERS:
            self._write(key)

    def finish(self, card: Callable[[Mapping[Split, int]], str]) -> None:
        """Write what is left and the card, which is told the rows of each split; then the folder takes its name."""
        for key in list(self._waiting):
            self._write(key)
        with whole_file(self._beside / "README.md") as file:
            file.write(card(self.counts).encode())
        if self.folder.exists():
            old = self.folder.with_name(f"{self.folder.name}.{os.getpid()}.old.partial")
            self.folder.rename(old)
        self._beside.rename(self.folder)
        for left in self.folder.parent.glob(f"{self.folder.name}.*.old.partial"):
            shutil.rmtree(left)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        shutil.rmtree(self._beside, ignore_errors=True)

    def _write(self, key: Split) -> None:
        rows, (config, split) = self._waiting.pop(key), key
        place = self._beside / shard_pattern(config, split).replace("*", f"{self._shards[key]:05}")
        write_parquet(place, rows, notebooks_schema() if config == NOTEBOOKS else traces_schema())
        self._shards[key] += 1
        self._size[key] = 0


def shard_pattern(config: str, split: str) -> str:
    """Where the shards of a split lie, as a card names them."""
    return f"{'data' if config == DEFAULT else config}/{split}-*.parquet"
