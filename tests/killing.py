"""Runs that are killed: SIGKILL to a run's main process or to one that it started, again and again, until it is whole.

    kills, status = run_killed(start, moment, kills=5, choose=main_process)

`start` starts the run, or goes on with it, as a child process; `moment` returns when it is time for the next kill;
`choose` says whom it meets. A run that is whole before all kills were made is left as it is. After a kill of the main
process everything that it had started must end by itself.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
MAIN = "main"
KINDS = {"pipeline.runs.worker": "worker", "inspect_ai": "evaluation", "pipeline.kaggle.kagglehub_child": "download"}
"""What a process that belongs to a run is, by what stands on its command line."""
ENDING_S = 30

Process = subprocess.Popen[bytes]
Choose = Callable[[Process], tuple[str, int]]


class LeftBehind(AssertionError):
    """Processes that outlive the one that started them."""


def start(command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> Process:
    """A Python command (without the interpreter) in a session of its own; what it says is added to `log`."""
    paths = os.pathsep.join(filter(None, [str(ROOT), *sys.path]))  # stages of the tests' own are found, too
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**(os.environ if environment is None else environment), "PYTHONPATH": paths},
            start_new_session=True,
        )


def run_killed(
    start: Callable[[], Process], moment: Callable[[Process], object], kills: int, choose: Choose
) -> tuple[list[str], int]:
    """Run to the end, killed at most `kills` times; whom the kills met, and the last exit status."""
    done: list[str] = []
    process = start()
    while len(done) < kills:
        moment(process)
        if process.poll() is not None:
            break
        who, pid = choose(process)
        family = _family(process)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it had just ended
        done.append(who)
        if pid == process.pid:
            process.wait()
            _, left = psutil.wait_procs(family, timeout=ENDING_S)
            if left:
                raise LeftBehind(", ".join(" ".join(each.cmdline()) for each in left))
            process = start()
    return done, process.wait()


def main_process(process: Process) -> tuple[str, int]:
    """The main process, always."""
    return MAIN, process.pid


def by_chance(draw: random.Random, shares: Mapping[str, float]) -> Choose:
    """One of the run's processes: a kind by its share, then one of that kind; where none is there, the main process."""

    def choose(process: Process) -> tuple[str, int]:
        kind = draw.choices(list(shares), list(shares.values()))[0]
        there = [each.pid for each in _family(process) if _kind(each) == kind]
        return (kind, draw.choice(there)) if there else (MAIN, process.pid)

    return choose


def wait_until(process: Process, reached: Callable[[], bool], longest_s: float) -> bool:
    """Wait until it is so, the process has ended, or the time is over; whether it is so."""
    ends = time.monotonic() + longest_s
    while not (so := reached()) and process.poll() is None and time.monotonic() < ends:
        time.sleep(0.02)
    return so


def has_workers(process: Process) -> bool:
    """Whether a worker of the run is there."""
    return any(_kind(each) == "worker" for each in _family(process))


def _family(process: Process) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kind(process: psutil.Process) -> str:
    try:
        line = process.cmdline()
    except psutil.Error:
        return ""
    return next((kind for word, kind in KINDS.items() if any(word in part for part in line)), "")
