"""Cells that a hostile model might write, each with the outcome that a safe kernel gives, as data.

    make battery                                  # or: python -m harness.kernel.battery [--kind disk] [--id bomb-fork]

The YAML files beside this module hold the cells (`BatteryCell`), `good.yaml` those that must simply work,
`differences.yaml` what is as right in another sandbox. A cell ends
with what it got hold of, mostly an empty list. `@NAME@` stands for what `Stage` lays out on the host for the cells to
find: files with a canary in them that no cell may ever show, sockets that listen, a path that appears only when a cell
escapes. `prelude.txt` runs before each. Besides its own outcome every cell must leave a kernel that still computes,
show neither canary nor control character, and leave the host as it was. `tasks/sandbox_check.py` runs the same cells in
any sandbox of Inspect's.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from harness.kernel.protocol import CellResult, CellStatus, Kernel, Limits

LIMITS = Limits(cell_s=30, grace_s=3, memory_mb=256, disk_mb=64, processes=32)
CANARY = "dabstep-canary-"
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
AFTER = ("6 * 7", "42")
READ_LIMIT = 1 << 20
DIFFERENCES = "differences.yaml"


class BatteryCell(BaseModel):
    """One cell and what comes of it where it is safe. Patterns are regular expressions.

    status      how the cell may end; "ok" unless given
    result      matches the whole result; "none" for no result
    error       the classes that its error may have
    says        found in what the cell shows
    timeout     the cell's limit in seconds; the battery's own unless given
    reads       a path read through the sandbox's file API afterwards, `writes` one written
    refused     whether that API must refuse
    late        how many cells later the kernel must be back, where its end may be told late; 0 unless given
    holds       what the file that was read must hold
    differs     why the outcome is another in this sandbox (`differences.yaml`), None where it is not
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: str
    code: str
    status: tuple[CellStatus, ...] = ("ok",)
    result: str | None = None
    error: tuple[str, ...] = ()
    says: str | None = None
    timeout: float | None = None
    reads: str | None = None
    writes: str | None = None
    refused: bool = False
    late: int = 0
    holds: str | None = None
    differs: str | None = None


@dataclass(frozen=True)
class Files:
    """A sandbox's file API: `read(path)` gives bytes and `write(path, bytes)` writes; both raise where they refuse."""

    read: Callable[[str], Awaitable[bytes]]
    write: Callable[[str, bytes], Awaitable[None]]


@dataclass(frozen=True)
class Outcome:
    """What came of one cell: `complaints` is empty when it was as expected."""

    cell: BatteryCell
    complaints: tuple[str, ...]
    seconds: float
    shown: str


