"""Runs a command, reads or writes a file, in a sandbox that can only be sent shell commands: `python3 -c THIS ORDER`.

The order is JSON, or a file of it. {"do": "exec", "argv", "cwd", "env", "stdin", "timeout"} runs a command (`stdin`: a
file, or null); {"do": "read", "path", "to", "limit"} copies a file to one that the host may fetch; {"do": "write",
"path", "from"} makes a file of one that the host has sent. Everything happens with the rights of the sandbox's user.
What came of it is the last line of stderr: the order's "mark", then {"status"}, {"errno", "path"} or {"timeout": true}.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from typing import Any

HOME = "/home/user"


def main() -> None:
    """Carry out the order and tell what came of it."""
    given = sys.argv[1]
    if given.startswith("/"):
        with open(given, encoding="utf-8") as file:
            given = file.read()
    order = json.loads(given)
    path = order.get("path") or order["argv"][0]
    try:
        os.chdir(HOME)
        told = {"exec": execute, "read": read, "write": write}[order["do"]](order)
    except OSError as error:
        cwd = order.get("cwd")
        told = {"errno": error.errno or 5, "path": cwd if cwd and error.filename == cwd else path}
    except ValueError:  # a NUL in a name
        told = {"errno": 22, "path": path}
    sys.stdout.flush()
    sys.stderr.write(f"\n{order['mark']}{json.dumps(told)}")


def execute(order: dict[str, Any]) -> dict[str, Any]:
    """Run `argv`; its process group is killed at the time-out."""
    with open(order["stdin"] or os.devnull, "rb") as stdin:
        process = subprocess.Popen(
            order["argv"],
            stdin=stdin,
            cwd=order["cwd"],
            env={**os.environ, **order["env"]},
            start_new_session=True,
            preexec_fn=_end_with_this,
        )
    try:
        return {"status": process.wait(order["timeout"])}
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return {"timeout": True}


def _end_with_this() -> None:
    """End when this process does: the host can only kill that one."""
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))


def read(order: dict[str, Any]) -> dict[str, Any]:
    """Copy at most `limit` bytes and one of a file; a pipe that nobody writes to is empty."""
    with (
        open(order["path"], "rb", 0, opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file,
        open(order["to"], "wb") as copy,
    ):
        left = order["limit"] + 1
        while left > 0 and (chunk := file.read(min(left, 1 << 20))):
            left -= len(chunk)
            copy.write(chunk)
    return {"status": 0}


def write(order: dict[str, Any]) -> dict[str, Any]:
    """Make a file of another's bytes; its parent directories are made where they are missing."""
    os.makedirs(os.path.dirname(os.path.abspath(order["path"])), exist_ok=True)
    with (
        open(order["from"], "rb") as sent,
        open(order["path"], "wb", 0, opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK, 0o666)) as file,
    ):
        while chunk := sent.read(1 << 20):
            view = memoryview(chunk)
            while view:
                view = view[file.write(view) :]
    return {"status": 0}


if __name__ == "__main__":
    main()
