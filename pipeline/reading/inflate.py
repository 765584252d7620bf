"""One member's bytes out of the bytes of its archive: never more than it declared, and only with the right checksum.

    data = inflate(block, member)        block: the member's span of the archive

Memory is bounded by the declared size, which the index has bounded. The header at the member must agree with the
directory, since tools differ in which of the two they believe.
"""

from __future__ import annotations

import struct

from isal import isal_zlib

from pipeline.reading.refusal import Refused
from pipeline.reading.zip_index import DEFLATED, ENCRYPTED_FLAGS, LOCAL_HEADER_BYTES, Member

HEADER = struct.Struct("<4s5H3L2H")
RAW_DEFLATE = -15


def inflate(block: bytes | memoryview, member: Member) -> bytes:
    """The member's bytes. Raises Refused."""
    data = _compressed_data(block, member)
    whole = _inflated(data, member) if member.method == DEFLATED else bytes(data)
    if isal_zlib.crc32(whole) != member.crc:
        raise Refused("wrong checksum", member.name)
    return whole


def _compressed_data(block: bytes | memoryview, member: Member) -> bytes | memoryview:
    if len(block) < LOCAL_HEADER_BYTES:
        raise Refused("header disagrees", f"{member.name}: no room for a header")
    signature, _, flags, method, _, _, _, _, _, name_bytes, extra_bytes = HEADER.unpack_from(block)
    if signature != b"PK\3\4" or method != member.method or flags & ENCRYPTED_FLAGS:
        raise Refused("header disagrees", member.name)
    name = bytes(block[LOCAL_HEADER_BYTES : LOCAL_HEADER_BYTES + name_bytes])
    if member.name not in (name.decode("utf-8", "replace"), name.decode("cp437")):
        raise Refused("header disagrees", f"{member.name} is called {ascii(name)[:100]} there")
    start = LOCAL_HEADER_BYTES + name_bytes + extra_bytes
    if start + member.compressed > len(block):
        raise Refused("overlap", f"{member.name}: its data reach into what follows")
    return block[start : start + member.compressed]


def _inflated(data: bytes | memoryview, member: Member) -> bytes:
    inflater = isal_zlib.decompressobj(RAW_DEFLATE)
    try:
        whole: bytes = inflater.decompress(data, member.size + 1)
    except isal_zlib.error as error:  # type: ignore[misc]  # isal's stubs call it a class of its own
        raise Refused("broken compression", f"{member.name}: {error}") from error
    if len(whole) > member.size:
        raise Refused("lying size", f"{member.name}: more than {member.size} bytes")
    if not inflater.eof:
        raise Refused("broken compression", f"{member.name}: ends before its end")
    if len(whole) < member.size or inflater.unused_data:
        raise Refused("lying size", f"{member.name}: {len(whole)} bytes for {member.size}")
    return whole
