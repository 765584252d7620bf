"""The kernel in E2B's cloud: a virtual machine for each, by the real SDK's `run_code`.

    kernel = await E2BKernel.create({"payments.csv": Path("data/payments.csv")})    # E2B_API_KEY in the environment
    result = await kernel.run("1 + 1")
    await kernel.close()

It keeps the contract of the other kernels, as far as the service lets it: a cell's time is a deadline of ours, after
which E2B interrupts the cell; whether the state was kept is then looked up. Memory, processes and disk are bounded by
the virtual machine, not by `Limits`. The question's files are sent, not bound. A sandbox that has ended (its lifetime,
E2B's trouble) is reported as died and replaced. It works on asyncio alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Self

from harness.kernel import e2b_cells, e2b_machine
from harness.kernel.e2b_cells import Flood, Outcome, Output, cell_result
from harness.kernel.e2b_service import end_sandbox, open_sandbox, patiently
from harness.kernel.protocol import (
    FILE_BYTES,
    HOME,
    OUTPUT_BYTES,
    CellResult,
    Completed,
    KernelUnavailable,
    Limits,
    checked_files,
)

if TYPE_CHECKING:
    from e2b_code_interpreter import AsyncSandbox

LIFETIME_S = 3600  # the most that a free account may ask for; renewed while cells run
SLACK_S = 60.0
FILE_S = 120.0
BEGIN_S = 60.0
LOST = ("ContextRestarting", "UnexpectedEndOfExecution")  # what E2B calls a kernel that ended under its cell
MARK_KEPT = "get_ipython().dabstep_uncounted()\nget_ipython().dabstep_mark == {mark!r}"


class E2BKernel:
    """A stateful kernel in an E2B sandbox; implements `Machine`. `lifetime_s` is the sandbox's, told at its making."""

    def __init__(self, lifetime_s: int = LIFETIME_S) -> None:
        self._files: dict[str, Path] = {}
        self._limits = Limits()
        self._lifetime_s = lifetime_s
        self._ends_at = 0.0
        self._sandbox: AsyncSandbox | None = None
        self._mark = ""
        self._turn = asyncio.Lock()
        self._recovery: asyncio.Task[str] | None = None
        self._closed = False

    @classmethod
    async def create(cls, files: Mapping[str, Path] | None = None, limits: Limits | None = None) -> Self:
        """A started kernel; arguments and errors as for `start`."""
        kernel = cls()
        await kernel.start(files or {}, limits or Limits())
        return kernel

    async def start(self, files: Mapping[str, Path], limits: Limits) -> None:
        """Make a sandbox and send `files` (name under `/home/user/input` -> file or directory of the host).

        Raises KernelUnavailable where E2B gives none (no key, a wrong one, its rate limit), FileNotFoundError for a
        missing host file, ValueError for a name that leaves the folder.
        """
        if self._sandbox is not None:
            raise RuntimeError("the kernel has been started already")
        self._files, self._limits = checked_files(files), limits
        await self._open()

    async def run(self, code: str, timeout: float | None = None) -> CellResult:
        """Run one cell, at most `timeout` seconds (default: the limit). Never raises for what the cell does.

        Raises KernelUnavailable where E2B does not answer any more or gives no other sandbox for a lost one.
        """
        code = code.encode("utf-8", "backslashreplace").decode()
        async with self._turn:
            await self._settle()
            self._held()
            limit = self._limits.cell_s if timeout is None else timeout
            output = Output(self._limits.output_chars)
            started = time.monotonic()
            try:
                outcome = await self._attempt(code, limit, output)
            except asyncio.CancelledError:
                self._recovery = asyncio.create_task(self._recover())
                raise
            return cell_result(code, outcome, time.monotonic() - started, output, self._limits.output_chars)

    async def restart(self) -> None:
        """Begin again with an empty state, in the same sandbox; files in the home directory are kept."""
        async with self._turn:
            await self._settle()
            self._held()
            await self._revive()

    async def close(self) -> None:
        """End the sandbox; safe to call twice."""
        self._closed = True
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.wait([self._recovery])
        if self._sandbox is not None:
            await end_sandbox(self._sandbox)

    async def __aenter__(self) -> Self:
        """Itself, for `async with await E2BKernel.create(...) as kernel`."""
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
        """As `Machine.exec`."""
        return await e2b_machine.run_command(self._held(), cmd, input, cwd, env or {}, timeout, limit)

    async def read_file(self, path: str, limit: int = FILE_BYTES) -> bytes:
        """As `Machine.read_file`."""
        return await e2b_machine.read_file(self._held(), path, limit, FILE_S)

    async def write_file(self, path: str, data: bytes) -> None:
        """As `Machine.write_file`."""
        await e2b_machine.write_file(self._held(), path, data, FILE_S)

    def _held(self) -> AsyncSandbox:
        if self._sandbox is None or self._closed:
            raise RuntimeError("the kernel is closed" if self._closed else "the kernel has not been started")
        return self._sandbox

    async def _open(self) -> None:
        """A new sandbox with the files and a kernel that is ready; it is ended where that fails."""
        try:
            async with asyncio.timeout(self._limits.start_s):
                sandbox = await open_sandbox(self._lifetime_s)
                try:
                    self._ends_at = time.monotonic() + self._lifetime_s
                    await e2b_machine.show_files(sandbox, self._files)
                    await self._begin(sandbox)
                except BaseException:
                    await end_sandbox(sandbox)
                    raise
        except TimeoutError:
            raise KernelUnavailable(
                f"An E2B sandbox was not ready after {self._limits.start_s:g} s. Give it longer: Limits(start_s=...)."
            ) from None
        self._sandbox = sandbox

    async def _begin(self, sandbox: AsyncSandbox) -> None:
        """Make the kernel show what the others show. E2B takes the quotes off a text that is a cell's value."""
        self._mark = secrets.token_hex(8)
        text = (resources.files(__package__) / "e2b_begin.txt").read_text(encoding="utf-8")
        for whole in (True, False):
            code = text.replace("@MARK@", repr(self._mark)).replace("@WHOLE@", repr(whole))
            begun = await patiently(lambda code=code: sandbox.run_code(code, timeout=BEGIN_S))  # type: ignore[misc]
            if begun.error is not None:
                raise KernelUnavailable(f"E2B's kernel did not begin: {begun.error.name}: {begun.error.value}")
            if begun.text == "'whole'":
                return
        raise KernelUnavailable(f"E2B's kernel shows 'whole' as {begun.text!r}, which is not understood.")

    async def _attempt(self, code: str, limit: float, output: Output) -> Outcome:
        from e2b import SandboxException, TimeoutException
        from httpx import TransportError

        sandbox = self._held()
        try:
            await self._renew(sandbox, limit)
            execution = await patiently(
                lambda: sandbox.run_code(
                    code,
                    timeout=limit,
                    on_stdout=lambda message: output.feed(output.stdout, message.line),
                    on_stderr=lambda message: output.feed(output.stderr, message.line),
                    on_result=output.shown,
                )
            )
        except Flood:
            return await self._interrupted(f"{e2b_cells.FLOOD_CHARS >> 20} MiB of output, its bound")
        except TimeoutException:
            if await self._is_running(sandbox):
                return await self._interrupted(f"{limit:g} s, its time limit")
            return await self._died("died with its sandbox, which E2B has ended")
        except (SandboxException, TransportError, ValueError) as error:  # a broken stream leaves half a line
            if not await self._is_running(sandbox):
                return await self._died("died with its sandbox, which E2B has ended")
            return await self._died(f"was lost when the connection to it broke ({type(error).__name__})")
        if execution.error is not None and execution.error.name in LOST:
            return await self._died("process ended")
        return Outcome("error" if execution.error else "ok", execution)

    async def _renew(self, sandbox: AsyncSandbox, limit: float) -> None:
        """See to it that the sandbox lives longer than the next cell may run."""
        if self._ends_at - time.monotonic() < min(limit + SLACK_S, self._lifetime_s / 2):
            await sandbox.set_timeout(self._lifetime_s)
            self._ends_at = time.monotonic() + self._lifetime_s

    async def _interrupted(self, when: str) -> Outcome:
        """What a cell has left that E2B interrupted when we stopped listening."""
        if await self._has_state(self._held()):
            return Outcome("timeout", note=f"The cell was interrupted after {when}. Variables are kept.")
        return await self._died(f"did not stop when it was interrupted after {when}, and was killed")

    async def _died(self, reason: str) -> Outcome:
        self._recovery = asyncio.create_task(self._revive())
        files = await asyncio.shield(self._recovery)
        return Outcome("died", note=f"The kernel {reason}. It has been restarted: all variables are gone, {files}.")

    async def _is_running(self, sandbox: AsyncSandbox) -> bool:
        with contextlib.suppress(Exception):
            return bool(await sandbox.is_running())
        return False

    async def _has_state(self, sandbox: AsyncSandbox) -> bool:
        """Whether the kernel that this one began still answers."""
        with contextlib.suppress(Exception):
            asked = MARK_KEPT.format(mark=self._mark)
            return bool((await sandbox.run_code(asked, timeout=self._limits.grace_s)).text == "True")
        return False

    async def _revive(self) -> str:
        """A new kernel, in a new sandbox where the old one has ended; what became of the files that cells wrote."""
        sandbox = self._held()
        with contextlib.suppress(Exception):
            contexts = await sandbox.list_code_contexts()
            [python] = [context for context in contexts if context.language == "python"]
            await sandbox.restart_code_context(python)
            await self._begin(sandbox)
            return f"files in {HOME} are kept"
        await end_sandbox(sandbox)
        await self._open()
        return "and so are the files that it wrote"

    async def _recover(self) -> str:
        """After a cell that nobody waits for any more."""
        return "" if await self._has_state(self._held()) else await self._revive()

    async def _settle(self) -> None:
        if self._recovery is not None:
            await asyncio.shield(self._recovery)
            self._recovery = None
