"""E2B's trouble, ordered of a stand-in over HTTP: refusals, dead sandboxes, broken streams; and nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.kernel import e2b, e2b_cells, e2b_service
from harness.kernel.e2b import E2BKernel
from harness.kernel.protocol import KernelUnavailable, Limits
from tests.stand_ins.e2b import E2B

pytestmark = pytest.mark.anyio
LIMITS = Limits(cell_s=20, grace_s=2, output_chars=1000)
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def only_service() -> Iterator[E2B]:
    with E2B() as service:
        yield service


@pytest.fixture
def service(only_service: E2B, monkeypatch: pytest.MonkeyPatch) -> Iterator[E2B]:
    """The stand-in, from which nobody has asked anything, and where nothing may be left."""
    for name, value in only_service.environment.items():
        monkeypatch.setenv(name, value)
    only_service.asked.clear()
    only_service.made.clear()
    yield only_service
    only_service.faults.clear()
    assert only_service.alive == []


async def test_without_a_key_it_says_so_and_asks_nobody(service: E2B, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("E2B_API_KEY")
    with pytest.raises(KernelUnavailable, match=r"E2B_API_KEY is not set\. Set it .* or use dabstep-bwrap"):
        await E2BKernel.create()
    assert not service.asked


async def test_a_wrong_key_is_told_before_any_sandbox_is_wanted(service: E2B, monkeypatch: pytest.MonkeyPatch) -> None:
    await e2b_service.check()
    monkeypatch.setenv("E2B_API_KEY", "e2b_wrong")
    with pytest.raises(KernelUnavailable, match="E2B refused the key in E2B_API_KEY"):
        await e2b_service.check()
    assert service.asked["create"] == 0


async def test_the_lifetime_is_passed_when_a_sandbox_is_made_and_there_is_no_internet(service: E2B) -> None:
    async with await E2BKernel.create():
        [made] = service.made
    assert made.asked["timeout"] == e2b.LIFETIME_S
    assert made.asked["allow_internet_access"] is False
    assert made.asked["metadata"] == {e2b_service.OWNER_LABEL: e2b_service.OWNER}
    assert service.killed[-1] == made.id


async def test_the_files_become_roots_and_read_only(service: E2B, tmp_path: Path) -> None:
    (tmp_path / "data" / "2023").mkdir(parents=True)
    (tmp_path / "data" / "2023" / "a.csv").write_text("x\n1\n")
    async with await E2BKernel.create({"data": tmp_path / "data"}) as kernel:
        assert (await kernel.run("open('input/data/2023/a.csv').read()")).result == repr("x\n1\n")
    assert "chown -R root:root /home/user/input" in service.root_commands[-1]
    assert "remount,bind,ro /home/user/input" in service.root_commands[-1]


async def test_refused_requests_are_tried_again(service: E2B, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    service.faults["create"] = ["429:0", "503", "429:0"]
    service.faults["files"] = ["429"]
    service.faults["process"] = ["429"]
    service.faults["execute"] = ["429", "", "", "429", "429"]
    async with await E2BKernel.create({"a.csv": tmp_path / "a.csv"}, LIMITS) as kernel:
        assert (await kernel.run("open('input/a.csv').read()")).status == "ok"
    assert service.asked["create"] == 4
    assert service.asked["execute"] == 6  # the beginning, once refused and in two forms; the cell, twice refused


async def test_a_rate_limit_that_does_not_let_up_is_told_and_leaves_nothing(
    service: E2B, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(e2b_service, "FIRST_WAIT_S", 0.001)
    service.faults["execute"] = ["429"] * 100
    with pytest.raises(KernelUnavailable, match="rate limit did not let up after 6 tries"):
        await E2BKernel.create()
    assert service.asked["execute"] == e2b_service.TRIES
    service.faults["create"] = ["429:0"] * 100
    with pytest.raises(KernelUnavailable, match="rate limit did not let up"):
        await E2BKernel.create()
    assert service.asked["create"] == 1 + 1 + e2b_service.CREATE_RETRIES


@pytest.mark.parametrize("ended", ["before the cell", "while it is asked"])
async def test_a_dead_sandbox_is_reported_as_died_and_replaced(service: E2B, tmp_path: Path, ended: str) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    async with await E2BKernel.create({"a.csv": tmp_path / "a.csv"}, LIMITS) as kernel:
        await kernel.run("x = 5")
        if ended == "before the cell":
            service.end(service.made[0].id)
        else:
            service.faults["execute"] = ["dead"]
        result = await kernel.run("x")
        assert result.status == "died"
        assert result.note == (
            "The kernel died with its sandbox, which E2B has ended. It has been restarted: "
            "all variables are gone, and so are the files that it wrote."
        )
        assert len(service.made) == 2
        assert (await kernel.run("open('input/a.csv').read()")).status == "ok"


async def test_a_sandbox_that_dies_under_a_cell_is_replaced(service: E2B) -> None:
    async with await E2BKernel.create(limits=LIMITS) as kernel:
        cell = asyncio.create_task(kernel.run("print('begun')\nimport time; time.sleep(60)"))
        while service.asked["execute"] < 3:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        await asyncio.to_thread(service.end, service.made[0].id)
        result = await cell
        assert result.status == "died"
        assert (await kernel.run("1 + 1")).result == "2"


async def test_a_lifetime_is_renewed_before_a_cell_that_might_outlive_it(service: E2B) -> None:
    kernel = E2BKernel(lifetime_s=600)
    await kernel.start({}, LIMITS)
    await kernel.run("1")
    assert service.asked["timeout"] == 0
    await kernel.run("1", timeout=900)
    assert service.asked["timeout"] == 0, "no lifetime is longer than a cell of 900 s, so half of it is what counts"
    kernel._ends_at -= 590
    await kernel.run("1")
    await kernel.run("1")
    assert service.asked["timeout"] == 1
    await kernel.close()


async def test_a_broken_stream_loses_the_kernel_and_says_so(service: E2B) -> None:
    async with await E2BKernel.create(limits=LIMITS) as kernel:
        await kernel.run("x = 5")
        service.faults["execute"] = ["drop:1"]
        result = await kernel.run("print('shown', flush=True)\nimport time; time.sleep(1)\nprint('lost')")
        assert (result.status, result.stdout) == ("died", "shown\n")
        assert "was lost when the connection to it broke" in (result.note or "")
        assert "files in /home/user are kept" in (result.note or "")
        assert len(service.made) == 1
        assert (await kernel.run("'x' in globals()")).result == "False"


async def test_a_service_that_hangs_costs_no_more_than_the_cells_time(service: E2B) -> None:
    async with await E2BKernel.create(limits=LIMITS) as kernel:
        await kernel.run("x = 5")
        service.faults["execute"] = ["hang"]
        result = await kernel.run("x", timeout=1)
        assert result.status == "timeout"
        assert (await kernel.run("x")).result == "5"
        service.faults["execute"] = ["slow:0.5"]
        assert (await kernel.run("x")).result == "5"


async def test_a_flood_of_output_is_stopped(service: E2B, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e2b_cells, "FLOOD_CHARS", 3 << 20)
    async with await E2BKernel.create(limits=LIMITS) as kernel:
        await kernel.run("x = 5")
        result = await kernel.run("while True: print('y' * 1000)")
        assert result.status == "timeout"
        assert result.note == "The cell was interrupted after 3 MiB of output, its bound. Variables are kept."
        assert len(result.stdout) < 1100
        assert (await kernel.run("x")).result == "5"


async def test_quotes_of_a_text_and_colours_of_an_error_are_as_everywhere(service: E2B) -> None:
    async with await E2BKernel.create(limits=LIMITS) as kernel:
        values = {"'a'": "'a'", '"it\'s"': '"it\'s"', "[1]": "[1]", '"\'"': '"\'"', "''": "''"}
        assert {code: (await kernel.run(code)).result for code in values} == values
        error = (await kernel.run("def f(): 1/0\nf()")).error
        assert error is not None
        assert "\\x1b" not in error.traceback
        assert error.traceback.splitlines()[0] == "Traceback (most recent call last):"


async def test_a_cancelled_cell_is_interrupted_and_the_state_kept(service: E2B) -> None:
    async with await E2BKernel.create(limits=LIMITS) as kernel:
        await kernel.run("x = 5")
        cell = asyncio.create_task(kernel.run("import time; time.sleep(60)"))
        await asyncio.sleep(0.5)
        cell.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cell
        assert (await kernel.run("x")).result == "5"


async def test_a_cancelled_start_leaves_no_sandbox(service: E2B) -> None:
    service.faults["process"] = ["hang"]
    start = asyncio.create_task(E2BKernel.create())
    while not service.made:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert service.alive == []


SCRIPT = """
import asyncio, sys
from harness.kernel.e2b import E2BKernel
async def main():
    kernel = await E2BKernel.create()
    print('ready', flush=True)
    sys.stdin.readline()
    {end}
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "end", ["raise ValueError", *(pytest.param(end, marks=pytest.mark.slow) for end in ("pass", "sys.exit(3)"))]
)
def test_a_process_that_ends_takes_its_sandboxes_with_it(service: E2B, end: str) -> None:
    with host(end) as process:
        process.communicate("\n", timeout=60)
    assert service.alive == []
    assert len(service.made) == 1


