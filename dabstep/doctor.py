"""What `dabstep doctor` looks at. It tries things for real: the kernel finding is a kernel that ran a cell."""

from __future__ import annotations

import asyncio
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
    yield asyncio.run(_docker())
    yield _e2b()


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


async def _docker() -> Finding:
    from harness.kernel.docker_engine import engine, image_tag
    from harness.kernel.protocol import KernelUnavailable

    what = "Docker (only for dabstep-docker)"
    try:
        await engine()
    except KernelUnavailable as error:
        return Finding(what, False, str(error))
    return Finding(what, True, f"the engine answers and has the image {image_tag()}")


def _e2b() -> Finding:
    from harness.kernel.e2b_service import KEY, missing

    reason = missing()
    detail = reason or f"{KEY} is set; whether it is good is not asked"
    return Finding("E2B (only for dabstep-e2b)", reason is None, detail)


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
