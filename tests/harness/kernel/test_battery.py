"""The battery of hostile cells: its data, that it fails where it should, and that bwrap kernels pass it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.kernel.battery import (
    PARCELS,
    BatteryCell,
    Files,
    Stage,
    _judged,
    attempt,
    battery_cells,
    prelude,
    staged,
)
from harness.kernel.battery.__main__ import chosen, in_fresh_kernel, main
from harness.kernel.battery.remains import Remains
from harness.kernel.bwrap import BwrapKernel
from harness.kernel.cgroup import places
from harness.kernel.guest import seccomp
from harness.kernel.protocol import CellError, CellResult, Limits

REPOSITORY = Path(__file__).resolve().parents[3]
HOSTILE = [cell for cell in battery_cells() if cell.kind != "known good"]
KINDS = {
    "network", "host files", "processes", "secrets", "memory", "processes by the thousand", "disk", "output", "time",
    "dying", "control channel", "privileges", "devices", "kernel interfaces", "file API", "answer key",
    "hostile results",
}  # fmt: skip
QUICK = KINDS - {"memory", "processes by the thousand", "disk", "output", "time", "dying"}
AS_ORDINARY_USER = [str(REPOSITORY / "scripts" / "as-ordinary-user")] if os.getuid() == 0 else []
BATTERY = [sys.executable, "-m", "harness.kernel.battery"]


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as stage:
        yield stage


def test_there_are_more_than_sixty_of_every_kind_and_each_has_a_name_of_its_own() -> None:
    assert len(HOSTILE) >= 150
    assert {cell.kind for cell in HOSTILE} == KINDS
    assert len({cell.id for cell in battery_cells()}) == len(battery_cells())
    assert len({cell.code for cell in HOSTILE if cell.kind != "file API"}) == sum(c.kind != "file API" for c in HOSTILE)


def test_every_cell_says_what_is_expected_of_it(stage: Stage) -> None:
    for cell in battery_cells():
        for pattern in (cell.result, cell.says):
            re.compile(pattern or "")
        told = (cell.result, cell.says, cell.reads, cell.writes)
        assert any(told) or cell.status != ("ok",) or cell.kind not in QUICK - {"hostile results"}, cell.id
        assert not re.search("@[A-Z]+@", stage.written(cell.code)), cell.id


def test_the_preludes_numbers_are_the_filters() -> None:
    space: dict[str, Any] = {}
    exec(prelude(), space)
    known = seccomp.REFUSED | seccomp.ABSENT | {"clone": seccomp.CLONE, "personality": seccomp.PERSONALITY}
    assert {name: known[name] for name in space["NUMBERS"]} == space["NUMBERS"]


def is_quick(cell: BatteryCell) -> bool:
    """The others, and these again, run in the slow tests of the whole battery."""
    return cell.kind in {*QUICK, "known good"} and (cell.timeout or 0) < 60


# What a cell that runs in this very process leaves open is its own affair.
leaves_open = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


class OpenKernel:
    """A kernel without any sandbox: cells run in this very process, as the battery must notice."""

    def __init__(self) -> None:
        self.space: dict[str, Any] = {}

    async def start(self, files: Mapping[str, Path], limits: Limits) -> None: ...

    async def restart(self) -> None: ...

    async def close(self) -> None: ...

    async def run(self, code: str, timeout: float | None = None) -> CellResult:
        *statements, last = code.strip().splitlines()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec("\n".join(statements), self.space)
            try:
                result = repr(eval(last, self.space))
            except SyntaxError:  # the prelude ends with a function
                exec(code, self.space)
                result = ""
        return CellResult(code=code, status="ok", stdout=printed.getvalue(), result=result)


@leaves_open
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("net-host-tcp", r"result \"\['127"),
        ("net-abstract-socket", "result 'None'"),
        ("file-secret", "result"),
        ("file-escape", "the host has a new file"),
        ("proc-host", "result"),
        ("secret-environment", "DABSTEP_CANARY"),
        ("rights-no-new", "result '0'"),
        ("linux-newer-calls", "result"),
    ],
)
async def test_what_is_no_sandbox_fails(stage: Stage, name: str, complaint: str) -> None:
    if name in ("rights-no-new", "linux-newer-calls") and Path("/proc/self/status").read_text().count("Seccomp:\t2"):
        pytest.skip("this process is in a sandbox itself")
    [cell] = chosen([], [name])
    outcome = await attempt(cell, OpenKernel(), None, stage)
    assert re.search(complaint, " ".join(outcome.complaints)), outcome


@leaves_open
@pytest.mark.anyio
async def test_a_canary_that_is_shown_or_read_and_a_changed_file_are_complained_of(stage: Stage) -> None:
    async def read(path: str) -> bytes:
        return Path(path).read_bytes()

    async def write(path: str, data: bytes) -> None:
        stage.files["parcels.csv"].write_bytes(data)

    files = Files(read, write)
    shows = BatteryCell(id="x", kind="x", code="print(open('@SECRET@').read())\n1", reads="@SECRET@", refused=True)
    outcome = await attempt(shows, OpenKernel(), files, stage)
    expected = {"the canary was shown", "file API: it was not refused", "file API: the canary was read"}
    assert set(outcome.complaints) == expected
    outcome = await attempt(BatteryCell(id="x", kind="x", code="1", writes="x"), OpenKernel(), files, stage)
    assert outcome.complaints == ("the question's file was changed on the host",)
    stage.files["parcels.csv"].write_text(PARCELS)
    outcome = await attempt(BatteryCell(id="x", kind="x", code="1", reads="x"), OpenKernel(), None, stage)
    assert outcome.complaints == ("file API: this sandbox has none",)


def result(**fields: Any) -> CellResult:
    return CellResult(**{"code": "", "status": "ok", **fields})


@pytest.mark.parametrize(
    ("cell", "given", "complaint"),
    [
        ({}, {"status": "timeout"}, "status timeout, expected ok"),
        ({"status": ("died", "ok")}, {"status": "died"}, None),
        ({"result": r"\d+"}, {"result": "12"}, None),
        ({"result": r"\d+"}, {"result": "12a"}, "result '12a'"),
        ({"result": r"\d+"}, {}, "result None"),
        ({"result": "none"}, {"result": "1"}, "expected none"),
        ({"says": "cut"}, {"stdout": "whole"}, "does not say cut"),
        ({"status": ("error",), "error": ("KeyError",)}, {"status": "error"}, "error None"),
    ],
)
def test_an_outcome_is_judged(cell: dict[str, Any], given: dict[str, Any], complaint: str | None) -> None:
    complaints = _judged(BatteryCell(id="x", kind="x", code="", **cell), result(**given))
    assert (complaints == []) if complaint is None else (complaint in complaints[0])


def test_control_characters_are_spelt_out_in_every_record() -> None:
    error = CellError(name="E\x1b", message="\x07", traceback="a\tb\n\x9b")
    shown = result(stdout="\x1b[2J\r\n", result="\x00", error=error)
    assert (shown.stdout, shown.result) == ("\\x1b[2J\r\n", "\\x00")
    assert shown.error is not None
    assert (shown.error.name, shown.error.message, shown.error.traceback) == ("E\\x1b", "\\x07", "a\tb\n\\x9b")
    assert CellResult.model_validate_json(shown.model_dump_json()) == shown


@pytest.mark.anyio
@pytest.mark.parametrize("cell", [cell for cell in HOSTILE if is_quick(cell)], ids=lambda cell: cell.id)
async def test_a_hostile_cell_comes_out_as_expected(cell: BatteryCell, stage: Stage) -> None:
    outcome = await in_fresh_kernel(cell, stage)
    assert outcome.complaints == (), outcome.shown


@pytest.mark.anyio
@pytest.mark.parametrize("cell", list(filter(is_quick, chosen(["known good"], []))), ids=lambda cell: cell.id)
async def test_a_good_cell_still_works(cell: BatteryCell, stage: Stage) -> None:
    outcome = await in_fresh_kernel(cell, stage)
    assert outcome.complaints == (), outcome.shown


def battery(*options: str, before: list[str] | None = None) -> dict[str, Any]:
    """What the runner writes; it must end well."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's are closed to other users
        Path(folder).chmod(0o777)
        output = Path(folder, "battery.json")
        command = [*(before or []), *BATTERY, "--json", str(output), *options]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        said: dict[str, Any] = json.loads(output.read_text())
        return said


