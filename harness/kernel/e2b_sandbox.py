"""The E2B kernel as an Inspect sandbox: `--sandbox dabstep-e2b`. What it does is told in `machine_sandbox.py`.

Inspect finds providers by their bare name; others call theirs `e2b`.
"""

from __future__ import annotations

from typing import ClassVar

from inspect_ai.util import sandboxenv

from harness.kernel import e2b_service
from harness.kernel.e2b import E2BKernel
from harness.kernel.machine_sandbox import MachineSandbox


@sandboxenv(name="dabstep-e2b")
class E2BSandbox(MachineSandbox):
    """An Inspect sandbox environment that holds one E2B kernel."""

    provider: ClassVar[str] = "dabstep-e2b"

    @classmethod
    def new_kernel(cls) -> E2BKernel:
        """An E2B kernel, not yet started."""
        return E2BKernel()

    @classmethod
    async def check(cls) -> None:
        """Ask E2B whether the key is good."""
        await e2b_service.check()
