"""Puts the files that notebooks read where questions find them: `RUN/files/OWNER/SLUG/N/PATH`, read-only, none twice.

    placed = place(folder, file, files)        # folder: the fetched data set; files: RUN/files
    placed.path, placed.bytes                  # or .reason

A file is a hard link into kagglehub's cache, or a copy where that is on another disk. A zipped table is unpacked under
its own name, as Kaggle shows it. Names in a data set are anybody's: what leads out of it, or is no plain file, is
refused.
"""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.kaggle.matching import File, unzipped

READ_ONLY = 0o444
BLOCK = 1 << 20


@dataclass(frozen=True)
class Placed:
    """Where a file lies now, relative to `files`, or the reason why it does not."""

    path: str = ""
    bytes: int = 0
    reason: str | None = None


def list_files(folder: Path, most: int = 100_000) -> tuple[str, ...]:
    """The plain files of a data set, relative to its folder with slashes, sorted; at most so many."""
    found: list[str] = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            if path.is_file() and not path.is_symlink():
                found.append(path.relative_to(folder).as_posix())
            if len(found) >= most:
                return tuple(sorted(found))
    return tuple(sorted(found))


def place(folder: Path, file: File, files: Path, unpack: bool, max_bytes: int) -> Placed:
    """Put a file of a fetched data set into its place; with `unpack`, what is in a zipped one."""
    source = folder / file.path
    if not _inside(source, folder) or source.is_symlink() or not source.is_file():
        return Placed(reason="not a plain file of its data set")
    inner = unzipped(file.path) if unpack else None
    handle = file.handle
    name = str(PurePosixPath(handle.owner, handle.slug, str(handle.version), inner or file.path))
    target = files / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if inner:
                wanted = PurePosixPath(inner).name
                _write(target, lambda partial: _unzip(source, partial, wanted, max_bytes))
            else:
                _write(target, lambda partial: _link(source, partial))
        except _Refused as refusal:
            return Placed(reason=str(refusal))
    return Placed(name, target.stat().st_size)


class _Refused(Exception):
    """A zipped file that is not unpacked."""


def _write(target: Path, fill: Callable[[Path], None]) -> None:
    """Fill a file that gets its name when it is whole."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        fill(partial)
        partial.chmod(READ_ONLY)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _link(source: Path, partial: Path) -> None:
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)


def _unzip(source: Path, partial: Path, name: str, max_bytes: int) -> None:
    """The archive's member of that name, or its only one."""
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            named = [member for member in members if PurePosixPath(member.filename).name == name] or members
            if len(named) != 1:
                raise _Refused("a zipped table of several files")
            if named[0].file_size > max_bytes:
                raise _Refused("a zipped table that is too large")
            with archive.open(named[0]) as inside, partial.open("wb") as out:
                _copy(inside, out, named[0].file_size)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise _Refused("a zipped table that cannot be unpacked") from error


def _copy(inside: IO[bytes], out: IO[bytes], size: int) -> None:
    """Copy what the directory says there is, and not a byte more."""
    left = size
    while block := inside.read(BLOCK):
        left -= len(block)
        if left < 0:
            raise _Refused("a zipped table that is too large")
        out.write(block)


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
