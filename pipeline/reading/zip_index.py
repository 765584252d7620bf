"""What a ZIP archive holds, from its directory alone: nothing is inflated, and nothing that it says is believed.

    index = index_zip(read, size)        read(start, end) gives those bytes of the archive, size is its length
    for member in index.members: ...     notebooks in the order of their places, each with a span to read

Python's zipfile makes an object of half a kilobyte a member, believes sizes, and follows overlapping members; here
every place and size is checked against the file before it is used. Written after PKWARE's APPNOTE 6.3.10. Refused
members are listed with their reasons; an archive whose directory is broken raises `Refused`.
"""

from __future__ import annotations

import re
import stat
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from pipeline.reading.refusal import LIMITS, Limits, Refused

Read = Callable[[int, int], bytes]

END = struct.Struct("<4s4H2LH")
LOCATOR = struct.Struct("<4sLQL")
END_64 = struct.Struct("<4sQ2H2L4Q")
ENTRY = struct.Struct("<4s6H3L5H2L")
LOCAL_HEADER_BYTES = 30
LONGEST_COMMENT = 0xFFFF
FULL_16, FULL_32 = 0xFFFF, 0xFFFFFFFF
STORED, DEFLATED = 0, 8
ENCRYPTED_FLAGS = 0x0001 | 0x0040 | 0x2000
PATCH_FLAG, UTF_8_FLAG = 0x0020, 0x0800
UNIX = 3
LONGEST_PATH = 1024
ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\\]")


class Member(msgspec.Struct, frozen=True, gc=False):
    """One notebook in an archive. `span` bytes from `offset` hold its header and data, nothing of another member."""

    name: str
    offset: int
    span: int
    compressed: int
    size: int
    crc: int
    method: int


@dataclass
class ZipIndex:
    """An archive's notebooks in the order of their places, what is refused, and how many entries there are in all.

    read = len(members) + len(refused) + folders
    """

    members: list[Member] = field(default_factory=list)
    refused: list[tuple[str, Refused]] = field(default_factory=list)
    folders: int = 0
    entries: int = 0

    def reasons(self) -> Counter[str]:
        """How many members are refused for which reason."""
        return Counter(refusal.reason for _, refusal in self.refused)


@dataclass(frozen=True)
class _Directory:
    start: int
    size: int
    entries: int


class _Entry(msgspec.Struct, frozen=True, gc=False):
    name: str
    raw_name_bytes: int
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    offset: int
    mode: int

    @property
    def least_end(self) -> int:
        """The first place that another member can have; the header at the member may be longer, never shorter."""
        return self.offset + LOCAL_HEADER_BYTES + self.raw_name_bytes + self.compressed


def index_zip(read: Read, size: int, limits: Limits = LIMITS) -> ZipIndex:
    """The index of an archive of `size` bytes. Raises Refused where the archive as a whole is not to be read."""
    directory = _find_directory(read, size)
    if directory.size > limits.directory_bytes:
        raise Refused("directory too large", f"{directory.size} bytes")
    data = read(directory.start, directory.start + directory.size)
    if len(data) != directory.size:
        raise Refused("truncated archive", f"{len(data)} of {directory.size} bytes of the directory")
    index = ZipIndex(entries=directory.entries)
    placed = []
    for entry in _entries(data, directory.entries):
        if entry.name.endswith("/") and not entry.compressed:
            index.folders += 1
        elif entry.offset + LOCAL_HEADER_BYTES > directory.start or entry.least_end > directory.start:
            index.refused.append((entry.name, Refused("outside the archive", f"offset {entry.offset}")))
        else:
            placed.append(entry)
    _admit(placed, directory.start, index, limits)
    return index


def _find_directory(read: Read, size: int) -> _Directory:
    """Where the directory lies, by the end record and, where there is one, the ZIP64 record before it."""
    tail_start = max(0, size - LONGEST_COMMENT - END.size)
    tail = read(tail_start, size)
    position = tail.rfind(b"PK\5\6")
    while position >= 0 and (
        position + END.size > len(tail) or position + END.size + END.unpack_from(tail, position)[7] != len(tail)
    ):
        position = tail.rfind(b"PK\5\6", 0, position)
    if position < 0:
        begins = read(0, min(4, size))
        raise Refused("truncated archive" if begins == b"PK\3\4" else "empty" if not size else "not a ZIP")
    end = tail_start + position
    _, disk, start_disk, here, total, length, start, _ = END.unpack_from(tail, position)
    directory, disks = _Directory(start, length, total), {disk, start_disk}
    if end >= LOCATOR.size and (located := read(end - LOCATOR.size, end))[:4] == b"PK\6\7":
        end, wide, wide_disks = _wide_directory(read, located, end)
        for narrow, value, full in (
            (total, wide.entries, FULL_16),
            (length, wide.size, FULL_32),
            (start, wide.start, FULL_32),
        ):
            if narrow not in (value, full):
                raise Refused("broken directory", f"the end record says {narrow}, the ZIP64 record {value}")
        directory, disks, here = wide, wide_disks, wide.entries
    elif total == FULL_16 or FULL_32 in (length, start):
        raise Refused("broken directory", "a ZIP64 record is promised and missing")
    if disks != {0} or here != directory.entries:
        raise Refused("split archive")
    if directory.start + directory.size != end:
        raise Refused("broken directory", f"it should end at {end}, and ends at {directory.start + directory.size}")
    if directory.entries * ENTRY.size > directory.size:
        raise Refused("broken directory", f"{directory.entries} entries do not fit into {directory.size} bytes")
    return directory


