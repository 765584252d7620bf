"""Every limit as a flag of the real `inspect eval`, with a model that has a price: wrong, no error, in the log."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log

from harness.records import Question
from results.from_log import result_from_log

SCRIPTS = Path(__file__).parents[2] / "scripts"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("flag", "value", "named"),
    [
        ("--turn-limit", "1", "turn"),
        ("--token-limit", "150", "token"),
        ("--time-limit", "2", "time"),
        ("--working-limit", "2", "working"),
        ("--cost-limit", "0.0005", "cost"),
    ],
)
def test_a_flag_of_inspect_eval_ends_a_sample_that_is_then_wrong(
    flag: str,
    value: str,
    named: str,
    question: Callable[..., Question],
    question_set: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from killed_run import environment

    questions = question_set(question(1))
    command = ["eval", "dabstep/generated_qa", "-T", f"questions={questions}", "--model", "scripted/openai/gpt-4o"]
    command += ["-M", f"questions={questions}", "-M", f"journal={tmp_path / 'journal'}", "-M", "delay=1.5"]
    command += [flag, value, "--log-dir", str(tmp_path / "logs"), "--display", "none"]
    ran = subprocess.run(
        [sys.executable, "-m", "inspect_ai", *command],
        env=environment(tmp_path / "study"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    [written] = list_eval_logs(str(tmp_path / "logs"))
    [sample] = read_eval_log(written).samples or []
    assert sample.error is None
    assert sample.limit is not None
    assert sample.limit.type == named
    row = result_from_log(Path(written.name.removeprefix("file://")))
    assert (row.k, row.n, row.errors, row.cost_basis) == (0, 1, 0, "prices")
    assert row.settings[flag[2:].replace("-", "_")] == float(value)
