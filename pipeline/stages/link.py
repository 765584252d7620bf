"""Stage link: which data sets a notebook reads, with versions pinned, and which of them may be used.

    stages:
      link:
        meta_kaggle: meta-kaggle           # the folder of Meta Kaggle's CSV files
        rules: {max_gb: 10, unknown_licence: false}

Two witnesses are compared: Meta Kaggle's join and, in newer notebooks, what Kaggle wrote into the file itself. Data
sets are judged by licence, kind and size before anything is downloaded (`pipeline/kaggle/filters.py`). A notebook is
dropped when none is left, or when neither its code nor stage extract names a data file. Competitions and other
notebooks' outputs are counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from pipeline.kaggle.filters import Rules, refusal
from pipeline.kaggle.handles import Handle, HandleError
from pipeline.kaggle.join import Join, Sources, Version, write_join
from pipeline.kaggle.mentions import mentions
from pipeline.kaggle.own_sources import OwnSources, own_sources
from pipeline.kaggle.tables import COLUMNS, MetaKaggle
from pipeline.quarantine import Dropped
from pipeline.reading.manifest import version_number
from pipeline.reading.notebook import ABSENT, Notebook, joined
from pipeline.reading.opening import read_notebooks
from pipeline.reading.refusal import Refused
from pipeline.row import DataSet, LeftOut, Links, NotebookRow
from pipeline.runs.fingerprint import file_identity
from pipeline.runs.funnel import byte_size
from pipeline.runs.stages import Stage, StageContext
from pipeline.runs.steps import RowStep
from pipeline.stages.load import inputs_of

if TYPE_CHECKING:
    from datatrove.pipeline.base import PipelineStep

BATCH = 256
SPILL = "spill"
LEAST_MEMORY_GB = 0.25
MODULES = ("filters", "handles", "join", "mentions", "own_sources", "tables")


@dataclass(frozen=True)
class LinkSettings:
    """`memory_gb` bounds the join; what does not fit is spilled into the run's folder."""

    meta_kaggle: str
    rules: Rules = field(default_factory=Rules)
    memory_gb: float = 2.0

    def __post_init__(self) -> None:
        """Refuse less memory than DuckDB's own buffers take."""
        if self.memory_gb < LEAST_MEMORY_GB:
            raise ValueError(f"memory_gb is {self.memory_gb}, and must be {LEAST_MEMORY_GB} or more")


@dataclass(frozen=True)
class _Read:
    """A notebook as far as this stage is concerned."""

    row: NotebookRow
    own: OwnSources
    mentions: tuple[str, ...]


class Link(RowStep):
    """Fills in a row's `links`, or drops it."""

    def __init__(self, context: StageContext[LinkSettings]) -> None:
        super().__init__()
        self._run = context.run
        self._gathered = context.gathered
        self._rules = context.settings.rules

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        """The rows with their links, looked up in batches."""
        with Join(self._gathered) as join:
            read = self._read(rows)
            while batch := list(itertools.islice(read, BATCH)):
                yield from (one for one in batch if isinstance(one, Dropped))
                yield from self._linked([one for one in batch if isinstance(one, _Read)], join)

    def _read(self, rows: Iterator[NotebookRow]) -> Iterator[_Read | Dropped]:
        for row, notebook in read_notebooks(rows, inputs_of(self._run)):
            if isinstance(notebook, Refused):
                yield self.drop(row, notebook.reason, notebook.detail)
            else:
                own = notebook.metadata.kaggle if notebook.metadata else ABSENT
                yield _Read(row, own_sources(own), named_files(row, notebook))

    def _linked(self, batch: list[_Read], join: Join) -> Iterator[NotebookRow | Dropped]:
        sources = join.sources([version_number(read.row.id) for read in batch])
        ids = {number for source in sources.values() for number in source.versions}
        ids |= {number for read in batch for number, _ in read.own.versions}
        versions = join.versions(sorted(ids))
        for read in batch:
            table = sources.get(version_number(read.row.id), Sources())
            links = links_of(table, read.own, read.mentions, versions, self._rules)
            self._count(links)
            if reason := reason_to_drop(links):
                yield self.drop(read.row, reason, "; ".join(f"{one.data_set}: {one.reason}" for one in links.left_out))
            else:
                yield read.row.model_copy(update={"links": links})

    def _count(self, links: Links) -> None:
        for data_set in links.data_sets:
            said = {"both": "links", "tables": "links only in the tables", "notebook": "links only in the notebook"}
            self.count(said[data_set.said_by])
        for left_out in links.left_out:
            self.count(f"links left out: {left_out.reason}")
        for name in ("competitions", "kernels", "others"):
            if number := getattr(links, name):
                self.count(f"sources that are {name.replace('kernels', 'notebooks')}", number)


