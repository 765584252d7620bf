"""Process 1 of a kernel: starts, interrupts and replaces the worker, runs commands, reads and writes files.

It runs no code of the model's and cannot be traced or signalled from inside, so it stays trustworthy whatever a cell
does. Orders arrive as frames on its socket; descriptors ride along:

    {"op": "worker", "number"} + cell socket, stdout, stderr       end everything that runs, start a new worker
    {"op": "interrupt"}                                  interrupt the worker and what it started; -> "interrupted"
    {"op": "spawn", "id", "kind", ...} + stdin, stdout, stderr    run a command, or read or write a file
    {"op": "kill", "id"}                                 end such a process and its group

It tells {"event": "interrupted"}, {"event": "worker", "number", "status"} (with "memory" where the watchdog ended it,
and with it everything else inside) and {"event": "exit", "id", "status"}
(statuses as `os.waitpid` gives them), and before its exit what could not be done: {"event": "failed", "id", "errno",
"path"} ("path" where the working directory is to blame). When the host's end of the socket closes it exits, and the
operating system ends every process of the namespace with it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import selectors
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from harness.kernel.guest import confine, wire
from harness.kernel.guest.watchdog import Watchdog

HIGH = 600  # descriptors of ours in a child get this number or more, away from those that programs use


class Init:
    """The loop of process 1. `serve_cells(cell_socket)` is what a worker does; it never returns."""

    def __init__(
        self, orders: socket.socket, serve_cells: Callable[[socket.socket], NoReturn], watchdog: Watchdog | None
    ) -> None:
        self._orders = orders
        self._serve_cells = serve_cells
        self._watchdog = watchdog
        self._worker: int | None = None
        self._number = -1
        self._spawned: dict[int, int] = {}

    def run(self) -> NoReturn:
        """Obey orders until the host's end closes."""
        wake = self._wake_on_children()
        selector = selectors.DefaultSelector()
        selector.register(wake, selectors.EVENT_READ)
        selector.register(self._orders, selectors.EVENT_READ)
        with contextlib.suppress(OSError):  # the host is gone
            while True:
                self._watch()
                for key, _ in selector.select(self._watchdog.wait_s if self._watchdog else None):
                    if key.fd == wake:
                        os.read(wake, 4096)
                        self._reap()
                    elif (received := wire.receive(self._orders)) is not None:
                        self.obey(*received)
                    else:
                        os._exit(0)
        os._exit(1)

    def _wake_on_children(self) -> int:
        """A descriptor that becomes readable when a child has ended."""
        wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return wake

    def obey(self, order: wire.Frame, descriptors: Sequence[int]) -> None:
        """Carry out one order; its descriptors are closed here."""
        try:
            match order["op"]:
                case "worker":
                    self._replace_worker(order["number"], descriptors)
                case "interrupt":
                    if self._worker is not None:
                        _signal_group(self._worker, signal.SIGINT)
                    wire.send(self._orders, {"event": "interrupted"})
                case "spawn":
                    self._spawn(order, descriptors)
                case "kill":
                    for pid in [pid for pid, number in self._spawned.items() if number == order["id"]]:
                        _signal_group(pid, signal.SIGKILL)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _replace_worker(self, number: int, descriptors: Sequence[int]) -> None:
        self._end_all()
        pid = os.fork()
        if pid == 0:
            cell = _become_child(descriptors[1:], keep=descriptors[0])
            confine.set_dumpable(True)
            confine.killed_early(confine.WORKERS_OOM_SCORE)
            try:
                self._serve_cells(socket.socket(fileno=cell))
            finally:  # out of memory, say: nothing of process 1's may run here
                os._exit(1)
        _lead_group(pid)
        self._worker, self._number = pid, number

    def _end_all(self) -> None:
        """Kill every other process of the namespace and wait until all are gone."""
        self._worker = None
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        while True:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            self._tell_exit(pid, status)

    def _watch(self) -> None:
        """End everything that runs where it holds too much memory."""
        if self._watchdog is not None and self._watchdog.is_beyond():
            self._end_all()
            wire.send(
                self._orders, {"event": "worker", "number": self._number, "status": signal.SIGKILL, "memory": True}
            )

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._worker:
                self._end_all()
                wire.send(self._orders, {"event": "worker", "number": self._number, "status": status})
            else:
                self._tell_exit(pid, status)

    def _tell_exit(self, pid: int, status: int) -> None:
        """Tell of an ended process that was asked for; others were orphans of a cell's processes."""
        if (number := self._spawned.pop(pid, None)) is not None:
            wire.send(self._orders, {"event": "exit", "id": number, "status": status})

    def _spawn(self, order: wire.Frame, descriptors: Sequence[int]) -> None:
        number = order["id"]
        try:
            pid = os.fork()
        except OSError as error:  # the limit on processes
            wire.send(self._orders, {"event": "failed", "id": number, "errno": error.errno, "path": None})
            return
        if pid != 0:
            _lead_group(pid)
            self._spawned[pid] = number
            return
        try:  # a command that starts closes the orders socket, so no program of the model's ever holds it
            orders = socket.socket(fileno=_become_child(descriptors, keep=self._orders.fileno()))
            ACTIONS[order["kind"]](order)
        except (OSError, ValueError) as error:
            failure, path = (error.errno, error.filename) if isinstance(error, OSError) else (errno.EINVAL, None)
            cwd = order.get("cwd")
            told = {"errno": failure, "path": cwd if path == cwd else None}
            wire.send(orders, {"event": "failed", "id": number, **told})
        os._exit(0)


