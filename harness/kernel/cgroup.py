"""A bound on the memory of all processes of a kernel together, by Linux's control groups, version 1 or 2.

    groups = Groups.open()                   # one a zygote; CannotGroup says why this user can make none here
    group = groups.make(limit_mb=4672)       # one a kernel; its `descriptor` takes the processes in
    groups.discard(group)                    # once they are gone

Where none can be had, a watchdog inside the kernel bounds it (`guest/watchdog.py`), later and only roughly. Groups lie
flat in one folder, which in version 2 is above this process's own: a group that holds processes has no limited ones
below it. Nothing is left behind: a shell waits for the end of this process and removes what is still there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

# Waits for its stdin to close, then removes every group whose name begins with $1 as soon as it is empty.
KEEPER = """trap '' HUP INT TERM
read -r _
while :; do
    left=; for group in "$1"*/; do [ -d "$group" ] && { rmdir "$group" 2>/dev/null || left=1; }; done
    [ "$left" ] || exit 0
    sleep 0.05
done"""
LIMIT_FILES = {1: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), 2: ("memory.max", "memory.swap.max")}
# Version 1 has a list of threads too: a thread that moves itself waits for nobody, a process for 10 ms now and then.
LIST_FILE = {1: "tasks", 2: "cgroup.procs"}
KILLS_FILE = {1: "memory.oom_control", 2: "memory.events"}
_opened = itertools.count()


class CannotGroup(RuntimeError):
    """No control group can be made here; the message says why."""


@dataclass(frozen=True)
class Group:
    """One kernel's group. `descriptor` is open on its list of processes and belongs to whoever made it."""

    folder: Path
    version: int
    descriptor: int

    def kills(self) -> int:
        """How many of its processes Linux has killed for want of memory."""
        with contextlib.suppress(OSError):
            for line in (self.folder / KILLS_FILE[self.version]).read_text(encoding="ascii").splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
        return 0


@dataclass(frozen=True)
class Place:
    """A folder that groups with a limit of memory may be made in; `own` is the group that this process is in."""

    folder: Path
    own: Path
    version: int

    def __str__(self) -> str:
        return f"cgroup v{self.version} in {self.folder}"


class Groups:
    """The groups of one zygote's kernels. Safe to use from several threads."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._stem = place.folder / f"dabstep-{os.getpid()}-{next(_opened)}-"
        self._numbers = itertools.count()
        self._leaving: set[Path] = set()
        self._keeper = subprocess.Popen(
            ["sh", "-c", KEEPER, "keeper", str(self._stem)], stdin=subprocess.PIPE, start_new_session=True, cwd="/"
        )

    @classmethod
    def open(cls) -> Self:
        """Groups in the first place where they work, which is tried with a process. Raises CannotGroup."""
        reason = "Linux shows no control group with memory here"
        for place in places():
            groups = cls(place)
            try:
                groups._try()
            except OSError as error:
                reason = f"{place}: {error.strerror}"
                groups.close()
            else:
                return groups
        raise CannotGroup(reason)

    def _try(self) -> None:
        """Move the keeper into a group and back, as only a user with rights to both may."""
        group = self.make(limit_mb=64)
        try:
            own = self.place.own / LIST_FILE[self.place.version]
            for descriptor in (group.descriptor, os.open(own, os.O_WRONLY | os.O_CLOEXEC)):
                with os.fdopen(descriptor, "wb", buffering=0) as processes:
                    processes.write(str(self._keeper.pid).encode())
        finally:
            self.discard(group)

    def make(self, limit_mb: int) -> Group:
        """A new empty group whose processes and their files in memory may hold `limit_mb` MiB. Raises OSError."""
        for left in list(self._leaving):
            self._remove(left)
        folder = Path(f"{self._stem}{next(self._numbers)}")
        folder.mkdir()
        try:
            memory, swap = LIMIT_FILES[self.place.version]
            (folder / memory).write_text(str(limit_mb << 20), encoding="ascii")
            if (folder / swap).exists():
                (folder / swap).write_text("0" if self.place.version == 2 else str(limit_mb << 20), encoding="ascii")
            descriptor = os.open(folder / LIST_FILE[self.place.version], os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            self._remove(folder)
            raise
        return Group(folder, self.place.version, descriptor)

    def discard(self, group: Group) -> None:
        """Remove a group, now or (processes are still ending) when the next is made."""
        self._remove(group.folder)

    def _remove(self, folder: Path) -> None:
        try:
            folder.rmdir()
        except FileNotFoundError:
            self._leaving.discard(folder)
        except OSError:
            self._leaving.add(folder)
        else:
            self._leaving.discard(folder)

    def close(self) -> None:
        """Let the keeper remove what is left, and wait for it; kernels must have been ended."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._keeper.wait(5)


def places(proc: Path = Path("/proc/self")) -> Iterator[Place]:
    """Where this process might make groups, the most promising first; whether it may is another matter."""
    own = _own_paths((proc / "cgroup").read_text(encoding="utf-8"))
    for version, mount, root in _mounts((proc / "mountinfo").read_text(encoding="utf-8")):
        path = PurePosixPath(own.get(version, "/"))
        if version not in own or not path.is_relative_to(root):
            continue
        folder = mount / path.relative_to(root)
        if version == 1:
            yield Place(folder, folder, 1)
            continue
        for above in (folder, *folder.parents):
            if above.is_relative_to(mount) and _hands_memory_down(above):
                yield Place(above, folder, 2)


def _own_paths(cgroup: str) -> dict[int, str]:
    """Version -> path of the group that limits this process's memory, from /proc/self/cgroup."""
    paths = {}
    for line in cgroup.splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            paths[1] = path
        elif number == "0":
            paths[2] = path
    return paths


def _mounts(mountinfo: str) -> Iterator[tuple[int, Path, str]]:
    """Version, mount point and root of each hierarchy that may limit memory, from /proc/self/mountinfo."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        root, mount = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup" and "memory" in options.split(","):
            yield 1, Path(mount), root
        elif kind == "cgroup2":
            yield 2, Path(mount), root


def _hands_memory_down(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return "memory" in (folder / "cgroup.subtree_control").read_text(encoding="ascii").split()
    return False


def memory_bound() -> str:
    """How the memory of a kernel is bounded here, for a person."""
    if shutil.which("sh") is None:
        return "a watchdog"
    try:
        groups = Groups.open()
    except CannotGroup as reason:
        return f"a watchdog, since no control group can be made ({reason})"
    groups.close()
    return str(groups.place)
