"""What a cell can reach: its question's files, read-only, the interpreter, and its own scratch space. Nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from harness.kernel.bwrap import BwrapKernel

pytestmark = pytest.mark.anyio
REPOSITORY = Path(__file__).resolve().parents[3]


async def test_only_the_questions_files_are_there(run: Any, question_set: Path) -> None:
    found = await run.shows("import os\nprint(sorted(os.path.join(d, f) for d, _, fs in os.walk('.') for f in fs))")
    assert found == "['./input/parcels.csv', './input/reference/rules.json']"
    assert (await run(f"os.path.exists({str(question_set)!r})")).result == "False"


async def test_no_other_file_of_the_host_is_in_reach(run: Any, question_set: Path) -> None:
    """A search of the whole root finds neither the other world, nor a secret beside the files, nor this repository."""
    wanted = ("parcels.csv", "answers.jsonl", "test_bwrap_isolation.py", "shadow")
    search = (
        "import os\n[os.path.join(d, f) for d, _, fs in os.walk('/') if not d.startswith('/proc')"
        f" for f in fs if f in {wanted!r}]"
    )
    (question_set / "answers.jsonl").write_text("{}")
    found = await run(search, timeout=180)  # hundreds of thousands of files, which nobody may have looked at before
    assert found.result == "['/home/user/input/parcels.csv']"


async def test_the_repository_is_hidden_even_where_the_environment_lies_in_it(run: Any) -> None:
    shown = await run.shows(
        f"import os\nprint(os.listdir({str(REPOSITORY)!r}) if os.path.exists({str(REPOSITORY)!r}) else [])"
    )
    assert set(shown.strip("[]").replace("'", "").split(", ")) <= {"", ".venv", "venv"}
    assert (await run("import harness")).error.name == "ModuleNotFoundError"


def test_our_own_code_is_hidden_where_it_is_installed_beside_other_packages(tmp_path: Path) -> None:
    """As from a wheel; the environment lies in /tmp, where a kernel's scratch space covers the host's, or elsewhere."""
    for folder in (tmp_path, Path("/var/tmp") / tmp_path.name):
        venv.create(folder, symlinks=True, with_pip=False)
        site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        shutil.copytree(REPOSITORY / "harness", site / "harness")
        (site / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
        cell = f"import os\nos.listdir({str(site)!r}), os.listdir({str(site / 'harness')!r})"
        script = (
            "import asyncio\nfrom harness.kernel.bwrap import BwrapKernel\nasync def main():\n"
            f"    async with await BwrapKernel.create() as kernel: print((await kernel.run({cell!r})).text())\n"
            "asyncio.run(main())\n"
        )
        (tmp_path / "script.py").write_text(script)
        command = [str(folder / "bin" / "python"), str(tmp_path / "script.py")]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", env={"PATH": os.environ["PATH"]})
        if folder != tmp_path:
            shutil.rmtree(folder)
        assert done.stdout.strip().endswith(", [])"), done.stdout + done.stderr
        assert "harness" in done.stdout


@pytest.mark.parametrize(
    "path", ["/home/user/input/parcels.csv", "/home/user/input/new", "/new", "/etc/passwd", "/usr/bin/x"]
)
async def test_nothing_but_the_scratch_space_can_be_written(run: Any, path: str) -> None:
    result = await run(f"open({path!r}, 'w')")
    assert result.error.name in ("OSError", "PermissionError")


@pytest.mark.parametrize(
    "change",
    [
        "os.remove('input/parcels.csv')",
        "os.chmod('input/parcels.csv', 0o777)",
        "os.rename('input', 'elsewhere')",
        "os.rmdir('input')",
    ],
)
async def test_the_files_cannot_be_changed_or_moved_away(run: Any, change: str) -> None:
    assert (await run(f"import os\n{change}")).status == "error"


async def test_the_environment_of_the_host_is_not_there(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with await BwrapKernel.create() as kernel:
        names = (await kernel.run("import os\nsorted(os.environ)")).result
    assert names is not None
    assert "OPENAI_API_KEY" not in names
    assert not {"SSH_AUTH_SOCK", "PYTHONPATH", "VIRTUAL_ENV"} & set(names.strip("[]").replace("'", "").split(", "))


async def test_there_is_no_network(run: Any) -> None:
    result = await run("import socket\nsocket.create_connection(('127.0.0.1', 80), timeout=2)")
    assert result.error.name == "OSError"
    assert "unreachable" in result.error.message
    assert (await run("[name for _, name in socket.if_nameindex()]")).result in ("['lo']", "[]")


async def test_kernels_do_not_meet_on_abstract_sockets(run: Any) -> None:
    listen = "import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0meeting')\ns.listen()"
    meet = "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0meeting')"
    await run.shows(listen)
    async with await BwrapKernel.create() as other:
        assert (await other.run(meet)).error.name == "ConnectionRefusedError"  # type: ignore[union-attr]


async def test_a_cell_sees_its_own_processes_only(run: Any) -> None:
    assert (
        await run("import os\nsorted(int(p) for p in os.listdir('/proc') if p.isdigit()) == [1, os.getpid()]")
    ).result == "True"


async def test_process_1_can_be_neither_killed_nor_read(run: Any) -> None:
    await run("import os, signal\nfor number in range(1, 32): os.kill(1, number)")
    assert (await run("1 + 1")).result == "2"
    assert (await run("open('/proc/1/mem', 'rb')")).error.name == "PermissionError"
    assert (await run("open('/proc/1/environ')")).error.name == "PermissionError"


async def test_there_are_no_privileges_and_no_way_to_gain_them(run: Any) -> None:
    status = await run.shows(
        "print(*(line for line in open('/proc/self/status') if line[:3] in ('Cap', 'NoN', 'Uid')))"
    )
    fields = {name.strip(): value for name, value in (line.split(":\t") for line in status.splitlines())}
    assert {fields[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1"
    assert "0" not in fields["Uid"].split()
    for name, flag in (("user", 0x10000000), ("mount", 0x00020000)):
        assert (await run(f"import ctypes\nctypes.CDLL(None).unshare({flag})")).result == "-1", name
    assert (await run("!unshare -Ur id")).stderr != ""


async def test_devices_are_the_harmless_ones(run: Any) -> None:
    listed = await run.shows("import os\nprint(*sorted(os.listdir('/dev')))")
    assert listed == "fd full null random shm stderr stdin stdout urandom zero"


async def test_python_and_its_packages_work_in_a_child_process_too(run: Any) -> None:
    command = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import numpy; print(numpy.arange(3))'])"
    assert (await run(command, timeout=20)).stdout == "[0 1 2]\n"


async def test_a_folder_may_be_bound_whole(question_set: Path) -> None:
    async with await BwrapKernel.create({"context": question_set / "world-002"}) as kernel:
        assert (await kernel.run("!ls input/context")).stdout == "parcels.csv\nrules.json\n"
        assert (await kernel.run("open('input/context/x', 'w')")).error.name == "OSError"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", "."])
async def test_a_name_that_leaves_the_input_folder_is_refused(question_set: Path, name: str) -> None:
    with pytest.raises(ValueError, match="relative path without"):
        await BwrapKernel.create({name: question_set / "world-001" / "parcels.csv"})


async def test_odd_file_names_work(question_set: Path) -> None:
    odd = question_set / "größe \n'x'.csv"
    odd.write_text("1")
    async with await BwrapKernel.create({odd.name: odd}) as kernel:
        assert (await kernel.run("import os\nos.listdir('input')")).result == repr([odd.name])


async def test_a_missing_file_is_named_before_anything_starts(question_set: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.csv: no such file"):
        await BwrapKernel.create({"a.csv": question_set / "missing.csv"})


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's kernel has that user's rights to files")
async def test_a_file_that_only_root_may_read_is_named_with_the_mend(question_set: Path) -> None:
    private = question_set / "private.csv"
    private.write_text("1")
    private.chmod(0o600)
    with pytest.raises(PermissionError, match=r"private\.csv: not readable .* chmod o\+r"):
        await BwrapKernel.create({"private.csv": private})


async def test_an_ordinary_user_gets_the_same_isolation(question_set: Path) -> None:
    """In a user namespace without privileges this test's process is an ordinary user, also where root runs it."""
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom harness.kernel.bwrap import BwrapKernel\n"
        "from harness.kernel.zygote import is_privileged\n"
        "async def main():\n"
        "    async with await BwrapKernel.create({'parcels.csv': Path(sys.argv[1])}) as kernel:\n"
        '        cell = \'import os\\nos.getuid(), os.listdir("input"), os.path.exists("/root/.bashrc")\'\n'
        "        print(is_privileged(), (await kernel.run(cell)).text())\n"
        '        print((await kernel.run(\'open("input/parcels.csv", "w")\')).error.message)\n'
        "asyncio.run(main())\n"
    )
    command = ["unshare", "--user", "--map-user=1234", "--map-group=1234", sys.executable, "-c", script]
    file = str(question_set / "world-001" / "parcels.csv")
    done = subprocess.run([*command, file], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.stdout.splitlines() == [
        "False (1000, ['parcels.csv'], False)",
        "[Errno 30] Read-only file system: 'input/parcels.csv'",
    ], done.stderr
