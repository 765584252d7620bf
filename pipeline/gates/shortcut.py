"""The shortcut audit: a question that a model answers without the files is no question about them.

    blind_set(Path("data/practice"), Path("data/practice-blind"))       # the same questions, no files
    inspect eval dabstep/generated_qa -T questions=data/practice-blind --model ... --log-dir audit
    answered_blind([Path("audit/....eval")])                            # ids to leave out

Run it with a strong model and several tries; one right answer is enough to stop a question. A yes-no question is
guessed right every other time, so of those only what every one of at least three tries got right is stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.records import read_questions, write_jsonl

TRIES_YES_NO = 3
_YES_NO = frozenset({"yes", "no", "true", "false"})


def blind_set(questions: Path, output: Path) -> int:
    """Write the question set again without its files, and return how many questions it holds."""
    blind = [question.model_copy(update={"files": (), "solution": None}) for question in read_questions(questions)]
    write_jsonl(output / "questions.jsonl", list(blind))
    return len(blind)


def answered_blind(logs: Iterable[Path]) -> frozenset[str]:
    """The ids of the questions that were answered right in logs of evaluations without files."""
    from harness.trace import read_traces

    tries: dict[str, list[bool]] = {}
    yes_no: set[str] = set()
    for log in logs:
        for trace in read_traces(log):
            tries.setdefault(trace.question_id, []).append(bool(trace.verdict.correct))
            if (trace.verdict.target or "").strip().casefold() in _YES_NO:
                yes_no.add(trace.question_id)
    return frozenset(
        question
        for question, right in tries.items()
        if (all(right) and len(right) >= TRIES_YES_NO if question in yes_no else any(right))
    )
