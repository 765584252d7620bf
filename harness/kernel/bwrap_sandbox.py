"""The bwrap kernel as an Inspect sandbox: `--sandbox dabstep-bwrap`. What it does is told in `machine_sandbox.py`."""

from __future__ import annotations

from typing import ClassVar

from inspect_ai.util import sandboxenv

from harness.kernel.bwrap import BwrapKernel
from harness.kernel.machine_sandbox import MachineSandbox
from harness.kernel.protocol import Limits
from harness.kernel.zygote import warm_zygote


@sandboxenv(name="dabstep-bwrap")
class BwrapSandbox(MachineSandbox):
    """An Inspect sandbox environment that holds one bwrap kernel."""

    provider: ClassVar[str] = "dabstep-bwrap"

    @classmethod
    def new_kernel(cls) -> BwrapKernel:
        """A bwrap kernel, not yet started."""
        return BwrapKernel()

    @classmethod
    async def check(cls) -> None:
        """Warm the zygote."""
        await warm_zygote(Limits().start_s)
