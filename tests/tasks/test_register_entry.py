"""The entry for the register of Inspect Evals says what the tasks and the benchmark's files say."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml
from inspect_ai._util.registry import registry_lookup

import dabstep._registry  # noqa: F401
from tasks.benchmark_files import CONTEXT, Split, official_files, official_questions
from tasks.register_entry import (
    ROOT,
    RegisterError,
    register_entry,
    tasks_of,
    write_register_entry,
)

URL = "https://github.com/somebody/dabstep"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_entry_names_the_repository_at_a_whole_commit_and_its_owner_as_maintainer(tmp_path: Path) -> None:
    path = write_register_entry(tmp_path / "dabstep", register_entry(URL, ["somebody"], COMMIT))
    written = yaml.safe_load(path.read_text())
    assert path == tmp_path / "dabstep" / "eval.yaml"
    assert written["source"] == {"repository_url": URL, "repository_commit": COMMIT, "maintainers": ["somebody"]}
    assert written["contributors"] == ["somebody"]
    assert {"full_title", "common_title", "description", "tasks"} <= written.keys()


def test_every_listed_task_is_defined_where_the_entry_says_and_registered() -> None:
    for listed in register_entry(URL, ["somebody"], COMMIT).tasks:
        assert listed.name in tasks_of(ROOT / listed.task_path)
        assert registry_lookup("task", f"dabstep/{listed.name}") is not None


def test_every_task_of_the_benchmarks_file_is_listed() -> None:
    listed = {task.name for task in register_entry(URL, ["somebody"], COMMIT).tasks}
    assert listed == tasks_of(ROOT / "tasks" / "dabstep.py")


def test_the_listed_numbers_of_questions_are_those_of_the_official_files(real_benchmark: Path) -> None:
    samples = {task.name: task.dataset_samples for task in register_entry(URL, ["somebody"], COMMIT).tasks}
    splits: tuple[Split, ...] = ("dev", "easy", "hard")
    for split in splits:
        files = official_files(real_benchmark, split, CONTEXT)
        assert samples[f"dabstep_{split}"] == len(official_questions(files, split))


def test_the_project_is_what_the_register_asks_of_a_repository() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any(dependency.startswith("inspect-ai") for dependency in project["dependencies"])


@pytest.mark.parametrize(
    ("repository", "contributors", "commit", "named"),
    [
        (URL, ["somebody"], "main", "source.repository_commit"),
        (URL, ["somebody"], COMMIT[:12], "source.repository_commit"),
        ("git@github.com:somebody/dabstep.git", ["somebody"], COMMIT, "source.repository_url"),
        (f"{URL}/tree/main", ["somebody"], COMMIT, "source.repository_url"),
        (URL, [], COMMIT, "contributors"),
        (URL, [" "], COMMIT, "contributors.0"),
    ],
)
def test_what_the_register_would_refuse_is_refused_with_the_fields_name(
    repository: str, contributors: list[str], commit: str, named: str
) -> None:
    with pytest.raises(RegisterError, match=named):
        register_entry(repository, contributors, commit)
