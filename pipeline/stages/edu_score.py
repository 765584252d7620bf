"""Stage edu_score: how much can be learnt from a notebook, on an additive scale of 0 to 5; the best are kept.

    stages: {edu_score: {endpoint: judge, least: 4}}

A model gives a point or none for each of five criteria, and 0 for a notebook that is disqualified (not English, not
Python, broken, only code, only text). A reply whose total is not the sum of its points is no usable reply: it is asked
for again, and the row is dropped when that does not help. The score says nothing about whether the notebook is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from harness.calls.outcome import Reply
from harness.calls.request import Request
from pipeline.asking.framing import messages, prompt_files, prompt_version
from pipeline.asking.models import foretold, identity
from pipeline.asking.shown import show
from pipeline.asking.step import AskingStep
from pipeline.quarantine import Dropped
from pipeline.row import EduScore, NotebookRow
from pipeline.runs.stages import Stage, StageContext

if TYPE_CHECKING:
    from datatrove.pipeline.base import PipelineStep

PROMPT = "edu_score"
CRITERIA = ("valid_python", "data_loading", "analysis", "narrative", "insight")


@dataclass(frozen=True)
class EduScoreSettings:
    """`least`: the lowest total that is kept. `notebook_characters`: how much of a notebook the model is shown."""

    endpoint: str = "judge"
    least: int = 4
    notebook_characters: int = 60_000


class Criterion(BaseModel):
    """One criterion: the reason before the point."""

    model_config = ConfigDict(extra="forbid")

    why: str
    points: Literal[0, 1]


class Rubric(BaseModel):
    """The model's reply."""

    model_config = ConfigDict(extra="forbid")

    disqualified: Literal["none", "not English", "not Python", "broken", "only code", "only text"]
    valid_python: Criterion
    data_loading: Criterion
    analysis: Criterion
    narrative: Criterion
    insight: Criterion
    total: Literal[0, 1, 2, 3, 4, 5]
    why: str

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        points = sum(self.points().values())
        if self.total != points:
            raise ValueError(f"the total is {self.total}, but the five points add up to {points}")
        if self.disqualified != "none" and points:
            raise ValueError("a disqualified notebook gets 0 for every criterion")
        return self

    def points(self) -> dict[str, int]:
        """The points by criterion."""
        return {name: getattr(self, name).points for name in CRITERIA}


class Score(AskingStep):
    """Fills in `edu_score` and drops what has less than the least."""

    def __init__(self, context: StageContext[EduScoreSettings]) -> None:
        super().__init__(context, context.settings.endpoint)
        self._settings = context.settings

    def request(self, row: NotebookRow) -> Request:
        """The rubric, over as much of the notebook as fits."""
        return request(row, self._settings)

    def answered(self, row: NotebookRow, reply: Reply) -> Iterable[NotebookRow | Dropped]:
        """Kept from the least total on."""
        rubric = reply.parsed(Rubric)
        if rubric.disqualified != "none":
            return [self.drop(row, f"disqualified: {rubric.disqualified}", rubric.why)]
        if rubric.total < self._settings.least:
            return [self.drop(row, f"score below {self._settings.least}", f"{rubric.total}: {rubric.why}")]
        score = EduScore(
            **rubric.points(),
            total=rubric.total,
            why=rubric.why,
            model=self.model.endpoint.model,
            characters_cut=show(row.markdown, self._settings.notebook_characters).characters_cut,
        )
        return [row.model_copy(update={"edu_score": score})]


def request(row: NotebookRow, settings: EduScoreSettings) -> Request:
    """What the judge is asked about a row."""
    shown = show(row.markdown, settings.notebook_characters)
    return Request(messages(PROMPT, shown), schema=Rubric, prompt_version=prompt_version(PROMPT))


def steps(context: StageContext[EduScoreSettings]) -> Sequence[PipelineStep]:
    """One step: ask and keep the best."""
    return [Score(context)]


def models(context: StageContext[EduScoreSettings]) -> Mapping[str, str]:
    """The judge."""
    return identity(context, [context.settings.endpoint])


def foretell(context: StageContext[EduScoreSettings]) -> Sequence[str]:
    """What the judge will cost."""
    return foretold(context, context.settings.endpoint, lambda row: request(row, context.settings), "notebook")


STAGE = Stage(
    "edu_score",
    EduScoreSettings,
    steps,
    code=("pipeline.asking.framing", "pipeline.asking.shown"),
    prompts=prompt_files(PROMPT),
    models=models,
    foretell=foretell,
    needs=("render",),
)