def test_a_sandbox_whose_making_was_cut_off_is_ended_too(service: E2B) -> None:
    """Its id never came; it is found by the label of its owner."""
    script = (
        "import asyncio\nfrom harness.kernel import e2b_service\nfrom e2b_code_interpreter import AsyncSandbox\n"
        "made = AsyncSandbox.create\n"
        "async def cut_off(*a, **k):\n    await made(*a, **k)\n    raise asyncio.CancelledError\n"
        "AsyncSandbox.create = cut_off\n"
        "try: asyncio.run(e2b_service.open_sandbox(60))\nexcept asyncio.CancelledError: print('cut off')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout == "cut off\n", done.stderr
    assert len(service.made) == 1
    assert service.alive == []


@pytest.mark.slow
def test_the_sandbox_of_a_killed_process_ends_with_its_lifetime(service: E2B) -> None:
    with host("pass", "E2BKernel.create()", "made(E2BKernel(lifetime_s=6))") as process:
        process.send_signal(signal.SIGKILL)
    assert len(service.made) == 1
    deadline = time.monotonic() + 60
    while service.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    assert service.alive == []


def host(end: str, *replaced: str) -> subprocess.Popen[str]:
    """A process with an open kernel."""
    script = SCRIPT.format(end=end)
    if replaced:
        script = "async def made(kernel):\n    await kernel.start({}, Limits())\n    return kernel\n" + script
        script = "from harness.kernel.protocol import Limits\n" + script.replace(*replaced)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=dict(os.environ),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process
