"""Stage verify: does somebody who is not told a question's answer come to the same one?

    stages:
      verify:
        endpoint: checker
        solvers: [{model: openai/gpt-5-mini}, {model: vllm/Qwen/Qwen3-32B, args: [--turn-limit, "15"]}]

First a checker (another model than the writer, or at least another prompt) answers from the notebook; it has to quote
what it answers from. Where all files of a question are there (fetched, or under `data`), each solver then answers by
running code on them, without having seen the notebook; where they are not, the row says `unsolved` and the checker
decides. Nothing is asked of solvers about a question that the checker does not bear out.

Agreement is the one grader's (`harness/grader.py`), and verified is what all agree on. The rest is dropped with the
reason; its whole rows, with all verdicts, are kept in `00017.unverified.jsonl.zst` beside the verified ones.
`unverified: keep` lets them go on, marked as what they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from harness.calls.outcome import Reply
from harness.calls.request import Request
from harness.grader import is_correct
from pipeline.asking.framing import messages, prompt_files, prompt_version
from pipeline.asking.models import foretold, identity
from pipeline.asking.questions import files_at_hand, question_in, question_of
from pipeline.asking.shown import output_of, read_cells, show
from pipeline.asking.solvers import Solver, solve
from pipeline.asking.step import AskingStep
from pipeline.quarantine import Dropped
from pipeline.row import AnswerVerdict, NotebookRow, Verification
from pipeline.runs.layout import of_rank
from pipeline.runs.stages import Stage, StageContext
from pipeline.runs.store import RowWriter
from pipeline.stages.ask import Evidence

if TYPE_CHECKING:
    from datatrove.data import Document
    from datatrove.pipeline.base import PipelineStep

PROMPT = "verify"
UNVERIFIED = ".unverified.jsonl.zst"
SOLVERS = ".solvers"
UNSOLVED = "files are not at hand"


@dataclass(frozen=True)
class VerifySettings:
    """`data`: where files lie as in Kaggle's input folder, for runs that fetch none. `batch`: questions that one
    evaluation of a solver is given. `unverified`: what becomes of questions on which not all agree."""

    endpoint: str = "checker"
    unverified: Literal["drop", "keep"] = "drop"
    data: str | None = None
    solvers: tuple[Solver, ...] = field(default_factory=tuple)
    batch: int = 64
    notebook_characters: int = 60_000

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError("batch must be 1 or more")


class Check(BaseModel):
    """The checker's reply."""

    model_config = ConfigDict(extra="forbid")

    evidence: list[Evidence]
    reasoning: str
    answerable: bool
    unambiguous: bool
    answer: str


class Verify(AskingStep):
    """Fills in `verification`."""

    def __init__(self, context: StageContext[VerifySettings]) -> None:
        super().__init__(context, context.settings.endpoint)
        self._settings = context.settings
        self._rank = 0

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """For datatrove; the rank names the files beside its rows."""
        self._rank = rank
        yield from super().run(data, rank, world_size)

    def request(self, row: NotebookRow) -> Request:
        """The question, without its answer."""
        return request(row, self._settings)

    def answered(self, row: NotebookRow, reply: Reply) -> Iterable[NotebookRow | Dropped]:
        """The row with the checker's verdict alone."""
        verdict = checked(row, reply.parsed(Check), self.model.endpoint.model)
        return [row.model_copy(update={"verification": Verification(verified=verdict.agrees, verdicts=(verdict,))})]

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        """All rows of the rank, batch by batch."""
        results = super().rows(rows)
        with RowWriter(of_rank(self.context.folder, self._rank, UNVERIFIED)) as unverified:
            while batch := list(islice(results, self._settings.batch)):
                solved = self._solved([row for row in batch if isinstance(row, NotebookRow)])
                for result in batch:
                    row = result if isinstance(result, Dropped) else solved[result.id]
                    if isinstance(row, Dropped) or self._settings.unverified == "keep" or _of(row).verified:
                        yield row
                    else:
                        unverified.write(row)
                        yield self.drop(row, reason(row), _told(row))

    def _solved(self, rows: Sequence[NotebookRow]) -> dict[str, NotebookRow]:
        """The rows by id, with the verdicts of all solvers where the checker agrees and the data are there."""
        by_id = {row.id: row for row in rows}
        data = Path(self._settings.data) if self._settings.data else None
        files: dict[str, dict[str, Path]] = {}
        for row in rows if self._settings.solvers else ():
            if _of(row).verified and (found := files_at_hand(row, self.context.run, data)):
                files[row.id] = found
            else:
                why = UNSOLVED if _of(row).verified else ""
                by_id[row.id] = row.model_copy(update={"verification": _of(row).model_copy(update={"unsolved": why})})
        if not files:
            return by_id
        questions = [question_of(by_id[row_id]) for row_id in files]
        name = hashlib.sha256("\0".join(q.model_dump_json() for q in questions).encode()).hexdigest()[:16]
        for number, solver in enumerate(self._settings.solvers):
            place = of_rank(self.context.folder, self._rank, SOLVERS) / f"{name}-{number}"
            answers = solve(questions, files, solver, place)
            for row_id, answer in answers.items():
                by_id[row_id] = _with(by_id[row_id], solver.model, answer)
        return by_id


