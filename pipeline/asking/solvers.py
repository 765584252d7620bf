"""Lets models answer questions by running code on the data, in the kernel and the loop that evaluations use.

    answers = solve(questions, files, Solver("openai/gpt-5-mini"), Path("run/solvers/0"))     # id -> answer, or None

One `inspect eval dabstep/generated_qa` over all the questions, as a child process: a process can run one evaluation
only. The folder holds the question set, without the answers, and the logs: when the same call is made again, what a
log answers is not asked again, and an evaluation that was broken off is gone on with by Inspect's own means.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import lifeline
from harness.records import Question, Record, write_jsonl

TASK = "dabstep/generated_qa"
LAST_LINES = 12


class SolverError(RuntimeError):
    """An evaluation that did not end well; the message holds the end of what it said."""


@dataclass(frozen=True)
class Solver:
    """A model as Inspect names it, and further arguments of `inspect eval` (`--temperature`, `-T`, `--turn-limit`)."""

    model: str
    args: tuple[str, ...] = ()


def solve(
    questions: Sequence[Question], files: Mapping[str, Mapping[str, Path]], solver: Solver, folder: Path
) -> dict[str, str | None]:
    """The answer to each question by its id; None where the solver gave none.

    `files`: for each question's id, its data files by the name they have for the solver. `folder` belongs to these
    questions and this solver alone. Raises SolverError.
    """
    from harness.trace import read_traces

    if not questions:
        return {}
    write_question_set(questions, files, folder / "questions")
    log = _finished(folder) or _evaluated(solver, folder)
    answers = {trace.question_id: trace.verdict.answer for trace in read_traces(log)}
    return {question.id: answers.get(question.id) for question in questions}


def write_question_set(questions: Sequence[Question], files: Mapping[str, Mapping[str, Path]], folder: Path) -> None:
    """A question set (`harness/records.py`) whose answers are left out; its files are links where that can be."""
    bare: list[Record] = []
    for question in questions:
        named = files[question.id]
        place = hashlib.sha256("\0".join(map(str, sorted(named.values()))).encode()).hexdigest()[:16]
        for name, path in named.items():
            _linked(path, folder / "files" / place / name)
        entries = tuple(f"{place}/{name}" for name in named)
        bare.append(question.model_copy(update={"answer": None, "solution": None, "files": entries}))
    write_jsonl(folder / "questions.jsonl", bare)


def _linked(path: Path, place: Path) -> None:
    """The same bytes under another name: a hard link, or a copy on another disk."""
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f"{place.name}.{os.getpid()}.partial")
    try:
        os.link(path.resolve(), partial)
    except OSError:
        shutil.copyfile(path, partial)
    partial.replace(place)


def _logs(folder: Path) -> list[Path]:
    return sorted((folder / "logs").glob("*.eval"))


def _finished(folder: Path) -> Path | None:
    """The log of an evaluation that ended well."""
    from inspect_ai.log import read_eval_log

    return next((log for log in _logs(folder) if read_eval_log(str(log), header_only=True).status == "success"), None)


def _evaluated(solver: Solver, folder: Path) -> Path:
    """Run the evaluation, or go on with the newest that was broken off; its log."""
    begun = _logs(folder)
    if begun:
        command = ["eval-retry", str(begun[-1])]
    else:
        command = ["eval", TASK, "-T", f"questions={folder / 'questions'}", "--model", solver.model, *solver.args]
    command += ["--log-dir", str(folder / "logs"), "--display", "none"]
    done = subprocess.run(
        [sys.executable, "-m", "inspect_ai", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, lifeline.VARIABLE: "1"},
        preexec_fn=lifeline.end_with_parent,
    )
    log = _finished(folder)
    if log is None:
        said = "\n".join(done.stdout.strip().splitlines()[-LAST_LINES:])
        raise SolverError(
            f"inspect {command[0]} with {solver.model} ended with status {done.returncode} and no whole log in "
            f"{folder / 'logs'}. Mend this and run the stage again:\n{said}"
        )
    return log
