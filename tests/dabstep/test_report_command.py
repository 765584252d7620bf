"""`dabstep report`, as a user types it, over real logs of the notebook agent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from typer.testing import CliRunner, Result

from dabstep.cli import app
from dabstep.reporting import make_report
from harness.records import Question
from tasks.notebook_task import NotebookSettings, notebook_task


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})


def logged(folder: Path, right: int, level: str = "easy", keyed: bool = True, task: str = "parcels") -> Path:
    """A log of twelve questions of which a scripted model knows the first `right`."""

    def answer(messages: Any, *_: Any) -> ModelOutput:
        number = int(next(message.text for message in messages if message.role == "user").split("number ")[1][:2])
        said = str(number) if number < right else "never"
        output = ModelOutput.for_tool_call("mockllm/model", "final_answer", {"answer": said})
        output.usage = ModelUsage(input_tokens=3, output_tokens=2, total_tokens=5)
        return output

    questions = [
        Question(
            id=f"{level}-{number}",
            question=f"What is number {number:02}?",
            level=level,
            answer=str(number) if keyed else None,
            source="made here",
            source_id=str(number),
            family=("odd", "even")[number % 2],
            licence="Apache-2.0",
            checked="-",
        )
        for number in range(12)
    ]
    settings = NotebookSettings(split=level, data_hash="sha256:" + level[0] * 64)
    made = notebook_task(questions, {question.id: {} for question in questions}, {}, settings)
    made._name = task
    for sample in made.dataset:
        sample.sandbox = None
    model = get_model("mockllm/model", custom_outputs=answer, memoize=False)
    (log,) = eval(made, model=model, log_dir=str(folder / f"{level}-{right}"), display="none", log_realtime=False)
    return Path(log.location)


def test_runs_over_the_same_questions_are_compared_and_shown(tmp_path: Path) -> None:
    logs = [logged(tmp_path, 2), logged(tmp_path, 11), logged(tmp_path, 4, "hard")]
    page = tmp_path / "page" / "report.html"
    done = run("report", *logs, "--labels", "before,after,after", "--output", page)
    assert done.exit_code == 0, done.output
    assert f"{page}: 3 runs, 24 questions" in done.output, "the notebooks of `after`, easy and hard"
    text = page.read_text()
    assert "before against after: 2 against 11 of 12: after is better" in text
    assert text.count("<h2>Can a difference be seen?</h2>") == 1
    assert text.count('data-level="easy"') == text.count('data-level="hard"') == 12
    assert text.count('class="question failed"') == 1 + 8


def test_published_figures_stand_beside_runs_of_the_benchmark_only(tmp_path: Path) -> None:
    parcels, benchmark = logged(tmp_path, 2), logged(tmp_path, 3, task="dabstep_easy")
    assert not make_report([parcels]).reported
    assert len(make_report([benchmark]).reported) == 13
    assert not make_report([benchmark], published=False).reported


def test_runs_without_a_key_are_shown_and_said_to_be_unscored(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = run("report", logged(tmp_path, 2, keyed=False), "--output", page)
    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert "12 of 12 ungraded" in text
    assert "No score is not a score of 0" in text
    assert not re.search(r"0/12|0\.0%", text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--labels", "a,b"], "--labels names 2 runs, but 1 logs are given"),
        (["--notebooks-of", "x"], "--notebooks-of x: the runs are mockllm/model"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(tmp_path: Path, options: list[str], said: str) -> None:
    done = run("report", logged(tmp_path, 2), "--output", tmp_path / "r.html", *options)
    assert done.exit_code == 2
    assert said in done.output
    assert not (tmp_path / "r.html").exists()


def test_a_log_that_is_none_is_named(tmp_path: Path) -> None:
    done = run("report", tmp_path / "nothing.eval")
    assert done.exit_code == 2
    assert "nothing.eval: no such log" in done.output
