"""From rows to their notebooks: bytes fetched block by block, inflated, checked; a refusal takes the notebook's place.

    for row, data in read_data(rows, inputs): ...              bytes, or the Refused that says why not
    for row, notebook in read_notebooks(rows, inputs): ...     decoded, or refused

Rows should come in the order of their places, as the manifest gives them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from pipeline.reading.decode import decode
from pipeline.reading.inflate import inflate
from pipeline.reading.notebook import Notebook
from pipeline.reading.refusal import Refused
from pipeline.reading.sources import Input, Reader, Span
from pipeline.reading.zip_index import Member
from pipeline.row import NotebookRow, Source


def read_data(rows: Iterable[NotebookRow], inputs: Iterable[Input]) -> Iterator[tuple[NotebookRow, bytes | Refused]]:
    """Each row with the notebook's bytes. Raises SourceError for trouble with disk or network."""
    waiting: deque[NotebookRow] = deque()

    def spans() -> Iterator[Span]:
        for row in rows:
            waiting.append(row)
            yield Span(row.source.address, row.source.offset, row.source.span)

    for block in Reader(inputs).spans(spans()):
        row = waiting.popleft()
        try:
            yield row, inflate(block, _member(row.source)) if row.source.member else bytes(block)
        except Refused as refusal:
            yield row, refusal


def read_notebooks(
    rows: Iterable[NotebookRow], inputs: Iterable[Input]
) -> Iterator[tuple[NotebookRow, Notebook | Refused]]:
    """Each row with its notebook, decoded."""
    for row, data in read_data(rows, inputs):
        if isinstance(data, Refused):
            yield row, data
            continue
        try:
            notebook: Notebook | Refused = decode(data)
        except Refused as refusal:
            notebook = refusal
        yield row, notebook


def _member(source: Source) -> Member:
    return Member(
        name=source.member,
        offset=source.offset,
        span=source.span,
        compressed=source.compressed_size,
        size=source.size,
        crc=source.crc32 or 0,
        method=source.method,
    )
