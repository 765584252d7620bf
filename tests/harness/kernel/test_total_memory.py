"""All processes of a kernel and its files together hold so much memory and no more, by control group or watchdog."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.kernel.bwrap import BwrapKernel
from harness.kernel.cgroup import CannotGroup, Groups, Place, memory_bound, places
from harness.kernel.guest import watchdog
from harness.kernel.protocol import KernelUnavailable, Limits
from harness.kernel.zygote import Zygote

pytestmark = pytest.mark.anyio
REPOSITORY = Path(__file__).resolve().parents[3]
SMALL = Limits(cell_s=60, memory_mb=128, disk_mb=32, processes=16)  # 224 MiB in all

# Each process stays below its own bound; together they want 800 MiB.
HOGS = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        held = os.urandom(1 << 20) * 100
        time.sleep(30)
time.sleep(30)
"""
SHARED = """
import mmap
held = mmap.mmap(-1, 1 << 30)
for at in range(0, 1 << 30, 4096):
    held[at] = 1
import time; time.sleep(30)  # a watchdog is late
"""


def where_groups_work() -> Place | None:
    try:
        groups = Groups.open()
    except CannotGroup:
        return None
    groups.close()
    return groups.place


@pytest.fixture(params=["control group", "watchdog"])
async def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BwrapKernel]:
    if request.param == "watchdog":
        monkeypatch.setattr(Zygote, "group", lambda *_: None)
    elif where_groups_work() is None:
        pytest.skip("no control group can be made here")
    async with await BwrapKernel.create(limits=SMALL) as kernel:
        yield kernel


async def test_shared_memory_beyond_the_bound_costs_the_kernel(kernel: BwrapKernel) -> None:
    result = await kernel.run("print('begun')\n" + SHARED)
    assert (result.status, result.stdout) == ("died", "begun\n")
    assert result.note is not None
    assert "held more than 224 MiB in all its processes and files and was killed" in result.note
    assert (await kernel.run("1 + 1")).result == "2"


async def test_processes_that_stay_below_their_own_bounds_do_not_pass_it_together(kernel: BwrapKernel) -> None:
    """A control group ends the largest one by one, the watchdog everything: what is left is within the bound."""
    await kernel.run(HOGS, timeout=3)
    held = "sum(int(open(f'/proc/{pid}/statm').read().split()[1]) for pid in os.listdir('/proc') if pid.isdigit())"
    resident = await kernel.run(f"import os\n{held} * 4096 >> 20", timeout=60)
    own = await kernel.run("int(open('/proc/self/statm').read().split()[1]) * 4096 >> 20")
    assert resident.result is not None
    assert own.result is not None
    assert int(resident.result) < 224 + 10 * int(own.result)  # what forks share counts once for each here
    assert (await kernel.run("1 + 1")).result == "2"


async def test_a_process_at_its_own_bound_beside_a_full_disk_is_within_it(kernel: BwrapKernel) -> None:
    await kernel.run("open('full', 'wb').write(bytes(30 << 20))")
    assert (await kernel.run("import os\nheld = os.urandom(1 << 20) * 100")).status == "ok"
    assert (await kernel.run("more = bytearray(100 << 20)")).error.name == "MemoryError"  # type: ignore[union-attr]
    assert (await kernel.run("len(held) >> 20")).result == "100"


async def test_what_forks_share_is_counted_once(kernel: BwrapKernel) -> None:
    code = "import os, time\nheld = os.urandom(1 << 20) * 60\n"
    code += "pids = [os.fork() for _ in range(1)]\nif 0 in pids: time.sleep(1); os._exit(0)\n"
    code += "for _ in range(5):\n    if os.fork() == 0: time.sleep(1); os._exit(0)\nos.wait(); 'all there'"
    assert (await kernel.run(code)).result == "'all there'"


async def test_a_kernels_group_goes_with_it() -> None:
    place = where_groups_work()
    if place is None:
        pytest.skip("no control group can be made here")
    async with await BwrapKernel.create(limits=SMALL) as kernel:
        (folder,) = mine(place)
        assert len((folder / "cgroup.procs").read_text().split()) == 2  # process 1 and the worker
        await kernel.run("import subprocess; subprocess.Popen(['sleep', '60'])\nNone")
        assert len((folder / "cgroup.procs").read_text().split()) == 3
    async with await BwrapKernel.create(limits=SMALL):
        assert len(mine(place)) == 1
        assert folder not in mine(place)


