"""Real logs of a run over 450 questions and the submission made of them, for the tests of what comes after.

Inspect ran the notebook agent, with a scripted model, over a stand-in with the benchmark's 72 easy and 378 hard
questions (no kernel is needed for answers that need no cell).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, ModelUsage, get_model
from inspect_ai.tool import ToolChoice, ToolInfo
from typer.testing import CliRunner, Result

from dabstep.cli import app
from harness.records import Question
from tasks import benchmark_files
from tasks.benchmark_files import official_data_hash
from tasks.notebook_task import NotebookSettings, notebook_task, sha256_of

NAMES = ["--agent", "Scripted", "--organisation", "Nobody", "--model-family", "none", "--trials", "1"]
DECLARED = [*NAMES, "--tuning", "none"]

EASY = [str(number) for number in range(1, 73)]
HARD = [str(number) for number in range(1001, 1379)]
SILENT = EASY[3]  # the model never answers it
ANSWERS = {EASY[0]: "3.50", EASY[1]: "", EASY[2]: "['A', 'B']", HARD[0]: "NL, BE\u2028é", HARD[1]: "x" * 10_001}
MISSHAPEN = HARD[2]  # answered with a list where text was asked for


def call(**arguments: Any) -> ModelOutput:
    output = ModelOutput.for_tool_call("mockllm/model", "final_answer", arguments, content="I know it.")
    output.usage = ModelUsage(input_tokens=3, output_tokens=2, total_tokens=5)
    return output


def script(
    messages: list[ChatMessage], tools: list[ToolInfo], choice: ToolChoice, config: GenerateConfig
) -> ModelOutput:
    """A model that answers at once, each question in its own way."""
    asked = next(message.text for message in messages if message.role == "user").split("number ")[-1].split(".")[0]
    if asked == "crash":
        raise RuntimeError("the provider is gone")
    if asked == SILENT:
        output = ModelOutput.from_content("mockllm/model", "I cannot say.")
        output.usage = ModelUsage(input_tokens=3, output_tokens=2, total_tokens=5)
        return output
    return call(answer=["A", "B"] if asked == MISSHAPEN else ANSWERS.get(asked, "A"))


def logged(task: Task | list[Task], folder: Path, model: str = "mockllm/model", **options: Any) -> list[Path]:
    scripted = get_model(model, custom_outputs=script, memoize=False)
    logs = eval(task, model=scripted, log_dir=str(folder), display="none", turn_limit=3, log_realtime=False, **options)
    return [Path(log.location) for log in logs]


def asked(level: str, ids: list[str], **changes: Any) -> Task:
    """The task of one level, as `tasks/dabstep.py` makes it, but without a kernel; what is named is changed."""
    metadata = {"benchmark": "adyen/DABstep", "revision": changes.pop("revision", benchmark_files.REVISION)}
    crash = changes.pop("crash", None)
    split = changes.pop("split", level)
    questions = [
        Question(
            id=task_id,
            question=f"What is number {'crash' if task_id == crash else task_id}.",
            level=level,
            answer=None,
            source="adyen/DABstep",
            source_id=task_id,
            licence="CC-BY-4.0",
            checked="-",
        )
        for task_id in ids
    ]
    about = {"data_hash": official_data_hash(), "metadata": metadata} | changes
    settings = NotebookSettings(split=split, **about)
    task = notebook_task(questions, {question.id: {} for question in questions}, {}, settings)
    for sample in task.dataset:
        sample.sandbox = None
    task._name = f"dabstep_{level}"  # a task made by hand has no name of its own
    return task


@contextmanager
def taken_for_official(folder: Path) -> Iterator[None]:
    """Within it, the task file of `folder` is the benchmark's, and the folder is where its files are looked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(benchmark_files.TASKS, "all.jsonl", sha256_of(folder / "tasks" / "all.jsonl"))
        patch.setenv("DABSTEP_DIR", str(folder))
        yield


@pytest.fixture(scope="session")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task file of our own of 450 questions."""
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "tasks").mkdir()
    lines = [{"task_id": i, "level": "easy" if i in EASY else "hard"} for i in reversed([*EASY, *HARD])]
    (folder / "tasks" / "all.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture(scope="session")
def logs(benchmark: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The logs of a run over all 450 questions."""
    folder = tmp_path_factory.mktemp("logs")
    with taken_for_official(benchmark):
        return logged([asked("easy", EASY), asked("hard", HARD)], folder, temperature=0.5)


@pytest.fixture(scope="session")
def submission(benchmark: Path, logs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The submission's folder, made once; a test that changes it takes a copy."""
    folder = tmp_path_factory.mktemp("made") / "submission"
    with taken_for_official(benchmark):
        done = dabstep("submit", *logs, "--output", folder, *DECLARED)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(autouse=True)
def official(benchmark: Path, logs: list[Path], submission: Path) -> Iterator[None]:
    """For the length of a test that file is the official one; what lasts longer than the test is made before."""
    with taken_for_official(benchmark):
        yield


def dabstep(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def submitted(folder: Path) -> dict[str, str]:
    lines = (folder / "submission.jsonl").read_text(encoding="utf-8").split("\n")
    return {row["task_id"]: row["agent_answer"] for row in map(json.loads, filter(None, lines))}


def scores_of(folder: Path, right: set[str], levels: dict[str, str]) -> list[dict[str, Any]]:
    """The board's rows for a submission, in the form of its own code, by a key in which only `right` are right."""
    return [
        {
            "submission_id": "Nobody-Scripted",
            "task_id": task_id,
            "score": task_id in right,
            "level": levels[task_id],
            "agent_answer": answer,
        }
        for task_id, answer in submitted(folder).items()
    ]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
