"""Stage fetch: the data sets of the linked notebooks, by kagglehub, and in them the files that the notebooks read.

    stages:
      fetch:
        budget_gb: 100          # of downloads, over all ranks
        cache: data/kaggle      # kagglehub's cache; default: kagglehub's own
        max_gb: 10              # of one data set as it really comes

What is fetched is planned once, before the ranks begin: the data sets that most notebooks read for their size come
first. What they named is matched to the files that came (`pipeline/kaggle/matching.py`) and lies read-only under
`RUN/files`. Public data sets need no account. `--dry-run` says how many bytes it will take, once `link` is complete.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.kaggle.attempt import OVER_BUDGET, FetchRules
from pipeline.kaggle.budget import Plan, Wanted, plan_bytes
from pipeline.kaggle.downloads import FETCHED, Downloads
from pipeline.kaggle.fetching import Fetcher, default_cache
from pipeline.kaggle.filters import GB
from pipeline.kaggle.handles import Handle
from pipeline.kaggle.matching import Matched, match
from pipeline.kaggle.placing import list_files, place
from pipeline.quarantine import Dropped
from pipeline.row import Files, LeftOut, LinkedFile, NotebookRow
from pipeline.runs.funnel import byte_size
from pipeline.runs.stages import Stage, StageContext
from pipeline.runs.steps import RowStep

if TYPE_CHECKING:
    from datatrove.data import Document
    from datatrove.pipeline.base import PipelineStep

PLAN = "plan.json"
LEDGER = "downloads.sqlite"
FILES = "files"
FIGURES_S = 1.0
MODULES = ("attempt", "budget", "downloads", "fetching", "handles", "kagglehub_child", "matching", "placing")


@dataclass(frozen=True)
class FetchSettings:
    """Sizes in units of 10^9 bytes. `tries` of one data set, the first wait between them `backoff_s` seconds; a
    download that brings nothing for `stall_s` seconds is broken off.
    """

    budget_gb: float = 100.0
    cache: str | None = None
    max_gb: float = 10.0
    tries: int = 4
    stall_s: float = 120.0
    backoff_s: float = 1.0

    def __post_init__(self) -> None:
        """Refuse figures that make no sense."""
        for name in ("budget_gb", "max_gb", "tries", "stall_s", "backoff_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, and must be more than 0")


class Fetch(RowStep):
    """Fills in a row's `files`, or drops it."""

    def __init__(self, context: StageContext[FetchSettings]) -> None:
        super().__init__()
        self._context = context
        self._rank = 0
        self._told = 0.0

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """For datatrove; the ledger is told the rank."""
        self._rank = rank
        yield from super().run(data, rank, world_size)

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        """Row by row; a data set of several rows is fetched once."""
        settings = self._context.settings
        plan: dict[str, int] = json.loads((self._context.gathered / PLAN).read_bytes())["admitted"]
        self._files_of = lru_cache(maxsize=64)(list_files)
        self._downloads = Downloads(self._context.folder / LEDGER, int(settings.budget_gb * GB))
        rules = FetchRules(
            (Path(settings.cache) if settings.cache else default_cache()).absolute(),
            settings.max_gb,
            settings.tries,
            settings.stall_s,
            settings.backoff_s,
        )
        fetcher = Fetcher(rules, self._downloads, self._rank, self._tell)
        try:
            for row in rows:
                yield self._row(row, plan, fetcher)
                self._tell()
            self._tell(at_once=True)
        finally:
            self._downloads.close()

    def _row(self, row: NotebookRow, plan: dict[str, int], fetcher: Fetcher) -> NotebookRow | Dropped:
        folders: dict[Handle, Path] = {}
        left_out = []
        for data_set in row.links.data_sets if row.links else ():
            if data_set.handle not in plan:
                left_out.append(LeftOut(data_set=data_set.handle, reason=OVER_BUDGET))
                continue
            handle = Handle.parse(data_set.handle)
            fetched = fetcher.fetch(handle, plan[data_set.handle])
            if fetched.folder is None:
                left_out.append(LeftOut(data_set=data_set.handle, reason=fetched.reason or ""))
            else:
                folders[handle] = fetched.folder
        if not folders:
            reasons = {one.reason for one in left_out}
            reason = f"data set {reasons.pop()}" if len(reasons) == 1 else "none of its data sets can be had"
            return self.drop(row, reason, "; ".join(f"{one.data_set}: {one.reason}" for one in left_out))
        named = row.links.mentions if row.links else ()
        matched = match(named, {handle: self._files_of(folder) for handle, folder in folders.items()})
        files = self._place(matched, folders, left_out)
        if not files.files:
            reason = "its files could be several" if files.ambiguous else "names no file of its data sets"
            return self.drop(row, reason, ", ".join([*files.ambiguous, *files.unmatched]))
        self.count("files linked", len(files.files))
        self.count("mentions ambiguous", len(files.ambiguous))
        self.count("mentions without a file", len(files.unmatched))
        return row.model_copy(update={"files": files})

    def _place(self, matched: Matched, folders: dict[Handle, Path], left_out: list[LeftOut]) -> Files:
        """The matched files in their places; one that cannot be placed is as good as not there."""
        context = self._context
        most = int(context.settings.max_gb * GB)
        linked, unmatched = [], list(matched.unmatched)
        for file, names in matched.files.items():
            unpack = not any(name.lower().endswith(".zip") for name in names)
            placed = place(folders[file.handle], file, context.run / FILES, unpack, most)
            if placed.reason:
                unmatched += names
                self.count(f"files refused: {placed.reason}")
                continue
            linked.append(
                LinkedFile(
                    path=f"{FILES}/{placed.path}",
                    name=file.path,
                    data_set=str(file.handle),
                    bytes=placed.bytes,
                    mentions=names,
                )
            )
        ambiguous = {name: tuple(f"{f.handle}/{f.path}" for f in files) for name, files in matched.ambiguous.items()}
        return Files(files=tuple(linked), ambiguous=ambiguous, unmatched=tuple(unmatched), left_out=tuple(left_out))

    def _tell(self, at_once: bool = False) -> None:
        """Put the ledger's figures on the rank's account; they outlive a killed try of the rank."""
        if at_once or time.monotonic() - self._told > FIGURES_S:
            self._told = time.monotonic()
            figures: Counter[str] = Counter()
            for line in self._downloads.of_rank(self._rank):
                figures["bytes downloaded"] += line.paid
                if line.outcome == FETCHED:
                    figures["data sets fetched" if line.paid else "data sets in the cache"] += 1
                elif line.outcome:
                    figures[f"data sets: {line.outcome}"] += 1
            self.account.set_figures(figures)


