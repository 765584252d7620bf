"""Stage sign: every notebook read once; what cannot be read is dropped, of the others a signature is left for dedup.

    stages: {sign: {languages: [python]}}

Byte duplicates come first: notebooks whose size and CRC agree in the archives' directories are inflated and compared,
and only the best of each (medal, then votes) is parsed. Signatures lie in `00017.signatures.npz` beside the rank's
rows, byte duplicates with what they duplicate in `gathered/00017.members.jsonl.zst`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from pipeline.quarantine import Dropped
from pipeline.reading.clusters import Member, read_members, write_members
from pipeline.reading.code_lines import code_lines
from pipeline.reading.decode import decode
from pipeline.reading.near_duplicates import Signature, SignatureTable, sign
from pipeline.reading.opening import read_data
from pipeline.reading.popularity import quality
from pipeline.reading.refusal import Refused
from pipeline.row import NotebookRow
from pipeline.runs.layout import of_rank
from pipeline.runs.stages import Stage, StageContext, shards
from pipeline.runs.steps import RowStep
from pipeline.runs.store import read_rows, whole_file
from pipeline.stages.load import inputs_of

if TYPE_CHECKING:
    from datatrove.data import Document
    from datatrove.pipeline.base import PipelineStep

SIGNATURES = ".signatures.npz"
SAME_BYTES = "same bytes"


@dataclass(frozen=True)
class SignSettings:
    """`languages`: notebooks in others are dropped; one that names no language counts as Python."""

    languages: tuple[str, ...] = ("python",)


class Sign(RowStep):
    """Reads the rank's notebooks and leaves their signatures."""

    def __init__(self, context: StageContext[SignSettings]) -> None:
        super().__init__()
        self._context = context
        self._languages = frozenset(language.lower() for language in context.settings.languages)
        self._rank, self._tasks = 0, 1

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """For datatrove; the rank names the file of signatures and the shards that are read."""
        self._rank, self._tasks = rank, world_size
        yield from super().run(data, rank, world_size)

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        """The rows that could be read, in their order; their signatures are written at the end."""
        twins = read_members(self._context.gathered, own_shards(self._context, self._rank, self._tasks))
        dropped: list[Dropped] = []

        def single() -> Iterator[NotebookRow]:
            for row in rows:
                if twin := twins.get(row.id):
                    dropped.append(self.drop(row, SAME_BYTES, f"as {twin.stands_for}"))
                else:
                    yield row

        signatures: list[Signature] = []
        for row, data in read_data(single(), inputs_of(self._context.run)):
            yield from dropped
            dropped.clear()
            try:
                signatures.append(self._signed(data))
            except Refused as refusal:
                yield self.drop(row, refusal.reason, refusal.detail)
            else:
                yield row
        yield from dropped
        with whole_file(of_rank(self._context.folder, self._rank, SIGNATURES)) as file:
            SignatureTable.of(signatures).save(file)

    def _signed(self, data: bytes | Refused) -> Signature:
        if isinstance(data, Refused):
            raise data
        notebook = decode(data)
        if notebook.language not in self._languages:
            raise Refused("other language", notebook.language)
        return sign(data, code_lines(notebook))


def find_twins(context: StageContext[SignSettings], folder: Path) -> None:
    """Find the byte duplicates: first by the archives' directories, then by the bytes of those alone."""
    assert context.before is not None
    counts = Counter(key for row in context.rows_before() if (key := _directory_key(row)))
    groups: dict[int, list[tuple[int, NotebookRow]]] = {}
    files = shards(context.before)
    for shard, path in enumerate(files):
        for row in read_rows(path):
            if (key := _directory_key(row)) and counts[key] > 1:
                groups.setdefault(key, []).append((shard, row))
    inputs = inputs_of(context.run)
    twins: dict[int, list[Member]] = {shard: [] for shard in range(len(files))}
    for group in groups.values():
        group.sort(key=lambda placed: -quality(placed[1].popularity, 0))
        place = {row.id: shard for shard, row in group}
        originals: dict[bytes, str] = {}
        for row, data in read_data((row for _, row in group), inputs):
            if isinstance(data, Refused):
                continue  # its rank drops it with this reason
            original = originals.setdefault(xxhash.xxh3_128_digest(data), row.id)
            if original != row.id:
                twins[place[row.id]].append(Member(original, len(group), row.id, SAME_BYTES, original, 1.0))
    for shard, members in twins.items():
        write_members(folder, shard, members)


def own_shards(context: StageContext[Any], rank: int, tasks: int) -> range:
    """The numbers of the shards of the stage before that a rank reads."""
    assert context.before is not None
    return range(rank, len(shards(context.before)), tasks)


def _directory_key(row: NotebookRow) -> int:
    """CRC and size as one number; 0 for a plain file, of which no directory speaks."""
    return 0 if row.source.crc32 is None else row.source.crc32 << 32 | row.source.size


def steps(context: StageContext[SignSettings]) -> Sequence[PipelineStep]:
    """One step: read and sign."""
    return [Sign(context)]


STAGE = Stage(
    "sign",
    SignSettings,
    steps,
    gather=find_twins,
    needs=("load",),
    code=tuple(
        f"pipeline.reading.{name}"
        for name in ("code_lines", "decode", "inflate", "near_duplicates", "notebook", "refusal")
    ),
)
