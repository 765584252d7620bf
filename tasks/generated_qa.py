"""Questions from a question set on disk (`harness.records`), as an Inspect task.

    inspect eval tasks/generated_qa.py -T questions=FOLDER --model ...
    inspect eval dabstep/generated_qa -T questions=FOLDER -T levels=primer --solver dabstep/play_solution --model none

Task parameters (`-T name=value`):

questions   the set: a folder with `questions.jsonl` and `files/`, or that JSONL file itself
levels      only these levels, e.g. primer,easy
families    only these question families
split       what the log calls the set; the folder's name unless given
solutions   JSON lines of {"id", "cells", "answer"} in place of the questions' own, for `--solver dabstep/play_solution`
scaffold    notebook, or baseline: the official DABStep baseline's way (smolagents' CodeAgent), over the same questions
comments    whether the notebook's `python` takes a comment: never, optional, required
exposure    what the model has seen: general, in-domain, benchmark-tuned
sandbox     the kernel sandbox

The number of questions is limited by Inspect's own `--limit` and `--sample-id`. A question's files appear under their
base names; what the set says beyond the question, its guidelines and its files never reaches the model or its kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from inspect_ai import Task, task

from harness.records import ExposureClass, Question, QuestionSetError, read_questions
from harness.tools import Comments
from tasks.arguments import ArgumentError, given_names, given_path, read_solutions
from tasks.notebook_task import SANDBOX, NotebookSettings, Scaffold, data_hash, notebook_task, sha256_of

Names = str | Sequence[str]


@task
def generated_qa(
    questions: str,
    levels: Names | None = None,
    families: Names | None = None,
    split: str | None = None,
    solutions: str | None = None,
    scaffold: Scaffold = "notebook",
    comments: Comments = "optional",
    exposure: ExposureClass = "general",
    sandbox: str = SANDBOX,
) -> Task:
    """Questions of a question set on disk."""
    path = given_path(questions)
    table = path / "questions.jsonl" if path.is_dir() else path
    try:
        chosen = read_questions(table)
    except QuestionSetError as error:
        raise ArgumentError(str(error)) from None
    ids = {question.id for question in chosen}
    chosen = _only(chosen, "levels", given_names(levels), [question.level for question in chosen])
    chosen = _only(chosen, "families", given_names(families), [question.family or "" for question in chosen])
    files = {question.id: _files(question, table.parent / "files") for question in chosen}
    settings = NotebookSettings(
        split=split or table.parent.resolve().name,
        data_hash=_hash(table, files),
        scaffold=scaffold,
        comments=comments,
        exposure=exposure,
        sandbox=sandbox,
    )
    return notebook_task(
        chosen,
        files,
        read_solutions(given_path(solutions), ids) if solutions is not None else {},
        settings,
    )


def question_set_hash(folder: Path) -> str:
    """The data hash that a log of a whole question set states."""
    files = {question.id: _files(question, folder / "files") for question in read_questions(folder)}
    return _hash(folder / "questions.jsonl", files)


def _hash(table: Path, files: Mapping[str, Mapping[str, Path]]) -> str:
    hosts = {path for by_name in files.values() for path in by_name.values()}
    sha256s = {host.relative_to(table.parent).as_posix(): sha256_of(host) for host in hosts}
    return data_hash(sha256s | {table.name: sha256_of(table)})


def _only(questions: list[Question], argument: str, wanted: tuple[str, ...], has: Iterable[str]) -> list[Question]:
    """The questions whose value (`has`, one each) is wanted; a wanted value that none has is an error."""
    if not wanted:
        return questions
    values = list(has)
    if absent := set(wanted) - set(values):
        there = ", ".join(sorted(set(values) - {""})) or "none"
        raise ArgumentError(f"-T {argument}={','.join(sorted(absent))}: no such questions here. There are: {there}.")
    return [question for question, value in zip(questions, values, strict=True) if value in wanted]


def _files(question: Question, folder: Path) -> dict[str, Path]:
    """Name under `/home/user/input` -> path of each file of the question, all of them there and inside `folder`."""
    files: dict[str, Path] = {}
    for entry in question.files:
        path = folder / entry
        if ".." in path.parts or not path.resolve().is_relative_to(folder.resolve()):
            raise ArgumentError(f"question {question.id!r}: its file {entry!r} lies outside {folder}. Move it inside.")
        if not path.is_file():
            raise ArgumentError(f"question {question.id!r}: {path} is missing. Make the question set again.")
        if path.name in files:
            raise ArgumentError(f"question {question.id!r}: two of its files are called {path.name!r}. Rename one.")
        files[path.name] = path
    return files
