"""Evaluations from within the pipeline: a question set in a folder, and `inspect eval` on it as a child process.

    write_question_set(questions, files, folder / "questions")
    log = evaluate(Evaluation("openai/gpt-5-mini", tries=4), folder)      # folder/questions -> folder/logs/...eval

A process can run one evaluation only, and a child's memory is freed for certain. The same call goes on where it was
broken off, by Inspect's own means (`inspect eval-retry`): a sample that is in a log is not run again. The log is the
only record; nothing here reads scores.

Refusals, errors of the server and dropped connections are left to Inspect's retries, which the task's limit of time
bounds. A try at a turn that brings no answer in `try_s` seconds is given up and made again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import lifeline
from harness.records import Question, write_jsonl

TASK = "dabstep/generated_qa"
ATTEMPTS = 3
"""Evaluations of one call: the second and third only where samples ended by an error."""
LAST_LINES = 12
TRY_S = 600
"""Longest try at one turn, in seconds: twice that of the pipeline's own calls, for teachers think long."""
TRY_FLAG = "--attempt-timeout"
EVERY_SAMPLE = ("--log-buffer", "1", "--no-log-realtime")
"""A sample is in the log as soon as it has ended. Otherwise some lie in Inspect's database beside it for a while, and
what a retry makes of those lacks their store and their sandbox: what the cells did, and where they ran."""


class EvaluationError(RuntimeError):
    """An evaluation without a whole log; the message holds the end of what it said, and the mend."""


@dataclass(frozen=True)
class Evaluation:
    """What is run: a model as Inspect names it, `tries` at each question, further arguments of `inspect eval`
    (`--turn-limit`, `--temperature`, `-T`), the longest try at one turn, and what is added to the environment."""

    model: str
    tries: int = 1
    args: tuple[str, ...] = ()
    try_s: int = TRY_S
    environment: Mapping[str, str] = field(default_factory=dict)


def write_question_set(
    questions: Sequence[Question], files: Mapping[str, Mapping[str, Path]], folder: Path, answers: bool = True
) -> None:
    """A question set (`harness/records.py`) in `folder`; its files are hard links where that can be.

    `files`: for each question's id, its data files by the name they have for the agent. Without `answers` the
    questions go unscored.
    """
    placed = []
    for question in questions:
        named = files[question.id]
        place = hashlib.sha256("\0".join(map(str, sorted(named.values()))).encode()).hexdigest()[:16]
        for name, path in named.items():
            _link(path, folder / "files" / place / name)
        update: dict[str, object] = {"files": tuple(f"{place}/{name}" for name in named)}
        placed.append(question.model_copy(update=update if answers else update | {"answer": None, "solution": None}))
    write_jsonl(folder / "questions.jsonl", list(placed))


def evaluate(evaluation: Evaluation, folder: Path) -> Path:
    """The whole log of `folder/questions`, evaluated now or before. Raises EvaluationError.

    Samples that ended by an error are run again twice; those that still do stay in the log as what they are.
    """
    said = ""
    for _ in range(ATTEMPTS):
        if (log := _ended(folder, "success")) is not None:
            return log
        said = _run(evaluation, folder)
    if (log := _ended(folder, "success") or _ended(folder, "error")) is not None:
        return log
    raise EvaluationError(
        f"{folder}: the evaluation with {evaluation.model} left no whole log. Mend this and run again; what is in its "
        f"logs is kept:\n{said}"
    )


def _run(evaluation: Evaluation, folder: Path) -> str:
    """Run it, or go on with the log that holds most; the end of what was said."""
    if begun := _logs(folder):
        command = ["eval-retry", str(max(begun, key=_finished))]
    else:
        questions = (folder / "questions").resolve()
        command = ["eval", TASK, "-T", f"questions={questions}", "--model", evaluation.model]
        command += ["--epochs", str(evaluation.tries)] if evaluation.tries > 1 else []
        command += [TRY_FLAG, str(evaluation.try_s), *evaluation.args]  # of two such flags the last one counts
    command += ["--log-dir", str(folder / "logs"), "--display", "none", *EVERY_SAMPLE]
    done = subprocess.run(
        [sys.executable, "-m", "inspect_ai", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **evaluation.environment, lifeline.VARIABLE: "1"},
        preexec_fn=lifeline.end_with_parent,
    )
    return "\n".join(done.stdout.strip().splitlines()[-LAST_LINES:])


def _logs(folder: Path) -> list[Path]:
    """The logs of all attempts, the newest first: their names begin with the time."""
    return sorted((folder / "logs").glob("*.eval"), reverse=True)


def _finished(log: Path) -> int:
    """How many samples a log holds that ended without an error.

    A retry that was killed at its start holds none yet of those that it was to take over.
    """
    from inspect_ai.log import read_eval_log_sample_summaries

    return sum(sample.error is None for sample in read_eval_log_sample_summaries(str(log)))


def _ended(folder: Path, status: str) -> Path | None:
    """The newest log that ended with this status and holds every sample."""
    from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries

    for log in _logs(folder):
        header = read_eval_log(str(log), header_only=True)
        wanted = len(header.eval.dataset.sample_ids or []) * (header.eval.config.epochs or 1)
        if header.status == status and len(read_eval_log_sample_summaries(str(log))) == wanted:
            return log
    return None


def _link(path: Path, place: Path) -> None:
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
