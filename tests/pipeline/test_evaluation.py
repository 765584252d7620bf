"""Evaluations from within the pipeline go on with the log that holds most, and give up a try that hangs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import read_eval_log, write_eval_log

from pipeline.evaluation import ATTEMPTS, TRY_S, Evaluation, EvaluationError, evaluate


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of `inspect`; nothing is run."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command[3:])
        return subprocess.CompletedProcess(command, 1, "said")

    monkeypatch.setattr("pipeline.evaluation.subprocess.run", run)
    return commands


@pytest.mark.parametrize(
    ("evaluation", "last"),
    [
        (Evaluation("m"), str(TRY_S)),
        (Evaluation("m", try_s=7), "7"),
        (Evaluation("m", args=("--attempt-timeout", "9")), "9"),
    ],
)
def test_a_try_that_hangs_is_bounded_and_whoever_gives_the_flag_is_heard(
    tmp_path: Path, started: list[list[str]], evaluation: Evaluation, last: str
) -> None:
    with pytest.raises(EvaluationError, match="said"):
        evaluate(evaluation, tmp_path)
    assert len(started) == ATTEMPTS
    flags = [value for flag, value in zip(started[0], started[0][1:], strict=False) if flag == "--attempt-timeout"]
    assert flags[-1] == last


def test_a_retry_that_was_killed_at_its_start_is_not_what_is_gone_on_with(
    tmp_path: Path, taught: tuple[Path, Path], started: list[list[str]]
) -> None:
    """It holds none yet of the samples that it was to take over; the log before does."""
    logs = tmp_path / "logs"
    logs.mkdir()
    for name, count in (("2026-01-01T00", 1), ("2026-01-01T01", 4), ("2026-01-01T02", 0)):
        log = read_eval_log(str(taught[1]))
        log.status, log.samples = "started", (log.samples or [])[:count]
        write_eval_log(log, str(logs / f"{name}_generated-qa_x.eval"))
    with pytest.raises(EvaluationError):
        evaluate(Evaluation("m"), tmp_path)
    assert {Path(command[1]).name for command in started} == {"2026-01-01T01_generated-qa_x.eval"}
    assert all(command[-3:] == ["--log-buffer", "1", "--no-log-realtime"] for command in started)


def test_a_whole_log_is_taken_as_it_is(tmp_path: Path, taught: tuple[Path, Path], started: list[list[str]]) -> None:
    whole = tmp_path / "logs" / "2026-01-01T01_generated-qa_x.eval"
    whole.parent.mkdir()
    shutil.copy(taught[1], whole)
    assert evaluate(Evaluation("m"), tmp_path) == whole
    assert started == []
