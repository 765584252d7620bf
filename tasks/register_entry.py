"""The entries by which DABStep's tasks are listed in the register of Inspect Evals.

    dabstep register-entry register --repository https://github.com/OWNER/dabstep --contributor NAME

The register is the folder `register/` of UKGovernmentBEIS/inspect_evals: each listed evaluation lives in a repository
of its own, and `register/NAME/eval.yaml` points to one task at a commit. `tasks/eval.yaml` holds what is the same for
every commit; `register_entries()` adds whose repository it is and which commit, and checks the whole. The fields are
those of inspect_evals 0.26.0. It sends nothing: an entry is proposed by hand, on GitHub.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, StringConstraints, ValidationError

from harness.records import Record
from tasks.benchmark_files import REPOSITORY, REVISION

ROOT = Path(__file__).resolve().parents[1]
LISTING = Path(__file__).with_name("eval.yaml")

Words = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Repository = Annotated[str, StringConstraints(pattern=r"^https://github\.com/[\w.-]+/[\w.-]+$")]
Arxiv = Annotated[str, StringConstraints(pattern=r"^https://arxiv\.org/abs/\d{4}\.\d{5}(v\d+)?$")]


class RegisterError(ValueError):
    """An entry that cannot be made; the message names the field, the reason and the mend."""


class ListedTask(Record):
    """A task of an entry: the name of its `@task` function, the file that defines it, how many questions it has."""

    name: Words
    task_path: Words
    dataset_samples: Annotated[int, Field(gt=0)]


class Source(Record):
    """Where the code is: a public repository at a whole commit, and who looks after it."""

    repository_url: Repository
    repository_commit: Commit
    maintainers: Annotated[tuple[Words, ...], Field(min_length=1)]
    comment: Words


class RegisterEntry(Record):
    """One `eval.yaml` of the register; the names of its fields are the register's. A description is one line."""

    full_title: Words
    common_title: Words
    paper_title: Words
    description: Annotated[Words, StringConstraints(pattern=r"^[^\n]+$")]
    arxiv: Arxiv
    contributors: Annotated[tuple[Words, ...], Field(min_length=1)]
    tags: tuple[Words, ...]
    tasks: tuple[ListedTask]
    source: Source
    metadata: dict[str, Any]


def register_entries(
    repository: str, contributors: Sequence[str], commit: str | None = None
) -> dict[str, RegisterEntry]:
    """By task, its entry for `repository` at `commit` (this checkout's, unless given).

    Args:
        repository: The repository's address, https://github.com/OWNER/NAME; its owner is named as the maintainer.
        contributors: GitHub names of those who made the evaluation.
        commit: All 40 digits of a commit of that repository.

    Raises RegisterError for a field that the register would refuse, a listed task that is not there, or no commit.
    """
    stated = yaml.safe_load(LISTING.read_text(encoding="utf-8"))
    path, about, listed = stated.pop("task_path"), stated.pop("description"), stated.pop("tasks")
    source = {
        "repository_url": repository,
        "repository_commit": commit or _head(),
        "maintainers": [repository.removeprefix("https://github.com/").partition("/")[0]],
        "comment": f"Data: {REPOSITORY} at revision {REVISION}; every file is compared with its sha256.",
    }
    needs = {"sandbox": ["solver"], "requires": {"internet": True}}  # a sandbox of our own; the files come from the Hub
    entries = {}
    for task in listed:
        if task["name"] not in tasks_of(ROOT / path):
            raise RegisterError(f"{LISTING.name}: {path} defines no task {task['name']}. Mend the listing.")
        fields = {
            **stated,
            "full_title": f"{stated['full_title']} ({task['called']})",
            "common_title": f"{stated['common_title']} ({task['called']})",
            "description": f"{about} {task['description']}",
            "contributors": list(contributors),
            "tasks": [{"name": task["name"], "task_path": path, "dataset_samples": task["dataset_samples"]}],
            "source": source,
            "metadata": needs,
        }
        try:
            entries[task["name"]] = RegisterEntry.model_validate(fields)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise RegisterError(f"the register would refuse this entry ({faults}). Mend what is named.") from None
    return entries


def write_register_entries(folder: Path, entries: Mapping[str, RegisterEntry]) -> list[Path]:
    """Write `TASK/eval.yaml` into `folder` for each entry, whole or not at all, and return their paths."""
    paths = []
    for name, entry in entries.items():
        path = folder / name / "eval.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(entry.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
        paths.append(path)
    return paths


def tasks_of(file: Path) -> set[str]:
    """The names of the functions that a file marks with `@task`, read without running it, as the register does."""
    if not file.is_file():
        return set()
    functions = [node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
    return {each.name for each in functions for mark in each.decorator_list if ast.unparse(mark).startswith("task")}


def _head() -> str:
    """The commit of this checkout."""
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    if done.returncode:
        raise RegisterError("this is no git checkout, so its commit cannot be named. Give --commit.")
    return done.stdout.strip()
