"""Ranks on this machine: worker processes that run one rank at a time, and an executor that outlives them.

A rank whose worker is killed (by anyone, or by the limits of memory and time) is run again, a bounded number of times;
an exception in one rank is reported and the others go on. Workers end with this process, however it ends.
The memory limit is on a worker's resident memory, looked at some times a second; what it starts is not counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from harness import lifeline
from pipeline.runs.config import LocalSettings
from pipeline.runs.layout import logs
from pipeline.runs.plan import GATHER, Plan, error_file
from pipeline.runs.store import whole_file

TICK_S = 0.2
LOG_LINES = 5


@dataclass
class _Worker:
    """A process and the rank it is at; a rank's time begins when its worker is ready."""

    process: subprocess.Popen[bytes]
    log: Path
    rank: int | None = None
    ready: bool = False
    began: float = 0.0
    said: bytes = b""

    def give(self, rank: int) -> None:
        """Let it run a rank. A worker that is gone already is noticed later, with the rank."""
        self.rank, self.began = rank, time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            _pipe(self.process.stdin).write(f"{rank}\n".encode())
            _pipe(self.process.stdin).flush()

    def kill(self) -> None:
        """End it and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


class LocalExecutor:
    """Runs ranks of one stage. Markers and error files tell what came of it."""

    def __init__(self, plan: Plan, stage: str, settings: LocalSettings) -> None:
        self._command = json.dumps({"plan": plan.to_json(), "stage": stage}).encode() + b"\n"
        self._settings = settings
        self._folder = plan.folder(stage)
        self._logs = logs(plan.config.run) / stage
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Worker] = []
        self._waiting: deque[int] = deque()
        self._attempts: dict[int, int] = {}

    def run(self, ranks: Sequence[int], watch: Callable[[], None]) -> None:
        """Run the ranks, calling `watch` some times a second."""
        self._waiting.extend(ranks)
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            while self._waiting or self._workers:
                self._hand_out()
                for key, _ in self._selector.select(TICK_S):
                    self._hear(key.data)
                for worker in list(self._workers):
                    self._look_after(worker)
                watch()
        finally:
            for worker in self._workers:
                worker.kill()
            self._selector.close()

    def _hand_out(self) -> None:
        """Give idle workers a rank each, start workers for further ranks, end those that have nothing left to do."""
        for worker in list(self._workers):
            if worker.rank is None and self._waiting:
                worker.give(self._waiting.popleft())
            elif worker.rank is None:
                self._end(worker)
        while self._waiting and len(self._workers) < self._settings.workers:
            self._workers.append(worker := self._start())
            worker.give(self._waiting.popleft())

    def _start(self) -> _Worker:
        number = next(n for n in range(self._settings.workers + 1) if n not in {int(w.log.stem) for w in self._workers})
        log = self._logs / f"{number}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.runs.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), lifeline.VARIABLE: "1"},
                preexec_fn=lifeline.end_with_parent,
                start_new_session=True,
            )
        worker = _Worker(process, log)
        os.set_blocking(_pipe(process.stdout).fileno(), False)
        self._selector.register(_pipe(process.stdout), selectors.EVENT_READ, worker)
        with contextlib.suppress(BrokenPipeError):
            _pipe(process.stdin).write(self._command)
        return worker

    def _hear(self, worker: _Worker) -> None:
        """Take a worker's answers. One that is gone is left to `_look_after`."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(_pipe(worker.process.stdout).fileno(), 4096):
                worker.said += data
        *lines, worker.said = worker.said.split(b"\n")
        for line in lines:
            if line == b"ready":
                worker.ready, worker.began = True, time.monotonic()
            else:
                worker.rank = None

    def _look_after(self, worker: _Worker) -> None:
        """Notice a worker's death, and end one that takes too much."""
        if worker.process.poll() is not None:
            self._lose(worker, f"its worker ended by {_how(worker.process.returncode)}")
        elif worker.rank is not None:
            minutes, megabytes = self._settings.minutes, _resident_megabytes(worker.process.pid)
            if minutes is not None and worker.ready and time.monotonic() - worker.began > 60 * minutes:
                self._lose(worker, f"it took more than {minutes:g} minutes")
            elif megabytes > 1024 * self._settings.memory_gb:
                self._lose(worker, f"its worker held {megabytes:.0f} MB, more than {self._settings.memory_gb:g} GB")

    def _lose(self, worker: _Worker, why: str) -> None:
        """A worker is gone or must go: its rank is run again, or has failed."""
        self._hear(worker)
        rank = worker.rank
        self._end(worker)
        if rank is None:
            return
        self._attempts[rank] = self._attempts.get(rank, 0) + 1
        if self._attempts[rank] < self._settings.attempts:
            self._waiting.append(rank)
        else:
            said = "\n".join(worker.log.read_text(errors="replace").splitlines()[-LOG_LINES:])
            why = f"{why}, {self._attempts[rank]} times; the end of {worker.log}:\n{said}"
            with whole_file(error_file(self._folder, rank), durable=False) as file:
                file.write(why.strip().encode())

    def _end(self, worker: _Worker) -> None:
        self._selector.unregister(_pipe(worker.process.stdout))
        self._workers.remove(worker)
        worker.kill()


def run_gather(plan: Plan, stage: str, settings: LocalSettings, watch: Callable[[], None]) -> None:
    """Run a stage's gather step in one worker, without a limit of time."""
    alone = LocalSettings(1, settings.attempts, settings.memory_gb, None)
    LocalExecutor(plan, stage, alone).run([GATHER], watch)


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    assert end is not None
    return end


def _how(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def _resident_megabytes(pid: int) -> float:
    try:
        return float(psutil.Process(pid).memory_info().rss) / (1 << 20)
    except psutil.Error:
        return 0.0
