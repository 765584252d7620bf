"""Bounds the memory of all of a kernel's processes together where no control group does.

Process 1 looks at the others' memory in /proc: first cheaply (resident pages, which count what forks share once for
each), and only where that is too much exactly (proportional shares). Files in the scratch space are memory too. It is
late by design: between two looks processes may take what the memory's speed allows, so the looks come closer together
as the bound comes nearer. Memory that Linux holds for pipes and sockets is not seen; control groups count that too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from harness.kernel.guest.confine import HOME

PAGE = os.sysconf("SC_PAGE_SIZE")
GROWTH = 4 << 30  # bytes a second that one processor fills
SHORTEST_S, LONGEST_S = 0.01, 0.25
SHARE = 10  # about a tenth of the time goes into looking, more only where that would be later than LONGEST_S


class Watchdog:
    """Looks at the memory of every process of this namespace but process 1 itself."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._growth = GROWTH * len(os.sched_getaffinity(0))
        self._wait_s = SHORTEST_S
        self._looked = 0.0

    def is_beyond(self) -> bool:
        """Whether more than the limit is held; sets `wait_s`."""
        if time.monotonic() - self._looked < self._wait_s:
            return False
        started = time.process_time()  # on a busy machine a look takes long, which is no reason to look less often
        held = self._held(_resident)
        if held > self._limit:
            held = self._held(_proportional)
        self._looked = time.monotonic()
        ahead = (self._limit - held) / self._growth
        self._wait_s = min(max(ahead, SHORTEST_S, SHARE * (time.process_time() - started)), LONGEST_S)
        return held > self._limit

    @property
    def wait_s(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._looked + self._wait_s - time.monotonic())

    def _held(self, measure: Callable[[str], int]) -> int:
        scratch = os.statvfs(HOME)
        held = (scratch.f_blocks - scratch.f_bfree) * scratch.f_frsize
        for pid in os.listdir("/proc"):
            if pid.isdigit() and pid != "1":
                try:
                    held += measure(pid)
                except (OSError, ValueError, IndexError):  # it has just ended
                    continue
        return held


def _resident(pid: str) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * PAGE


def _proportional(pid: str) -> int:
    """The process's share of what it maps; all of it where it made itself unreadable."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            return next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
    except (PermissionError, StopIteration):
        return _resident(pid)
