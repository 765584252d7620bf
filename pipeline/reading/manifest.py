"""The list of everything that was found, before any of it is read, and how it is cut into shards of equal bytes.

    plan = write_manifest(folder, index_all(inputs, reader), tasks=64)
    for number, entry in shard(folder, rank): ...

A manifest is a folder of chunks (`00000000.jsonl.zst`, 5,000 entries each, in order) and `plan.json`. A shard is a run
of consecutive entries, so that a rank reads its archives front to back; shards differ by at most the largest notebook.
An entry that is refused already (by the archive's directory or the file list) is in the manifest too, with its reason:
what is counted at the end is everything that was there. Where two inputs hold the same path, the later one's id gets
the name of its archive before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import xxhash

from pipeline.reading.refusal import LIMITS, Limits, Refused
from pipeline.reading.sources import Found, Input, Reader, SourceError, find
from pipeline.reading.zip_index import index_zip
from pipeline.runs.store import read_lines, whole_file

CHUNK = 5_000
WEIGHT_OF_ONE = 2_000  # bytes: what an entry costs however small it is
PLAN = "plan.json"


class Entry(msgspec.Struct, array_like=True, gc=False):
    """A notebook's place, or why it is refused. A plain file has an empty `member` and no `crc`."""

    id: str
    address: str
    member: str = ""
    offset: int = 0
    span: int = 0
    compressed: int = 0
    size: int = 0
    method: int = 0
    crc: int | None = None
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Plan:
    """Entry numbers where shards begin, and the end of the last: shard r is `bounds[r]` to `bounds[r + 1]`."""

    bounds: tuple[int, ...]
    notebooks: int
    refused: int


def index_all(inputs: Iterable[Input], limits: Limits = LIMITS) -> Iterator[Entry]:
    """Every entry of every input, in the order of their places. Raises SourceError."""
    inputs = tuple(inputs)
    reader = Reader(inputs)
    for found in find(inputs):
        if found.is_archive:
            yield from _archive(found, reader, limits)
        else:
            yield _file(found, limits)


def write_manifest(
    folder: Path,
    entries: Iterable[Entry],
    tasks: int,
    limit: int | None = None,
    wanted: frozenset[str] | None = None,
) -> Plan:
    """Write the manifest: at most `limit` notebooks, and only those whose id or number is in `wanted`, if given."""
    chunk: list[bytes] = []
    weights: list[int] = []
    seen: set[int] = set()
    notebooks = 0
    encoder = msgspec.json.Encoder()
    for entry in entries:
        if limit is not None and notebooks >= limit:
            break
        entry = _judged(entry, seen, wanted)
        notebooks += not entry.reason
        chunk.append(encoder.encode(entry))
        weights.append(WEIGHT_OF_ONE + (0 if entry.reason else entry.compressed))
        if len(chunk) == CHUNK:
            _write_chunk(folder, len(weights) // CHUNK - 1, chunk)
            chunk = []
    if chunk:
        _write_chunk(folder, len(weights) // CHUNK, chunk)
    plan = Plan(_bounds(weights, tasks), notebooks, len(weights) - notebooks)
    with whole_file(folder / PLAN) as file:
        file.write(msgspec.json.encode(plan))
    return plan


def read_plan(folder: Path) -> Plan:
    """The plan of a manifest."""
    return msgspec.json.decode((folder / PLAN).read_bytes(), type=Plan)


def shard(folder: Path, rank: int) -> Iterator[tuple[int, Entry]]:
    """The entries of one shard, each with its number in the manifest."""
    bounds = read_plan(folder).bounds
    start, end = bounds[rank], bounds[rank + 1]
    decoder = msgspec.json.Decoder(Entry)
    for number in range(start // CHUNK, -(-end // CHUNK)):
        for position, line in enumerate(read_lines(_chunk_path(folder, number)), start=number * CHUNK):
            if start <= position < end:
                yield position, decoder.decode(line)


def _archive(found: Found, reader: Reader, limits: Limits) -> Iterator[Entry]:
    try:
        index = index_zip(lambda start, end: reader.read(found.address, start, end), found.size, limits)
    except Refused as refusal:
        yield Entry(id=found.address, address=found.address, reason=refusal.reason, detail=refusal.detail)
        return
    for member in index.members:
        yield Entry(
            id=member.name,
            address=found.address,
            member=member.name,
            offset=member.offset,
            span=member.span,
            compressed=member.compressed,
            size=member.size,
            method=member.method,
            crc=member.crc,
        )
    for number, (name, refused) in enumerate(index.refused):
        shown = name.encode("utf-8", "backslashreplace").decode("ascii", "backslashreplace")
        row_id = f"{found.address}!{number}!{shown}"
        yield Entry(id=row_id, address=found.address, reason=refused.reason, detail=refused.detail)


def _file(found: Found, limits: Limits) -> Entry:
    refusal = None
    if found.is_link:
        refusal = Refused("symlink")
    elif not found.size:
        refusal = Refused("empty")
    elif found.size > limits.notebook_bytes:
        refusal = Refused("too large", f"{found.size} bytes")
    if refusal is not None:
        return Entry(id=found.address, address=found.address, reason=refusal.reason, detail=refusal.detail)
    return Entry(id=found.label, address=found.address, span=found.size, compressed=found.size, size=found.size)


def _judged(entry: Entry, seen: set[int], wanted: frozenset[str] | None) -> Entry:
    """The entry, refused where the file list leaves it out, its id told apart from those of other inputs."""
    if not entry.reason and wanted is not None and entry.id not in wanted and Path(entry.id).stem not in wanted:
        entry = Entry(id=entry.id, address=entry.address, reason="not in the file list")
    for row_id in (entry.id, f"{Path(entry.address).name}/{entry.id}", f"{entry.address}/{entry.id}"):
        taken = xxhash.xxh3_64_intdigest(row_id.encode("utf-8", "replace"))
        if taken not in seen:
            seen.add(taken)
            return msgspec.structs.replace(entry, id=row_id)
    raise SourceError(f"{entry.address}: {entry.id} came twice. An input must not be listed under two addresses.")


def version_number(row_id: str) -> int:
    """The number of the kernel version, in Kaggle's layout the name without folders and ending; -1 for other names."""
    stem = Path(row_id).stem
    return int(stem) if stem.isdecimal() and len(stem) < 19 else -1


def _bounds(weights: list[int], tasks: int) -> tuple[int, ...]:
    """Cuts between entries that come next to equal shares of the weight."""
    sums = np.cumsum(np.array([0, *weights], np.int64))
    cuts = np.searchsorted(sums, sums[-1] * np.arange(1, tasks) / tasks) if tasks > 1 else []
    return (0, *(int(cut) for cut in cuts), len(weights))


def _write_chunk(folder: Path, number: int, lines: list[bytes]) -> None:
    import zstandard

    with whole_file(_chunk_path(folder, number), durable=False) as file:
        file.write(zstandard.ZstdCompressor(level=3).compress(b"\n".join(lines) + b"\n"))


def _chunk_path(folder: Path, number: int) -> Path:
    return folder / f"{number:08}.jsonl.zst"
