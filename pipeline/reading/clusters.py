"""Clusters on disk: which notebook stands for which, a file a shard, for the rank that reads that shard.

    write_members(folder, shard, members)
    read_members(folder, shards)           by id, of the shards a rank reads

A notebook that is in no cluster is in no file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import zstandard

from pipeline.runs.layout import of_rank
from pipeline.runs.store import read_lines, whole_file

MEMBERS = ".members.jsonl.zst"


class Member(msgspec.Struct, frozen=True):
    """A notebook of a cluster of `size`, of which `representative` is the best.

    `reason` is why it is dropped, empty when it is kept; `stands_for` is the kept one that it is like, by `likeness`.
    """

    representative: str
    size: int
    id: str
    reason: str
    stands_for: str
    likeness: float


_decode = msgspec.json.Decoder(Member).decode


def write_members(folder: Path, shard: int, members: Iterable[Member]) -> None:
    """Write the file of one shard."""
    write_lines(of_rank(folder, shard, MEMBERS), members)


def write_lines(path: Path, members: Iterable[Member]) -> None:
    """Write members as lines; the file is there when it is whole."""
    encoder = msgspec.json.Encoder()
    with whole_file(path) as file, zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as out:
        for member in members:
            out.write(encoder.encode(member) + b"\n")


def read_members(folder: Path, shards: Iterable[int]) -> dict[str, Member]:
    """The members of some shards, by id."""
    found: dict[str, Member] = {}
    for shard in shards:
        found |= {member.id: member for member in map(_decode, read_lines(of_rank(folder, shard, MEMBERS)))}
    return found