def plan_of(rows: Iterable[NotebookRow], settings: FetchSettings) -> Plan:
    """What is fetched for these rows."""
    notebooks: Counter[str] = Counter()
    sizes: dict[str, int] = {}
    for row in rows:
        for data_set in row.links.data_sets if row.links else ():
            notebooks[data_set.handle] += 1
            sizes[data_set.handle] = data_set.bytes or 0
    wanted = (Wanted(handle, sizes[handle], count) for handle, count in notebooks.items())
    return plan_bytes(wanted, int(settings.budget_gb * GB))


def gather(context: StageContext[FetchSettings], folder: Path) -> None:
    """Write the plan."""
    plan = plan_of(context.rows_before(), context.settings)
    text = json.dumps(
        {
            "bytes": plan.bytes,
            "admitted": {wanted.handle: wanted.bytes for wanted in plan.admitted},
            "left_out": {wanted.handle: wanted.bytes for wanted in plan.left_out},
        }
    )
    (folder / PLAN).write_text(text + "\n", encoding="utf-8")


def steps(context: StageContext[FetchSettings]) -> Sequence[PipelineStep]:
    """One step."""
    return [Fetch(context)]


def foretell(context: StageContext[FetchSettings]) -> Sequence[str]:
    """The bytes that the plan takes, as far as the rows of `link` are there."""
    plan = plan_of(context.rows_before(), context.settings)
    if not plan.admitted and not plan.left_out:
        return ["the bytes are known when link is complete: run it first (--stage link), it downloads nothing"]
    lines = [
        f"{len(plan.admitted):,} data sets, {byte_size(plan.bytes)} of a budget of "
        f"{byte_size(context.settings.budget_gb * GB)} (what is in the cache already is not fetched again)"
    ]
    if plan.left_out:
        size = byte_size(sum(wanted.bytes for wanted in plan.left_out))
        lines.append(f"{len(plan.left_out):,} data sets do not fit into it ({size})")
    return lines


STAGE = Stage(
    "fetch",
    FetchSettings,
    steps,
    gather=gather,
    foretell=foretell,
    code=tuple(f"pipeline.kaggle.{name}" for name in MODULES),
    needs=("link",),
)
