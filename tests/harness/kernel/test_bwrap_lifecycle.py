"""Kernels begin and end cleanly: many at once, in any event loop, and nothing is left however the host ends."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.kernel.bwrap import BwrapKernel
from harness.kernel.protocol import KernelUnavailable, Limits
from harness.kernel.zygote import shared_zygote

pytestmark = pytest.mark.anyio
REPOSITORY = Path(__file__).resolve().parents[3]


def processes_with(text: str) -> list[int]:
    """The processes of this machine that have `text` on their command line, but this one."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                if text.encode() in Path("/proc", entry, "cmdline").read_bytes():
                    found.append(int(entry))
            except OSError:  # it has just ended
                continue
    return found


async def test_eight_kernels_work_at_once(question_set: Path) -> None:
    names = ["world-001", "world-002"] * 4
    kernels = await asyncio.gather(
        *(BwrapKernel.create({"parcels.csv": question_set / name / "parcels.csv"}) for name in names)
    )
    shown = await asyncio.gather(*(kernel.run("print(open('input/parcels.csv').read())") for kernel in kernels))
    assert all(name in result.stdout for name, result in zip(names, shown, strict=True))
    await asyncio.gather(*(kernel.close() for kernel in kernels))


async def test_cells_of_one_kernel_run_one_after_the_other(run: Any) -> None:
    await run("seen = []")
    await asyncio.gather(*(run(f"import time; time.sleep(0.02); seen.append({n})") for n in range(5)))
    assert (await run("seen")).result == "[0, 1, 2, 3, 4]"


async def test_close_ends_every_process_and_may_be_called_twice() -> None:
    mark = f"98765.{os.getpid()}1"
    async with await BwrapKernel.create() as kernel:
        await kernel.run(f"import subprocess\nfor _ in range(3): subprocess.Popen(['setsid', 'sleep', '{mark}'])")
        while len(processes_with(f"sleep\0{mark}")) < 3:  # they are on their way
            await asyncio.sleep(0.01)
        await kernel.close()
        assert processes_with(mark) == []
        with pytest.raises(RuntimeError, match="the kernel is closed"):
            await kernel.run("1")


async def test_closing_while_a_cell_runs_ends_the_cell() -> None:
    kernel = await BwrapKernel.create()
    cell = asyncio.create_task(kernel.run("import time; time.sleep(60)"))
    await asyncio.sleep(0.1)
    await kernel.close()
    with pytest.raises(RuntimeError, match="the kernel is closed"):
        await cell


async def test_descriptors_are_given_back() -> None:
    async def once() -> None:
        async with await BwrapKernel.create() as kernel:
            await kernel.run("1")
            await kernel.run("import os; os._exit(1)")
            await kernel.exec(["cat"], input=b"x")

    await once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await once()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_kernel_that_was_not_started_says_so() -> None:
    with pytest.raises(RuntimeError, match="has not been started"):
        await BwrapKernel().run("1")


async def test_a_kernel_whose_zygote_was_killed_is_replaced(run: Any) -> None:
    await run("x = 5")
    zygote = shared_zygote()
    (bubblewrap,) = [pid for pid in processes_with("--die-with-parent") if parent(pid) == os.getpid()]
    os.kill(bubblewrap, signal.SIGKILL)
    while zygote.is_alive:
        await asyncio.sleep(0.01)
    result = await run("x")
    assert result.status == "died"
    assert "died with its sandbox" in result.note
    assert "all variables are gone, and so are the files that it wrote" in result.note
    assert (await run("1 + 1")).result == "2"
    assert shared_zygote() is not zygote


async def test_start_within_the_time_that_it_is_given() -> None:
    with pytest.raises(KernelUnavailable, match=r"not ready after 0\.0001 s"):
        await BwrapKernel.create(limits=Limits(start_s=0.0001))


def test_event_loops_one_after_the_other_and_in_threads_share_the_zygote() -> None:
    async def once() -> str | None:
        async with await BwrapKernel.create() as kernel:
            return (await kernel.run("6 * 7")).result

    assert [asyncio.run(once()) for _ in range(2)] == ["42", "42"]
    zygote = shared_zygote()
    answers: list[str | None] = []
    threads = [threading.Thread(target=lambda: answers.append(asyncio.run(once()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["42"] * 3
    assert shared_zygote() is zygote


async def test_a_host_that_may_open_no_more_files_is_told_so_and_given_back_what_was_opened(run: Any) -> None:
    def open_files() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before, (allowed, most) = open_files(), resource.getrlimit(resource.RLIMIT_NOFILE)
    said = set()
    try:
        for room in range(1, 12):  # a kernel takes five, and more while it starts
            resource.setrlimit(resource.RLIMIT_NOFILE, (before + room, most))
            try:
                await (await BwrapKernel.create()).close()
            except KernelUnavailable as error:
                said.add(str(error))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    assert said
    assert all("Allow more: ulimit -n" in message for message in said)
    assert open_files() == before
    assert (await run("1 + 1")).result == "2"


async def test_all_kernels_are_one_session_so_that_they_do_not_outweigh_their_host() -> None:
    """Linux shares processors out by session; a cell leads a process group, by which it is interrupted."""
    async with await BwrapKernel.create() as one, await BwrapKernel.create() as other:
        shown = "import os\nopen('/proc/self/autogroup').read() if os.path.exists('/proc/self/autogroup') else ''"
        assert (await one.run(shown)).result == (await other.run(shown)).result
        assert (await one.run("os.getsid(0), os.getpgid(0) == os.getpid()")).result == "(0, True)"  # led from outside


def test_a_kernel_left_open_does_not_outlive_its_process() -> None:
    mark = f"98765.{os.getpid()}2"
    with host_with(mark) as host:
        assert host.stdin is not None
        host.stdin.close()  # now the script ends, without closing its kernel
        assert host.wait(120) == 0
    assert_gone(lambda: processes_with(f"sleep\0{mark}"))


def test_nothing_is_left_when_the_host_is_killed() -> None:
    mark = f"98765.{os.getpid()}3"
    with host_with(mark) as host:
        below = descendants(host.pid)
        host.kill()
    assert len(below) >= 5  # bubblewrap twice, the zygote, process 1, the worker
    assert_gone(lambda: processes_with(f"sleep\0{mark}"))
    assert_gone(lambda: [pid for pid in below if Path(f"/proc/{pid}").exists()])


@contextmanager
def host_with(mark: str) -> Iterator[subprocess.Popen[str]]:
    """A process with an open kernel in which `sleep MARK` runs; it ends when its stdin is closed."""
    script = (
        "import asyncio, sys\nfrom harness.kernel.bwrap import BwrapKernel\n"
        "async def main():\n"
        "    kernel = await BwrapKernel.create()\n"
        f"    await kernel.run(\"import subprocess; subprocess.Popen(['setsid', 'sleep', '{mark}'])\")\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.read()\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        yield host


def assert_gone(left: Callable[[], list[int]], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while left() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left() == []


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def descendants(pid: int) -> set[int]:
    """Every process below `pid`."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = parent(int(entry))
            except OSError:  # it has just ended
                continue
    found = {pid}
    while more := {child for child, above in parents.items() if above in found} - found:
        found |= more
    return found - {pid}
