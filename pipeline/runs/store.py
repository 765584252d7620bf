"""Rows on disk: JSON lines in zstd, one frame a batch; files appear under their names only when whole.

    with RowWriter(path) as writer:
        writer.write(row)
    for row in read_rows(path): ...

Reading is strict: a torn file or a line that is no row is an error that names file and line, never a shorter list.
`whole_file` is the one place where a file of a run gets its name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import zstandard
from pydantic import ValidationError

from harness.records import Record
from pipeline.row import NotebookRow

BATCH_BYTES = 1 << 20
LEVEL = 3


class StoreError(ValueError):
    """A file of rows that cannot be read; the message names the file, the line, the reason and the mend."""


@contextmanager
def whole_file(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file to write that gets its name when the block ends well, and is removed when it does not.

    `durable`: synced to disk before it gets its name.

    Until then it is `NAME.PID.partial`, so that two processes that write the same file do not write into each other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove what killed writers left in a folder, files and folders. Only where no writer is at work."""
    for partial in folder.glob("*.partial"):
        if partial.is_dir():  # of a gather step
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


class RowWriter:
    """Writes records as JSON lines, about a megabyte a zstd frame. The file is there after the block, not before."""

    def __init__(self, path: Path) -> None:
        self._whole = whole_file(path)
        self._compressor = zstandard.ZstdCompressor(level=LEVEL)
        self._lines: list[bytes] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        self._file = self._whole.__enter__()
        return self

    def write(self, record: Record) -> None:
        """Add one record."""
        line = record.model_dump_json(exclude_none=True).encode() + b"\n"
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= BATCH_BYTES:
            self._write_frame()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._write_frame()
        self._whole.__exit__(kind, error, at)

    def _write_frame(self) -> None:
        if self._lines:
            self._file.write(self._compressor.compress(b"".join(self._lines)))
            self._lines.clear()
            self._bytes = 0


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, without their ends. Raises StoreError for a file that is missing, torn or no zstd."""
    rest = b""
    try:
        with path.open("rb") as file:
            for block in _inflated(file):
                lines = (rest + block).split(b"\n")
                rest = lines.pop()
                yield from lines
    except FileNotFoundError:
        raise StoreError(f"{path}: there is no such file. Run the stage before again.") from None
    except zstandard.ZstdError as error:
        raise StoreError(f"{path}: not a whole zstd file ({error}). Remove it with its marker and run again.") from None
    if rest:
        raise StoreError(f"{path}: its last line is torn. Remove it with its marker and run again.")


def _inflated(file: IO[bytes]) -> Iterator[bytes]:
    """The content of all frames. Raises ZstdError for one that is cut off, which zstandard's own readers pass over."""
    frame = None
    while data := file.read(BATCH_BYTES):
        while data:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(data)
            data, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        raise zstandard.ZstdError("it is cut off")


def read_rows(path: Path) -> Iterator[NotebookRow]:
    """The rows of a shard. Raises StoreError naming the line that is no row of this version."""
    for number, line in enumerate(read_lines(path), start=1):
        try:
            yield NotebookRow.model_validate_json(line)
        except ValidationError as error:
            reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise StoreError(
                f"{path}:{number}: not a row of this version ({reasons}). Run the stage that wrote it again."
            ) from None