def test_an_ordinary_user_has_the_same_isolation() -> None:
    said = battery("--kind", "privileges", before=AS_ORDINARY_USER)
    assert said["uid"] != 0
    assert len(said["cells"]) == 10


@pytest.mark.slow
@pytest.mark.parametrize("before", [[], AS_ORDINARY_USER], ids=["this user", "ordinary user"])
def test_the_whole_battery_comes_out_as_expected_and_nothing_is_left(before: list[str]) -> None:
    said = battery(before=before)
    assert [cell["id"] for cell in said["cells"]] == [cell.id for cell in battery_cells()]
    assert [cell for cell in said["cells"] if cell["complaints"]] == []
    assert said["left"] == []


@pytest.mark.slow
@pytest.mark.anyio
async def test_nothing_is_left_after_two_hundred_kernels(stage: Stage) -> None:
    async def one() -> None:
        async with await BwrapKernel.create(stage.files) as kernel:
            await kernel.run("import subprocess; subprocess.Popen(['setsid', 'sleep', '600'])")

    await asyncio.gather(*(one() for _ in range(8)))
    before = await Remains.settled()
    for _ in range(25):
        await asyncio.gather(*(one() for _ in range(8)))
    assert (await Remains.settled(before)).beyond(before) == []


@pytest.mark.slow
def test_nothing_is_left_when_the_batterys_host_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    mounts = Path("/proc/self/mounts").read_text()
    with subprocess.Popen(
        [*BATTERY, "--at-once", "8"], cwd=REPOSITORY, stdout=subprocess.DEVNULL, env=environment
    ) as host:
        below: list[psutil.Process] = []
        while len(below) <= 10:  # the zygote and several kernels
            time.sleep(0.1)
            below = psutil.Process(host.pid).children(recursive=True)
        groups = [group for place in places() for group in place.folder.glob(f"dabstep-{host.pid}-*")]
        host.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(below, timeout=60)
    assert alive == []
    assert [group for group in groups if group.exists()] == []
    assert Path("/proc/self/mounts").read_text() == mounts
    [staged_folder] = tmp_path.iterdir()  # the battery's own, which nobody lived to remove
    assert {path.name for path in staged_folder.iterdir()} == {"answers.jsonl", "socket", "world-001", "world-002"}


def test_a_kind_that_does_not_exist_is_named_with_those_that_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["battery", "--kind", "nonsense"])
    assert main() == 2
    assert "Kinds: answer key, control channel" in capsys.readouterr().err
