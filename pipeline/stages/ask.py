"""Stage ask: questions about a notebook's data files, several a notebook, harder kinds asked for by name.

    stages: {ask: {endpoint: writer, most: 5}}

A row becomes one row a question (`ID#1`, `ID#2`, ...), each with its answer and the evidence for it. Questions that
break a rule (`pipeline/asking/question_rules.py`: invented evidence, trivial look-ups, models' metrics, repetitions...)
are dropped one by one, with the reason. Whether an answer is right is for `verify` to find out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from harness.calls.outcome import Reply
from harness.calls.request import Request
from harness.records import AnswerKind
from pipeline.asking.framing import messages, prompt_files, prompt_version
from pipeline.asking.models import foretold, identity
from pipeline.asking.question_rules import QuestionRules
from pipeline.asking.shown import show
from pipeline.asking.step import AskingStep
from pipeline.quarantine import Dropped
from pipeline.row import AskedQuestion, NotebookRow, Quote
from pipeline.runs.stages import Stage, StageContext

if TYPE_CHECKING:
    from datatrove.pipeline.base import PipelineStep

PROMPT = "ask"
KINDS = {
    "multi-step": "the answer of one step decides what the next looks at (the spread of the city with the most trips).",
    "join": "two files, or a table with itself, are brought together by a key.",
    "filter": "an aggregate over the rows that meet two or more conditions.",
    "rank": "which comes first, last or third by some figure; or the list of the first few in order.",
    "rate": "a share, ratio, change or average for each of something, with what it is divided by said exactly.",
}


@dataclass(frozen=True)
class AskSettings:
    """`most` questions a notebook; `kinds` that are asked for, each with what it means, the hardest first."""

    endpoint: str = "writer"
    most: int = 5
    kinds: Mapping[str, str] = field(default_factory=lambda: dict(KINDS))
    notebook_characters: int = 60_000


class Evidence(BaseModel):
    """A quote from the output of a cell."""

    model_config = ConfigDict(extra="forbid")

    cell: int
    quote: str


class Proposal(BaseModel):
    """One question as the model writes it."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    question: str
    evidence: list[Evidence]
    reasoning: str
    answer: str
    answer_kind: AnswerKind
    decimals: int | None
    guidelines: str


class Proposals(BaseModel):
    """The model's reply."""

    model_config = ConfigDict(extra="forbid")

    questions: list[Proposal]
    why_none: str


class Ask(AskingStep):
    """Makes a row of each question that keeps to the rules."""

    def __init__(self, context: StageContext[AskSettings]) -> None:
        super().__init__(context, context.settings.endpoint)
        self._settings = context.settings

    def request(self, row: NotebookRow) -> Request:
        """Questions about the files of a notebook."""
        return request(row, self._settings)

    def answered(self, row: NotebookRow, reply: Reply) -> Iterable[NotebookRow | Dropped]:
        """A row or a reason for every question; without any, a reason for the notebook."""
        proposals = reply.parsed(Proposals)
        if not proposals.questions:
            yield self.drop(row, "nothing worth asking", proposals.why_none)
            return
        rules, kept = QuestionRules(row.markdown), list[AskedQuestion]()
        for number, proposal in enumerate(proposals.questions, start=1):
            question = _asked(proposal, self.model.endpoint.model)
            reason = self._fault(number, question, rules, kept)
            if reason:
                yield self.drop(f"{row.id}#{number}", reason, f"{question.question} -> {question.answer}")
                continue
            kept.append(question)
            yield row.model_copy(update={"id": f"{row.id}#{number}", "question": question})

    def _fault(
        self, number: int, question: AskedQuestion, rules: QuestionRules, kept: Sequence[AskedQuestion]
    ) -> str | None:
        if number > self._settings.most:
            return "more than asked for"
        if question.kind not in self._settings.kinds:
            return "of a kind not asked for"
        return rules.fault(question) or ("repeats another question" if rules.repeats(question, kept) else None)


def request(row: NotebookRow, settings: AskSettings) -> Request:
    """What the model is asked about a row."""
    shown = show(row.markdown, settings.notebook_characters)
    files = row.extracted.files if row.extracted else ()
    asked = messages(PROMPT, shown, files=files, most=settings.most, kinds=settings.kinds)
    return Request(asked, schema=Proposals, prompt_version=prompt_version(PROMPT))


def _asked(proposal: Proposal, model: str) -> AskedQuestion:
    return AskedQuestion(
        question=proposal.question.strip(),
        guidelines=proposal.guidelines.strip(),
        kind=proposal.kind,
        answer=proposal.answer.strip(),
        answer_kind=proposal.answer_kind,
        decimals=proposal.decimals if proposal.answer_kind == "number" else None,
        evidence=tuple(Quote(cell=shown.cell, quote=shown.quote) for shown in proposal.evidence),
        reasoning=proposal.reasoning,
        model=model,
    )


def steps(context: StageContext[AskSettings]) -> Sequence[PipelineStep]:
    """One step: ask, and keep what keeps to the rules."""
    return [Ask(context)]


def models(context: StageContext[AskSettings]) -> Mapping[str, str]:
    """The model that writes the questions."""
    return identity(context, [context.settings.endpoint])


def foretell(context: StageContext[AskSettings]) -> Sequence[str]:
    """What it will cost."""
    return foretold(context, context.settings.endpoint, lambda row: request(row, context.settings), "notebook")


STAGE = Stage(
    "ask",
    AskSettings,
    steps,
    code=tuple(f"pipeline.asking.{name}" for name in ("code_facts", "framing", "question_rules", "shown")),
    prompts=prompt_files(PROMPT),
    models=models,
    foretell=foretell,
    needs=("extract",),
    fan_out=True,
)
