"""ZIP archives byte by byte, so that any field of them can lie; `hostile_archives.py` uses it."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

NOTEBOOK = (
    b'{"cells": [{"cell_type": "code", "source": "print(41 + 1)", "outputs": [], "metadata": {}, '
    b'"execution_count": null}], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}'
)


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    return compressor.compress(data) + compressor.flush()


@dataclass
class Entry:
    """One member. What is None is told truly; `local_*` are for a header at the member that disagrees."""

    name: bytes = b"a.ipynb"
    data: bytes = NOTEBOOK
    method: int = 8
    flags: int = 0x800
    made_by: int = 3 << 8 | 30
    mode: int = 0o100644
    extra: bytes = b""
    packed: bytes | None = None
    size: int | None = None
    compressed: int | None = None
    crc: int | None = None
    offset: int | None = None
    signature: bytes = b"PK\1\2"
    local_name: bytes | None = None
    local_method: int | None = None
    local_flags: int | None = None
    local_extra: bytes = b""
    local_signature: bytes = b"PK\3\4"

    def body(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return deflated(self.data) if self.method == 8 else self.data

    def told(self) -> tuple[int, int, int]:
        """(crc, compressed, size) as the directory has them."""
        return (
            zlib.crc32(self.data) if self.crc is None else self.crc,
            len(self.body()) if self.compressed is None else self.compressed,
            len(self.data) if self.size is None else self.size,
        )

    def header(self) -> bytes:
        name = self.name if self.local_name is None else self.local_name
        flags = self.flags if self.local_flags is None else self.local_flags
        method = self.method if self.local_method is None else self.local_method
        numbers = (number & 0xFFFFFFFF for number in self.told())
        fixed = struct.pack("<5H3L2H", 20, flags, method, 0, 0, *numbers, len(name), len(self.local_extra))
        return self.local_signature + fixed + name + self.local_extra

    def record(self, offset: int) -> bytes:
        offset = offset if self.offset is None else self.offset
        fixed = struct.pack(
            "<6H3L5H2L",
            self.made_by,
            20,
            self.flags,
            self.method,
            0,
            0,
            *self.told(),
            len(self.name),
            len(self.extra),
            0,
            0,
            0,
            self.mode << 16,
            offset,
        )
        return self.signature + fixed + self.name + self.extra


@dataclass
class Archive:
    """An archive; the fields of its end record are told truly where they are None."""

    entries: list[Entry] = field(default_factory=lambda: [Entry()])
    before_directory: bytes = b""
    comment: bytes = b""
    told_comment: int | None = None
    disk: int = 0
    count: int | None = None
    count_here: int | None = None
    directory_size: int | None = None
    directory_start: int | None = None
    wide: bytes = b""
    after: bytes = b""

    def build(self) -> bytes:
        out, records = b"", b""
        for entry in self.entries:
            records += entry.record(len(out))
            out += entry.header() + entry.body()
        out += self.before_directory
        start = len(out) if self.directory_start is None else self.directory_start
        count = len(self.entries) if self.count is None else self.count
        size = len(records) if self.directory_size is None else self.directory_size
        here = count if self.count_here is None else self.count_here
        comment = len(self.comment) if self.told_comment is None else self.told_comment
        end = struct.pack("<4H2LH", self.disk, self.disk, here & 0xFFFF, count & 0xFFFF, size, start, comment)
        return out + records + self.wide + b"PK\5\6" + end + self.comment + self.after


def wide_records(place: int, count: int, size: int, start: int, told_place: int | None = None) -> bytes:
    """A ZIP64 record that lies at `place`, and its locator."""
    record = b"PK\6\6" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, count, count, size, start)
    return record + b"PK\6\7" + struct.pack("<LQL", 0, place if told_place is None else told_place, 1)


def wide_extra(*values: int) -> bytes:
    """The ZIP64 extra field of an entry."""
    return struct.pack("<HH", 1, 8 * len(values)) + struct.pack(f"<{len(values)}Q", *values)
