"""Stage trace: the teacher answers the questions, in the loop and the kernels that evaluations use.

    stages:
      trace:
        model: openai/gpt-5-mini            # as Inspect names it; vllm/..., or any compatible endpoint
        tries: 4                            # at each question
        args: [--turn-limit, "25", --temperature, "0.8", --max-samples, "32"]
        simulate: interpreter               # an endpoint of the run that plays the interpreter where files are missing

One `inspect eval dabstep/generated_qa` a batch of a rank, as a child process (`pipeline/evaluation.py`). A rank that
was killed goes on by `inspect eval-retry`: what its logs hold is not asked again. They stay in
`RUN/stages/..-trace/00017/` and are the only record; a row learns where its tries lie, how many there are and how many
were right.

A question whose files are not all at hand is dropped, unless `simulate` names an endpoint: then a model plays the
interpreter, the executor is recorded as `simulated`, and curation leaves such traces out unless told otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness.records import Question
from pipeline.asking.models import identity, open_ledger
from pipeline.asking.questions import files_at_hand, question_of
from pipeline.evaluation import TRY_S, Evaluation, evaluate, write_question_set
from pipeline.gates.licence import JOINED
from pipeline.quarantine import Dropped
from pipeline.row import NotebookRow, Traced
from pipeline.runs.stages import Stage, StageContext
from pipeline.runs.steps import RowStep
from pipeline.simulated.kernel import PROMPTS
from pipeline.simulated.setup import SANDBOX, VARIABLE, write_simulation

if TYPE_CHECKING:
    from datatrove.data import Document
    from datatrove.pipeline.base import PipelineStep

MISSING = "files are not at hand"


@dataclass(frozen=True)
class TraceSettings:
    """`batch`: questions that one evaluation is given; after each the stage says how far it is.

    `data`: a folder laid out as Kaggle's input folder, where the run did not fetch the files itself. `licence`: what is
    said of data whose licence no stage found out. `try_s`: a try at one turn that lasts longer (seconds) is made
    again.
    """

    model: str = ""
    tries: int = 1
    batch: int = 256
    args: tuple[str, ...] = ()
    simulate: str | None = None
    data: str | None = None
    licence: str = "unknown"
    try_s: int = TRY_S

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model: no teacher is named. Give one as Inspect names it, such as openai/gpt-5-mini.")
        if self.tries < 1:
            raise ValueError(f"tries: {self.tries}; it must be 1 or more.")
        if self.batch < 1:
            raise ValueError(f"batch: {self.batch}; it must be 1 or more.")
        if self.try_s < 1:
            raise ValueError(f"try_s: {self.try_s}; it must be 1 second or more.")

    @property
    def data_folder(self) -> Path | None:
        """`data` as a path."""
        return Path(self.data) if self.data else None


class Teach(RowStep):
    """Has the rank's questions answered and fills in `traced`."""

    def __init__(self, context: StageContext[TraceSettings]) -> None:
        super().__init__()
        self._context = context
        self._rank = 0

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """For datatrove; the rank names the folder of its logs."""
        self._rank = rank
        yield from super().run(data, rank, world_size)

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        """All rows of the rank, batch by batch: those with their files first, then those without."""
        for number in count():
            if not (batch := list(islice(rows, self._context.settings.batch))):
                return
            yield from self._batch(batch, f"{number:04}")

    def _batch(self, batch: Sequence[NotebookRow], number: str) -> Iterator[NotebookRow | Dropped]:
        settings = self._context.settings
        there: list[NotebookRow] = []
        absent: list[NotebookRow] = []
        files_of_row: dict[str, Mapping[str, Path]] = {}
        for row in batch:
            files = files_at_hand(row, self._context.run, settings.data_folder)
            if files is not None:
                there.append(row)
                files_of_row[row.id] = files
            elif settings.simulate is None:
                yield self.drop(row, MISSING, _missing(row))
            elif not wanted_names(row):
                yield self.drop(row, "no file that an interpreter could pretend to have", row.id)
            else:
                absent.append(row)
        if there:
            yield from self._taught(self._folder(f"{number}-real"), there, files_of_row)
        if absent:
            yield from self._simulated(self._folder(f"{number}-simulated"), absent)

    def _simulated(self, folder: Path, rows: Sequence[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        assert self._context.settings.simulate is not None
        booked = f"{self._context.name} {self._rank:05}-{folder.name}"
        setup = write_simulation(self._context, self._context.settings.simulate, rows, folder, booked)
        empty = folder / "empty"
        files = {row.id: {name: _empty(empty / name) for name in wanted_names(row)} for row in rows}
        yield from self._taught(folder, rows, files, {VARIABLE: str(setup)}, ("-T", f"sandbox={SANDBOX}"))
        with open_ledger(self._context) as ledger:
            totals = ledger.totals(booked)
        self.spent(input_tokens=totals.input_tokens, output_tokens=totals.output_tokens, dollars=totals.dollars or 0.0)

    def _taught(
        self,
        folder: Path,
        rows: Sequence[NotebookRow],
        files: Mapping[str, Mapping[str, Path]],
        environment: Mapping[str, str] | None = None,
        args: tuple[str, ...] = (),
    ) -> Iterator[NotebookRow | Dropped]:
        from harness.trace import read_traces

        settings = self._context.settings
        questions = [question_for_task(row, settings.licence) for row in rows]
        if not (folder / "questions" / "questions.jsonl").exists():  # a log refers to these very bytes
            write_question_set(questions, files, folder / "questions")
        arguments = (*args, *settings.args)
        evaluation = Evaluation(settings.model, settings.tries, arguments, settings.try_s, environment or {})
        log = evaluate(evaluation, folder)
        tries: Counter[str] = Counter()
        right: Counter[str] = Counter()
        models: dict[str, tuple[str, str]] = {}
        for trace in read_traces(log):
            tries[trace.question_id] += 1
            right[trace.question_id] += bool(trace.verdict.correct)
            models[trace.question_id] = (trace.model, trace.executor)
            self.spent(
                input_tokens=trace.input_tokens, output_tokens=trace.output_tokens, dollars=trace.cost_usd or 0.0
            )
        place = log.resolve().relative_to(self._context.run.resolve()).as_posix()
        for row in rows:
            if row.id not in tries:
                yield self.drop(row, "no try of it is in the log", place)
                continue
            model, executor = models[row.id]
            traced = Traced(log=place, model=model, executor=executor, tries=tries[row.id], right=right[row.id])
            yield row.model_copy(update={"traced": traced})

    def _folder(self, name: str) -> Path:
        return self._context.folder / f"{self._rank:05}" / name


def question_for_task(row: NotebookRow, licence: str) -> Question:
    """A row's question with its data sets as source and their licences."""
    question = question_of(row)
    sets = row.links.data_sets if row.links else ()
    if not sets:
        return question.model_copy(update={"licence": licence})
    licences = sorted({data_set.licence or licence for data_set in sets})
    source = JOINED.join(sorted(data_set.handle for data_set in sets))
    return question.model_copy(update={"source": "kaggle", "source_id": source, "licence": JOINED.join(licences)})


def wanted_names(row: NotebookRow) -> tuple[str, ...]:
    """The base names of the files that the notebook works with."""
    names = (PurePosixPath(file.replace("\\", "/")).name for file in (row.extracted.files if row.extracted else ()))
    return tuple(dict.fromkeys(name for name in names if name))


def _missing(row: NotebookRow) -> str:
    wanted = ", ".join(wanted_names(row))
    return f"{wanted or 'none named'}; fetched: {len(row.files.files) if row.files else 0}"


def _empty(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def steps(context: StageContext[TraceSettings]) -> Sequence[PipelineStep]:
    """One step: evaluate and look up."""
    return [Teach(context)]


def models(context: StageContext[TraceSettings]) -> Mapping[str, str]:
    """The teacher, and the model that plays the interpreter."""
    settings = context.settings
    return {"teacher": settings.model, **(identity(context, [settings.simulate]) if settings.simulate else {})}


def foretell(context: StageContext[TraceSettings]) -> Sequence[str]:
    """How much there is to do; what a try costs depends on the teacher's turns, which nobody knows beforehand."""
    settings = context.settings
    rows = list(context.rows_before())
    if not rows:
        return [f"{settings.model}: the stage before has no rows yet; run it first (--stage) to foretell this one"]
    there = sum(files_at_hand(row, context.run, settings.data_folder) is not None for row in rows)
    rest = "are dropped" if settings.simulate is None else f"get an interpreter played by {settings.simulate}"
    return [
        f"{settings.model}: {there:,} questions x {settings.tries} tries; {len(rows) - there:,} without files {rest}",
        "what a try costs is not foretold: run with --limit first, and read the funnel's money",
    ]


STAGE = Stage(
    "trace",
    TraceSettings,
    steps,
    code=("pipeline.asking.questions", "pipeline.evaluation", "pipeline.simulated.kernel"),
    prompts=tuple(f"{name}.md" for name in PROMPTS),
    models=models,
    foretell=foretell,
)
