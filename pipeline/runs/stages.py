"""What a stage of the pipeline is, and the order in which they run.

A stage is one file that ends with its `STAGE` (a second one of the same file gets another name, see `ORDER`):

    @dataclass(frozen=True)
    class RenderSettings:                       # its part of the YAML: `stages: {render: {output_characters: 2000}}`
        output_characters: int = 1000

    class Render(RowStep):                      # a datatrove PipelineStep; see pipeline/runs/steps.py
        def row(self, row: NotebookRow) -> NotebookRow | Dropped:
            ...
            return self.drop(row, "no code cells")

    def steps(context: StageContext[RenderSettings]) -> list[PipelineStep]:
        return [Render(context.settings)]

    STAGE = Stage("render", RenderSettings, steps, code=("pipeline.reading.markdown",))

Ranks. A stage runs as `tasks` ranks, independent of each other: rank r reads the shards r, r + tasks, ... of the stage
before, and writes one shard. Every row it reads it hands on or drops with a reason; what it does otherwise is an error.
A rank that was killed is run again from its input, so steps keep no state between runs but what was paid for.

Gather. Work over all rows at once (clustering, a join, an index) is a stage's `gather`: it runs once, alone, when all
ranks of the stage before are done and before its own ranks begin: `gather(context, folder)` writes files into `folder`,
which the ranks then find, whole, as `context.gathered`.

The first stage reads no rows: its first step is a `SourceStep`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pipeline.row import NotebookRow
from pipeline.runs.account import read_whole_shard
from pipeline.runs.layout import GATHERED, ROWS

if TYPE_CHECKING:
    from datatrove.pipeline.base import PipelineStep

    from pipeline.runs.config import CallSettings

S = TypeVar("S")

ORDER = (
    "pipeline.stages.load",
    "pipeline.stages.sign",
    "pipeline.stages.dedup",
    "pipeline.stages.render",
    "pipeline.stages.edu_score",
    "pipeline.stages.extract",
    "pipeline.stages.link",
    "pipeline.stages.fetch",
    "pipeline.stages.ask",
    "pipeline.stages.verify",
    "pipeline.stages.trace",
    "pipeline.stages.curate",
    "pipeline.stages.publish",
)


@dataclass(frozen=True)
class StageContext(Generic[S]):
    """What a stage is told when it builds its steps, gathers, or names its inputs.

    `settings` is its own part of the YAML, `run` the run's folder, `folder` its own, `before` that of the stage whose
    rows it reads (None for the first), `tasks` the number of its ranks, `limit` at most so many rows from the first
    stage (None: all). `endpoints` are the models that stages ask, by name, as the YAML has them, `calls` what they may
    cost; `pipeline/asking` reads both.
    """

    name: str
    settings: S
    run: Path
    folder: Path
    before: Path | None
    tasks: int
    limit: int | None = None
    endpoints: Mapping[str, Any] = field(default_factory=dict)
    calls: CallSettings | None = None

    @property
    def gathered(self) -> Path:
        """The folder of files that `gather` left for the ranks."""
        return self.folder / GATHERED

    def rows_before(self) -> Iterator[NotebookRow]:
        """All rows of the stage before, shard by shard: for `gather`."""
        if self.before is not None:
            for rank in range(len(shards(self.before))):
                yield from read_whole_shard(self.before, rank)


@dataclass(frozen=True)
class Stage(Generic[S]):
    """A stage; the module's docstring says how one is written.

    `gather` may tell how many rows the ranks will read, where that is not the number of rows before. `foretell` gives
    lines on what the stage will cost, for `--dry-run`.
    `code`: further modules whose source its rows depend on (its own file always counts). `prompts`: files under
    `pipeline/prompts/` that it sends. `inputs`: names of the outside data it reads, each with what identifies it
    (`pipeline.runs.fingerprint.file_identity`). `needs`: stages that must come before it. `one_task`: it runs as a
    single rank. `fan_out`: it may make several rows of one, named `ID#1`, `ID#2`, ...
    """

    name: str
    settings: type[S]
    steps: Callable[[StageContext[S]], Sequence[PipelineStep]]
    gather: Callable[[StageContext[S], Path], int | None] | None = None
    code: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    inputs: Callable[[StageContext[S]], Mapping[str, str]] | None = None
    models: Callable[[StageContext[S]], Mapping[str, str]] | None = None
    foretell: Callable[[StageContext[S]], Sequence[str]] | None = None
    needs: tuple[str, ...] = ()
    one_task: bool = False
    fan_out: bool = False


def load_stages(order: Sequence[str] = ORDER) -> tuple[Stage[Any], ...]:
    """The stages named by `order`, each "module" or "module:NAME", imported."""
    found = []
    for entry in order:
        module, _, name = entry.partition(":")
        found.append(getattr(importlib.import_module(module), name or "STAGE"))
    return tuple(found)


def shards(folder: Path) -> list[Path]:
    """The shards of kept rows that finished ranks of a stage wrote, in the order of ranks."""
    return [marker.with_suffix(ROWS) for marker in sorted(folder.glob("[0-9][0-9][0-9][0-9][0-9].json"))]
