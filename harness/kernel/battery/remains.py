"""What kernels may leave on the host: processes, mounts, control groups, descriptors of this process.

before = await Remains.settled()
...
left = (await Remains.settled(before)).beyond(before)      # [] where nothing was left
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from harness.kernel.cgroup import places

SETTLE_S = 20.0


@dataclass(frozen=True)
class Remains:
    """What was there at one moment. `memory_mb` is this process's resident memory."""

    processes: frozenset[str]
    mounts: frozenset[str]
    groups: frozenset[str]
    descriptors: int
    memory_mb: float

    @classmethod
    def now(cls) -> Self:
        """This moment: processes below this one, mounts and groups of this process's making."""
        process = psutil.Process()
        groups = [group for place in places() for group in place.folder.glob(f"dabstep-{os.getpid()}-*")]
        return cls(
            processes=frozenset(f"{below.pid} {below.name()}" for below in _living(process)),
            mounts=frozenset(Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()),
            groups=frozenset(map(str, groups)),
            descriptors=process.num_fds(),
            memory_mb=round(process.memory_info().rss / (1 << 20), 1),
        )

    @classmethod
    async def settled(cls, before: Remains | None = None) -> Self:
        """As `now`, once what is ending has ended; at most some seconds later."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            remains = cls.now()
            if time.monotonic() > deadline or (before is not None and not remains.beyond(before)):
                return remains
            if before is None:
                await asyncio.sleep(0.2)
                return cls.now()
            await asyncio.sleep(0.1)

    def beyond(self, before: Remains) -> list[str]:
        """What is here and was not there before, for a person. The group of the last kernel may await the next."""
        left = [f"process {process}" for process in sorted(self.processes - before.processes)]
        left += [f"mount {mount}" for mount in sorted(self.mounts - before.mounts)]
        left += [f"control group {group}" for group in sorted(self.groups - before.groups)]
        if self.descriptors > before.descriptors:
            left.append(f"{self.descriptors - before.descriptors} open descriptors")
        return left


def _living(process: psutil.Process) -> list[psutil.Process]:
    living = []
    for below in process.children(recursive=True):
        try:
            if below.status() != psutil.STATUS_ZOMBIE:
                living.append(below)
        except psutil.NoSuchProcess:  # it has just ended
            continue
    return living
