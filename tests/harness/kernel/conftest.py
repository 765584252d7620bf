"""Real kernels: each test has its own, all are forks of one zygote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.kernel.bwrap import BwrapKernel
from harness.kernel.protocol import CellResult, Limits

pytest.register_assert_rewrite("tests.harness.kernel.contract")
# Times are for a machine with much else to do; a test of a time limit gives its own.
QUICK = Limits(cell_s=60.0, grace_s=2.0, output_chars=1000, memory_mb=512, disk_mb=16, processes=32)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def question_set(tmp_path: Path) -> Path:
    """Two worlds side by side in one folder, as a question set keeps them."""
    for world in ("world-001", "world-002"):
        folder = tmp_path / "files" / world
        folder.mkdir(parents=True)
        (folder / "parcels.csv").write_text(f"id,world\n1,{world}\n")
        (folder / "rules.json").write_text("[]")
    return tmp_path / "files"


@dataclass(frozen=True)
class Cells:
    """A kernel that runs cells, and what its cells showed."""

    kernel: BwrapKernel

    async def __call__(self, code: str, timeout: float | None = None) -> CellResult:
        return await self.kernel.run(code, timeout)

    async def begun(self) -> None:
        """Wait until a cell has made the file `begun`."""
        while (await self.kernel.exec(["test", "-e", "begun"])).returncode != 0:
            await asyncio.sleep(0.02)

    async def shows(self, code: str) -> str:
        """The text of a cell that must succeed."""
        result = await self(code)
        assert result.status == "ok", result.text()
        return result.text()


@pytest.fixture
async def run(question_set: Path) -> AsyncIterator[Cells]:
    """A kernel with the first world's files and tight limits."""
    world = question_set / "world-001"
    files = {"parcels.csv": world / "parcels.csv", "reference/rules.json": world / "rules.json"}
    async with await BwrapKernel.create(files, QUICK) as kernel:
        yield Cells(kernel)
