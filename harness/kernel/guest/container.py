"""Process 1 of a container: the same kernel as elsewhere, whose descriptors come over stdin and stdout.

The image runs it (`harness/kernel/image/Dockerfile`). The first frame of the relay is {"op": "begin", "files",
"memory_mb", "disk_mb"} with the first worker's descriptors; from then on it obeys orders as `init.py` does. Namespaces,
user, capabilities, memory and the number of processes are the container's business; limits of a process and the filter
of system calls are set here. It ends, and the container with it, when its stdin closes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from harness.kernel.guest import confine, seccomp, wire, worker
from harness.kernel.guest.init import Init
from harness.kernel.guest.relay import READ, Group, Relay
from harness.kernel.guest.zygote import warm_up

SCRATCH = f"{confine.HOME}/.tmp"  # where the image's /tmp leads: one quota for all that is written
HIGH = 700


class ContainerInit(Init):
    """Process 1, with a relay instead of a socket of the host's."""

    def __init__(self, incoming: int, outgoing: int, shell: worker.CellShell) -> None:
        events, self._events = socket.socketpair()
        super().__init__(events, lambda cells: worker.serve(shell, cells), None)
        self._relay = Relay(incoming, outgoing, self._on_frame, longest=1 << 26)
        self._relay.selector.register(self._events, READ, self._pass_on_event)

    def run(self) -> NoReturn:
        """Obey orders until stdin closes."""
        wake = self._wake_on_children()
        self._relay.selector.register(wake, READ, lambda _: self._woken(wake))
        with contextlib.suppress(OSError):
            while not self._relay.is_over:
                self._relay.step(None)
        os._exit(0)

    def _woken(self, wake: int) -> None:
        os.read(wake, 4096)
        self._reap()

    def _pass_on_event(self, _: int) -> None:
        self._relay.pass_on_output()
        if (received := wire.receive(self._events)) is not None:
            self._relay.send_frame(received[0], [])

    def _on_frame(self, frame: wire.Frame, ends: list[Any]) -> None:
        group = Group()
        descriptors = []
        for number, host_reads, host_writes in ends:
            ours, theirs = _pair(host_reads, host_writes)
            descriptors.append(theirs)
            self._relay.open(number, ours, is_source=host_writes, is_sink=host_reads, group=group)
        if frame["op"] == "begin":
            self._begin(frame)
            frame = {"op": "worker", "number": 0}
        self.obey(frame, descriptors)

    def _begin(self, frame: wire.Frame) -> None:
        try:
            confine.drop_within(frame["memory_mb"], frame["disk_mb"], seccomp.program(platform.machine()))
            if hidden := confine.unreadable(frame["files"]):
                wire.send(self._orders, {"event": "refused", "unreadable": hidden})
            else:
                wire.send(self._orders, {"event": "up"})
        except OSError as error:
            wire.send(self._orders, {"event": "refused", "reason": str(error)})


def _pair(host_reads: bool, host_writes: bool) -> tuple[int, int]:
    """A pipe or a socket in place of the host's: the relay's end, and the one to pass on.

    `host_reads` is whether the host's own descriptor is read by its relay, so that bytes come from there.
    """
    if host_reads and host_writes:
        ours, theirs = socket.socketpair()
        return ours.detach(), theirs.detach()
    reader, writer = os.pipe()
    return (writer, reader) if host_reads else (reader, writer)


def main() -> NoReturn:
    """Warm up and serve."""
    incoming, outgoing = (_high(descriptor) for descriptor in (0, 1))
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    os.dup2(2, 1)  # whatever an import prints must not get among the relay's bytes
    os.umask(0o022)
    for folder in (SCRATCH, confine.INPUT):
        Path(folder).mkdir(exist_ok=True)
    with contextlib.suppress(OSError):  # it is the engine's, made for the files, and no cell can change it
        os.chmod(confine.INPUT, 0o555)
    shell = warm_up(SCRATCH)
    ours = str(Path(__file__).parents[3])
    worker.furnish(lambda path: os.path.exists(path) and path != ours)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    ContainerInit(incoming, outgoing, shell).run()


def _high(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH)


if __name__ == "__main__":
    sys.exit(main())
