"""Stage dedup: of notebooks that say the same, the best is kept: medal, then votes, then size.

    stages: {dedup: {least_likeness: 0.6}}

The signatures of all ranks of `sign` are compared at once: the same bytes, the same code, or nearly the same lines of
code. All clusters are written down in `gathered/clusters.jsonl.zst`, a member a line, cluster by cluster; what is kept
of one cluster shares its family, and belongs on the same side of a split.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.quarantine import Dropped
from pipeline.reading.clusters import Member, read_members, write_lines, write_members
from pipeline.reading.near_duplicates import NEAR, SAME_BYTES, SAME_CODE, Fates, SignatureTable, judge
from pipeline.reading.popularity import quality
from pipeline.row import Family, NotebookRow
from pipeline.runs.stages import Stage, StageContext, shards
from pipeline.runs.steps import RowStep
from pipeline.runs.store import StoreError, read_rows
from pipeline.stages.sign import SIGNATURES, own_shards

if TYPE_CHECKING:
    from datatrove.data import Document
    from datatrove.pipeline.base import PipelineStep

CLUSTERS = "clusters.jsonl.zst"
REASONS = {SAME_BYTES: "same bytes", SAME_CODE: "same code", NEAR: "near duplicate"}


@dataclass(frozen=True)
class DedupSettings:
    """`least_likeness`: the Jaccard index of two notebooks' lines of code from which one stands for the other."""

    least_likeness: float = 0.6


class Dedup(RowStep):
    """Drops what another notebook stands for."""

    def __init__(self, context: StageContext[DedupSettings]) -> None:
        super().__init__()
        self._context = context
        self._own = range(0)

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """For datatrove; the rank says which shards it reads."""
        self._own = own_shards(self._context, rank, world_size)
        yield from super().run(data, rank, world_size)

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        """Each row as its cluster says; a row of no cluster is a family of its own."""
        members = read_members(self._context.gathered, self._own)
        for row in rows:
            member = members.get(row.id)
            if member is None:
                yield row.model_copy(update={"family": Family(representative=row.id, size=1)})
            elif member.reason:
                yield self.drop(row, member.reason, f"{member.likeness} like {member.stands_for}")
            else:
                family = Family(representative=member.representative, size=member.size)
                yield row.model_copy(update={"family": family})


def cluster(context: StageContext[DedupSettings], folder: Path) -> None:
    """Compare all signatures and write down the clusters of two and more."""
    assert context.before is not None
    ids: list[str] = []
    qualities: list[int] = []
    tables, ends = [], [0]
    for path in shards(context.before):
        for row in read_rows(path):
            ids.append(row.id)
            qualities.append(quality(row.popularity, row.source.size))
        with path.with_name(path.name.partition(".")[0] + SIGNATURES).open("rb") as file:
            tables.append(SignatureTable.load(file))
        ends.append(len(ids))
    table = SignatureTable.concatenated(tables)
    if len(table) != len(ids):
        raise StoreError(f"{context.before}: {len(ids)} rows and {len(table)} signatures. Run the stage sign again.")
    fates = judge(table, np.array(qualities, np.int64), context.settings.least_likeness)
    for shard, (start, end) in enumerate(pairwise(ends)):
        clustered = start + np.flatnonzero(fates.family_size[start:end] > 1)
        write_members(folder, shard, (_member(ids, fates, int(row)) for row in clustered))
    together = np.argsort(fates.family, kind="stable")
    write_lines(folder / CLUSTERS, (_member(ids, fates, int(row)) for row in together if fates.family_size[row] > 1))


def _member(ids: list[str], fates: Fates, row: int) -> Member:
    return Member(
        representative=ids[int(fates.family[row])],
        size=int(fates.family_size[row]),
        id=ids[row],
        reason=REASONS.get(int(fates.fate[row]), ""),
        stands_for=ids[int(fates.stands_for[row])],
        likeness=round(float(fates.likeness[row]), 3),
    )


def steps(context: StageContext[DedupSettings]) -> Sequence[PipelineStep]:
    """One step: drop by the clusters."""
    return [Dedup(context)]


STAGE = Stage(
    "dedup",
    DedupSettings,
    steps,
    gather=cluster,
    code=("pipeline.reading.near_duplicates", "pipeline.reading.popularity"),
    needs=("sign",),
)
