"""What `dabstep doctor` looks at. It tries things for real: the kernel finding is a kernel that ran a cell."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util


@dataclass(frozen=True)
class Finding:
    """One thing that is there or not; `needed` when the demo and the tests cannot do without it."""

    what: str
    ok: bool
    detail: str
    needed: bool = False


def findings() -> Iterator[Finding]:
    """Look at one thing after the other."""
    from harness.kernel.cgroup import memory_bound

    yield asyncio.run(_kernel())
    yield Finding("memory of all of a kernel's processes", True, f"bounded by {memory_bound()}")
    for package in ("inspect-ai", "transformers", "trl", "torch"):
        yield _package(package, needed=True)
    yield _gpu()
    yield _package("vllm", needed=False)
    key = "E2B_API_KEY" in os.environ
    yield Finding("E2B", key, "E2B_API_KEY is set" if key else "E2B_API_KEY is not set (only for the e2b sandbox)")


async def _kernel() -> Finding:
    from harness.kernel.bwrap import BwrapKernel
    from harness.kernel.protocol import KernelUnavailable

    try:
        kernel = await BwrapKernel.create(files={})
    except KernelUnavailable as error:
        return Finding("isolated kernel (bwrap)", False, str(error), needed=True)
    try:
        result = await kernel.run("6 * 7")
    finally:
        await kernel.close()
    return Finding("isolated kernel (bwrap)", result.result == "42", f"6 * 7 is {result.text()}", needed=True)


def _package(name: str, needed: bool) -> Finding:
    try:
        return Finding(name, True, metadata.version(name), needed)
    except metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", needed)


def _gpu() -> Finding:
    if util.find_spec("torch") is None:
        return Finding("GPU", False, "torch is not installed")
    import torch

    there = torch.cuda.is_available()
    return Finding("GPU", there, torch.cuda.get_device_name() if there else "none; the tiny model needs none")
