"""The row that passes between the pipeline's stages: one notebook, and what each stage found out about it.

    row = NotebookRow(id="0132/087/132087938.ipynb", source=Source(address="a.zip", member="0132/...", ...))
    row = row.model_copy(update={"markdown": text})      # a stage fills in its own section, and changes no other
    NotebookRow.from_document(row.to_document()) == row  # datatrove's Document on the way

Rows are frozen. A stage that learns something new gets a section of its own here: a frozen `Record` and an optional
field that is None until that stage has run. Nothing is stored twice: the notebook itself stays in its archive, where
`source` finds it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field

from harness.records import AnswerKind, Record

if TYPE_CHECKING:
    from datatrove.data import Document


Split = Literal["train", "validation", "test"]


class Source(Record):
    """Where a notebook lies. For a plain file `member` is empty and `offset` 0; sizes are in bytes.

    `span` bytes from `offset` on are all that is read of it: in an archive its header and its compressed data.

    `crc32` is that of the archive's directory, `sha256` that of the bytes once they were read.
    """

    address: str
    member: str = ""
    offset: int = Field(default=0, ge=0)
    span: int = Field(default=0, ge=0)
    compressed_size: int = Field(default=0, ge=0)
    size: int = Field(default=0, ge=0)
    method: int = 0
    crc32: int | None = None
    sha256: str | None = None


class Popularity(Record):
    """What Meta Kaggle says of a notebook: medal 1 gold, 2 silver, 3 bronze, None without one."""

    votes: int = 0
    medal: int | None = None


class Family(Record):
    """The near duplicates that a notebook stands for. `representative` is the id of the one that was kept."""

    representative: str
    size: int = Field(ge=1)


class Shape(Record):
    """What a notebook consists of, as it was decoded."""

    language: str | None = None
    nbformat: int | None = None
    cells: int = 0
    code_cells: int = 0
    outputs: int = 0


class EduScore(Record):
    """How much can be learnt from a notebook: a point or none for each of five criteria, and why.

    `characters_cut`: so much of its text the model was not shown.
    """

    valid_python: int = Field(ge=0, le=1)
    data_loading: int = Field(ge=0, le=1)
    analysis: int = Field(ge=0, le=1)
    narrative: int = Field(ge=0, le=1)
    insight: int = Field(ge=0, le=1)
    total: int = Field(ge=0, le=5)
    why: str
    model: str
    characters_cut: int = 0


class Extracted(Record):
    """What a notebook works with, by a model's word and by its code.

    `files` and `packages` are those that stand: what the code shows, and what the model names and the code holds. The
    model named `*_only_told` without the code's reading them, and left out `*_only_code`; `unparsed` cells are no
    Python, so that the code's side may lack something.
    """

    files: tuple[str, ...]
    packages: tuple[str, ...]
    subject: str
    why: str
    model: str
    files_only_told: tuple[str, ...] = ()
    files_only_code: tuple[str, ...] = ()
    packages_only_told: tuple[str, ...] = ()
    packages_only_code: tuple[str, ...] = ()
    unparsed: int = 0


class Quote(Record):
    """What shows an answer: a piece of the output of the cell with that number (see `pipeline/asking/shown.py`)."""

    cell: int
    quote: str


class AskedQuestion(Record):
    """A question made of a notebook; `answer` is that of the model that asked it. `decimals` is for numbers."""

    question: str
    guidelines: str
    kind: str
    answer: str
    answer_kind: AnswerKind
    decimals: int | None = None
    evidence: tuple[Quote, ...] = ()
    reasoning: str = ""
    model: str


class AnswerVerdict(Record):
    """What a model that was not told the answer found: by reading the notebook, or by running code on the data.

    `answer` None: it gave none. `objection` says why it does not count as agreement, where that is not the answer.
    """

    by: Literal["checker", "solver"]
    model: str
    agrees: bool
    answer: str | None = None
    objection: str = ""
    reasoning: str = ""


class Verification(Record):
    """Whether all who were asked agree with the question's own answer, and what each said.

    `unsolved`: why no solver was asked, although there are some.
    """

    verified: bool
    verdicts: tuple[AnswerVerdict, ...]
    unsolved: str = ""


class DataSet(Record):
    """A data set that a notebook read, its version pinned: `owner/slug/versions/3`. Bytes are those of the download.

    `said_by`: whether Meta Kaggle's tables name it, the notebook's own metadata, or both.
    """

    handle: str
    licence: str = ""
    bytes: int | None = None
    said_by: Literal["tables", "notebook", "both"]


class LeftOut(Record):
    """A data set that is not used, by its handle or else its version's id, and the reason."""

    data_set: str
    reason: str


class Links(Record):
    """What a notebook reads: its data sets, the paths in its code, and how many of its sources are no data sets."""

    data_sets: tuple[DataSet, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    competitions: int = 0
    kernels: int = 0
    others: int = 0
    mentions: tuple[str, ...] = ()


class LinkedFile(Record):
    """A file that a notebook read. `path` is relative to the run's folder, `name` to the data set's; size in bytes."""

    path: str
    name: str
    data_set: str
    bytes: int
    mentions: tuple[str, ...] = ()


class Files(Record):
    """The files at hand; mentions that could mean several (none of those was taken), and that mean none."""

    files: tuple[LinkedFile, ...] = ()
    ambiguous: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every file that the notebook names is at hand."""
        return not (self.ambiguous or self.unmatched)


class Traced(Record):
    """The teacher's tries at the question: they lie in the Inspect log `log`, a path relative to the run's folder."""

    log: str
    model: str
    executor: str
    tries: int = Field(ge=1)
    right: int = Field(ge=0)


class Curated(Record):
    """Which of the tries is published (its epoch in the log), and in which split."""

    epoch: int = Field(ge=1)
    split: Split


class NotebookRow(Record):
    """One notebook. `id` is unique in a run and never changes; `markdown` is the text that models are shown.

    A stage that makes several rows of one names them `ID#1`, `ID#2`, ... (see `parent_id`).
    """

    schema_version: Literal[1] = 1
    id: str = Field(min_length=1)
    source: Source
    markdown: str = ""
    popularity: Popularity | None = None
    shape: Shape | None = None
    family: Family | None = None
    edu_score: EduScore | None = None
    extracted: Extracted | None = None
    question: AskedQuestion | None = None
    verification: Verification | None = None
    links: Links | None = None
    files: Files | None = None
    traced: Traced | None = None
    curated: Curated | None = None

    def to_document(self) -> Document:
        """The row as datatrove passes it from step to step: the markdown is the text, all else plain metadata."""
        from datatrove.data import Document

        return Document(text=self.markdown, id=self.id, metadata=self.model_dump(exclude={"id", "markdown"}))

    @classmethod
    def from_document(cls, document: Document) -> Self:
        """The row of a document. Raises pydantic's ValidationError where a step put something else into it."""
        return cls(id=document.id, markdown=document.text, **document.metadata)


def parent_id(row_id: str) -> str:
    """The id of the row that `ID#1`, `ID#2`, ... were made of; an id without a mark is its own parent."""
    return row_id.rpartition("#")[0] if row_id.rpartition("#")[2].isdigit() and "#" in row_id else row_id
