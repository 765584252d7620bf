"""The entry for the register of Inspect Evals says what the tasks and the benchmark's files say."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml
from inspect_ai._util.registry import registry_lookup

import dabstep._registry  # noqa: F401
from tasks import register_entry
from tasks.benchmark_files import CONTEXT, REVISION, Split, official_files, official_questions
from tasks.register_entry import ROOT, RegisterError, register_entries, tasks_of, write_register_entries

URL = "https://github.com/somebody/dabstep"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_an_entry_names_the_repository_at_a_whole_commit_and_its_owner_as_maintainer(tmp_path: Path) -> None:
    paths = write_register_entries(tmp_path, register_entries(URL, ["somebody"], COMMIT))
    assert tmp_path / "dabstep_hard" / "eval.yaml" in paths
    for path in paths:
        written = yaml.safe_load(path.read_text())
        assert written["source"].items() >= {"repository_url": URL, "repository_commit": COMMIT}.items()
        assert written["source"]["maintainers"] == ["somebody"]
        assert REVISION in written["source"]["comment"]
        assert written["contributors"] == ["somebody"]
        assert "\n" not in written["description"]


def test_an_entry_has_the_fields_that_the_register_knows_and_one_task() -> None:
    """Those of inspect_evals 0.26.0, which refuses any other; full_title, common_title and task_path it requires."""
    known = {"title", "full_title", "common_title", "paper_title", "description", "id", "arxiv", "contributors"}
    known |= {"tasks", "tags", "metadata", "source", "evaluation_report"}
    for name, entry in register_entries(URL, ["somebody"], COMMIT).items():
        written = entry.model_dump(mode="json")
        assert {"full_title", "common_title", "description", "contributors", "tasks", "source"} <= written.keys()
        assert written.keys() <= known
        assert written["source"].keys() <= {"repository_url", "repository_commit", "maintainers", "comment"}
        assert [task["name"] for task in written["tasks"]] == [name]
        assert written["tasks"][0].keys() == {"name", "task_path", "dataset_samples"}
        assert written["metadata"].keys() <= {"fast", "sandbox", "requires", "environment", "supports_k8s", "extras"}


def test_every_task_of_the_benchmarks_file_is_listed_and_registered() -> None:
    entries = register_entries(URL, ["somebody"], COMMIT)
    assert entries.keys() == tasks_of(ROOT / "tasks" / "dabstep.py")
    assert all(registry_lookup("task", f"dabstep/{name}") is not None for name in entries)


def test_a_listed_task_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = tmp_path / "eval.yaml"
    listing.write_text(register_entry.LISTING.read_text().replace("name: dabstep_hard", "name: dabstep_harder"))
    monkeypatch.setattr(register_entry, "LISTING", listing)
    with pytest.raises(RegisterError, match="defines no task dabstep_harder"):
        register_entries(URL, ["somebody"], COMMIT)


def test_the_listed_numbers_of_questions_are_those_of_the_official_files(real_benchmark: Path) -> None:
    entries = register_entries(URL, ["somebody"], COMMIT)
    splits: tuple[Split, ...] = ("dev", "easy", "hard")
    for split in splits:
        files = official_files(real_benchmark, split, CONTEXT)
        assert entries[f"dabstep_{split}"].tasks[0].dataset_samples == len(official_questions(files, split))


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
        register_entries(repository, contributors, commit)
