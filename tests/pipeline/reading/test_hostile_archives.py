"""Hostile and broken archives: each refused with its own reason, quickly, in bounded memory, its good members read."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from pipeline.reading.decode import decode
from pipeline.reading.inflate import inflate
from pipeline.reading.refusal import Refused
from pipeline.reading.zip_index import index_zip
from tests.pipeline.reading.hostile_archives import refused_archives, refused_members

ARCHIVES = list(refused_archives())
MEMBERS = list(refused_members())
MOST_SECONDS = 1.0
MOST_BYTES = 64_000_000


def read_all(archive: bytes) -> tuple[list[str], list[str]]:
    """(names read, reasons of what was refused)."""
    index = index_zip(lambda start, end: archive[start:end], len(archive))
    names, reasons = [], [refusal.reason for _, refusal in index.refused]
    for member in index.members:
        try:
            decode(inflate(memoryview(archive)[member.offset : member.offset + member.span], member))
            names.append(member.name)
        except Refused as refusal:
            reasons.append(refusal.reason)
    assert len(names) + len(reasons) + index.folders == index.entries
    return names, reasons


@pytest.fixture(autouse=True)
def _bounded() -> object:
    tracemalloc.start()
    began = time.process_time()
    yield
    assert time.process_time() - began < MOST_SECONDS
    assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    tracemalloc.stop()


@pytest.mark.parametrize(("archive", "reason"), [case[1:] for case in ARCHIVES], ids=[case[0] for case in ARCHIVES])
def test_an_archive_is_refused_as_a_whole(archive: bytes, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        read_all(archive)
    assert refused.value.reason == reason


@pytest.mark.parametrize(("archive", "reason"), [case[1:] for case in MEMBERS], ids=[case[0] for case in MEMBERS])
def test_a_member_is_refused_and_the_good_one_beside_it_is_read(archive: bytes, reason: str) -> None:
    names, reasons = read_all(archive)
    assert "good.ipynb" in names
    assert set(reasons) == {reason}
