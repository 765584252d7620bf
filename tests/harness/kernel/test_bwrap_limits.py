"""Cells that run too long, die, or ask for too much: the kernel survives or is replaced, and says so."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

pytestmark = pytest.mark.anyio

STUBBORN = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nopen('begun', 'w')\ntime.sleep(600)"


async def test_a_cell_that_runs_too_long_is_interrupted_and_the_state_kept(run: Any) -> None:
    await run("x = 5")
    result = await run("print('begun')\nimport time\ntime.sleep(600)", timeout=1)
    assert (result.status, result.stdout) == ("timeout", "begun\n")
    assert result.note == "The cell was interrupted after 1 s, its time limit. Variables are kept."
    assert result.error.name == "KeyboardInterrupt"
    assert 1 <= result.duration_s < 60
    assert (await run("x")).result == "5"


@pytest.mark.parametrize("code", ["!sleep 600", "import subprocess; subprocess.run(['sleep', '600'])"])
async def test_an_interrupt_reaches_child_processes(run: Any, code: str) -> None:
    assert (await run(code, timeout=0.5)).status == "timeout"
    assert (await run("!ps -e | grep -c sleep")).stdout == "0\n"


async def test_an_interrupt_never_hits_the_next_cell(run: Any) -> None:
    for _ in range(10):
        await run("import time; time.sleep(0.05)", timeout=0.05)
        assert (await run("sum(range(100_000))", timeout=5)).status == "ok"


async def test_a_cell_that_ignores_the_interrupt_is_killed_and_the_kernel_restarted(run: Any) -> None:
    await run("x = 5\nopen('kept.txt', 'w').write('on disk')")
    result = await run(STUBBORN, timeout=1)
    assert result.duration_s < 60
    assert (result.status, result.execution_count) == ("died", 0)
    assert "did not stop when it was interrupted after 1 s and was killed" in result.note
    assert "all variables are gone, files in /home/user are kept" in result.note
    assert (await run("x")).error.name == "NameError"
    assert (await run("open('kept.txt').read()")).result == "'on disk'"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os._exit(3)", "process ended with exit status 3"),
        ("import ctypes; ctypes.string_at(0)", "died (Segmentation fault, SIGSEGV)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "died (Killed, SIGKILL)"),
        ("import os; os.abort()", "died (Aborted, SIGABRT)"),
    ],
)
async def test_a_kernel_that_dies_says_how_and_is_back_for_the_next_cell(run: Any, code: str, reason: str) -> None:
    result = await run("print('last words')\n" + code)
    assert (result.status, result.stdout) == ("died", "last words\n")
    assert result.note.startswith(f"The kernel {reason}. It has been restarted")
    after = await run("1 + 1")
    assert (after.result, after.execution_count) == ("2", 1)


async def test_daemons_end_with_the_kernel_that_started_them(run: Any) -> None:
    await run("import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\nNone")
    assert (await run("!ps -e | grep -c sleep")).stdout == "1\n"
    await run("import os; os._exit(0)")
    assert (await run("!ps -e | grep -c sleep")).stdout == "0\n"


async def test_too_much_memory_is_an_error_of_the_cell(run: Any) -> None:
    result = await run("x = bytearray(600 << 20)")
    assert (result.status, result.error.name) == ("error", "MemoryError")
    assert (await run("len(bytearray(300 << 20))")).result == str(300 << 20)


async def test_a_fork_bomb_is_contained(run: Any) -> None:
    result = await run("import os\nwhile True:\n    if os.fork() == 0: os.nice(19)", timeout=1)
    assert result.status in ("error", "timeout", "died")
    assert (await run("1 + 1", timeout=10)).result == "2"


async def test_the_disk_is_bounded_over_all_writable_places(run: Any) -> None:
    fill = "for folder in ('/home/user', '/tmp', '/dev/shm'):\n    open(folder + '/f', 'wb').write(bytes(7 << 20))"
    assert "No space left on device" in (await run(fill)).error.message
    assert "File too large" in (await run("open('sparse', 'wb').truncate(1 << 40)")).error.message


async def test_bytes_of_a_cell_on_its_control_channel_cost_it_its_kernel_only(run: Any) -> None:
    forge = "import os\nfor number in range(3, 1024):\n    try: os.write(number, {!r})\n    except OSError: pass\nx = 1"
    for garbage in (b"garbage!" * 1000, b"\xff" * 100, b"\x00\x00\x00\x02{}" * 50, b"\x00\x00\x00\x02[]"):
        assert (await run(forge.format(garbage))).status == "died"
        assert (await run("1 + 1")).result == "2"


async def test_closing_every_descriptor_costs_the_cell_its_kernel_only(run: Any) -> None:
    assert (await run("import os; os.closerange(3, 1024)")).status == "died"
    assert (await run("1 + 1")).result == "2"


async def test_a_cancelled_cell_is_interrupted_and_the_state_kept(run: Any) -> None:
    await run("x = 5")
    cell = asyncio.create_task(run("open('begun', 'w')\nimport time; time.sleep(600)", timeout=600))
    await run.begun()
    cell.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cell
    started = time.monotonic()
    assert (await run("x")).result == "5"
    assert time.monotonic() - started < 60


async def test_a_cancelled_cell_that_does_not_stop_is_killed_without_being_asked_for(run: Any) -> None:
    await run("import os\nopen('pid', 'w').write(str(os.getpid()))")
    cell = asyncio.create_task(run(STUBBORN, timeout=600))
    await run.begun()
    cell.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cell
    while (await run.kernel.exec(["sh", "-c", "test -d /proc/$(cat pid)"])).returncode == 0:
        await asyncio.sleep(0.1)
    assert (await run("os")).error.name == "NameError"


async def test_restart_forgets_variables_and_keeps_files(run: Any) -> None:
    await run("x = 5\nopen('kept.txt', 'w').close()")
    await run.kernel.restart()
    assert (await run("x")).error.name == "NameError"
    assert (
        await run("import os; os.path.exists('kept.txt'), os.path.exists('input/parcels.csv')")
    ).result == "(True, True)"
