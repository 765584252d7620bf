"""The three records that pass between the rooms: Question, Trace, Result. Frozen, typed, each with a schema version.

A *question set* on disk is a folder with `questions.jsonl` (one Question a line) and `files/` (what `Question.files`
names, relative to that folder). A Trace is a view of one sample of an Inspect log; nothing keeps a second copy.
A Result is one row of the ledger (`results/ledger.py` appends and checks them).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from harness.kernel.protocol import CellResult

AnswerKind = Literal["number", "text", "list", "yes-no", "not-applicable"]
ExposureClass = Literal["general", "in-domain", "benchmark-tuned"]
CostBasis = Literal["prices", "local", "unpriced"]
"""Where the cost of a run comes from: the prices in its log, a model of one's own (none), or nobody knows."""


class Record(BaseModel):
    """Base of the records: immutable, and a field nobody declared is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Solution(Record):
    """Cells that solve a question. `answer` None means: what the last cell displayed is the answer."""

    cells: tuple[str, ...]
    answer: str | None = None


class Question(Record):
    """A question about data files. `answer` None means that the right answer is not known here (it goes unscored)."""

    schema_version: Literal[1] = 1
    id: str
    question: str
    guidelines: str = ""
    level: str
    answer: str | None
    answer_kind: AnswerKind | None = None
    files: tuple[str, ...] = ()
    source: str
    source_id: str
    family: str | None = None
    licence: str
    checked: str
    solution: Solution | None = None


class ToolCallRecord(Record):
    """A tool call as it was sent: `arguments` is the JSON text itself, so that it re-renders byte for byte."""

    id: str
    name: str
    arguments: str


class Message(Record):
    """One chat message. `raw` holds an assistant's text where it could not be parsed into calls (a malformed call).

    `completion_ids` are the token ids the model sampled, and `environment_ids` those added before them since its last
    turn (the first turn's hold the whole prompt); both empty where the provider does not tell.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    reasoning: str | None = None
    tool_calls: tuple[ToolCallRecord, ...] = ()
    tool_call_id: str | None = None
    raw: str | None = None
    environment_ids: tuple[int, ...] = ()
    completion_ids: tuple[int, ...] = ()


class Verdict(Record):
    """What the grader said. `correct` None means unscored (no answer key)."""

    correct: bool | None
    answer: str | None
    target: str | None


class Trace(Record):
    """One rollout: an agent's attempt at one question, as recorded by an Inspect log."""

    schema_version: Literal[1] = 1
    question_id: str
    epoch: int = 1
    question: str
    guidelines: str = ""
    level: str
    family: str | None = None
    source: str
    source_id: str
    licence: str
    model: str
    scaffold: str
    tools: tuple[str, ...] = Field(default=(), description="Tool schemas as JSON text, as they were sent.")
    messages: tuple[Message, ...]
    files: tuple[tuple[str, str], ...] = Field(default=(), description="(name under input/, path on the host) of each.")
    cells: tuple[CellResult, ...] = ()
    verdict: Verdict
    stop_reason: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    executor: str
    log: str


class Interval(Record):
    """A confidence interval for a share, both ends in [0, 1]. `method` says what of: see `results/repeats.py`."""

    low: float
    high: float
    level: float = 0.95
    method: str = "wilson"


class PassAt(Record):
    """pass@k: the chance that one of k attempts at a question is right, as the mean over the questions."""

    k: int
    value: float
    interval: Interval


class BrokenOff(Record):
    """What was spent on attempts of a run that were killed, beyond what its log holds; in the row's totals already.

    `unanswered_calls` were under way when killed, and `unread` attempts left no record: nobody knows what those cost.
    """

    times: int
    tokens: int
    cost_usd: float | None
    unanswered_calls: int
    unread: int


class Result(Record):
    """One row of the ledger.

    kind "run": measured here; every field but the optional ones below must be given. kind "reported": a published
    figure; needs `source` and `percent`, and k only where it is exact.

    Where each question was asked several times (`epochs`), k and n count attempts, `questions` is n / epochs, the
    interval is one over the questions, and `pass_at` says how often one of several attempts was right. A run without a
    cost says why (`cost_basis`). `settings` are those of sampling and of limits, by Inspect's names. Version 1 had none
    of these fields but the cost; its rows stay readable.
    """

    schema_version: Literal[1, 2] = 2
    kind: Literal["run", "reported"]
    task: str
    split: str
    model: str
    scaffold: str
    exposure: ExposureClass
    k: int | None = None
    n: int | None = None
    errors: int | None = None
    percent: float | None = None
    interval: Interval | None = None
    epochs: int = Field(default=1, ge=1)
    pass_at: tuple[PassAt, ...] = ()
    checkpoint: str | None = None
    seeds: tuple[int, ...] = ()
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    tokens: int | None = None
    cost_usd: float | None = None
    cost_basis: CostBasis | None = None
    wall_s: float | None = None
    broken_off: BrokenOff | None = None
    commit: str | None = None
    data_hash: str | None = None
    model_hash: str | None = None
    log: str | None = None
    incomplete_data: tuple[str, ...] = ()
    source: str | None = None
    recorded_at: str
    note: str | None = None

    @property
    def questions(self) -> int | None:
        """How many different questions were asked."""
        return None if self.n is None else self.n // self.epochs

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Refuse a row that cannot be trusted later; the message names every missing field."""
        required = {
            "run": ["k", "n", "errors", "interval", "tokens", "wall_s", "commit", "data_hash", "model_hash", "log"],
            "reported": ["source", "percent"],
        }[self.kind]
        if self.kind == "run" and self.schema_version > 1:
            required += ["cost_basis"] + ["cost_usd"] * (self.cost_basis == "prices")
        missing = [name for name in required if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a {self.kind} row needs {', '.join(missing)}")
        if self.kind == "run" and not 0 <= (self.k or 0) <= (self.n or 0):
            raise ValueError(f"k={self.k} is not between 0 and n={self.n}")
        if self.cost_usd is not None and self.cost_basis in ("local", "unpriced"):
            raise ValueError(f"cost_usd={self.cost_usd} contradicts cost_basis={self.cost_basis!r}")
        return self


class QuestionSetError(ValueError):
    """A question set on disk that cannot be used; the message names the file, the line and the mend."""


def read_questions(path: Path) -> list[Question]:
    """Read a question set's `questions.jsonl` (or the folder that holds it).

    Raises QuestionSetError naming the file, line and reason for anything missing, malformed or duplicated.
    """
    file = path / "questions.jsonl" if path.is_dir() else path
    if not file.is_file():
        raise QuestionSetError(f"{file}: no such question set. Make one with `dabstep worlds`, or give its folder.")
    questions: dict[str, Question] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            question = Question.model_validate_json(line)
        except ValidationError as error:
            reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise QuestionSetError(f"{file}:{number}: not a question ({reasons}). Mend or remove that line.") from None
        if question.id in questions:
            raise QuestionSetError(f"{file}:{number}: the id {question.id!r} appears twice. Ids must be unique.")
        questions[question.id] = question
    if not questions:
        raise QuestionSetError(f"{file}: holds no questions.")
    return list(questions.values())


def write_jsonl(path: Path, records: list[Record]) -> None:
    """Write records as JSON lines; the file appears under its name only when whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as out:
        for record in records:
            out.write(json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n")
    partial.replace(path)
