"""A training set holds the traces that the grader passed, counts what it drops, and is blocked by held-out sources."""

import json
from pathlib import Path

import pytest

from harness.records import read_questions
from harness.trace import read_traces
from pipeline.curation.rules import Rules
from pipeline.training_set import build_training_set
from pipeline.view import TrainingSetError
from pipeline.worlds.build import draw_questions, write_question_set
from pipeline.worlds.check import Disagreement, require_agreement
from tests.pipeline.publishing.school import write_benchmark


def test_traces_graded_right_become_rows_and_the_others_are_counted(taught: tuple[Path, Path], tmp_path: Path) -> None:
    _, log = taught
    card = build_training_set([log], tmp_path / "set")
    rows = [json.loads(line) for line in (tmp_path / "set" / "rows.jsonl").read_text().splitlines()]
    assert (card.traces, card.rows, card.dropped) == (6, 5, {"graded wrong": 1})
    assert len(rows) == 5
    assert json.loads((tmp_path / "set" / "card.json").read_text())["rows"] == 5


def test_a_row_is_the_chat_as_it_was_with_arguments_as_json_text(taught: tuple[Path, Path], tmp_path: Path) -> None:
    _, log = taught
    build_training_set([log], tmp_path / "set")
    row = json.loads((tmp_path / "set" / "rows.jsonl").read_text().splitlines()[0])
    roles = [message["role"] for message in row["messages"]]
    assert roles[:2] == ["system", "user"]
    assert roles[-2:] == ["assistant", "tool"] or roles[-1] == "assistant"
    calls = [call for message in row["messages"] for call in message.get("tool_calls") or []]
    assert calls[0]["function"]["name"] == "python"
    assert "code" in json.loads(calls[0]["function"]["arguments"])
    assert {tool["function"]["name"] for tool in json.loads(row["tools"])} == {"python", "final_answer"}


def test_a_source_that_is_held_out_blocks_and_nothing_is_written(taught: tuple[Path, Path], tmp_path: Path) -> None:
    question_set, log = taught
    with pytest.raises(TrainingSetError, match="held out by"):
        build_training_set([log], tmp_path / "set", held_out=[question_set])
    assert not (tmp_path / "set").exists()


def test_another_held_out_set_does_not_block(taught: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_question_set(tmp_path / "other", draw_questions("held-out", 6, 2))
    assert build_training_set([taught[1]], tmp_path / "set", held_out=[other]).rows == 5


def test_the_benchmarks_questions_are_left_out_and_counted(taught: tuple[Path, Path], tmp_path: Path) -> None:
    question_set, log = taught
    benchmark = write_benchmark(tmp_path / "benchmark")
    own = read_questions(question_set)[1]  # the first is graded wrong
    line = json.dumps({"task_id": "7", "question": own.question.upper(), "answer": ""})
    (benchmark / "tasks" / "dev.jsonl").write_text(line + "\n")
    card = build_training_set([log], tmp_path / "set", benchmark=benchmark)
    assert card.dropped == {"graded wrong": 1, "a question of the benchmark": 1}
    assert card.rows == 4
    assert "contamination: 2 questions of the benchmark" in card.gates


def test_of_several_tries_the_best_is_kept_or_as_many_as_asked_for(taught: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "again.eval"
    copy.write_bytes(taught[1].read_bytes())
    card = build_training_set([taught[1], copy], tmp_path / "set")
    assert (card.rows, card.dropped) == (5, {"graded wrong": 2, "another try of the same question was kept": 5})
    assert build_training_set([taught[1], copy], tmp_path / "both", rules=Rules(per_question=2)).rows == 10


def test_a_solution_that_disagrees_with_its_oracle_fails_the_build_with_both_answers(taught: tuple[Path, Path]) -> None:
    with pytest.raises(Disagreement) as failure:
        require_agreement([taught[1]])
    wrong = next(trace for trace in read_traces(taught[1]) if not trace.verdict.correct)
    assert "'a wrong oracle'" in str(failure.value)
    assert repr(wrong.verdict.answer) in str(failure.value)