async def test_no_group_is_left_when_the_host_is_killed() -> None:
    place = where_groups_work()
    if place is None:
        pytest.skip("no control group can be made here")
    script = (
        "import asyncio, os, signal\nfrom harness.kernel.bwrap import BwrapKernel\n"
        "async def main():\n    kernels = [await BwrapKernel.create() for _ in range(3)]\n"
        "    print(os.getpid(), flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\nasyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, check=False
    )
    deadline = time.monotonic() + 60
    while (left := mine(place, int(done.stdout))) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []


def mine(place: Place, pid: int = os.getpid()) -> list[Path]:
    return sorted(place.folder.glob(f"dabstep-{pid}-*"))


async def test_a_group_that_refuses_the_kernel_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from harness.kernel.cgroup import Group

    nobody = tmp_path / "list"
    nobody.touch()

    def refusing(*_: object) -> Group:
        return Group(tmp_path, 1, os.open(nobody, os.O_RDONLY))

    monkeypatch.setattr(Zygote, "group", refusing)
    with pytest.raises(KernelUnavailable, match="control group: Bad file descriptor"):
        await BwrapKernel.create(limits=SMALL)


def laid_out(folder: Path, cgroup: str, mountinfo: str) -> Path:
    proc = folder / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(cgroup)
    (proc / "mountinfo").write_text(mountinfo)
    return proc


def test_in_version_1_a_group_lies_below_this_processs_own(tmp_path: Path) -> None:
    mounts = f"40 30 0:35 / {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
    mounts += f"41 30 0:36 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu\n"
    proc = laid_out(tmp_path, "5:cpu:/other\n4:memory:/service/one\n0::/\n", mounts)
    own = tmp_path / "memory" / "service" / "one"
    assert list(places(proc)) == [Place(own, own, 1)]


def test_in_version_2_a_group_lies_beside_this_processs_own(tmp_path: Path) -> None:
    """Above it, where memory is handed down: the scope itself holds processes and may have no limited groups."""
    own = tmp_path / "user.slice" / "app.slice" / "terminal.scope"
    own.mkdir(parents=True)
    for folder, controllers in (
        (tmp_path, "cpu memory"),
        (own.parents[1], "cpu"),
        (own.parent, "memory pids"),
        (own, ""),
    ):
        (folder / "cgroup.subtree_control").write_text(f"{controllers}\n")
    mounts = f"29 23 0:26 / {tmp_path} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    proc = laid_out(tmp_path, "0::/user.slice/app.slice/terminal.scope\n", mounts)
    assert list(places(proc)) == [Place(own.parent, own, 2), Place(tmp_path, own, 2)]


def test_a_container_that_shows_a_part_of_the_hierarchy_is_understood(tmp_path: Path) -> None:
    mounts = f"29 23 0:26 /docker/abc {tmp_path} ro - cgroup cgroup rw,memory\n"
    proc = laid_out(tmp_path, "4:memory:/docker/abc/inner\n", mounts)
    assert list(places(proc)) == [Place(tmp_path / "inner", tmp_path / "inner", 1)]


def test_where_none_can_be_made_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = Place(tmp_path / "gone", tmp_path / "gone", 2)
    monkeypatch.setattr("harness.kernel.cgroup.places", lambda: iter([gone]))
    assert memory_bound() == f"a watchdog, since no control group can be made ({gone}: No such file or directory)"


def test_the_watchdog_looks_four_times_a_second_however_long_a_look_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SimpleNamespace(monotonic=time.monotonic, process_time=itertools.count(step=5.0).__next__)
    monkeypatch.setattr(watchdog, "time", slow)
    monkeypatch.setattr(watchdog, "HOME", "/")
    watching = watchdog.Watchdog(1 << 60)
    assert not watching.is_beyond()
    assert 0 < watching.wait_s <= 0.25
