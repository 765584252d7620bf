"""Four ways to run a model's cells, behind one face, for `bench_kernel.py`: each starts sessions and runs code in them.

bwrap       our kernel: isolated, keeps its state
ipykernel   by jupyter_client, as a notebook server does: keeps its state, not isolated
inspect     Inspect's `python()` tool in its sandbox `local`: a new interpreter a call, not isolated
smolagents  its local executor: an interpreter written in Python, in this very process; not isolated

What a session must do before it counts as ready is the same for all: pandas is imported, or (inspect) every call
imports it. No contender is configured in a way that its own manual does not show.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import psutil
from inspect_ai.tool import python
from inspect_ai.util._sandbox.context import cleanup_sandbox_environments_sample, init_sandbox_environments_sample
from inspect_ai.util._sandbox.local import LocalSandboxEnvironment
from jupyter_client.manager import start_new_async_kernel
from smolagents.local_python_executor import LocalPythonExecutor

from harness.kernel.bwrap import BwrapKernel

START_S = 300.0


class Session(Protocol):
    """Something that runs cells, one after another."""

    async def run(self, code: str) -> str:
        """What the cell shows. Raises RuntimeError where it failed."""
        ...


Opening = Callable[[Path], AbstractAsyncContextManager[Session]]


class _Bwrap:
    def __init__(self, kernel: BwrapKernel) -> None:
        self._kernel = kernel

    async def run(self, code: str) -> str:
        result = await self._kernel.run(code)
        if result.status != "ok":
            raise RuntimeError(result.text())
        return result.text()


@asynccontextmanager
async def bwrap(data: Path) -> AsyncIterator[Session]:
    """Our kernel; pandas comes with it."""
    async with await BwrapKernel.create({data.name: data}) as kernel:
        yield _Bwrap(kernel)


class _Jupyter:
    def __init__(self, client: Any) -> None:
        self._client = client

    async def run(self, code: str) -> str:
        shown: list[str] = []

        def take(message: dict[str, Any]) -> None:
            content = message["content"]
            shown.append(content.get("text") or content.get("data", {}).get("text/plain", ""))

        reply = await self._client.execute_interactive(code, output_hook=take)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(str(reply["content"]))
        return "".join(shown)


@asynccontextmanager
async def ipykernel_bare(data: Path) -> AsyncIterator[Session]:
    """A kernel of ipykernel's, ready for its first cell, in a folder where `input/` holds the data."""
    with tempfile.TemporaryDirectory() as home:
        Path(home, "input").mkdir()
        Path(home, "input", data.name).symlink_to(data)
        manager, client = await start_new_async_kernel(startup_timeout=START_S, cwd=home, stderr=subprocess.DEVNULL)
        try:
            yield _Jupyter(client)
        finally:
            client.stop_channels()
            await manager.shutdown_kernel(now=True)


@asynccontextmanager
async def ipykernel(data: Path) -> AsyncIterator[Session]:
    """The same with pandas imported."""
    async with ipykernel_bare(data) as session:
        await session.run("import pandas")
        yield session


class _Tool:
    def __init__(self) -> None:
        self._tool = python()

    async def run(self, code: str) -> str:
        """As its manual asks, what is to be seen is printed."""
        *before, last = code.splitlines()
        shown = str(await self._tool(code="\n".join([*before, f"print({last})"])))
        if "Traceback" in shown:
            raise RuntimeError(shown)
        return shown.strip()


@asynccontextmanager
async def inspect_python(data: Path) -> AsyncIterator[Session]:
    """Inspect's tool in a sandbox `local` made as for a sample; one call has imported pandas, and kept nothing."""
    files = {f"input/{data.name}": data.read_bytes()} if data.exists() else {}
    environments = await init_sandbox_environments_sample(LocalSandboxEnvironment, "bench", None, files, None, {})
    session = _Tool()
    try:
        await session.run("import pandas\nNone")
        yield session
    finally:
        await cleanup_sandbox_environments_sample("local", "bench", None, environments, False)


class _Smolagents:
    def __init__(self) -> None:
        self._executor = LocalPythonExecutor(["pandas"], timeout_seconds=None)
        self._executor.send_tools({})

    async def run(self, code: str) -> str:
        return str(self._executor(code).output)


@asynccontextmanager
async def smolagents(data: Path) -> AsyncIterator[Session]:
    """smolagents' executor with pandas imported, which in this process it is by and by."""
    session = _Smolagents()
    with _in_folder_of(data):
        await session.run("import pandas")
        yield session


@contextlib.contextmanager
def _in_folder_of(data: Path) -> Any:
    """Run where `input/` holds the data: the executor's cells see this process's working directory."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as home:
        Path(home, "input").mkdir()
        Path(home, "input", data.name).symlink_to(data)
        os.chdir(home)
        try:
            yield
        finally:
            os.chdir(before)


CONTENDERS: dict[str, Opening] = {
    "bwrap": bwrap,
    "ipykernel": ipykernel,
    "inspect": inspect_python,
    "smolagents": smolagents,
}


def proportional_mb() -> float:
    """Proportional set size of every process below this one together, in MB: what is shared counts once."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e6


async def peak_mb(every_s: float, until: asyncio.Event) -> float:
    """The largest `proportional_mb` while waiting for `until`."""
    peak = 0.0
    while not until.is_set():
        peak = max(peak, await asyncio.to_thread(proportional_mb))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(until.wait(), every_s)
    return peak
