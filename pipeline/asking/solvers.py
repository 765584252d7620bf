"""Lets models answer questions by running code on the data, in the kernel and the loop that evaluations use.

    answers = solve(questions, files, Solver("openai/gpt-5-mini"), Path("run/solvers/0"))     # id -> answer, or None

They see neither the notebook nor the answers. One evaluation over all the questions, as a child process
(`pipeline/evaluation.py`); when the same call is made again, what a log answers is not asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.records import Question
from pipeline.evaluation import TRY_S, Evaluation, evaluate, write_question_set


@dataclass(frozen=True)
class Solver:
    """A model as Inspect names it, and further arguments of `inspect eval` (`--temperature`, `-T`, `--turn-limit`).

    A try at one turn that lasts longer than `try_s` seconds is made again.
    """

    model: str
    args: tuple[str, ...] = ()
    try_s: int = TRY_S

    def __post_init__(self) -> None:
        if self.try_s < 1:
            raise ValueError(f"try_s: {self.try_s}; it must be 1 second or more.")


def solve(
    questions: Sequence[Question], files: Mapping[str, Mapping[str, Path]], solver: Solver, folder: Path
) -> dict[str, str | None]:
    """The answer to each question by its id; None where the solver gave none.

    `files`: for each question's id, its data files by the name they have for the solver. `folder` belongs to these
    questions and this solver alone. Raises EvaluationError.
    """
    from harness.trace import read_traces

    if not (folder / "questions" / "questions.jsonl").exists():  # a log refers to these very bytes
        write_question_set(questions, files, folder / "questions", answers=False)
    log = evaluate(Evaluation(solver.model, args=solver.args, try_s=solver.try_s), folder)
    answers = {trace.question_id: trace.verdict.answer for trace in read_traces(log)}
    return {question.id: answers.get(question.id) for question in questions}
