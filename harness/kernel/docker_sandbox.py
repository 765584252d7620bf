"""The Docker kernel as an Inspect sandbox: `--sandbox dabstep-docker`. What it does is told in `machine_sandbox.py`.

Inspect has a provider `docker` of its own, for commands in a container of one's own; this one has a kernel in it.
"""

from __future__ import annotations

from typing import ClassVar

from inspect_ai.util import sandboxenv

from harness.kernel.docker import ContainerNamespace, DockerKernel
from harness.kernel.machine_sandbox import MachineSandbox


@sandboxenv(name="dabstep-docker")
class DockerSandbox(MachineSandbox):
    """An Inspect sandbox environment that holds one Docker kernel."""

    provider: ClassVar[str] = "dabstep-docker"

    @classmethod
    def new_kernel(cls) -> DockerKernel:
        """A Docker kernel, not yet started."""
        return DockerKernel()

    @classmethod
    async def check(cls) -> None:
        """Ask for the engine and the image."""
        await ContainerNamespace.ready()
