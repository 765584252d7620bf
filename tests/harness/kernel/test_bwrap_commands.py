"""Commands and files beside a kernel: they run inside its sandbox, never on the host."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from harness.kernel.protocol import OutputTooLong

pytestmark = pytest.mark.anyio


async def test_a_command_has_input_output_status_directory_and_environment(run: Any) -> None:
    await run("import os; os.mkdir('sub')")
    code = "pwd; echo $COLOUR; cat; echo err >&2; exit 3"
    done = await run.kernel.exec(["sh", "-c", code], input=b"fed", cwd="sub", env={"COLOUR": "blue"})
    assert (done.returncode, done.stdout, done.stderr) == (3, b"/home/user/sub\nblue\nfed", b"err\n")


async def test_a_command_and_a_cell_see_the_same_files_at_the_same_time(run: Any) -> None:
    cell = asyncio.create_task(run("import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n'gone'"))
    await run.kernel.exec(["touch", "go"])
    assert (await cell).result == "'gone'"


async def test_several_commands_run_at_once(run: Any) -> None:
    done = await asyncio.gather(*(run.kernel.exec(["sh", "-c", f"sleep 0.2; echo {n}"]) for n in range(5)))
    assert [completed.stdout for completed in done] == [b"0\n", b"1\n", b"2\n", b"3\n", b"4\n"]


async def test_a_command_that_cannot_be_started_says_why(run: Any) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        await run.kernel.exec(["no-such-program"])
    with pytest.raises(PermissionError, match="parcels"):
        await run.kernel.exec(["/home/user/input/parcels.csv"])
    with pytest.raises(FileNotFoundError, match="no-such-folder"):
        await run.kernel.exec(["true"], cwd="no-such-folder")
    with pytest.raises(OSError, match="Argument list too long"):
        await run.kernel.exec(["true", "x" * (1 << 18)])


async def test_a_command_that_runs_too_long_is_killed_with_its_children(run: Any) -> None:
    with pytest.raises(TimeoutError):
        await run.kernel.exec(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.2)
    assert (await run("!ps -e | grep -c sleep")).stdout == "0\n"


async def test_a_cancelled_command_is_killed(run: Any) -> None:
    command = asyncio.create_task(run.kernel.exec(["sleep", "60"]))
    await asyncio.sleep(0.1)
    command.cancel()
    with pytest.raises(asyncio.CancelledError):
        await command
    assert (await run("!ps -e | grep -c sleep")).stdout == "0\n"


async def test_a_command_that_says_too_much_is_stopped(run: Any) -> None:
    with pytest.raises(OutputTooLong) as caught:
        await run.kernel.exec(["yes"], limit=1000)
    assert caught.value.output == b"y\n" * 500


async def test_a_daemon_does_not_hold_up_the_command_that_started_it(run: Any) -> None:
    done = await asyncio.wait_for(run.kernel.exec(["sh", "-c", "setsid sleep 600 & echo started"]), 60)
    assert done.stdout == b"started\n"


async def test_what_is_written_can_be_read_by_both_sides(run: Any) -> None:
    data = bytes(range(256)) * 5000
    await run.kernel.write_file("made/by/host.bin", data)
    assert (await run("open('made/by/host.bin', 'rb').read() == bytes(range(256)) * 5000")).result == "True"
    assert await run.kernel.read_file("/home/user/made/by/host.bin") == data


async def test_file_errors_are_the_usual_ones(run: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        await run.kernel.read_file("missing.txt")
    with pytest.raises(IsADirectoryError):
        await run.kernel.read_file("/etc")
    with pytest.raises(OSError, match="Read-only"):
        await run.kernel.write_file("input/parcels.csv", b"changed")
    with pytest.raises(OSError, match="Invalid argument"):
        await run.kernel.read_file("a\0b")
    with pytest.raises(OutputTooLong):
        await run.kernel.read_file("/dev/zero", limit=100)


async def test_links_lead_to_the_sandbox_and_not_to_the_host(run: Any) -> None:
    await run("import os\nos.symlink('/etc/shadow', 'link'); os.symlink('/proc/1/root/etc/passwd', 'root')")
    with pytest.raises(FileNotFoundError):
        await run.kernel.read_file("link")
    with pytest.raises(PermissionError):
        await run.kernel.read_file("root")


async def test_commands_work_after_the_kernel_died(run: Any) -> None:
    await run("import os; os._exit(1)")
    assert (await run.kernel.exec(["echo", "still"])).stdout == b"still\n"
