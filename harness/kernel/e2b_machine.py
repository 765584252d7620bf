"""Commands and files in an E2B sandbox, with the errors and the bounds of every other machine.

E2B's file API acts as root and its commands are lines of a shell, so both go through `guest/beside.py`, which is sent
along: it runs a command, and opens a file, as the sandbox's user.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.kernel.e2b_service import patiently
from harness.kernel.protocol import INPUT, Completed, KernelUnavailable, OutputTooLong

if TYPE_CHECKING:
    from e2b_code_interpreter import AsyncSandbox

LONGEST_ARGUMENT = 100_000  # Linux takes 128 KiB as one argument
MARGIN_S = 15.0
FOREVER_S = 86_400.0
# The input folder becomes root's, and then a read-only mount of itself.
SETTLE = (
    f"mkdir -p {INPUT} && chown -R root:root {INPUT} && chmod -R a+rX,go-w {INPUT} && "
    f"mount --bind {INPUT} {INPUT} && mount -o remount,bind,ro {INPUT}"
)


async def show_files(sandbox: AsyncSandbox, files: Mapping[str, Path]) -> None:
    """Send the question's files, and make them read-only.

    Raises OSError for one that cannot be read here, KernelUnavailable where they cannot be made read-only.
    """
    from e2b import CommandExitException

    for name, path in files.items():
        for part in sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]:
            inside = name if part == path else f"{name}/{part.relative_to(path).as_posix()}"
            await patiently(lambda part=part, inside=inside: _send(sandbox, part, f"{INPUT}/{inside}"))  # type: ignore[misc]
    try:
        await patiently(lambda: sandbox.commands.run(SETTLE, user="root"))
    except CommandExitException as error:
        raise KernelUnavailable(f"E2B's sandbox could not make {INPUT} read-only: {error.stderr.strip()}") from None


async def _send(sandbox: AsyncSandbox, path: Path, target: str) -> None:
    with path.open("rb") as file:
        await sandbox.files.write(target, file, user="root")


async def run_command(
    sandbox: AsyncSandbox,
    argv: Sequence[str],
    stdin: bytes | None,
    cwd: str,
    env: Mapping[str, str],
    timeout: float | None,
    limit: int,
) -> Completed:
    """As `Machine.exec`."""
    async with _sent(sandbox, stdin) as sent:
        order = {
            "do": "exec",
            "argv": list(argv),
            "cwd": cwd,
            "env": dict(env),
            "stdin": sent,
            "timeout": timeout,
        }
        return await _carry_out(sandbox, order, timeout, limit)


async def read_file(sandbox: AsyncSandbox, path: str, limit: int, timeout: float) -> bytes:
    """As `Machine.read_file`."""
    copy = f"/tmp/.dabstep-{secrets.token_hex(8)}"
    try:
        await _carry_out(sandbox, {"do": "read", "path": path, "to": copy, "limit": limit}, timeout, 0)
        data = bytes(await patiently(lambda: sandbox.files.read(copy, format="bytes")))
    finally:
        await _remove(sandbox, copy)
    if len(data) > limit:
        raise OutputTooLong(data[:limit], limit)
    return data


async def write_file(sandbox: AsyncSandbox, path: str, data: bytes, timeout: float) -> None:
    """As `Machine.write_file`."""
    async with _sent(sandbox, data) as sent:
        await _carry_out(sandbox, {"do": "write", "path": path, "from": sent}, timeout, 0)


@asynccontextmanager
async def _sent(sandbox: AsyncSandbox, data: bytes | None) -> AsyncIterator[str | None]:
    """A file in the sandbox that holds `data` for a while; None for none."""
    if data is None:
        yield None
        return
    path = f"/tmp/.dabstep-{secrets.token_hex(8)}"
    try:
        await patiently(lambda: sandbox.files.write(path, data))
        yield path
    finally:
        await _remove(sandbox, path)


async def _remove(sandbox: AsyncSandbox, path: str) -> None:
    with contextlib.suppress(Exception):  # it lies in /tmp of a sandbox that will not live long
        await sandbox.files.remove(path)


async def _carry_out(sandbox: AsyncSandbox, order: dict[str, Any], timeout: float | None, limit: int) -> Completed:
    """Have `guest/beside.py` carry out an order. Raises OSError, TimeoutError, OutputTooLong."""
    mark = f"dabstep-{secrets.token_hex(8)}:"
    program = (resources.files("harness.kernel.guest") / "beside.py").read_text(encoding="utf-8")
    text = json.dumps({**order, "mark": mark})
    async with _sent(sandbox, text.encode() if len(text) > LONGEST_ARGUMENT else None) as sent:
        line = shlex.join(["python3", "-I", "-S", "-c", program, sent or text])
        given = await patiently(lambda: _listen(sandbox, line, timeout, limit + 4096))
    stdout, stderr = given.stdout, given.stderr
    shown, _, told = stderr.rpartition(f"\n{mark}".encode())
    try:
        outcome = json.loads(told)
    except ValueError:
        raise OSError(errno.EIO, f"the sandbox's python3 could not carry it out: {stderr[-500:]!r}") from None
    if "errno" in outcome:
        raise OSError(outcome["errno"], os.strerror(outcome["errno"]), outcome["path"])
    if "timeout" in outcome:
        raise TimeoutError
    for output in (stdout, shown):
        if len(output) > limit and order["do"] == "exec":
            raise OutputTooLong(output[:limit], limit)
    return Completed(outcome["status"], stdout, shown)


async def _listen(sandbox: AsyncSandbox, command: str, timeout: float | None, limit: int) -> Completed:
    """Run a shell's line and collect its output as far as the limit. Raises OutputTooLong, TimeoutError, OSError."""
    from e2b import CommandExitException, SandboxException, TimeoutException

    collected = (bytearray(), bytearray())
    too_long: list[bytes] = []

    def keep(into: bytearray, text: str) -> None:
        into += text.encode()
        if len(into) > limit and not too_long:
            too_long.append(bytes(into[:limit]))
            raise OverflowError

    handle = await sandbox.commands.run(
        command,
        background=True,
        on_stdout=lambda text: keep(collected[0], text),
        on_stderr=lambda text: keep(collected[1], text),
        timeout=FOREVER_S if timeout is None else timeout + MARGIN_S,
        retain_output=False,
    )
    try:
        status = (await handle.wait()).exit_code
    except CommandExitException as ended:
        status = ended.exit_code
    except OverflowError:
        await handle.kill()
        raise OutputTooLong(too_long[0][: limit - 4096], limit - 4096) from None
    except TimeoutException as error:
        if not await sandbox.is_running():
            raise ConnectionResetError(f"the sandbox has ended: {error}") from None
        raise TimeoutError from None
    except SandboxException as error:
        raise OSError(errno.EIO, f"E2B could not run the command: {error}") from None
    except BaseException:  # cancelled: nobody waits for it
        with contextlib.suppress(Exception):
            await handle.kill()
        raise
    return Completed(status, bytes(collected[0]), bytes(collected[1]))
