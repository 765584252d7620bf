"""What a kernel is: the protocol every sandboxed notebook kernel keeps, and the record of one executed cell.

A kernel keeps its state between cells (IPython semantics), runs them one at a time, sees `/home/user` as its working
directory and the question's files, read-only, in `/home/user/input`. It works without Inspect:

    kernel = await BwrapKernel.create(files={"payments.csv": Path("data/payments.csv")})
    result = await kernel.run("1 + 1")
    print(result.text())

This module does no work of its own and imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict

HOME = "/home/user"
INPUT = "/home/user/input"
OUTPUT_BYTES = 10 << 20
FILE_BYTES = 100 << 20

CellStatus = Literal["ok", "error", "timeout", "died"]

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def _without_control(text: str) -> str:
    r"""Control characters but tab and line ends in Python's spelling, as `\x1b`: no cell commands a terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


ShownText = Annotated[str, AfterValidator(_without_control)]


@dataclass(frozen=True)
class Limits:
    """Bounds on one kernel. Times are wall seconds; `output_chars` bounds each stream of a cell, head and tail kept.

    `memory_mb` bounds a process, and `total_mb` what all processes and the files that they write hold together.
    """

    cell_s: float = 120.0
    start_s: float = 120.0
    grace_s: float = 3.0
    memory_mb: int = 4096
    processes: int = 64
    disk_mb: int = 512
    output_chars: int = 10_000

    @property
    def total_mb(self) -> int:
        """Memory for everything: a process at its bound beside a full disk, and a little to run on."""
        return self.memory_mb + self.disk_mb + 64


class CellError(BaseModel):
    """An exception that ended a cell: its class, its message and its traceback as plain text (no terminal codes)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ShownText
    message: ShownText
    traceback: ShownText


class CellResult(BaseModel):
    """One executed cell.

    `result` is the `text/plain` form of a last expression, or None. `status` is "timeout" when the cell was interrupted
    at its limit and the kernel kept its state, "died" when the kernel was lost (it has been restarted, empty).
    `cut_chars` counts the characters left out of stdout, stderr, result and traceback together. Control characters are
    spelt out (`\\x1b`) in all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    status: CellStatus
    stdout: ShownText = ""
    stderr: ShownText = ""
    result: ShownText | None = None
    error: CellError | None = None
    note: str | None = None
    execution_count: int = 0
    duration_s: float = 0.0
    cut_chars: int = 0

    def text(self) -> str:
        """What a model reads of this cell: stdout, stderr, result, traceback and note, in a notebook's order."""
        parts = [
            self.stdout,
            self.stderr,
            self.result or "",
            self.error.traceback if self.error else "",
            self.note or "",
        ]
        return "\n".join(part.rstrip("\n") for part in parts if part.strip()) or "(no output)"


@dataclass(frozen=True)
class Completed:
    """A command that ended: its exit status (negative: the signal that killed it) and its output."""

    returncode: int
    stdout: bytes
    stderr: bytes


class OutputTooLong(RuntimeError):
    """A command or a file gave more than `limit` bytes; `output` holds the beginning."""

    def __init__(self, output: bytes, limit: int) -> None:
        super().__init__(f"more than {limit} bytes of output")
        self.output = output


class KernelUnavailable(RuntimeError):
    """No isolated kernel can be had here; the message says what is missing and the one command that mends it."""


class Kernel(Protocol):
    """A stateful notebook kernel in a sandbox."""

    async def start(self, files: Mapping[str, Path], limits: Limits) -> None:
        """Start with `files` (name under `/home/user/input` -> path on the host) bound read-only.

        Raises KernelUnavailable where isolation cannot be had, FileNotFoundError for a missing host file.
        """
        ...

    async def run(self, code: str, timeout: float | None = None) -> CellResult:
        """Run one cell; never raises for what the cell does. A lost kernel is restarted and reported as "died"."""
        ...

    async def restart(self) -> None:
        """Throw the state away and begin again with the same files and limits."""
        ...

    async def close(self) -> None:
        """End the kernel and everything it started; safe to call twice."""
        ...


class Machine(Kernel, Protocol):
    """A kernel with a machine around it: commands run beside the cells and see the same files."""

    async def exec(
        self,
        cmd: Sequence[str],
        input: bytes | None = None,
        cwd: str = HOME,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        limit: int = OUTPUT_BYTES,
    ) -> Completed:
        """Run a command; `cwd` may be relative to the home directory.

        Raises FileNotFoundError, PermissionError or another OSError for one that cannot be started, TimeoutError
        (it is killed with its children), OutputTooLong beyond `limit` bytes a stream.
        """
        ...

    async def read_file(self, path: str, limit: int = FILE_BYTES) -> bytes:
        """A file of the sandbox (relative to the home directory), read as the kernel's user may.

        Raises OSError as `open` does, OutputTooLong beyond `limit` bytes, TimeoutError.
        """
        ...

    async def write_file(self, path: str, data: bytes) -> None:
        """Write a file of the sandbox, making its parent directories. Raises OSError as `open` does, TimeoutError."""
        ...


def checked_files(files: Mapping[str, Path]) -> dict[str, Path]:
    """The same with resolved paths.

    Raises ValueError for a name that leaves the input folder, FileNotFoundError for a path that is not there.
    """
    return {_checked_name(name): _checked_path(path) for name, path in files.items()}


def _checked_name(name: str) -> str:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"{name!r} is no name under {INPUT}: give a relative path without '..'.")
    return str(path)


def _checked_path(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file, so the kernel cannot show it.")
    return path.resolve()
