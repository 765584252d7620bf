"""Who made an entry, and whether that process still runs: so that what a killed process had begun is not waited for."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path


def owner() -> str:
    """This process, as it is written down: machine, number, and when it began."""
    return _owner(os.getpid())


@cache
def _owner(pid: int) -> str:
    return f"{socket.gethostname()} {pid} {_born(pid)}"


def is_gone(name: str) -> bool:
    """Whether a process of this machine has ended; one of another machine counts as there, since nobody can know."""
    host, pid, born = name.rsplit(" ", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _born(int(pid)) != born


def _born(pid: int) -> str:
    """When a process began, in the kernel's ticks (its number is used again later); "-" where that cannot be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "-"
