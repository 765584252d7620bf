"""From a run over all 450 questions to a submission and its disclosure: what is written, asked for and refused.

The logs are real: Inspect ran the notebook agent, with a scripted model, over a stand-in with the benchmark's 72 easy
and 378 hard questions (no kernel is needed for answers that need no cell), and over DABStep's own where it is at hand.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import read_eval_log, write_eval_log

from results.submission_rules import validate_submission
from tasks import benchmark_files
from tasks.benchmark_files import official_levels
from tasks.dabstep import dabstep_easy, dabstep_hard
from tasks.notebook_task import sha256_of
from tests.dabstep.submitting.conftest import (
    ANSWERS,
    DECLARED,
    EASY,
    HARD,
    MISSHAPEN,
    NAMES,
    SILENT,
    asked,
    dabstep,
    logged,
    submitted,
)

REAL = Path(os.environ.get("DABSTEP_SHARED", Path(__file__).parents[4] / "shared" / "dabstep"))


def test_a_run_over_all_questions_becomes_a_file_that_passes(submission: Path) -> None:
    done = dabstep("submit", "--check", submission / "submission.jsonl")
    assert (done.exit_code, done.output.strip().endswith("450 answers, no fault")) == (0, True)
    answers = submitted(submission)
    assert list(answers) == [*EASY, *HARD][::-1]  # as the task file has them
    assert {i: answers[i] for i in ANSWERS} == ANSWERS | {HARD[1]: "unanswered"}
    assert (answers[SILENT], answers[MISSHAPEN], answers[EASY[9]]) == ("unanswered", "unanswered", "A")


def test_each_row_has_the_trace_of_its_own_question(submission: Path) -> None:
    rows = [json.loads(line) for line in (submission / "submission.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    traces = {row["task_id"]: row["reasoning_trace"] for row in rows}
    assert traces[EASY[0]].startswith("[assistant]\nI know it.\n\n[call final_answer]\n")
    assert '"answer": "3.50"' in traces[EASY[0]]
    assert max(map(len, traces.values())) < 21_000


def test_the_disclosure_says_what_a_reader_must_know(submission: Path, logs: list[Path]) -> None:
    said = json.loads((submission / "disclosure.json").read_text())
    easy, hard = said["runs"]
    assert easy["unanswered"] == {"turn": 1}
    assert hard["unanswered"] == {"answer over 10000 characters": 1, "turn": 1}
    assert (easy["questions"], hard["questions"], easy["k"], hard["errors"]) == (72, 378, None, 0)
    assert easy["settings"]["temperature"] == 0.5
    text = (submission / "DISCLOSURE.md").read_text()
    for word in (
        "size not given; general",
        "(declared): none",
        "this is the only run made",
        "mockllm/model",
        "notebook",
    ):
        assert word in text
    assert easy["fields"]["data_hash"] in text
    assert str(logs[0].parent) not in text + json.dumps(said)


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        (
            {"incomplete_data": ("payments.csv",), "data_hash": "sha256:0"},
            "incomplete-data",
            "ran without payments.csv",
        ),
        ({"revision": "abc"}, "revision", "is of revision abc"),
        ({"data_hash": "sha256:0"}, "revision", "(data sha256:0), not of"),
        ({"crash": EASY[5]}, "errors", f"1 samples failed with an error ({EASY[5]})"),
    ],
)
def test_what_makes_a_score_less_than_it_seems_is_refused_until_it_is_let_through_and_then_disclosed(
    changes: dict[str, Any], name: str, reason: str, tmp_path: Path
) -> None:
    [easy] = logged(asked("easy", EASY[:6], **changes), tmp_path / "logs")
    words = ["submit", easy, "--output", tmp_path / "out", *DECLARED, "--allow", "missing-questions"]
    refused = dabstep(*words)
    assert refused.exit_code == 2
    assert reason in refused.output
    assert f"--allow {name}" in refused.output
    assert not (tmp_path / "out").exists()
    taken = dabstep(*words, "--allow", name)
    assert taken.exit_code == 0, taken.output
    assert reason in json.loads((tmp_path / "out" / "disclosure.json").read_text())["let_through"][name]
    assert reason in (tmp_path / "out" / "DISCLOSURE.md").read_text()


def test_a_failed_sample_is_unanswered_and_counts_as_an_error(tmp_path: Path) -> None:
    [easy] = logged(asked("easy", EASY[:6], crash=EASY[5]), tmp_path / "logs")
    allowed = ["--allow", "errors", "--allow", "missing-questions"]
    assert dabstep("submit", easy, "--output", tmp_path / "o", *DECLARED, *allowed).exit_code == 0
    assert submitted(tmp_path / "o")[EASY[5]] == "unanswered"
    run = json.loads((tmp_path / "o" / "disclosure.json").read_text())["runs"][0]
    assert (run["errors"], run["unanswered"]) == (67, {"turn": 1, "error": 1, "never asked": 66})


def test_one_level_alone_can_be_submitted_only_with_a_word(logs: list[Path], tmp_path: Path) -> None:
    words = ["submit", logs[0], "--output", tmp_path / "out", *DECLARED]
    assert "378 of 450 questions are in no log" in dabstep(*words).output
    done = dabstep(*words, "--allow", "missing-questions")
    assert "hard: not run, 378 written as 'unanswered'" in done.output
    assert validate_submission(tmp_path / "out" / "submission.jsonl", [*EASY, *HARD]) == []


def test_the_attempt_that_is_submitted_is_disclosed(tmp_path: Path) -> None:
    logs = logged([asked("easy", EASY[:1]), asked("hard", HARD[:1])], tmp_path / "logs", epochs=2)
    words = ["submit", *logs, "--output", tmp_path / "out", *DECLARED, "--allow", "missing-questions"]
    assert "no attempt 3" in dabstep(*words, "--attempt", "3").output
    assert dabstep(*words, "--attempt", "2").exit_code == 0
    assert "2 of 2 made in this run" in (tmp_path / "out" / "DISCLOSURE.md").read_text()


def test_logs_that_are_not_one_agents_run_over_the_benchmark_are_refused(tmp_path: Path) -> None:
    few = EASY[:2]
    [hard] = logged(asked("hard", HARD[:2]), tmp_path / "logs")
    [dev] = logged(asked("easy", few, split="dev"), tmp_path / "logs")
    [unknown] = logged(asked("easy", ["77777"]), tmp_path / "logs")
    [other] = logged(asked("easy", few), tmp_path / "logs", model="mockllm/other")
    broken = read_eval_log(other)
    broken.status = "started"
    write_eval_log(broken, str(tmp_path / "broken.eval"))
    for log, reason in (
        (dev, "is none of the board's dev questions"),
        (unknown, "question 77777 (easy) is none of the board's"),
        (other, "the logs differ in their model (mockllm/model, mockllm/other)"),
        (hard, "several logs answer the hard questions"),
        (tmp_path / "broken.eval", "was broken off. Go on with it: `inspect eval-retry"),
        (tmp_path / "none.eval", "no such log"),
    ):
        done = dabstep("submit", log, hard, "--output", tmp_path / "out", *DECLARED, "--allow", "missing-questions")
        assert done.exit_code == 2
        assert reason in done.output


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([*NAMES], "say what was tuned"),
        ([*DECLARED, "--trials", "0"], "this run counts as one"),
        ([*DECLARED, "--agent", "a/b"], "may hold only letters"),
        ([*DECLARED, "--repository", "http://x.org"], "only https:// addresses"),
        ([*DECLARED, "--allow", "all"], "--allow all: there are incomplete-data, errors"),
        ([*DECLARED, "--exposure", "some"], "--exposure some: there are general"),
    ],
)
def test_what_the_submitter_must_say_is_asked_for(
    words: list[str], reason: str, logs: list[Path], tmp_path: Path
) -> None:
    done = dabstep("submit", *logs, "--output", tmp_path / "out", *words)
    assert done.exit_code == 2
    assert reason in done.output


def test_a_lighter_exposure_than_the_logs_state_is_refused_and_a_heavier_one_taken(tmp_path: Path) -> None:
    [easy] = logged(asked("easy", EASY[:1], exposure="in-domain"), tmp_path / "logs")
    allowed = ["--allow", "missing-questions"]
    words = ["submit", easy, "--output", tmp_path / "out", *DECLARED, *allowed, "--exposure"]
    assert "general is lighter than in-domain" in dabstep(*words, "general").output
    assert dabstep(*words, "benchmark-tuned").exit_code == 0
    assert json.loads((tmp_path / "out" / "disclosure.json").read_text())["exposure"] == "benchmark-tuned"


def test_a_spoiled_file_ends_the_check_with_its_faults(submission: Path, tmp_path: Path) -> None:
    lines = (submission / "submission.jsonl").read_text(encoding="utf-8").split("\n")[3:]
    (tmp_path / "spoiled.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done = dabstep("submit", "--check", tmp_path / "spoiled.jsonl")
    assert done.exit_code == 1
    assert "3 of 450 questions are not answered" in done.output


@pytest.mark.slow  # a kernel is started for each of the 450 questions
def test_dabsteps_own_450_questions_run_by_the_real_tasks_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = REAL / "tasks" / "all.jsonl"
    if not real.is_file():
        pytest.skip(f"DABStep's files are not at {REAL}; set DABSTEP_SHARED to their folder")
    monkeypatch.setitem(benchmark_files.TASKS, "all.jsonl", sha256_of(real))
    monkeypatch.setenv("DABSTEP_DIR", str(REAL))
    tasks = [task(data_dir=str(REAL), allow_missing="payments.csv") for task in (dabstep_easy, dabstep_hard)]
    logs = logged(tasks, tmp_path / "logs")
    words = ["submit", *logs, "--output", tmp_path / "out", *DECLARED]
    done = dabstep(*words, "--allow", "incomplete-data")
    assert done.exit_code == 0, done.output
    assert validate_submission(tmp_path / "out" / "submission.jsonl", official_levels(REAL)) == []