def named_files(row: NotebookRow, notebook: Notebook) -> tuple[str, ...]:
    """The files that a notebook's code names, and those that only stage extract found.

    Where both know a name, the code's counts: it has the path.
    """
    code = (joined(cell.source) for cell in notebook.cells or () if cell.cell_type == "code")
    named = mentions(code)
    known = {PurePosixPath(path).name.casefold() for path in named}
    told = row.extracted.files if row.extracted else ()
    return (*named, *(path for path in told if PurePosixPath(path).name.casefold() not in known))


def links_of(
    table: Sources, own: OwnSources, paths: tuple[str, ...], versions: Mapping[int, Version], rules: Rules
) -> Links:
    """What a notebook reads, by both witnesses, judged."""
    data_sets: dict[str, DataSet] = {}
    left_out: dict[str, LeftOut] = {}
    claimed = dict(own.versions)
    for number in sorted({*table.versions, *claimed}):
        version = versions.get(number)
        said_by: Literal["tables", "notebook", "both"] = "both"
        if number not in claimed:
            said_by = "tables"
        elif number not in table.versions:
            said_by = "notebook"
        name, reason = _judged(number, version, claimed.get(number), rules)
        if reason:
            left_out[name] = LeftOut(data_set=name, reason=reason)
        elif version:
            size = version.compressed if version.compressed is not None else version.uncompressed
            data_sets[name] = DataSet(handle=name, licence=version.licence or "", bytes=size, said_by=said_by)
    return Links(
        data_sets=tuple(data_sets.values()),
        left_out=tuple(left_out.values()),
        competitions=max(table.competitions, own.others.get("competition", 0)),
        kernels=max(table.kernels, own.others.get("kernel", 0)),
        others=own.others.get("model or other", 0),
        mentions=paths,
    )


def _judged(number: int, version: Version | None, data_set: int | None, rules: Rules) -> tuple[str, str | None]:
    """How a data set is called (by its handle, or else its version's id), and why it is not used, or None.

    `data_set` is its id as the notebook itself has it.
    """
    if version is None:
        return str(number), "unknown to the tables"
    if data_set is not None and version.data_set is not None and data_set != version.data_set:
        return str(number), "named otherwise in the tables"
    try:
        name = str(Handle.of(version.owner, version.slug, version.version))
    except HandleError:
        return str(number), "without an owner or a name in the tables"
    return name, refusal(version, rules)


def reason_to_drop(links: Links) -> str | None:
    """Why a notebook with these links goes no further, or None."""
    if links.data_sets:
        return None if links.mentions else "names no data file"
    if links.left_out:
        reasons = {left_out.reason for left_out in links.left_out}
        return f"data set {reasons.pop()}" if len(reasons) == 1 else "data sets left out for several reasons"
    if links.competitions:
        return "reads only a competition"
    return "reads only other notebooks' outputs" if links.kernels else "names no data set"


def gather(context: StageContext[LinkSettings], folder: Path) -> None:
    """Join the tables for all rows at once."""
    settings = context.settings
    wanted = (number for row in context.rows_before() if (number := version_number(row.id)) >= 0)
    spill = context.folder / SPILL
    with MetaKaggle(Path(settings.meta_kaggle), settings.memory_gb, spill) as tables:
        write_join(tables, wanted, folder)


def steps(context: StageContext[LinkSettings]) -> Sequence[PipelineStep]:
    """One step."""
    return [Link(context)]


def identities(context: StageContext[LinkSettings]) -> Mapping[str, str]:
    """The tables that are there."""
    paths = [Path(context.settings.meta_kaggle) / f"{table}.csv" for table in COLUMNS]
    return {str(path): file_identity(path) if path.exists() else "missing" for path in paths}


def foretell(context: StageContext[LinkSettings]) -> Sequence[str]:
    """What is joined."""
    paths = [Path(context.settings.meta_kaggle) / f"{table}.csv" for table in COLUMNS]
    missing = [path.name for path in paths if not path.exists()]
    size = sum(path.stat().st_size for path in paths if path.exists())
    return [f"joins {byte_size(size)} of Meta Kaggle's tables", *(f"not there: {name}" for name in missing)]


STAGE = Stage(
    "link",
    LinkSettings,
    steps,
    gather=gather,
    inputs=identities,
    foretell=foretell,
    code=tuple(f"pipeline.kaggle.{name}" for name in MODULES),
    needs=("load",),
)