def battery_cells(sandbox: str | None = None) -> tuple[BatteryCell, ...]:
    """Every cell of the battery, in the order of its files, with the outcomes that are right in a sandbox of that name.

    No cell is left out anywhere; where another outcome is as safe, `differences.yaml` says so, and why.
    """
    cells: list[BatteryCell] = []
    for file in sorted(resources.files(__package__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml") and file.name != DIFFERENCES:
            cells += [BatteryCell(**entry) for entry in yaml.safe_load(file.read_text(encoding="utf-8"))]
    changes = _differences().get(sandbox, {}) if sandbox else {}
    return tuple(cell.model_copy(update=changes[cell.id]) if cell.id in changes else cell for cell in cells)


def _differences() -> dict[str, dict[str, dict[str, Any]]]:
    """Sandbox -> id of a cell -> what is right there instead."""
    text = (resources.files(__package__) / DIFFERENCES).read_text(encoding="utf-8")
    read: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(text)
    return {
        sandbox: {
            cell: {name: tuple(value) if name == "status" else value for name, value in change.items()}
            for cell, change in cells.items()
        }
        for sandbox, cells in read.items()
    }


def prelude() -> str:
    """The cell that runs before each: what the hostile ones call by short names."""
    return (resources.files(__package__) / "prelude.txt").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Stage:
    """What lies about on the host while the battery runs; `words` replaces `@NAME@` in cells."""

    canary: str
    folder: Path
    files: Mapping[str, Path]
    words: Mapping[str, str]

    def written(self, text: str) -> str:
        """A cell's text for this stage."""
        for name, value in self.words.items():
            text = text.replace(f"@{name}@", value)
        return text

    def disturbance(self) -> str | None:
        """What a cell has done to the host, None where nothing."""
        if os.path.lexists(self.words["ESCAPE"]):
            return f"the host has a new file {self.words['ESCAPE']}"
        if self.files["parcels.csv"].read_text(encoding="utf-8") != PARCELS:
            return "the question's file was changed on the host"
        return None


PARCELS = "id,weight\n1,2.5\n"


@contextmanager
def staged() -> Iterator[Stage]:
    """Lay out secrets, sockets and another sample's files on this host, and take them away again."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dabstep-battery-")))
        folder.chmod(0o755)  # so that it is the sandbox that hides it, and not its owner
        canary = CANARY + secrets.token_hex(16)
        for world in ("world-001", "world-002"):
            (folder / world).mkdir()
            (folder / world / "parcels.csv").write_text(PARCELS if world == "world-001" else canary, encoding="utf-8")
        (folder / "answers.jsonl").write_text(canary, encoding="utf-8")
        listeners = [stack.enter_context(socket.socket(family)) for family in (socket.AF_INET, *[socket.AF_UNIX] * 2)]
        abstract = f"dabstep-battery-{os.getpid()}-{secrets.token_hex(4)}"
        addresses: list[Any] = [("127.0.0.1", 0), f"\0{abstract}", f"{folder}/socket"]
        for listener, address in zip(listeners, addresses, strict=True):
            listener.bind(address)
            listener.listen()
        os.environ["DABSTEP_CANARY"] = canary
        stack.callback(os.environ.pop, "DABSTEP_CANARY", None)
        words = {
            "PORT": str(listeners[0].getsockname()[1]),
            "ABSTRACT": abstract,
            "SOCKET": f"{folder}/socket",
            "SECRET": f"{folder}/answers.jsonl",
            "OTHER": f"{folder}/world-002/parcels.csv",
            "ESCAPE": f"{folder}/escaped",
            "PID": str(os.getpid()),
        }
        yield Stage(canary, folder, {"parcels.csv": folder / "world-001" / "parcels.csv"}, words)


async def attempt(cell: BatteryCell, kernel: Kernel, files: Files | None, stage: Stage) -> Outcome:
    """Run one cell in a kernel that nothing else has run in, and look at everything that must hold afterwards.

    `files` None leaves the file API out; a cell that needs it then complains.
    """
    begun = await kernel.run(prelude())
    result = await kernel.run(stage.written(cell.code), cell.timeout or LIMITS.cell_s)
    complaints = [f"the prelude failed: {begun.text()}"] * (begun.status != "ok") + _judged(cell, result)
    shown = result.text()
    if cell.reads is not None or cell.writes is not None:
        complaints += [f"file API: {complaint}" for complaint in await _through_files(cell, files, stage)]
    after = await kernel.run(AFTER[0], LIMITS.cell_s)
    for _ in range(cell.late):
        if after.result != AFTER[1]:
            after = await kernel.run(AFTER[0], LIMITS.cell_s)
    if after.result != AFTER[1]:
        complaints.append(f"afterwards {AFTER[0]} gave {after.text()[:200]!r}")
    for text in (result.model_dump_json(), after.model_dump_json()):
        if stage.canary in text:
            complaints.append("the canary was shown")
    if CONTROL.search(shown):
        complaints.append("control characters were shown")
    if disturbance := stage.disturbance():
        complaints.append(disturbance)
    return Outcome(cell, tuple(complaints), result.duration_s, shown)


def _judged(cell: BatteryCell, result: CellResult) -> list[str]:
    complaints = []
    if result.status not in cell.status:
        complaints.append(f"status {result.status}, expected {' or '.join(cell.status)}")
    name = result.error.name if result.error else None
    if cell.error and result.status == "error" and name not in cell.error:
        complaints.append(f"error {name}, expected {' or '.join(cell.error)}")
    if cell.result == "none" and result.result is not None:
        complaints.append(f"result {result.result!r}, expected none")
    elif cell.result not in (None, "none") and result.status == "ok":
        assert cell.result is not None
        if not re.fullmatch(cell.result, result.result or ""):
            complaints.append(f"result {result.result!r}, expected {cell.result}")
    if cell.says is not None and not re.search(cell.says, result.text()):
        complaints.append(f"it does not say {cell.says}")
    return complaints


async def _through_files(cell: BatteryCell, files: Files | None, stage: Stage) -> list[str]:
    if files is None:
        return ["this sandbox has none"]
    held: Any = None
    try:
        if cell.reads is not None:
            held = (await files.read(stage.written(cell.reads)))[:READ_LIMIT].decode(errors="replace")
        if cell.writes is not None:
            await files.write(stage.written(cell.writes), b"written")
    except Exception as error:  # whatever a sandbox raises is a refusal
        return [] if cell.holds is None else [f"{type(error).__name__}: {error}"]
    complaints = ["it was not refused"] * cell.refused
    if cell.holds is not None and held != cell.holds:
        complaints.append(f"the file holds {held[:200]!r}, expected {cell.holds!r}")
    if held is not None and stage.canary in held:
        complaints.append("the canary was read")
    return complaints