def _wide_directory(read: Read, located: bytes, locator_start: int) -> tuple[int, _Directory, set[int]]:
    """The ZIP64 record that a locator points to: its place, the directory, the disks named."""
    _, disk, place, disks = LOCATOR.unpack(located)
    if place + END_64.size > locator_start:
        raise Refused("broken directory", f"the ZIP64 record is said to be at {place}")
    record = read(place, place + END_64.size)
    signature, length, _, _, this_disk, start_disk, here, total, size, start = END_64.unpack(record)
    if signature != b"PK\6\6" or place + 12 + length != locator_start:
        raise Refused("broken directory", "the ZIP64 record is not where its locator says")
    if here != total or disks > 1:
        raise Refused("split archive")
    return place, _Directory(start, size, total), {disk, this_disk, start_disk}


def _entries(data: bytes, count: int) -> list[_Entry]:
    """The entries of a directory. Raises Refused where it cannot be followed to its end."""
    entries = []
    position = 0
    for number in range(count):
        if position + ENTRY.size > len(data):
            raise Refused("broken directory", f"ends within entry {number} of {count}")
        fields = ENTRY.unpack_from(data, position)
        signature, made_by, _, flags, method, _, _, crc, compressed, size = fields[:10]
        name_bytes, extra_bytes, comment_bytes, _, _, attributes, offset = fields[10:]
        after_name = position + ENTRY.size + name_bytes
        following = after_name + extra_bytes + comment_bytes
        if signature != b"PK\1\2" or following > len(data):
            raise Refused("broken directory", f"entry {number} of {count} is no entry")
        if FULL_32 in (compressed, size, offset):
            size, compressed, offset = _wide_values(
                data[after_name : after_name + extra_bytes], [size, compressed, offset], number
            )
        raw_name = data[position + ENTRY.size : after_name]
        name = raw_name.decode("utf-8" if flags & UTF_8_FLAG else "cp437", "surrogateescape")
        mode = attributes >> 16 if made_by >> 8 == UNIX else 0
        entries.append(_Entry(name, name_bytes, flags, method, crc, compressed, size, offset, mode))
        position = following
    if position != len(data):
        raise Refused("broken directory", f"{len(data) - position} bytes after the last entry")
    return entries


def _wide_values(extra: bytes, values: list[int], number: int) -> list[int]:
    """The ZIP64 values of an entry, for those of `values` (size, compressed, offset) that are full."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        position += 4
        if kind == 1:
            wanted = [i for i, value in enumerate(values) if value == FULL_32]
            if length < 8 * len(wanted) or position + length > len(extra):
                break
            found = struct.unpack_from(f"<{len(wanted)}Q", extra, position)
            mended = list(values)
            for i, value in zip(wanted, found, strict=True):
                mended[i] = value
            return mended
        position += length
    raise Refused("broken directory", f"entry {number} promises ZIP64 values and has none")


def _admit(entries: list[_Entry], directory_start: int, index: ZipIndex, limits: Limits) -> None:
    """Sort the entries by place and take those that are honest notebooks; the others are refused with a reason."""
    entries.sort(key=lambda entry: entry.offset)
    names: set[str] = set()
    taken_to = 0
    for number, entry in enumerate(entries):
        following = entries[number + 1].offset if number + 1 < len(entries) else directory_start
        overlaps = entry.offset < taken_to or entry.least_end > following
        taken_to = max(taken_to, entry.least_end)
        refusal = _refusal(entry, limits)
        if refusal is None and overlaps:
            refusal = Refused("overlap", f"offset {entry.offset}")
        if refusal is None and entry.name in names:
            refusal = Refused("duplicate name")
        if refusal is not None:
            index.refused.append((entry.name, refusal))
            continue
        names.add(entry.name)
        index.members.append(
            Member(
                name=entry.name,
                offset=entry.offset,
                # The header at the member has a name and an extra field of its own; no honest one fills both.
                span=min(following - entry.offset, entry.least_end - entry.offset + LONGEST_COMMENT),
                compressed=entry.compressed,
                size=entry.size,
                crc=entry.crc,
                method=entry.method,
            )
        )


def _refusal(entry: _Entry, limits: Limits) -> Refused | None:
    """What of its directory entry speaks against a member."""
    if stat.S_IFMT(entry.mode) == stat.S_IFLNK:
        return Refused("symlink")
    if stat.S_IFMT(entry.mode) not in (0, stat.S_IFREG):
        return Refused("not a regular file", f"mode {entry.mode:o}")
    if is_bad_path(entry.name):
        return Refused("bad path", ascii(entry.name[:200]))
    if not entry.name.lower().endswith(".ipynb"):
        return Refused("not a notebook")
    if entry.flags & ENCRYPTED_FLAGS:
        return Refused("encrypted")
    if entry.method not in (STORED, DEFLATED) or entry.flags & PATCH_FLAG:
        return Refused("unknown compression", f"method {entry.method}")
    if not entry.size:
        return Refused("empty")
    if entry.size > limits.notebook_bytes:
        return Refused("too large", f"{entry.size} bytes")
    if entry.size > limits.ratio * entry.compressed:
        return Refused("compression ratio", f"{entry.compressed} to {entry.size} bytes")
    if entry.method == STORED and entry.size != entry.compressed:
        return Refused("lying size", f"stored, {entry.compressed} bytes for {entry.size}")
    return None


def is_bad_path(name: str) -> bool:
    """Whether a name could lead out of a folder, or is not a name at all."""
    return (
        not name
        or len(name) > LONGEST_PATH
        or name.startswith("/")
        or name[1:2] == ":"
        or ".." in name.split("/")
        or ODD.search(name) is not None
    )
