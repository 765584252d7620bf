"""Children of a study: shown as one would type them, watched, told apart by their end, and never left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from harness.children import Child, ChildFailed, Progress, shown
from harness.jobs import run_all

ROOT = Path(__file__).parents[2]


def python(name: str, code: str, folder: Path) -> Child:
    return Child(name, [sys.executable, "-c", code], folder / f"{name}.out")


@pytest.fixture
def progress() -> Progress:
    return Progress(Console(quiet=True))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_all_run_and_their_output_is_kept(tmp_path: Path, progress: Progress) -> None:
    children = [python(str(n), f"print('said {n}')", tmp_path) for n in range(3)]
    run_all(children, 2, lambda: None, progress)
    assert [(tmp_path / f"{n}.out").read_text() for n in range(3)] == ["said 0\n", "said 1\n", "said 2\n"]


def test_one_that_fails_ends_the_others_and_says_what_it_said(tmp_path: Path, progress: Progress) -> None:
    sleeper = python("sleeper", "import time; time.sleep(600)", tmp_path)
    broken = python("broken", "raise SystemExit('no such tariff')", tmp_path)
    with pytest.raises(ChildFailed, match=r"broken failed \(exit status 1\)[\s\S]*no such tariff"):
        run_all([sleeper, broken], 2, lambda: None, progress)
    assert sleeper.ended()


def test_a_command_is_shown_as_it_would_be_typed() -> None:
    command = [sys.executable, "-m", "inspect_ai", "eval", "dabstep/generated_qa", "-T", f"questions={Path.cwd()}/q s"]
    assert shown(command) == "inspect eval dabstep/generated_qa -T 'questions=q s'"
    assert shown([sys.executable, f"{Path.cwd()}/recipes/tiny.py"]) == "python recipes/tiny.py"


GRANDCHILD = (
    "import os, time; from harness import lifeline; lifeline.hold(); print(os.getpid(), flush=True); time.sleep(600)"
)
LAUNCHER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {GRANDCHILD!r}])"
STUDY = f"""
import sys, time
from pathlib import Path
from rich.console import Console
from harness.children import Child, Progress
Child("launcher", [sys.executable, "-c", {LAUNCHER!r}], Path(sys.argv[1])).start(Progress(Console(quiet=True)))
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_study_leaves_no_grandchild_running(tmp_path: Path, how: signal.Signals) -> None:
    output = tmp_path / "grandchild"
    study = subprocess.Popen([sys.executable, "-c", STUDY, str(output)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not (output.exists() and output.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.05)
    grandchild = int(output.read_text())
    os.kill(study.pid, how)
    study.wait()
    while is_alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(grandchild)
