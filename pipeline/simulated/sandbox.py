"""The simulated interpreter as an Inspect sandbox: `-T sandbox=simulated`, set up by the stage trace.

The agent, its loop and its tools are those of every evaluation; only the kernel behind `sandbox()` is another. There is
no machine here: commands and files cannot be had.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.util import ExecResult, SandboxEnvironment, SandboxEnvironmentConfigType, sandboxenv

from harness.calls.client import Caller
from harness.calls.endpoint import EndpointError
from harness.calls.ledger import Ledger
from harness.kernel.protocol import Limits
from harness.kernel.sandbox import KernelConfig, KernelSandbox
from pipeline.asking.models import model_of, open_ledger
from pipeline.runs.config import ConfigError
from pipeline.simulated.kernel import SimulatedKernel
from pipeline.simulated.setup import SANDBOX, read_simulation


@sandboxenv(name=SANDBOX)
class SimulatedSandbox(KernelSandbox):
    """An Inspect sandbox environment that holds one simulated kernel, with a caller and a ledger of its own."""

    kernel: SimulatedKernel

    def __init__(self, kernel: SimulatedKernel, caller: Caller, ledger: Ledger) -> None:
        super().__init__()
        self.kernel, self.caller, self.ledger = kernel, caller, ledger

    @classmethod
    async def task_init(cls, task_name: str, config: SandboxEnvironmentConfigType | None) -> None:
        """Refuse, before any model is called, where nothing says who plays the interpreter."""
        try:
            simulation = read_simulation()
            model_of(simulation.context, simulation.endpoint).endpoint.key()
        except (ConfigError, EndpointError) as error:
            raise PrerequisiteError(str(error)) from None

    @classmethod
    async def sample_init(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """A sample's kernel, which knows the notebook that its question was asked of."""
        simulation = read_simulation()
        given = config if isinstance(config, KernelConfig) else KernelConfig()
        ledger = open_ledger(simulation.context)
        model = model_of(simulation.context, simulation.endpoint)
        caller = await model.caller(ledger, simulation.context.name).__aenter__()
        kernel = SimulatedKernel(caller, simulation.notebook(metadata["question"]))
        await kernel.start({name: Path(path) for name, path in given.files}, Limits())
        return {"default": cls(kernel, caller, ledger)}

    async def close(self) -> None:
        """Close the sample's connections."""
        await self.caller.__aexit__()
        self.ledger.close()

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
        """No command can be run."""
        return ExecResult(success=False, returncode=127, stdout="", stderr=f"{cmd[0]}: this interpreter is simulated\n")

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Raises PermissionError: there is no disk."""
        raise PermissionError(f"{file}: this interpreter is simulated and keeps no files.")

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        """Raises FileNotFoundError: there is no disk."""
        raise FileNotFoundError(2, "this interpreter is simulated and keeps no files", file)
