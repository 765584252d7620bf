"""A held program ends with its owner, with all that it started, whichever way the owner goes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import lifeline

PROGRAM = "import os, subprocess, time; p = subprocess.Popen(['sleep', '600']); print(os.getpid(), p.pid, flush=True)"
OWNER = """
import subprocess, sys, time
held = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second: it ended while it was read
        return False


def gone(pids: list[int], within_s: float) -> bool:
    end = time.monotonic() + within_s
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(alive, pids))


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_held_program_and_its_children_end_when_the_owner_is_killed(ending: signal.Signals) -> None:
    program = lifeline.command_held([sys.executable, "-c", PROGRAM + "; time.sleep(600)"])
    owner = [sys.executable, "-c", OWNER, *program]
    with subprocess.Popen(owner, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(alive, pids))
        process.send_signal(ending)
    assert gone(pids, within_s=10)


def test_what_a_program_leaves_behind_is_ended_and_its_status_passed_on() -> None:
    program = lifeline.command_held([sys.executable, "-c", PROGRAM + "; raise SystemExit(7)"])
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout is not None
        pids = [int(pid) for pid in held.stdout.readline().split()]
        assert held.wait() == 7
    assert gone(pids, within_s=2)


def test_a_program_that_will_not_end_is_made_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    impatient = tmp_path / "lifeline.py"
    impatient.write_text(Path(lifeline.__file__).read_text(encoding="utf-8").replace("GRACE_S = 10.0", "GRACE_S = 0.2"))
    monkeypatch.setattr(lifeline, "__file__", str(impatient))
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + PROGRAM + "; time.sleep(600)"
    with subprocess.Popen(
        lifeline.command_held([sys.executable, "-c", deaf]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as held:
        assert held.stdin is not None
        assert held.stdout is not None
        pids = [int(pid) for pid in held.stdout.readline().split()]
        held.stdin.close()
        assert held.wait() == 137
    assert gone(pids, within_s=2)
