"""What every kernel sandbox of ours shows to Inspect: an environment that carries a `Kernel`.

A tool reaches the sample's kernel by `sandbox().as_type(KernelSandbox).kernel`, whichever backend was chosen.
`KernelConfig` is the sandbox's configuration in a task: which files of the host appear under `/home/user/input`.
Kernels with a machine around them share `machine_sandbox.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from inspect_ai.util import SandboxEnvironment, SandboxEnvironmentConfigType
from pydantic import BaseModel, ConfigDict

from harness.kernel.protocol import Kernel, Limits


class KernelConfig(BaseModel):
    """Frozen, because Inspect uses it as a key. `files` are pairs (name under /home/user/input, path on the host).

    `cell_s` is a cell's time where only that is to differ from the usual limits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[tuple[str, str], ...] = ()
    cell_s: float | None = None
    limits: Limits | None = None

    @classmethod
    def of(cls, files: dict[str, Path], cell_s: float | None = None, limits: Limits | None = None) -> KernelConfig:
        """From a mapping of names to host paths."""
        paths = tuple((name, str(path.resolve())) for name, path in files.items())
        return cls(files=paths, cell_s=cell_s, limits=limits)

    def kernel_limits(self) -> Limits:
        """Every limit of the kernel."""
        limits = self.limits or Limits()
        return limits if self.cell_s is None else replace(limits, cell_s=self.cell_s)


class KernelSandbox(SandboxEnvironment):
    """An Inspect sandbox environment that holds one running kernel."""

    kernel: Kernel

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> KernelConfig:
        """A configuration read back from a log."""
        return KernelConfig.model_validate(config)

    @classmethod
    def default_concurrency(cls) -> int | None:
        """No limit of its own: any number makes Inspect poll for every sample."""
        return None

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: SandboxEnvironmentConfigType | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        """End the sample's kernels."""
        for environment in environments.values():
            await environment.as_type(KernelSandbox).close()  # type: ignore[type-abstract]

    async def close(self) -> None:
        """End the kernel and what belongs to it."""
        await self.kernel.close()
