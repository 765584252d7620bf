"""Inspect finds everything of ours by its entry point, whatever the folder a command is started in.

(An import error in the registry is only a warning to Inspect, so it is imported here.)
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from inspect_ai._util.registry import registry_lookup
from inspect_ai.util._sandbox.registry import registry_find_sandboxenv

import dabstep._registry
import tasks.dabstep
import tasks.generated_qa
import tasks.sandbox_check
from harness.kernel.machine_sandbox import MachineSandbox
from harness.kernel.sandbox import KernelSandbox
from tasks.notebook_task import SANDBOX

REPOSITORY = Path(__file__).parents[2]
TASKS = ("dabstep_dev", "dabstep_easy", "dabstep_hard", "generated_qa", "sandbox_check")


def test_the_entry_point_is_the_registry() -> None:
    [entry] = [entry for entry in entry_points(group="inspect_ai") if entry.name == "dabstep"]
    assert entry.load() is dabstep._registry


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_registered_under_the_packages_name_with_its_own_parameters(name: str) -> None:
    registered = registry_lookup("task", f"dabstep/{name}")
    assert callable(registered)
    own = getattr(getattr(tasks, name, tasks.dabstep), name)
    assert inspect.signature(registered) == inspect.signature(own)
    assert inspect.getdoc(registered) == inspect.getdoc(own)


def test_the_agent_and_the_player_of_solutions_are_registered() -> None:
    assert registry_lookup("agent", "dabstep/notebook") is not None
    assert registry_lookup("solver", "dabstep/play_solution") is not None


def test_the_default_sandbox_is_a_kernel_sandbox() -> None:
    assert issubclass(registry_find_sandboxenv(SANDBOX), KernelSandbox)


@pytest.mark.parametrize("name", ["dabstep-bwrap", "dabstep-docker", "dabstep-e2b"])
def test_every_backend_is_a_sandbox_under_its_own_name(name: str) -> None:
    provider = registry_find_sandboxenv(name)
    assert issubclass(provider, MachineSandbox)
    assert provider.provider == name
    assert provider.default_concurrency() is None


def test_importing_the_registry_loads_no_training_library_and_warns_of_nothing() -> None:
    code = (
        "import sys, dabstep._registry; print(sorted({'torch', 'transformers', 'trl', 'datasets'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("folder", "task"),
    [
        (".", "tasks/dabstep.py@dabstep_dev"),
        (".", "dabstep/dabstep_dev"),
        ("tasks", "dabstep.py@dabstep_dev"),
        ("tasks", "dabstep/dabstep_dev"),
    ],
)
def test_the_benchmarks_file_does_not_stand_in_the_way_of_the_package_of_its_name(
    folder: str, task: str, tmp_path: Path
) -> None:
    """`python -m` puts its folder first on the path; in `tasks/`, `import dabstep` then finds `tasks/dabstep.py`."""
    ran = subprocess.run(
        [sys.executable, "-m", "inspect_ai", "eval", task, "-T", f"data_dir={tmp_path}", "--model", "none/none"]
        + ["--solver", "dabstep/play_solution", "--log-dir", str(tmp_path / "logs"), "--display", "plain"],
        cwd=REPOSITORY / folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = " ".join((ran.stdout + ran.stderr).split())
    assert ran.returncode == 1
    assert "dev.jsonl is missing" in said
    assert "entrypoints" not in said
    assert "Traceback" not in said
    assert not (tmp_path / "logs").exists()