def checked(row: NotebookRow, check: Check, model: str) -> AnswerVerdict:
    """What a checker's reply says of a row's question."""
    cells, question = read_cells(row.markdown), question_in(row)
    shown = any(
        quote and quote in " ".join((output_of(cells, told.cell) or "").split())
        for told in check.evidence
        if (quote := " ".join(told.quote.split()))
    )
    objection = ""
    if not check.answerable or not check.answer.strip():
        objection = "not answerable from the notebook"
    elif not check.unambiguous:
        objection = "ambiguous"
    elif not shown and question.answer_kind != "not-applicable":
        objection = "checked without evidence"
    agrees = not objection and is_correct(check.answer, question.answer)
    answer = check.answer.strip() or None
    return AnswerVerdict(
        by="checker", model=model, answer=answer, agrees=agrees, objection=objection, reasoning=check.reasoning
    )


def reason(row: NotebookRow) -> str:
    """Why a row is not verified."""
    checker, *solvers = _of(row).verdicts
    if not checker.agrees:
        return checker.objection or "checker answers otherwise"
    others = [verdict.answer for verdict in solvers if not verdict.agrees]
    if len(others) == len(solvers) > 1 and None not in others and is_correct(str(others[0]), str(others[1])):
        return "solvers agree on another answer"
    return "a solver gives no answer" if None in others else "a solver answers otherwise"


def request(row: NotebookRow, settings: VerifySettings) -> Request:
    """What the checker is asked about a row."""
    question, shown = question_in(row), show(row.markdown, settings.notebook_characters)
    asked = messages(PROMPT, shown, question=question.question, guidelines=question.guidelines)
    return Request(asked, schema=Check, prompt_version=prompt_version(PROMPT))


def _with(row: NotebookRow, model: str, answer: str | None) -> NotebookRow:
    """The row with one more solver's verdict."""
    before, question = _of(row), question_in(row)
    agrees = bool(answer and answer.strip()) and is_correct(answer or "", question.answer)
    verdict = AnswerVerdict(by="solver", model=model, answer=answer, agrees=agrees)
    after = Verification(verified=before.verified and agrees, verdicts=(*before.verdicts, verdict))
    return row.model_copy(update={"verification": after})


def _of(row: NotebookRow) -> Verification:
    assert row.verification is not None
    return row.verification


def _told(row: NotebookRow) -> str:
    """All answers, for the quarantine's sample."""
    question = question_in(row)
    others = "; ".join(f"{verdict.by}: {verdict.answer}" for verdict in _of(row).verdicts)
    return f"{question.answer} | {others} | {question.question}"


def steps(context: StageContext[VerifySettings]) -> Sequence[PipelineStep]:
    """One step: check, solve, compare."""
    return [Verify(context)]


def models(context: StageContext[VerifySettings]) -> Mapping[str, str]:
    """The checker; solvers are settings."""
    return identity(context, [context.settings.endpoint])


def foretell(context: StageContext[VerifySettings]) -> Sequence[str]:
    """What the checker will cost; solvers' costs are in their logs."""
    lines = foretold(context, context.settings.endpoint, lambda row: request(row, context.settings), "question")
    return lines + [f"{solver.model}: an evaluation a batch, not foretold" for solver in context.settings.solvers]


STAGE = Stage(
    "verify",
    VerifySettings,
    steps,
    code=("pipeline.asking.framing", "pipeline.asking.shown", "pipeline.asking.solvers", "pipeline.evaluation"),
    prompts=prompt_files(PROMPT),
    models=models,
    foretell=foretell,
    needs=("ask",),
)
