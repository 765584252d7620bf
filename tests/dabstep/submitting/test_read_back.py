"""The board's scores of a submission become rows of the ledger, a model card and evaluation results."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from results.ledger import read
from tasks import benchmark_files
from tasks.benchmark_files import official_levels
from tests.dabstep.submitting.conftest import EASY, HARD, dabstep, scores_of, write_lines


def test_scores_that_the_board_publishes_become_rows_of_the_ledger(
    submission: Path, benchmark: Path, tmp_path: Path
) -> None:
    levels = official_levels(benchmark)
    other = {"submission_id": "Else-One", "task_id": "1", "score": True, "level": "easy", "agent_answer": "secret"}
    rows = scores_of(submission, {*EASY[:40], *HARD[10:30]}, levels)
    scores = write_lines(tmp_path / "scores.jsonl", [other, *rows])
    words = ["submit", "--read-back", scores, "--output", submission, "--ledger", tmp_path / "ledger.jsonl"]
    done = dabstep(*words)
    assert done.exit_code == 0, done.output
    easy, hard = read(tmp_path / "ledger.jsonl")
    assert [(row.split, row.k, row.n, row.errors) for row in (easy, hard)] == [
        ("easy", 40, 72, 0),
        ("hard", 20, 378, 0),
    ]
    assert easy.tokens == 5 * (71 + 4)  # the silent one was asked again until its turns ran out
    assert easy.source == "DABStep leaderboard, scores of the submission Nobody-Scripted"
    assert hard.note == "scored by the leaderboard; 2 unanswered"
    assert "0 new rows" in dabstep(*words).output


def spoil_one(rows: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    return [rows[0] | fields, *rows[1:]]


BAD_SCORES: dict[str, tuple[Callable[[list[dict[str, Any]]], list[dict[str, Any]]], str]] = {
    "a question is not there": (lambda rows: rows[1:], "scores 449 questions, not the board's 450"),
    "a question twice": (lambda rows: [*rows, rows[0]], "is scored twice"),
    "another's": (lambda rows: [row | {"submission_id": "A-B"} for row in rows], "no scores of the submission"),
    "nothing": (lambda rows: [], "it is empty"),
    "another answer": (lambda rows: spoil_one(rows, agent_answer="Z"), "the scores of another submission"),
    "another level": (lambda rows: spoil_one(rows, level="1"), "'hard', not '1'"),
    "half a point": (lambda rows: spoil_one(rows, score=0.5), "neither right nor wrong"),
    "a word": (lambda rows: spoil_one(rows, score="yes"), "score true or false, not 'yes'"),
    "no score": (lambda rows: [{k: v for k, v in row.items() if k != "score"} for row in rows], "lacks score"),
}


@pytest.mark.parametrize(("spoil", "reason"), BAD_SCORES.values(), ids=BAD_SCORES.keys())
def test_scores_of_another_kind_are_refused(
    spoil: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
    reason: str,
    submission: Path,
    benchmark: Path,
    tmp_path: Path,
) -> None:
    rows = spoil(scores_of(submission, set(EASY), official_levels(benchmark)))
    scores = write_lines(tmp_path / "scores.jsonl", rows)
    ledger = tmp_path / "ledger.jsonl"
    done = dabstep("submit", "--read-back", scores, "--output", submission, "--ledger", ledger)
    assert (done.exit_code, ledger.exists()) == (2, False)
    assert reason in " ".join(done.output.split())


def test_scores_of_a_file_that_was_changed_since_are_refused(submission: Path, benchmark: Path, tmp_path: Path) -> None:
    scores = write_lines(tmp_path / "s.jsonl", scores_of(submission, set(), official_levels(benchmark)))
    copy = shutil.copytree(submission, tmp_path / "copy")
    with (copy / "submission.jsonl").open("a") as file:
        file.write("\n")
    done = dabstep("submit", "--read-back", scores, "--output", copy, "--ledger", tmp_path / "l.jsonl")
    assert "was changed after its disclosure was written" in done.output


def test_a_model_card_and_eval_results_from_scores_read_back(
    submission: Path, logs: list[Path], benchmark: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    scores = write_lines(tmp_path / "s.jsonl", scores_of(submission, set(EASY[:54]), official_levels(benchmark)))
    assert "has no score, here or in the ledger" in dabstep("card", *logs).output
    dabstep("submit", "--read-back", scores, "--output", submission, "--ledger", ledger)
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: apache-2.0\n---\n\n# A model\n\nIt answers.\n")
    words = ["card", *logs, "--ledger", ledger, "--output", card, "--eval-results", tmp_path]
    for _ in range(2):  # the second time in place of the first
        done = dabstep(*words)
        assert done.exit_code == 0, done.output
    text = card.read_text()
    assert ModelCard(text).data.to_dict() == {"license": "apache-2.0"}
    assert text.count("## Results as a notebook agent") == 1
    assert "| dabstep_easy (easy) | 54/72 | 75.0 | 63.9 to 83.6 | 0 | notebook | general |" in text
    assert "inspect eval dabstep/dabstep_easy --model mockllm/model --temperature 0.5 --turn-limit 3 " in text
    entries = parse_eval_result_entries(yaml.safe_load((tmp_path / ".eval_results" / "dabstep.yaml").read_text()))
    assert [(entry.dataset_id, entry.task_id, entry.value) for entry in entries] == [
        ("adyen/DABstep", "easy", 75.0),
        ("adyen/DABstep", "hard", 0.0),
    ]
    assert entries[0].dataset_revision == benchmark_files.REVISION
    assert (entries[0].notes or "").startswith("percent right; 54/72, 95% interval 63.9 to 83.6; scaffold notebook")
