"""A study's runs as W&B's real client writes them offline: worlds, evaluations, training sets, and what links them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.log import list_eval_logs, read_eval_log

from harness import study
from harness.agent import play_solution
from harness.records import read_questions
from pipeline.worlds.build import draw_questions, write_question_set
from results.intervals import interval
from tasks.generated_qa import generated_qa

REPOSITORY = Path(__file__).parents[2]
QUESTIONS = 6


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    """A loopback address and who has connected to it."""
    visits: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                visits.append(connection.getpeername())
                connection.close()

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", visits
        listener.shutdown(socket.SHUT_RDWR)


def command(*words: str, environment: dict[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    program, *arguments = words
    ran = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=REPOSITORY,
        env={**_without_study(), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def _without_study() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_") and name != "NETRC"}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "INSPECT_DISPLAY": "plain"}


def played(questions: Path, logs: Path) -> tuple[str, ...]:
    """The command that evaluates a question set by playing its solutions."""
    options = ("--solver", "dabstep/play_solution", "--model", "none/none", "--log-dir", str(logs))
    return ("inspect", "eval", "dabstep/generated_qa", "-T", f"questions={questions}", *options)


def test_the_making_and_the_evaluation_of_a_question_set_are_linked_runs_of_one_group(
    tmp_path: Path,
    study_environment: dict[str, str],
    offline_runs: Callable[[Path], list[Any]],
    server: tuple[str, list[Any]],
) -> None:
    address, visits = server
    network = {"WANDB_BASE_URL": address, "HTTPS_PROXY": address, "HTTP_PROXY": address}
    environment = study_environment | network | {"OPENAI_API_KEY": "secret-7391"}
    questions, logs = tmp_path / "practice", tmp_path / "logs"
    command("dabstep", "worlds", str(questions), "--count", str(QUESTIONS), "--worlds", "2", environment=environment)
    begun = time.monotonic()
    command(*played(questions, logs), environment=environment)
    took = time.monotonic() - begun
    [file] = logs.glob("*.eval")
    command("dabstep", "training-set", str(file), "--output", str(tmp_path / "set"), environment=environment)
    data, evaluation, training_set = offline_runs(tmp_path)
    log = read_eval_log(file)

    assert {run.group for run in (data, evaluation, training_set)} == {"muon-or-adamw"}
    assert {run.project for run in (data, evaluation, training_set)} == {"dabstep"}
    assert [run.job for run in (data, evaluation, training_set)] == ["data", "eval", "data"]
    assert [run.exit_code for run in (data, evaluation, training_set)] == [0, 0, 0]

    assert evaluation.config["task"] == "dabstep/generated_qa"
    assert evaluation.config["data_hash"] == (log.eval.metadata or {})["data_hash"]
    assert [point["progress/finished"] for point in evaluation.history if "progress/finished" in point] == [
        *range(1, QUESTIONS + 1)
    ]
    bounds = interval(QUESTIONS, QUESTIONS)
    said = {name: evaluation.summary[name] for name in ("k", "n", "errors", "interval/low", "interval/high", "status")}
    assert said == {
        "k": QUESTIONS,
        "n": QUESTIONS,
        "errors": 0,
        "interval/low": bounds.low,
        "interval/high": bounds.high,
        "status": "success",
    }

    asked = {question.id: question for question in read_questions(questions)}
    rows = {row["question"]: row for row in evaluation.table("questions")}
    assert rows.keys() == asked.keys()
    for name, row in rows.items():
        assert (row["family"], row["level"], row["target"]) == (asked[name].family, "primer", asked[name].answer)
        assert (row["right"], row["stop reason"], row["error"]) == (True, "answered", None)
        assert row["turns"] >= 2

    assert data.made()["dataset"].name == evaluation.used()["dataset"].name
    assert data.made()["dataset"].digest == evaluation.used()["dataset"].digest
    assert evaluation.made()["evaluation"].name == training_set.used()["evaluation"].name
    assert evaluation.made()["evaluation"].digest == training_set.used()["evaluation"].digest
    card = json.loads((tmp_path / "set" / "card.json").read_text())
    assert training_set.made()["training-set"].metadata == {"digest": card["sha256"], **card}
    assert training_set.summary["rows"] == QUESTIONS

    written = b"".join(file.read_bytes() for file in (tmp_path / "wandb").rglob("*") if file.is_file())
    assert b"secret-7391" not in written
    assert b"--log-dir" not in written  # no command line, where a key may stand
    assert visits == []
    assert took < 120


def test_a_study_without_a_key_is_kept_offline_and_says_so_once(
    tmp_path: Path, study_environment: dict[str, str], offline_runs: Callable[[Path], list[Any]]
) -> None:
    environment = {**study_environment, "HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")}
    del environment["WANDB_MODE"]
    ran = command("dabstep", "worlds", str(tmp_path / "set"), "--count", "2", "--worlds", "1", environment=environment)
    assert (ran.stdout + ran.stderr).count("there is no W&B key") == 1
    assert "wandb sync" in ran.stderr
    [run] = offline_runs(tmp_path)
    assert run.group == "muon-or-adamw"


@pytest.mark.slow
def test_a_study_whose_server_cannot_be_reached_is_kept_offline_and_says_so_once(
    tmp_path: Path,
    study_environment: dict[str, str],
    offline_runs: Callable[[Path], list[Any]],
    server: tuple[str, list[Any]],
) -> None:
    address, visits = server
    environment = {**study_environment, "WANDB_BASE_URL": address, "WANDB_API_KEY": "a" * 40, "HOME": str(tmp_path)}
    del environment["WANDB_MODE"]
    ran = command("dabstep", "worlds", str(tmp_path / "set"), "--count", "2", "--worlds", "1", environment=environment)
    assert visits
    assert (ran.stdout + ran.stderr).count("W&B cannot be reached") == 1
    [run] = offline_runs(tmp_path)
    assert run.made()["dataset"].metadata["questions"] == 2
    assert str(run.folder) in ran.stdout


def test_without_a_study_nothing_is_logged_and_wandb_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys, dabstep._registry\n"
        "from inspect_ai.hooks._hooks import get_all_hooks\n"
        "from dabstep.study_runs import StudyHook\n"
        "[hook] = [hook for hook in get_all_hooks() if isinstance(hook, StudyHook)]\n"
        "from harness import study\n"
        "print(hook.enabled(), study.start_run('eval', 'name', {}), 'wandb' in sys.modules)"
    )
    assert command("python", "-c", code, environment={}).stdout.split() == ["False", "None", "False"]


def test_what_fails_in_the_dashboard_is_warned_of_once_and_the_evaluation_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        id = "broken"

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("the dashboard is gone")

    monkeypatch.setenv(study.VARIABLE, "muon-or-adamw")
    monkeypatch.setattr(study, "_init", lambda *_: Broken())
    monkeypatch.setattr(study, "_said", set())
    write_question_set(tmp_path / "set", draw_questions("training", 3, 1))
    import dabstep._registry  # noqa: F401

    task = generated_qa(str(tmp_path / "set"))
    [log] = eval(task, solver=play_solution(), model="none/none", log_dir=str(tmp_path / "logs"), display="none")
    assert log.status == "success"
    assert log.results is not None
    assert log.results.completed_samples == 3
    warnings = [record.getMessage() for record in caplog.records if "the dashboard is gone" in record.getMessage()]
    assert len(warnings) == len(set(warnings))
    assert any("could not log a sample" in warning for warning in warnings)


@pytest.mark.slow
def test_a_killed_evaluation_leaves_its_progress_and_its_retry_goes_on_in_the_same_run(
    tmp_path: Path, study_environment: dict[str, str], offline_runs: Callable[[Path], list[Any]]
) -> None:
    questions, logs = tmp_path / "set", tmp_path / "logs"
    write_question_set(questions, draw_questions("training", 120, 6))
    program, *arguments = played(questions, logs)
    running = subprocess.Popen(
        [str(Path(sys.executable).with_name(program)), *arguments, "--max-samples", "1", "--log-buffer", "1"],
        cwd=REPOSITORY,
        env={**_without_study(), **study_environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not any(len(run.history) >= 5 for run in offline_runs(tmp_path)):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.5)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    [killed] = offline_runs(tmp_path)
    assert killed.group == "muon-or-adamw"
    assert killed.config["samples"] == 120
    assert 1 <= killed.history[-1]["progress/finished"] < 120
    assert "n" not in killed.summary

    [file] = logs.glob("*.eval")
    command("inspect", "eval-retry", str(file), "--log-dir", str(logs), environment=study_environment)
    first, retried = offline_runs(tmp_path)
    assert first.id == retried.id
    assert retried.summary["n"] == 120
    assert len(retried.table("questions")) == 120
    assert retried.history[0]["progress/finished"] == 1  # of those that it ran itself
    assert len([point for point in retried.history if "progress/finished" in point]) < 120
    newest = max(list_eval_logs(str(logs)), key=lambda info: info.mtime or 0)
    assert read_eval_log(newest, header_only=True).eval.task_id == retried.config["task_id"]
