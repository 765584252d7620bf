"""Hostile and broken archives as data: a name, the bytes, and why the archive or its one member is refused."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator

from tests.pipeline.reading.zips import NOTEBOOK, Archive, Entry, deflated, wide_extra, wide_records

FULL = 0xFFFFFFFF
ZEROS = bytes(20_000_000)
BAD_PATHS = [
    b"/a.ipynb",
    b"../a.ipynb",
    b"x/../../a.ipynb",
    b"x\\..\\a.ipynb",
    b"C:a.ipynb",
    b"C:/a.ipynb",
    b"a\0.ipynb",
]
BAD_PATHS += [b"a\n.ipynb", b"\x1b[2Ja.ipynb", b"\xff\xfe.ipynb", b"x" * 2000 + b".ipynb", b"//host/a.ipynb", b".."]
METHODS = {1: "shrunk", 6: "imploded", 9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 98: "ppmd", 99: "aes"}


def refused_archives() -> Iterator[tuple[str, bytes, str]]:
    """Archives that are refused as a whole."""
    good = Archive().build()
    start = len(good) - 22 - len(Entry().record(0))
    yield "nothing", b"", "empty"
    yield "a web page", b"<html>404</html>" * 50, "not a ZIP"
    yield "gzip", b"\x1f\x8b\x08" + bytes(500), "not a ZIP"
    yield "noise", random.Random(1).randbytes(70_000), "not a ZIP"
    yield "only the signature of an end", b"PK\5\6", "not a ZIP"
    for cut in (1, 10, 22, 23, 40, 80, len(good) - 4):
        yield f"last {cut} bytes missing", good[:-cut], "truncated archive"
    yield "bytes after the end", good + b"\0", "truncated archive"
    yield "comment longer than the file", Archive(told_comment=9).build(), "truncated archive"
    yield "second disk", Archive(disk=1).build(), "split archive"
    yield "entries on another disk", Archive(count_here=0).build(), "split archive"
    yield "more entries than there is room", Archive(count=60_000).build(), "broken directory"
    yield "one entry too many", Archive(count=2).build(), "broken directory"
    yield "one entry too few", Archive([Entry(), Entry(name=b"b.ipynb")], count=1).build(), "broken directory"
    yield "directory before the file", Archive(directory_start=start - 1).build(), "broken directory"
    yield "directory after the file", Archive(directory_start=start + 99).build(), "broken directory"
    yield "something before the archive", b"#!/bin/sh\n" + good, "broken directory"
    yield "directory of 4 GB", Archive(directory_size=FULL - 1).build(), "broken directory"
    yield "entry without a signature", Archive([Entry(signature=b"PK\0\0")]).build(), "broken directory"
    yield "ZIP64 promised", Archive(directory_start=FULL).build(), "broken directory"
    yield "65,535 entries promised", Archive(count=0xFFFF).build(), "broken directory"
    yield "entry promises ZIP64", Archive([Entry(size=FULL)]).build(), "broken directory"
    yield "ZIP64 field too short", Archive([Entry(size=FULL, extra=b"\1\0\4\0abcd")]).build(), "broken directory"
    yield (
        "ZIP64 field reaches out",
        Archive([Entry(size=FULL, extra=b"\1\0\xff\0abcdabcd")]).build(),
        "broken directory",
    )
    size = len(good) - 22 - start
    place = start + size
    for name, wide in {
        "disagrees on the count": wide_records(place, 7, size, start),
        "disagrees on the size": wide_records(place, 1, size - 1, start),
        "disagrees on the start": wide_records(place, 1, size, start + 1),
        "is elsewhere": wide_records(place, 1, size, start, told_place=0),
        "is after the file": wide_records(place, 1, size, start, told_place=1 << 60),
    }.items():
        yield f"ZIP64 record {name}", Archive(wide=wide).build(), "broken directory"
    huge = Archive(count=0xFFFF, wide=wide_records(place, 1 << 62, size, start))
    yield "2 ** 62 entries", huge.build(), "broken directory"


def refused_members() -> Iterator[tuple[str, bytes, str]]:
    """Archives with a good member `good.ipynb` and one to be refused."""
    for number, (name, entry, reason) in enumerate(_entries()):
        good = Entry(name=b"good.ipynb")
        yield name, Archive([good, entry] if number % 2 else [entry, good]).build(), reason
    twice = [Entry(name=b"good.ipynb"), Entry(), Entry(data=NOTEBOOK + b" ")]
    yield "the same name twice", Archive(twice).build(), "duplicate name"
    yield "overlap bomb", _overlapping(), "overlap"
    shared = [Entry(name=b"good.ipynb"), Entry(), Entry(name=b"b.ipynb", offset=200)]
    yield "two entries for one member", Archive(shared).build(), "overlap"


def _entries() -> Iterator[tuple[str, Entry, str]]:
    for path in BAD_PATHS:
        yield f"path {path[:20]!r}", Entry(name=path), "bad path"
    for method, name in METHODS.items():
        yield f"method {name}", Entry(method=method), "unknown compression"
    yield "patch data", Entry(flags=0x820), "unknown compression"
    for flags, name in {0x801: "password", 0x841: "strong encryption", 0x2801: "masked header"}.items():
        yield name, Entry(flags=flags), "encrypted"
    yield "encrypted, but only at the member", Entry(local_flags=0x801), "header disagrees"
    yield "symbolic link", Entry(mode=0o120777, data=b"/etc/passwd", method=0), "symlink"
    for mode, name in {
        0o020666: "character device",
        0o060660: "block device",
        0o010644: "pipe",
        0o140644: "socket",
    }.items():
        yield name, Entry(mode=mode), "not a regular file"
    yield "a script", Entry(name=b"a.py"), "not a notebook"
    yield "a folder with content", Entry(name=b"x/"), "not a notebook"
    yield "a notebook's checkpoint folder", Entry(name=b"a.ipynb/x.txt"), "not a notebook"
    yield "no bytes", Entry(data=b""), "empty"
    yield "40 MB", Entry(data=random.Random(2).randbytes(1000) * 40_000), "too large"
    yield "4 GB declared", Entry(size=FULL - 1, compressed=None), "too large"
    yield "ZIP64 size of 2 ** 63", Entry(size=FULL, extra=wide_extra(1 << 63)), "too large"
    yield "20 MB of zeros", Entry(data=ZEROS), "compression ratio"
    yield "declares a ratio of 100,000", Entry(size=15_000_000), "compression ratio"
    yield "stored, sizes differ", Entry(method=0, size=len(NOTEBOOK) - 1), "lying size"
    yield "holds more than declared", Entry(size=len(NOTEBOOK) - 1), "lying size"
    yield "holds less than declared", Entry(size=len(NOTEBOOK) + 1), "lying size"
    yield "inflates to 20 MB, declares 1,000", Entry(data=ZEROS, size=1000), "lying size"
    yield "inflates to 20 MB, declares a ratio of 100", Entry(data=ZEROS, size=len(deflated(ZEROS)) * 100), "lying size"
    two = deflated(NOTEBOOK) + b"more"
    yield "bytes after the compressed data", Entry(packed=two), "lying size"
    yield "compressed data cut off", Entry(compressed=len(deflated(NOTEBOOK)) - 5), "broken compression"
    yield "zlib's own header", Entry(packed=zlib.compress(NOTEBOOK)), "broken compression"
    yield "noise for compressed data", Entry(packed=b"\xff" * 90), "broken compression"
    yield "a block that never ends", Entry(packed=b"\0" * 3 + b"\xff" * 20), "broken compression"
    yield "wrong checksum", Entry(crc=zlib.crc32(NOTEBOOK) ^ 1), "wrong checksum"
    yield "stored with a wrong checksum", Entry(method=0, crc=0), "wrong checksum"
    yield "another name at the member", Entry(local_name=b"b.ipynb"), "header disagrees"
    yield "another method at the member", Entry(local_method=0), "header disagrees"
    yield "no header at the member", Entry(local_signature=b"PK\0\0"), "header disagrees"
    yield "offset behind the directory", Entry(offset=1 << 30), "outside the archive"
    yield "ZIP64 offset of 2 ** 63", Entry(offset=FULL, extra=wide_extra(1 << 63)), "outside the archive"
    yield "data reach into the directory", Entry(compressed=50_000), "outside the archive"


def _overlapping() -> bytes:
    """Fifty entries whose data are one and the same kernel of zeros."""
    kernel = deflated(bytes(100_000))
    entries = [Entry(name=b"good.ipynb")]
    entries += [Entry(name=b"%d.ipynb" % n, data=bytes(100_000), size=15_000, packed=b"") for n in range(50)]
    entries[-1].packed = kernel
    for entry in entries[1:]:
        entry.compressed = len(kernel)
    return Archive(entries, before_directory=bytes(3 * len(kernel))).build()
