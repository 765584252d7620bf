"""Stage load: what is there to read. An index of all archives and folders, cut into shards of equal bytes.

    stages:
      load:
        inputs: [kaggle/*.zip, {address: gs://bucket/notebooks, options: {requester_pays: my-project}}]
        file_list: starcoder2data-kaggle.parquet     # only the notebooks it names
        meta_kaggle: meta-kaggle                     # the folder of Meta Kaggle's CSV files, for votes and medals

Later stages read the notebooks where they are, by `inputs_of`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.quarantine import Dropped
from pipeline.reading.manifest import Entry, index_all, shard, version_number, write_manifest
from pipeline.reading.popularity import PopularityTable, read_file_list, read_popularity
from pipeline.reading.refusal import Limits
from pipeline.reading.sources import Input, find, parse_inputs
from pipeline.row import NotebookRow, Popularity, Source
from pipeline.runs.fingerprint import file_identity
from pipeline.runs.layout import GATHERED, stage_folders
from pipeline.runs.stages import Stage, StageContext
from pipeline.runs.steps import SourceStep
from pipeline.runs.store import whole_file

if TYPE_CHECKING:
    from datatrove.pipeline.base import PipelineStep

INPUTS = "inputs.json"
POPULARITY = "popularity.npy"


@dataclass(frozen=True)
class LoadSettings:
    """`inputs`: files, folders and patterns; `notebook_bytes`: larger notebooks are refused before they are read."""

    inputs: tuple[str | Input, ...]
    file_list: str | None = None
    meta_kaggle: str | None = None
    notebook_bytes: int = Limits.notebook_bytes


class Load(SourceStep):
    """The rank's share of the manifest as rows; what the index refused is dropped with its reason."""

    def __init__(self, manifest: Path) -> None:
        super().__init__()
        self._manifest = manifest

    def entries(self, rank: int, tasks: int) -> Iterator[NotebookRow | Dropped]:
        """The entries of shard `rank`."""
        path = self._manifest / POPULARITY
        table = PopularityTable.load(path) if path.exists() else None
        for number, entry in shard(self._manifest, rank):
            if entry.reason:
                yield self.drop(entry.id, entry.reason, entry.detail)
            else:
                yield _row(entry, table[number] if table is not None else None)


def inputs_of(run: Path) -> tuple[Input, ...]:
    """The inputs that a run's notebooks were found in, once its load stage has begun."""
    folder = dict(stage_folders(run))[STAGE.name]
    return parse_inputs(json.loads((folder / GATHERED / INPUTS).read_bytes()))


def gather(context: StageContext[LoadSettings], folder: Path) -> None:
    """Write the manifest and what Meta Kaggle knows of its notebooks."""
    settings = context.settings
    inputs = parse_inputs(settings.inputs)
    with whole_file(folder / INPUTS) as file:
        file.write(json.dumps([asdict(given) for given in inputs]).encode())
    wanted = read_file_list(Path(settings.file_list)) if settings.file_list else None
    limits = Limits(notebook_bytes=settings.notebook_bytes)
    write_manifest(folder, index_all(inputs, limits), context.tasks, context.limit, wanted)
    if settings.meta_kaggle:
        _write_popularity(folder, context.tasks, Path(settings.meta_kaggle))


def steps(context: StageContext[LoadSettings]) -> Sequence[PipelineStep]:
    """One step: the manifest's shard."""
    return [Load(context.gathered)]


def identities(context: StageContext[LoadSettings]) -> Mapping[str, str]:
    """The inputs and tables that the rows depend on, each with its size and the time or tag of its content."""
    named = {found.address: found.identity for found in find(parse_inputs(context.settings.inputs))}
    settings = context.settings
    files = [Path(settings.file_list)] if settings.file_list else []
    if settings.meta_kaggle:
        files += [Path(settings.meta_kaggle) / name for name in ("Kernels.csv", "KernelVersions.csv")]
    for path in files:
        named[str(path)] = file_identity(path) if path.exists() else "missing"
    return named


def _write_popularity(folder: Path, tasks: int, meta_kaggle: Path) -> None:
    entries = (entry for rank in range(tasks) for _, entry in shard(folder, rank))
    table = read_popularity(meta_kaggle, [version_number(entry.id) for entry in entries])
    with whole_file(folder / POPULARITY) as file:
        table.save(file)


def _row(entry: Entry, popularity: Popularity | None) -> NotebookRow:
    return NotebookRow(
        id=entry.id,
        source=Source(
            address=entry.address,
            member=entry.member,
            offset=entry.offset,
            span=entry.span,
            compressed_size=entry.compressed,
            size=entry.size,
            method=entry.method,
            crc32=entry.crc,
        ),
        popularity=popularity,
    )


STAGE = Stage(
    "load",
    LoadSettings,
    steps,
    gather=gather,
    inputs=identities,
    code=("pipeline.reading.manifest", "pipeline.reading.zip_index", "pipeline.reading.sources"),
)
