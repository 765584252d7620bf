"""What stages are made of: datatrove PipelineSteps that take rows and give rows, and lose none.

    class Render(RowStep):
        def row(self, row: NotebookRow) -> NotebookRow | Dropped: ...

    class Score(RowStep):                     # many rows at once, such as calls to a model
        def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]: ...

    class Load(SourceStep):                   # the first stage's first step
        def entries(self, rank: int, tasks: int) -> Iterator[NotebookRow | Dropped]: ...

Steps are built in one process and run in others: what cannot be pickled is opened in `row`, `rows` or `entries`.
Any datatrove step may stand between them, as long as it hands on every document it gets. `steps_of_rank` puts the
reader and the writer around a stage's own steps; the list is a datatrove pipeline for any of its executors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from datatrove.pipeline.base import PipelineStep

from pipeline.quarantine import Dropped
from pipeline.row import NotebookRow
from pipeline.runs.account import Account, read_whole_shard
from pipeline.runs.stages import Stage, StageContext, shards

if TYPE_CHECKING:
    from datatrove.data import Document


class _Step(PipelineStep):  # type: ignore[misc]  # datatrove ships no types
    """A step that shares its rank's account."""

    type = "notebooks"
    account: Account

    def __init__(self) -> None:
        self.name = type(self).__name__
        super().__init__()

    def drop(self, row: NotebookRow | str, reason: str, sample: object = "") -> Dropped:
        """A row (or the id of one that could not be made) that goes no further, to be returned or yielded."""
        row_id = row if isinstance(row, str) else row.id
        return Dropped(stage=self.account.stage, reason=reason, id=row_id, sample=str(sample))

    def spent(self, *, input_tokens: int = 0, output_tokens: int = 0, dollars: float = 0.0) -> None:
        """Put what was paid for the rows on the rank's account."""
        self.account.spent(input_tokens=input_tokens, output_tokens=output_tokens, dollars=dollars)

    def count(self, name: str, number: int = 1) -> None:
        """Add to a figure that the funnel shows beside the rows, such as data sets by what became of them."""
        self.account.count(name, number)

    def _out(self, results: Iterable[NotebookRow | Dropped]) -> Iterator[Document]:
        for result in results:
            if isinstance(result, Dropped):
                self.account.drop(result)
            else:
                yield result.to_document()


class RowStep(_Step):
    """Takes rows and gives each on, changed, or drops it. Override `row`, or `rows` for many at once."""

    def row(self, row: NotebookRow) -> NotebookRow | Dropped:
        """What becomes of one row."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither row nor rows")

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        """What becomes of the rank's rows, in any order."""
        return map(self.row, rows)

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """For datatrove."""
        yield from self._out(self.rows(NotebookRow.from_document(document) for document in data or ()))


class SourceStep(_Step):
    """Makes the rows of the first stage. Every entry counts as read, also one that is dropped at once."""

    def entries(self, rank: int, tasks: int) -> Iterator[NotebookRow | Dropped]:
        """The rank's rows, and what could not become one."""
        raise NotImplementedError

    def run(self, data: Iterable[Document] | None = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """For datatrove."""
        yield from self._out(self._counted(self.entries(rank, world_size)))

    def _counted(self, entries: Iterable[NotebookRow | Dropped]) -> Iterator[NotebookRow | Dropped]:
        for entry in entries:
            self.account.read(entry.id)
            yield entry


class ReadShards(SourceStep):
    """Reads the rank's shards of the stage before. Raises StoreError where one holds another count than its marker."""

    def __init__(self, context: StageContext[Any]) -> None:
        super().__init__()
        self._before = context.before

    def entries(self, rank: int, tasks: int) -> Iterator[NotebookRow | Dropped]:
        """Shards rank, rank + tasks, ..."""
        assert self._before is not None
        for number in range(rank, len(shards(self._before)), tasks):
            yield from read_whole_shard(self._before, number)


class WriteShard(_Step):
    """Writes what comes out of the stage, and the marker at the end."""

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """For datatrove."""
        with self.account.opened(rank):
            for document in data or ():
                self.account.keep(NotebookRow.from_document(document))
        yield from ()


def steps_of_rank(stage: Stage[Any], context: StageContext[Any]) -> list[PipelineStep]:
    """The whole datatrove pipeline of a stage's rank: reader, the stage's own steps, writer, on one account."""
    account = Account(stage.name, context.folder, stage.fan_out)
    reader = [ReadShards(context)] if context.before is not None else []
    steps = [*reader, *stage.steps(context), WriteShard()]
    for step in steps:
        if isinstance(step, _Step):
            step.account = account
    return steps
