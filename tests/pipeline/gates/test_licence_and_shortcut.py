"""Licences are allowed by list; a question that is answered without its files is barred."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval

from harness.agent import play_solution
from harness.records import Question, Solution, read_questions, write_jsonl
from pipeline.gates.licence import refusal
from pipeline.gates.shortcut import answered_blind, blind_set
from tasks.generated_qa import generated_qa


@pytest.mark.parametrize("licence", ["MIT", "apache-2.0", "CC0: Public Domain + MIT"])
def test_a_licence_on_the_list_passes(licence: str) -> None:
    assert refusal(licence) is None


@pytest.mark.parametrize(
    ("licence", "named"), [("unknown", "unknown"), ("", "none given"), ("MIT + GPL 2", "GPL 2"), ("CC BY-NC 4.0", "NC")]
)
def test_any_other_is_named(licence: str, named: str) -> None:
    reason = refusal(licence)
    assert reason is not None
    assert named in reason


def question(number: int, answer: str, said: str) -> Question:
    return Question(
        id=f"q{number}", question=f"Question {number}?", level="easy", answer=answer, files=("a.csv",), source="s",
        source_id="s", licence="MIT", checked="", solution=Solution(cells=(), answer=said),
    )  # fmt: skip


def test_one_right_answer_without_the_files_bars_a_question_but_a_lucky_yes_does_not(tmp_path: Path) -> None:
    asked = [question(1, "42", "42"), question(2, "7", "8"), question(3, "yes", "yes")]
    write_jsonl(tmp_path / "set" / "questions.jsonl", list(asked))
    assert blind_set(tmp_path / "set", tmp_path / "blind") == 3
    blind = read_questions(tmp_path / "blind")
    assert [(each.files, each.solution) for each in blind] == [((), None)] * 3
    guesses = [each.model_copy(update={"files": ()}) for each in asked]  # a model's guesses, played
    write_jsonl(tmp_path / "blind" / "questions.jsonl", list(guesses))
    (log,) = inspect_eval(
        generated_qa(questions=str(tmp_path / "blind")),
        model="none/none",
        solver=play_solution(),
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    assert answered_blind([Path(log.location.removeprefix("file://"))]) == {"q1"}
