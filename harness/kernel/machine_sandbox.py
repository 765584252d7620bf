"""A kernel with its machine as an Inspect sandbox: what `dabstep-bwrap`, `dabstep-docker` and `dabstep-e2b` share.

    Task(dataset=[Sample(..., sandbox=("dabstep-bwrap", KernelConfig.of({"payments.csv": path})))], ...)
    kernel = sandbox().as_type(KernelSandbox).kernel

Each sample gets a kernel with the files of its `KernelConfig`; `exec`, `read_file` and `write_file` work beside it, so
any Inspect task may use it. Only the default user exists, and there is no way to log in from outside. A provider is a
subclass that says how its kernels are made (`new_kernel`) and whether they can be had (`check`).
"""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Literal, overload

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxEnvironment,
    SandboxEnvironmentConfigType,
    SandboxEnvironmentLimits,
    SandboxUserUnsupportedError,
)

from harness.kernel.protocol import HOME, KernelUnavailable, Machine, OutputTooLong
from harness.kernel.sandbox import KernelConfig, KernelSandbox

USERS = (None, "user", "1000")
NOT_FOUND, NOT_STARTED = 127, 126


class MachineSandbox(KernelSandbox):
    """An Inspect sandbox environment that holds one kernel with its machine."""

    provider: ClassVar[str]
    kernel: Machine

    def __init__(self, kernel: Machine) -> None:
        super().__init__()
        self.kernel = kernel

    @classmethod
    @abstractmethod
    def new_kernel(cls) -> Machine:
        """A kernel of this provider, not yet started."""

    @classmethod
    @abstractmethod
    async def check(cls) -> None:
        """Make ready what all kernels need. Raises KernelUnavailable where they cannot be had."""

    @classmethod
    async def task_init(cls, task_name: str, config: SandboxEnvironmentConfigType | None) -> None:
        """A machine without isolation is told of before any model is called."""
        try:
            await cls.check()
        except KernelUnavailable as error:
            raise PrerequisiteError(str(error)) from None

    @classmethod
    async def sample_init(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """A sample's kernel, started with the files of its configuration."""
        if config is None:
            config = KernelConfig()
        if not isinstance(config, KernelConfig):
            raise PrerequisiteError(
                f"The sandbox {cls.provider} is configured by a KernelConfig, not by {config!r}. "
                f"Give sandbox=('{cls.provider}', KernelConfig.of({{name: path}}))."
            )
        kernel = cls.new_kernel()
        await kernel.start({name: Path(path) for name, path in config.files}, config.kernel_limits())
        return {"default": cls(kernel)}

    @classmethod
    async def task_cleanup(cls, task_name: str, config: SandboxEnvironmentConfigType | None, cleanup: bool) -> None:
        """Nothing: kernels end with their samples, and with this process."""

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Run a command beside the kernel, as Inspect defines it; it is not retried."""
        if user not in USERS:
            raise SandboxUserUnsupportedError(f"A kernel has one user, 'user' (1000); {user!r} cannot be had.")
        stdin = input.encode() if isinstance(input, str) else input
        limit = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
        try:
            completed = await self.kernel.exec(cmd, stdin, cwd or HOME, env, timeout, limit)
        except OutputTooLong as error:
            shown = error.output.decode(errors="replace")
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, shown) from None
        except (TimeoutError, PermissionError, ConnectionError):
            raise
        except OSError as error:
            status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_STARTED
            return ExecResult(success=False, returncode=status, stdout="", stderr=f"{cmd[0]}: {error.strerror}\n")
        status = completed.returncode if completed.returncode >= 0 else 128 - completed.returncode
        stdout, stderr = (output.decode(errors="replace") for output in (completed.stdout, completed.stderr))
        return ExecResult(success=status == os.EX_OK, returncode=status, stdout=stdout, stderr=stderr)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Write a file from inside the sandbox."""
        await self.kernel.write_file(file, contents.encode() if isinstance(contents, str) else contents)

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        """Read a file from inside the sandbox."""
        try:
            data = await self.kernel.read_file(file, SandboxEnvironmentLimits.MAX_READ_FILE_SIZE)
        except OutputTooLong:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None) from None
        return data.decode() if text else data