def _become_child(streams: Sequence[int], keep: int) -> int:
    """Lead a new process group with `streams` as the last of 0, 1, 2 (a missing stdin is /dev/null); close the rest.

    `keep` stays open until a program is executed; its new number is returned. No new session: Linux shares processors
    out by session, and all kernels together are to weigh no more than the host that serves them.
    """
    _lead_group(0)
    with contextlib.suppress(OSError):  # a cell that wakes takes no processor from the host, nor from process 1
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    kept = fcntl.fcntl(keep, fcntl.F_DUPFD_CLOEXEC, HIGH)
    sources = list(streams) if len(streams) == 3 else [os.open("/dev/null", os.O_RDONLY), *streams]
    for target, source in enumerate(sources):
        os.dup2(source, target)
    confine.close_all_but([kept])
    os.chdir(confine.HOME)
    return kept


def _lead_group(pid: int) -> None:
    """Make a child the leader of a process group; both sides do, so that no signal to the group comes too early."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or it has executed its program
        os.setpgid(pid, pid)


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _execute(order: wire.Frame) -> NoReturn:
    """Become the command `argv`, in `cwd` (relative to the home directory), with `env` added to the environment."""
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    os.execvpe(order["argv"][0], order["argv"], os.environ)


def _read(order: wire.Frame) -> None:
    """Copy the file `path` to stdout, at most `limit` bytes and one."""
    with open(order["path"], "rb", buffering=0, opener=_without_waiting) as file:
        left = order["limit"] + 1
        while left > 0 and (chunk := file.read(min(left, 1 << 20))):
            left -= len(chunk)
            _write_all(1, chunk)


def _write(order: wire.Frame) -> None:
    """Make the file `path` of what comes on stdin; its parent directories are made where they are missing."""
    path = Path(order["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb", buffering=0, opener=_without_waiting) as file:
        while chunk := os.read(0, 1 << 20):
            _write_all(file.fileno(), chunk)


def _without_waiting(path: str, flags: int) -> int:
    """Open, also a named pipe of a cell's, whose other end may never come."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


ACTIONS: dict[str, Callable[[wire.Frame], None]] = {"exec": _execute, "read": _read, "write": _write}
