"""Ranks on a Ray cluster, by datatrove's executor in a process of its own, which this one watches.

That executor hangs when a worker is killed, or returns with a rank missing. So what counts are the markers: when none
comes and no rank gives a sign of life for a while, the process is ended; ranks without a marker are run again, a
bounded number of times; those that raised an exception are not. The run's folder must be one that all nodes see.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from harness import lifeline
from pipeline.runs.config import ConfigError, RaySettings
from pipeline.runs.layout import MARKER, PROGRESS, logs
from pipeline.runs.plan import Plan, error_file
from pipeline.runs.store import whole_file

TICK_S = 0.3
LOG_LINES = 8


def run_on_ray(
    plan: Plan, stage: str, settings: RaySettings, missing: Callable[[], list[int]], watch: Callable[[], None]
) -> None:
    """Run the missing ranks of a stage. Raises ConfigError where Ray is not installed."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise ConfigError("executor: ray needs Ray. Install it with `pip install 'dabstep[ray]'`.")
    folder = plan.folder(stage)
    for attempt in range(1, settings.attempts + 1):
        ranks = [rank for rank in missing() if not error_file(folder, rank).exists()]
        if not ranks:
            return
        log = logs(plan.config.run) / stage / f"ray-{time.strftime('%Y%m%d-%H%M%S')}-{attempt}"
        log.mkdir(parents=True, exist_ok=True)
        task = {"plan": plan.to_json(), "stage": stage, "ranks": ranks, "settings": asdict(settings), "log": str(log)}
        _run_driver(json.dumps(task), log / "driver.log", folder, settings.stall_minutes, missing, watch)
    _leave_reasons(folder, missing(), settings.attempts, log / "driver.log")


def _run_driver(
    task: str,
    log: Path,
    folder: Path,
    stall_minutes: float,
    missing: Callable[[], list[int]],
    watch: Callable[[], None],
) -> None:
    """One attempt: start the process, watch it, and end it when nothing lives there any more."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.runs.ray_driver"],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), lifeline.VARIABLE: "1"},
            preexec_fn=lifeline.end_with_parent,
            start_new_session=True,
        )
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(task.encode())
    signs, since = _signs_of_life(folder), time.monotonic()
    try:
        while process.poll() is None:
            time.sleep(TICK_S)
            watch()
            now = _signs_of_life(folder)
            if now != signs:
                signs, since = now, time.monotonic()
            if not missing() or time.monotonic() - since > 60 * stall_minutes:
                break
    finally:
        _end(process)


def _signs_of_life(folder: Path) -> tuple[int, int]:
    """Something that changes as long as any rank is at work: how many markers, and when progress was last said."""
    progress = [file.stat().st_mtime_ns for file in folder.glob(f"*{PROGRESS}") if file.exists()]
    return sum(1 for _ in folder.glob(f"[0-9]*{MARKER}")), max(progress, default=0)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the driver and the Ray it started; a moment for it to do so by itself."""
    for kind, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        if process.poll() is None:
            os.killpg(process.pid, kind)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue


def _leave_reasons(folder: Path, ranks: list[int], attempts: int, log: Path) -> None:
    """For ranks that never said why."""
    said = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
    for rank in ranks:
        if not (path := error_file(folder, rank)).exists():
            with whole_file(path, durable=False) as file:
                file.write(f"no result after {attempts} attempts; the end of {log}:\n{said}".encode())
