"""Which data sets a notebook's version read: Meta Kaggle's own join, and the data sets by their version's id.

    write_join(tables, kernel_versions, folder)      # once: joined.parquet, versions.parquet, about.json
    with Join(folder) as join:                       # in every rank
        join.sources([132087938])                    # {132087938: Sources(versions=(7,), competitions=1, kernels=0)}
        join.versions([7])                           # {7: Version(handle=..., bytes=...)}

The join: KernelVersionDatasetSources.SourceDatasetVersionId is DatasetVersions.Id (not DatasourceVersionId); the owner
is Users.UserName or Organizations.Slug by way of Datasets; the version's own number pins it. All of a notebook's data
sets count, not the last. Its competitions and the notebooks whose output it read are only counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.kaggle.tables import COLUMNS, MetaKaggle

JOINED = "joined.parquet"
VERSIONS = "versions.parquet"
ABOUT = "about.json"

# In each join the right side is the one that is held in memory (`MetaKaggle` sees to that): the small one. The largest
# tables, users and versions, stream by. Versions stay as they come, in the order of their ids but for neighbours.
_JOINED = """
copy (
    with sources as (
        select number(KernelVersionId) as kernel, number(SourceDatasetVersionId) as source, 'd' as kind
        from KernelVersionDatasetSources
        union all
        select number(KernelVersionId), number(SourceCompetitionId), 'c' from KernelVersionCompetitionSources
        union all
        select number(KernelVersionId), number(SourceKernelVersionId), 'k' from KernelVersionKernelSources
    )
    select distinct kernel, source, kind from sources semi join Wanted on kernel = id order by kernel, kind, source
) to '{path}' (format parquet)
"""
_DATA_SETS = """
create temp table data_sets as
select number(Id) as id, number(OwnerUserId) as person, number(OwnerOrganizationId) as organization, Slug as slug
from Datasets
"""
_PEOPLE = """
create temp table people as
select number(Id) as id, UserName as name from Users semi join data_sets on number(Users.Id) = person
"""
_TAGS = """
create temp table tags as
select number(t.DatasetId) as data_set, string_agg(g.Name, '|' order by g.Name) as names
from DatasetTags t join Tags g on number(t.TagId) = number(g.Id) group by 1
"""
_OWNED = """
create temp table owned as
select d.id, coalesce(p.name, o.Slug) as owner, d.slug, tags.names as tags
from data_sets d
left join people p on d.person = p.id
left join Organizations o on d.organization = number(o.Id)
left join tags on tags.data_set = d.id
"""
_VERSIONS = """
copy (
    select number(v.Id) as id, number(v.DatasetId) as data_set, d.owner,
        coalesce(nullif(v.Slug, ''), nullif(d.slug, '')) as slug,
        number(v.VersionNumber) as version, nullif(v.LicenseName, '') as licence,
        v.Title as title, v.Subtitle as subtitle, d.tags,
        number(v.TotalCompressedBytes) as compressed, number(v.TotalUncompressedBytes) as uncompressed
    from DatasetVersions v left join owned d on number(v.DatasetId) = d.id
    where number(v.Id) is not null
) to '{path}' (format parquet, row_group_size 8192)
"""


@dataclass(frozen=True)
class Sources:
    """What a notebook's version read: ids of data sets' versions; how many competitions and notebooks' outputs."""

    versions: tuple[int, ...] = ()
    competitions: int = 0
    kernels: int = 0


@dataclass(frozen=True)
class Version:
    """One version of a data set as the tables know it; what they do not know is None. Sizes in bytes."""

    id: int
    data_set: int | None
    owner: str | None
    slug: str | None
    version: int | None
    licence: str | None
    title: str | None
    subtitle: str | None
    tags: tuple[str, ...] = field(default=())
    compressed: int | None = None
    uncompressed: int | None = None


def write_join(tables: MetaKaggle, kernel_versions: Iterable[int], folder: Path) -> None:
    """Join all tables once, for these kernel versions. Raises TableError."""
    import pyarrow as pa

    for table in COLUMNS:
        tables.view(table)
    wanted = pa.table({"id": pa.array(kernel_versions, pa.int64())})
    tables.connection.register("Wanted", wanted)
    tables.query(_JOINED.format(path=_quoted(folder / JOINED)))
    for statement in (_DATA_SETS, _PEOPLE, _TAGS, _OWNED):
        tables.query(statement)
    tables.query(_VERSIONS.format(path=_quoted(folder / VERSIONS)))
    tables.check_lines()
    (folder / ABOUT).write_text(json.dumps({"unreadable_lines": tables.unreadable}) + "\n", encoding="utf-8")


class Join:
    """Looks things up in what `write_join` left. Opened where it is used: it cannot be pickled."""

    def __init__(self, folder: Path) -> None:
        import duckdb

        self._folder = folder
        self._connection = duckdb.connect(config={"memory_limit": "512MB", "threads": 1})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def sources(self, kernel_versions: Sequence[int]) -> dict[int, Sources]:
        """The sources of kernel versions; those that Meta Kaggle does not list have none."""
        found: dict[int, tuple[list[int], list[int], list[int]]] = {}
        for kernel, source, kind in self._rows(JOINED, "kernel, source, kind", "kernel", kernel_versions):
            found.setdefault(kernel, ([], [], []))["dck".index(kind)].append(source)
        return {
            kernel: Sources(tuple(sorted(data)), len(competitions), len(kernels))
            for kernel, (data, competitions, kernels) in found.items()
        }

    def versions(self, ids: Sequence[int]) -> dict[int, Version]:
        """Versions of data sets by their ids; unknown ids are left out."""
        columns = "id, data_set, owner, slug, version, licence, title, subtitle, tags, compressed, uncompressed"
        found = {}
        for row in self._rows(VERSIONS, columns, "id", ids):
            values = dict(zip(columns.split(", "), row, strict=True))
            tags = tuple(values.pop("tags").split("|")) if values["tags"] else ()
            values.pop("tags", None)
            found[row[0]] = Version(**values, tags=tags)
        return found

    def _rows(self, file: str, columns: str, key: str, values: Sequence[int]) -> list[tuple[Any, ...]]:
        if not values:
            return []
        ids = sorted(set(values))
        # The bounds let DuckDB pass over most of the file, which is in the order of the key.
        return self._connection.execute(
            f"select {columns} from '{_quoted(self._folder / file)}' where {key} between ? and ? "
            f"and {key} in (select unnest(?)) order by all",
            [ids[0], ids[-1], ids],
        ).fetchall()


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
