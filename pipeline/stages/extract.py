"""Stage extract: which files and packages a notebook works with, and whether it is data analysis at all.

    stages: {extract: {endpoint: judge, subjects: [data analysis, modelling of tables]}}

A model tells; the notebook's own code is read beside it (`pipeline/asking/code_facts.py`). What the code shows stands,
and what the model names stands where the code holds it; all disagreement is recorded in the row. A notebook that reads
no file, or is about something else, is dropped. That language models are trained in it is never data analysis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from harness.calls.outcome import Reply
from harness.calls.request import Request
from pipeline.asking.code_facts import base_name, code_facts, package_name
from pipeline.asking.framing import messages, prompt_files, prompt_version
from pipeline.asking.models import foretold, identity
from pipeline.asking.shown import read_cells, show
from pipeline.asking.step import AskingStep
from pipeline.quarantine import Dropped
from pipeline.row import Extracted, NotebookRow
from pipeline.runs.stages import Stage, StageContext

if TYPE_CHECKING:
    from datatrove.pipeline.base import PipelineStep

PROMPT = "extract"
Subject = Literal["data analysis", "modelling of tables", "language models", "images, audio or video", "other"]


@dataclass(frozen=True)
class ExtractSettings:
    """`subjects`: those that are kept. `notebook_characters`: how much of a notebook the model is shown."""

    endpoint: str = "judge"
    subjects: tuple[Subject, ...] = ("data analysis", "modelling of tables")
    notebook_characters: int = 60_000


class Extraction(BaseModel):
    """The model's reply."""

    model_config = ConfigDict(extra="forbid")

    files: list[str]
    packages: list[str]
    subject: Subject
    why: str
    is_data_analysis: bool

    @model_validator(mode="after")
    def _language_models_are_no_data_analysis(self) -> Self:
        if self.subject == "language models" and self.is_data_analysis:
            raise ValueError("work on language models is no data analysis: is_data_analysis must be false")
        return self


class Extract(AskingStep):
    """Fills in `extracted` and drops what is no data analysis."""

    def __init__(self, context: StageContext[ExtractSettings]) -> None:
        super().__init__(context, context.settings.endpoint)
        self._settings = context.settings

    def request(self, row: NotebookRow) -> Request:
        """What the notebook works with."""
        return request(row, self._settings)

    def answered(self, row: NotebookRow, reply: Reply) -> Iterable[NotebookRow | Dropped]:
        """Kept where there are files, and somebody could be asked about them."""
        told = reply.parsed(Extraction)
        if told.subject not in self._settings.subjects:
            return [self.drop(row, f"about something else: {told.subject}", told.why)]
        if not told.is_data_analysis:
            return [self.drop(row, "no data analysis", told.why)]
        extracted = compared(row.markdown, told, self.model.endpoint.model)
        if not extracted.files:
            return [self.drop(row, "reads no file", f"told: {', '.join(told.files) or 'none'}")]
        return [row.model_copy(update={"extracted": extracted})]


def compared(markdown: str, told: Extraction, model: str) -> Extracted:
    """A model's word beside the code's."""
    code = [cell.content for cell in read_cells(markdown) if cell.kind == "python"]
    facts, text = code_facts(code), "\n".join(code).lower()
    files = {base_name(file): file.strip() for file in told.files if base_name(file)}
    in_code = {base_name(file): file for file in facts.files}
    packages = dict.fromkeys(filter(None, map(package_name, told.packages)))
    return Extracted(
        files=tuple(({name: file for name, file in files.items() if name in text} | in_code).values()),
        packages=tuple(dict.fromkeys([*facts.packages, *(name for name in packages if name.lower() in text)])),
        subject=told.subject,
        why=told.why,
        model=model,
        files_only_told=tuple(file for name, file in files.items() if name not in in_code),
        files_only_code=tuple(file for name, file in in_code.items() if name not in files),
        packages_only_told=tuple(name for name in packages if name not in facts.packages),
        packages_only_code=tuple(name for name in facts.packages if name not in packages),
        unparsed=facts.unparsed,
    )


def request(row: NotebookRow, settings: ExtractSettings) -> Request:
    """What the model is asked about a row."""
    shown = show(row.markdown, settings.notebook_characters)
    return Request(messages(PROMPT, shown), schema=Extraction, prompt_version=prompt_version(PROMPT))


def steps(context: StageContext[ExtractSettings]) -> Sequence[PipelineStep]:
    """One step: ask, compare, keep data analysis."""
    return [Extract(context)]


def models(context: StageContext[ExtractSettings]) -> Mapping[str, str]:
    """The model that tells."""
    return identity(context, [context.settings.endpoint])


def foretell(context: StageContext[ExtractSettings]) -> Sequence[str]:
    """What it will cost."""
    return foretold(context, context.settings.endpoint, lambda row: request(row, context.settings), "notebook")


STAGE = Stage(
    "extract",
    ExtractSettings,
    steps,
    code=("pipeline.asking.code_facts", "pipeline.asking.framing", "pipeline.asking.shown"),
    prompts=prompt_files(PROMPT),
    models=models,
    foretell=foretell,
    needs=("render",),
)
