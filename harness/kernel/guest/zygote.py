"""The warm process that every kernel is forked from: IPython, numpy and pandas imported, a shell ready.

Started by `harness/kernel/zygote.py` under bubblewrap with the number of a connected socket as its argument. It tells
{"event": "ready"}, then serves requests {"files", "disk_mb", "memory_mb", "processes", "watch_mb"} that carry these
descriptors: the new kernel's orders socket, its cell socket, stdout, stderr, and the list of processes of the control
group that bounds their memory, unless "watch_mb" says that a watchdog is to do that. The kernel answers on its own
orders socket, not here: {"event": "up"} with a pidfd of its process 1, or {"event": "refused"} with a "reason" or the
names of "unreadable" files. The zygote runs no code of the model's, holds nothing of value in memory, and ends when its
socket closes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import platform
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from typing import NoReturn

from harness.kernel.guest import confine, seccomp, wire, worker
from harness.kernel.guest.init import Init
from harness.kernel.guest.watchdog import Watchdog

WARM_MODULES = ("numpy", "pandas")


def main() -> NoReturn:
    """Warm up and serve until the host's end closes."""
    host = socket.socket(fileno=int(sys.argv[1]))
    host.set_inheritable(False)
    os.umask(0o022)  # kernels run as another user and must see what is made here
    os.environ.pop("PWD", None)  # bubblewrap's
    shell = warm_up()
    filter_ = seccomp.program(platform.machine())
    runtime = confine.runtime_paths()
    own = confine.Own.of(runtime)
    confine.build_template(runtime)
    worker.furnish(lambda path: confine.is_shown(path, runtime))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children need no waiting for
    own_processes = os.open("/proc/self/ns/pid", os.O_RDONLY)
    wire.send(host, {"event": "ready"})
    while (received := wire.receive(host)) is not None:
        request, descriptors = received
        pid = -1
        try:
            pid = confine.fork_first(own_processes)
        except OSError as error:
            refuse(socket.socket(fileno=os.dup(descriptors[0])), str(error))
        if pid == 0:
            become_kernel(shell, own, filter_, request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
    os._exit(0)


def refuse(orders: socket.socket, reason: str) -> None:
    """Tell the host why there will be no kernel, if it still waits."""
    with orders, contextlib.suppress(OSError):
        wire.send(orders, {"event": "refused", "reason": reason})


def warm_up(scratch: str = confine.STAGING) -> worker.CellShell:
    """Import what most cells need and go once through the code that a first cell would find cold.

    `scratch` is a folder that is writable now, and not the one that kernels use.
    """
    for name in WARM_MODULES:
        importlib.import_module(name)
    pandas = sys.modules["pandas"]
    frame = pandas.read_csv(io.StringIO("a,b\n1,x\n2,y\n"))
    repr(frame.groupby("b")["a"].sum())
    tempfile.tempdir = scratch
    shell = worker.make_shell()
    shell.run_cell("1 + 1", store_history=True)  # type: ignore[no-untyped-call]
    shell.reset(new_session=True)  # type: ignore[no-untyped-call]
    shell.execution_count = 1
    tempfile.tempdir = None
    gc.collect()
    gc.freeze()
    return shell


def become_kernel(
    shell: worker.CellShell, own: confine.Own, filter_: bytes, request: wire.Frame, descriptors: Sequence[int]
) -> NoReturn:
    """Turn this fork of the zygote into a kernel's process 1, or tell why that failed."""
    orders, *first_worker = descriptors
    group = first_worker.pop() if request["watch_mb"] is None else None
    confine.close_all_but(descriptors)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sock = socket.socket(fileno=orders)
    try:
        if group is not None:
            confine.enter_group(group)
        confine.leave_namespaces()
        confine.enter_root(own, request["files"], request["disk_mb"])
        confine.drop(request["memory_mb"], request["processes"], request["disk_mb"], filter_)
        if hidden := confine.unreadable([name for name, _ in request["files"]]):
            wire.send(sock, {"event": "refused", "unreadable": hidden})
            os._exit(1)
        pidfd = os.pidfd_open(os.getpid())
        wire.send(sock, {"event": "up"}, [pidfd])
        os.close(pidfd)
    except OSError as error:
        refuse(sock, str(error))
        os._exit(1)
    watchdog = Watchdog(request["watch_mb"] << 20) if group is None else None
    init = Init(sock, lambda cells: worker.serve(shell, cells), watchdog)
    init.obey({"op": "worker", "number": 0}, first_worker)
    init.run()
