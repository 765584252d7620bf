"""From a row to a question that a task can ask, and to the files that it needs.

question_of(row)                    # harness.records.Question
files_at_hand(row, run, None)       # {"trips.csv": Path(...)}, or None where one is missing
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from harness.records import Question
from pipeline.row import AskedQuestion, NotebookRow, parent_id

HARD_KINDS = ("multi-step", "join")


def question_in(row: NotebookRow) -> AskedQuestion:
    """The question of a row. Raises ValueError for a row that has none."""
    if row.question is None:
        raise ValueError(f"{row.id}: a row without a question. The stage ask comes before.")
    return row.question


def files_at_hand(row: NotebookRow, run: Path, data: Path | None) -> dict[str, Path] | None:
    """A question's files by the name that a solver sees: those that the run fetched, or else those under `data`.

    None where one is missing, or two have the same name.
    """
    if row.files is None:
        return files_of(row, data) if data is not None else None
    found: dict[str, Path] = {}
    for file in row.files.files:
        path = run / file.path
        if not path.is_file() or path.name in found:
            return None
        found[path.name] = path
    return found if found and row.files.complete else None


def files_of(row: NotebookRow, data: Path) -> dict[str, Path] | None:
    """A question's files by name, found under `data`; None where one is missing, or two have the same name."""
    found: dict[str, Path] = {}
    for file in row.extracted.files if row.extracted else ():
        path = in_input(data, file)
        if path is None or path.name in found:
            return None
        found[path.name] = path
    return found or None


def question_of(row: NotebookRow) -> Question:
    """A row's question as what passes to tasks; `files` are the names that the notebook's code has for them."""
    question = question_in(row)
    verdicts = row.verification.verdicts if row.verification else ()
    agreed = ", ".join(f"{verdict.by} {verdict.model}" for verdict in verdicts if verdict.agrees)
    return Question(
        id=row.id,
        question=question.question,
        guidelines=question.guidelines,
        level="hard" if question.kind in HARD_KINDS else "easy",
        answer=question.answer,
        answer_kind=question.answer_kind,
        files=row.extracted.files if row.extracted else (),
        source="notebook",
        source_id=parent_id(row.id),
        family=row.family.representative if row.family else None,
        licence="unknown",
        checked=f"asked by {question.model}; agreed: {agreed or 'nobody'}",
    )


def in_input(data: Path, file: str) -> Path | None:
    """A file that a notebook names, under a folder laid out as Kaggle's input folder; None where it is not there."""
    parts = [part for part in PurePosixPath(file.replace("\\", "/")).parts if part not in ("/", ".", "..")]
    after = parts[len(parts) - parts[::-1].index("input") :] if "input" in parts else parts
    path = data.joinpath(*after)
    if after and path.is_file() and path.resolve().is_relative_to(data.resolve()):
        return path
    return None
