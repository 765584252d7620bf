"""A process that ends when the one that started it does, however that ends: nothing is left running after a kill.

Linux's parent-death signal is not inherited, so each process of a chain asks for it by itself: a program that starts
children sets `DABSTEP_LIFELINE=1` in their environment, and scripts of ours that may be started by a launcher call
`hold()`. Elsewhere than on Linux it does nothing.

A program that is not ours and starts children of its own is run by this file as a script, which holds the other end of
a pipe: `command_held(COMMAND)` with `stdin=PIPE`. When the pipe closes, because it is closed or its owner was killed,
the whole process group of COMMAND is asked to end, and GRACE_S later made to.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

VARIABLE = "DABSTEP_LIFELINE"
PR_SET_PDEATHSIG = 1
GRACE_S = 10.0
"""How long a held program may take to end by itself, in seconds."""


def end_with_parent() -> None:
    """Ask the kernel to end this process when the thread that started it ends."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def hold() -> None:
    """The same, where the environment asks for it; exits at once when the parent is gone already."""
    if os.environ.get(VARIABLE):
        end_with_parent()
        if os.getppid() == 1:
            raise SystemExit(1)


def command_held(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` until its standard input, a pipe, closes. Its exit status is passed on."""
    return [sys.executable, "-I", __file__, *command]


def _run_held(command: Sequence[str]) -> int:
    program = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=end_with_parent, close_fds=True
    )
    ended = threading.Event()

    def until_let_go() -> None:
        while os.read(0, 1):
            pass
        _signal_group(program.pid, signal.SIGTERM)
        if not ended.wait(GRACE_S):
            _signal_group(program.pid, signal.SIGKILL)

    threading.Thread(target=until_let_go, daemon=True).start()
    status = program.wait()
    ended.set()
    _signal_group(program.pid, signal.SIGKILL)  # what it started and left behind
    return status if status >= 0 else 128 - status


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(_run_held(sys.argv[1:]))
