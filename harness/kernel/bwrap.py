"""The default kernel: IPython in Linux namespaces, without Docker or any service.

    kernel = await BwrapKernel.create({"payments.csv": Path("data/payments.csv")})
    result = await kernel.run("1 + 1")
    await kernel.close()

Every kernel is a fork of one warm zygote (`zygote.py`), so it starts in milliseconds with pandas imported. It has a
root, processes, network (none), memory limits and scratch space of its own; of the host it sees the interpreter and
the question's files, read-only. It needs bubblewrap and unprivileged user namespaces (or root), and refuses with
KernelUnavailable where it cannot isolate. It works on asyncio alone, and a kernel belongs to the event loop that
started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from harness.kernel.cells import OutputText, Reply, Worker
from harness.kernel.namespace import Namespace
from harness.kernel.protocol import (
    FILE_BYTES,
    HOME,
    OUTPUT_BYTES,
    CellResult,
    CellStatus,
    Completed,
    Limits,
    checked_files,
)

FILE_S = 60.0


@dataclass(frozen=True)
class _Outcome:
    """How a cell's conversation went: `reply` None means that the worker is lost, for `reason`."""

    status: CellStatus
    reply: Reply | None = None
    reason: str = ""


class BwrapKernel:
    """A stateful IPython kernel isolated by bubblewrap and namespaces of its own; implements `Kernel`."""

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}
        self._limits = Limits()
        self._namespace: Namespace | None = None
        self._cell = 0
        self._turn = asyncio.Lock()
        self._recovery: asyncio.Task[bool] | None = None
        self._closed = False

    @classmethod
    async def create(cls, files: Mapping[str, Path] | None = None, limits: Limits | None = None) -> Self:
        """A started kernel; arguments and errors as for `start`."""
        kernel = cls()
        await kernel.start(files or {}, limits or Limits())
        return kernel

    async def start(self, files: Mapping[str, Path], limits: Limits) -> None:
        """Start with `files` (name under `/home/user/input` -> file or directory of the host) bound read-only.

        Raises KernelUnavailable where isolation cannot be had, FileNotFoundError for a missing host file,
        PermissionError for one that the kernel's user may not read, ValueError for a name that leaves the folder.
        """
        if self._namespace is not None:
            raise RuntimeError("the kernel has been started already")
        self._files = checked_files(files)
        self._limits = limits
        self._namespace = await self._open()

    async def _open(self) -> Namespace:
        """A sandbox with a worker in it; what another backend has of its own."""
        return await Namespace.open(self._files, self._limits)

    def _outputs(self) -> tuple[OutputText, OutputText]:
        """What a cell's stdout and stderr go into."""
        return OutputText(self._limits.output_chars), OutputText(self._limits.output_chars)

    async def run(self, code: str, timeout: float | None = None) -> CellResult:
        """Run one cell, at most `timeout` seconds (default: the limit). Never raises for what the cell does.

        Raises KernelUnavailable where a lost kernel cannot be had again.
        """
        code = code.encode("utf-8", "backslashreplace").decode()  # lone surrogates fit into no record
        async with self._turn:
            await self._settle()
            worker = self._held().worker
            limit = self._limits.cell_s if timeout is None else timeout
            stdout, stderr = self._outputs()
            started = time.monotonic()
            worker.listen(stdout, stderr)
            try:
                outcome = await self._converse(worker, code, limit)
            except asyncio.CancelledError:
                self._recovery = asyncio.create_task(self._recover(worker))
                raise
            finally:
                worker.stop_listening()
            duration = time.monotonic() - started
            note = await self._aftermath(outcome, limit)
        return _result(code, outcome, note, duration, stdout.finish(), stderr.finish())

    async def restart(self) -> None:
        """End every process inside and begin again with an empty state; files in the home directory are kept."""
        async with self._turn:
            await self._settle()
            await self._revived()

    async def close(self) -> None:
        """End the kernel and everything it started, and wait until it is gone; safe to call twice."""
        self._closed = True
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.wait([self._recovery])
        if self._namespace is not None:
            await self._namespace.close()

    async def __aenter__(self) -> Self:
        """Itself, for `async with await BwrapKernel.create(...) as kernel`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def exec(
        self,
        cmd: Sequence[str],
        input: bytes | None = None,
        cwd: str = HOME,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        limit: int = OUTPUT_BYTES,
    ) -> Completed:
        """Run a command beside the kernel, in its sandbox; `cwd` may be relative to the home directory.

        Raises FileNotFoundError, PermissionError or another OSError for one that cannot be started, TimeoutError
        (its process group is killed), OutputTooLong beyond `limit` bytes a stream.
        """
        return await (await self._living()).exec(cmd, input, cwd, env or {}, timeout, limit)

    async def read_file(self, path: str, limit: int = FILE_BYTES) -> bytes:
        """A file of the sandbox (relative to the home directory), read from inside.

        Raises OSError as `open` does, OutputTooLong beyond `limit` bytes, TimeoutError.
        """
        return await (await self._living()).read(path, limit, FILE_S)

    async def write_file(self, path: str, data: bytes) -> None:
        """Write a file of the sandbox from inside, making its parent directories. Raises OSError as `open` does."""
        await (await self._living()).write(path, data, FILE_S)

    def _held(self) -> Namespace:
        if self._namespace is None or self._closed:
            raise RuntimeError("the kernel is closed" if self._closed else "the kernel has not been started")
        if self._namespace.loop is not asyncio.get_running_loop():
            raise RuntimeError("a kernel belongs to the event loop that started it")
        return self._namespace

    async def _living(self) -> Namespace:
        """The namespaces, new ones where the old have ended (with the zygote, say)."""
        if not self._held().is_alive:
            async with self._turn:
                if not self._held().is_alive:
                    await self._revived()
        return self._held()

    async def _converse(self, worker: Worker, code: str, limit: float) -> _Outcome:
        """Send the cell, wait for its reply, interrupt at the limit, give up after the grace period."""
        self._cell += 1
        try:
            await worker.cells.send({"cell": self._cell, "code": code, "limit": self._limits.output_chars})
        except OSError:
            return await self._lost()
        try:
            return await self._heard(await worker.frame(limit), "ok")
        except TimeoutError:
            await self._held().interrupt()
        try:
            return await self._heard(await worker.frame(self._limits.grace_s), "timeout")
        except TimeoutError:
            return _Outcome("died", reason=f"did not stop when it was interrupted after {limit:g} s and was killed")

    async def _heard(self, frame: dict[str, object] | None, status: CellStatus) -> _Outcome:
        if frame is None:
            return await self._lost()
        try:
            reply = Reply.model_validate(frame)
        except ValidationError:
            reply = None
        if reply is None or reply.cell != self._cell:
            return _Outcome("died", reason="wrote on the channel that it is controlled by and was killed")
        if status == "ok" and reply.error is not None:
            status = "error"
        return _Outcome(status, reply)

    async def _lost(self) -> _Outcome:
        self._held()
        return _Outcome("died", reason=await self._held().how_worker_ended())

    async def _aftermath(self, outcome: _Outcome, limit: float) -> str | None:
        """Restart a lost kernel; what the reader of the result must know."""
        if outcome.status == "timeout":
            return f"The cell was interrupted after {limit:g} s, its time limit. Variables are kept."
        if outcome.status != "died":
            return None
        files_kept = await self._revived()
        files = f"files in {HOME} are kept" if files_kept else "and so are the files that it wrote"
        return f"The kernel {outcome.reason}. It has been restarted: all variables are gone, {files}."

    async def _revived(self) -> bool:
        """`_revive`, which goes on to its end also where nobody waits for it any more."""
        self._recovery = asyncio.create_task(self._revive())
        return await asyncio.shield(self._recovery)

    async def _revive(self) -> bool:
        """A new worker, in new namespaces where the old have ended; whether the home directory was kept."""
        namespace = self._held()
        if namespace.is_alive:
            with contextlib.suppress(OSError, TimeoutError):
                await namespace.start_worker()
                return True
        await namespace.close()
        self._namespace = await self._open()
        return False

    async def _recover(self, worker: Worker) -> bool:
        """Interrupt a cell that nobody waits for any more; restart the kernel where it does not stop."""
        namespace = self._held()
        worker.listen(None, None)
        try:
            await namespace.interrupt()
            stopped = await self._heard(await worker.frame(self._limits.grace_s), "ok")
        except TimeoutError:
            stopped = _Outcome("died")
        except asyncio.CancelledError:  # the loop ends, or the kernel is being closed
            namespace.kill()
            raise
        finally:
            worker.stop_listening()
        return stopped.status != "died" or await self._revive()

    async def _settle(self) -> None:
        """Wait for the recovery of a cancelled or lost cell."""
        if self._recovery is not None:
            await asyncio.shield(self._recovery)
            self._recovery = None


def _result(
    code: str, outcome: _Outcome, note: str | None, duration: float, stdout: tuple[str, int], stderr: tuple[str, int]
) -> CellResult:
    reply = outcome.reply
    return CellResult(
        code=code,
        status=outcome.status,
        stdout=stdout[0],
        stderr=stderr[0],
        result=reply.result if reply else None,
        error=reply.error if reply else None,
        note=note,
        execution_count=reply.execution_count if reply else 0,
        duration_s=round(duration, 6),
        cut_chars=stdout[1] + stderr[1] + (reply.cut if reply else 0),
    )
