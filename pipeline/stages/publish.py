"""Stage publish: the data set in `RUN/dataset`, Parquet and card, as `load_dataset`, TRL and the Hub take it.

    stages: {publish: {name: Notebook traces, notebooks: true}}

    load_dataset("RUN/dataset", split="non_thinking")
    accelerate launch recipes/sft.py --training_set RUN/dataset ...

The traces are read from their logs once more, and every row passes the gates of `curate` again as it will stand in the
file: a finding here means that a stage before is wrong, so it stops the publication and nothing is published.
It does not upload (`hf upload NAME RUN/dataset --repo-type dataset` does).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from harness.records import Trace
from pipeline.curation.collect import Gates
from pipeline.publishing.card import Facts, card
from pipeline.publishing.columns import VARIANTS, published, variant
from pipeline.publishing.folder import DEFAULT, NOTEBOOKS, Publication
from pipeline.quarantine import Dropped
from pipeline.row import Curated, NotebookRow, Traced, parent_id
from pipeline.runs.stages import Stage, StageContext
from pipeline.runs.steps import RowStep
from pipeline.stages.curate import gates_of

if TYPE_CHECKING:
    from datatrove.pipeline.base import PipelineStep

    from pipeline.publishing.folder import Split

DATASET = "dataset"


class PublishError(RuntimeError):
    """Something that must not be published came this far; the message names the row, the finding and the mend."""


@dataclass(frozen=True)
class PublishSettings:
    """`notebooks`: whether the notebooks themselves are published, in a configuration of their own."""

    name: str = "Notebook traces"
    notebooks: bool = True
    rows_in_shard: int = 1000

    def __post_init__(self) -> None:
        if self.rows_in_shard < 1:
            raise ValueError(f"rows_in_shard: {self.rows_in_shard}; it must be 1 or more.")


@dataclass
class _Figures:
    """What is counted for the card while rows go by."""

    questions: int = 0
    by: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in ("teacher", "executor_type", "answer_kind")}
    )
    data_sets: Counter[str] = field(default_factory=Counter)
    licences: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)
    notebooks: dict[str, NotebookRow] = field(default_factory=dict)

    def add(self, row: NotebookRow, columns: Mapping[str, Any]) -> None:
        self.questions += 1
        for name, counter in self.by.items():
            counter[columns[name] or "none"] += 1
        self.data_sets.update(handle.partition("/versions/")[0] for handle in columns["kaggle_datasets"])
        self.licences.add(columns["licence"])
        self.notebooks.setdefault(parent_id(row.id), row)


class Publish(RowStep):
    """Writes the data set; the rows go on as they are."""

    def __init__(self, context: StageContext[PublishSettings]) -> None:
        super().__init__()
        self._context = context

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        """Every row, once the data set is whole."""
        from pipeline.runs.run import read_plan

        plan = read_plan(self._context.run)
        curation = plan.config.stages["curate"]
        gates, figures, done = gates_of(curation), _Figures(), list[NotebookRow]()
        with Publication(self._context.run / DATASET, self._context.settings.rows_in_shard) as publication:
            for row, trace in traces_of(rows, self._context):
                self._add(row, trace, gates, figures, publication)
                done.append(row)
            if not done:
                raise PublishError("no row is left to publish. `dabstep pipeline show` tells where they were dropped.")
            if self._context.settings.notebooks:
                self._add_notebooks(figures, publication)
            publication.finish(lambda counts: card(self._facts(figures, counts, gates)))
        yield from done

    def _add(self, row: NotebookRow, trace: Trace, gates: Gates, figures: _Figures, publication: Publication) -> None:
        columns = published(trace, row)
        for name in VARIANTS:
            chosen = variant(columns, thinking=name == "thinking")
            if isinstance(chosen, str):
                figures.left_out[chosen] += 1
                continue
            told = json.dumps(chosen["messages"][1:], ensure_ascii=False)
            finding = gates.contamination.finding(row_question(row), columns["answer"], told, trace.source_id)
            if finding is not None:
                raise PublishError(
                    f"{row.id}: {finding.reason} ({finding.detail}), though curation let it pass. Nothing was "
                    "published. Was the gate's folder changed since? Remove the stage curate and run it again."
                )
            config = DEFAULT if curated_of(row).split == "train" else curated_of(row).split
            publication.add(config, name, chosen)
        figures.add(row, columns)

    def _add_notebooks(self, figures: _Figures, publication: Publication) -> None:
        """The notebooks of the rows, read from their archives again where these are still known."""
        from pipeline.reading.opening import read_data
        from pipeline.reading.refusal import Refused
        from pipeline.stages.load import inputs_of

        by_place = sorted(
            figures.notebooks.items(), key=lambda item: (item[1].source.address, item[1].source.offset, item[0])
        )
        names = iter([name for name, _ in by_place])
        for row, data in read_data((row for _, row in by_place), inputs_of(self._context.run)):
            text = None if isinstance(data, Refused) else data.decode("utf-8", "replace")
            publication.add(
                NOTEBOOKS,
                "notebooks",
                {"notebook_id": next(names), "markdown": row.markdown, "original_notebook": text},
            )

    def _facts(self, figures: _Figures, counts: Mapping[Split, int], gates: Gates) -> Facts:
        from pipeline.runs.funnel import read_funnel
        from pipeline.runs.run import read_plan

        funnel = [
            {
                "stage": line.name,
                "read": line.counts.read + line.counts.made,
                "kept": line.counts.kept,
                "dropped": "; ".join(f"{count:,} {reason}" for reason, count in sorted(line.counts.dropped.items())),
            }
            for line in read_funnel(read_plan(self._context.run)).stages
            if line.name != self._context.name
        ]
        return Facts(
            name=self._context.settings.name,
            counts=counts,
            licences=sorted(figures.licences),
            teachers=figures.by["teacher"],
            executors=figures.by["executor_type"],
            answer_kinds=figures.by["answer_kind"],
            data_sets=figures.data_sets,
            questions=figures.questions,
            notebooks=len(figures.notebooks),
            funnel=funnel,
            left_out=figures.left_out,
            gates=gates.described(),
        )


def traces_of(
    rows: Iterator[NotebookRow], context: StageContext[PublishSettings]
) -> Iterator[tuple[NotebookRow, Trace]]:
    """Each row with its chosen trace, read log by log. Raises PublishError where a log does not hold it any more."""
    from harness.trace import read_traces

    for log, group in groupby(rows, key=lambda row: traced_of(row).log):
        own = {(row.id, curated_of(row).epoch): row for row in group}
        for trace in read_traces(context.run / log):
            if (row := own.pop((trace.question_id, trace.epoch), None)) is not None:
                yield row, trace
        if own:
            raise PublishError(
                f"{context.run / log}: does not hold {', '.join(row_id for row_id, _ in own)} any more. Was the log "
                "replaced? Remove the stages from trace on and run them again."
            )


def traced_of(row: NotebookRow) -> Traced:
    """Where a row's tries lie. Raises PublishError for a row that the stage trace has not seen."""
    if row.traced is None:
        raise PublishError(f"{row.id}: has no trace. The stages trace and curate come before publish.")
    return row.traced


def curated_of(row: NotebookRow) -> Curated:
    """Which try was chosen. Raises PublishError for a row that the stage curate has not seen."""
    if row.curated is None:
        raise PublishError(f"{row.id}: no try of it was chosen. The stage curate comes before publish.")
    return row.curated


def row_question(row: NotebookRow) -> str:
    """The text of a row's question."""
    return row.question.question if row.question else ""


def steps(context: StageContext[PublishSettings]) -> Sequence[PipelineStep]:
    """One step: write the data set."""
    return [Publish(context)]


STAGE = Stage(
    "publish",
    PublishSettings,
    steps,
    code=("pipeline.publishing.columns", "pipeline.publishing.folder", "pipeline.publishing.card"),
    needs=("curate",),
    one_task=True,
)
