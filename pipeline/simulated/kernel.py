"""A kernel that runs nothing: a language model says what each cell would have shown.

    kernel = SimulatedKernel(caller, notebook)
    await kernel.start({"trips.csv": path}, Limits())
    result = await kernel.run("len(trips)")

Two things are decided by rule, without a call: a cell that is no Python raises SyntaxError, and one that opens a file
by a literal name that is not listed, and that no earlier cell wrote, raises FileNotFoundError. Its state is the cells
that ran and what they showed; the model is shown all of them each time. The same cells on the same notebook get the
same replies out of the ledger, so that a broken-off evaluation pays for nothing twice.
"""

from __future__ import annotations

import ast
import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from harness.calls.client import Caller
from harness.kernel.protocol import HOME, INPUT, CellError, CellResult, Limits
from pipeline.asking.shown import show
from pipeline.prompts import prompt, version

PROMPTS = ("interpreter", "interpreter_cell", "data_only")
NOTEBOOK_CHARACTERS = 60_000
_READERS = frozenset(
    ("open", "Path", "ZipFile", "Dataset", "load", "loadtxt", "genfromtxt", "imread", "read_csv", "read_table")
    + ("read_excel", "read_json", "read_parquet", "read_feather", "read_pickle", "read_xml", "read_html", "read_hdf")
)
_WRITERS = frozenset(
    ("dump", "save", "savefig", "savetxt", "write_text", "to_csv", "to_excel", "to_json", "to_parquet", "to_pickle")
)


class Shown(BaseModel):
    """The model's reply: what running the cell shows."""

    model_config = ConfigDict(extra="forbid")

    stdout: str
    result: str | None
    error_name: str | None
    error_message: str | None


class SimulatedKernel:
    """See the module's docstring. `caller` must be open; `notebook` is the markdown that knows the files."""

    def __init__(self, caller: Caller, notebook: str) -> None:
        self._caller = caller
        self._text = show(notebook, NOTEBOOK_CHARACTERS).text
        self._files: tuple[str, ...] = ()
        self._limits = Limits()
        self._done: list[CellResult] = []

    async def start(self, files: Mapping[str, Path], limits: Limits) -> None:
        """Begin with these files; only their names count."""
        self._files, self._limits, self._done = tuple(files), limits, []

    async def run(self, code: str, timeout: float | None = None) -> CellResult:
        """What the cell would show. Raises CallFailed or CallsStopped where the model cannot be asked."""
        began = time.monotonic()
        number = len(self._done) + 1
        result = ruled_out(code, number, self._files, [done.code for done in self._done])
        if result is None:
            result = self._result(code, number, await self._asked(code), time.monotonic() - began)
        self._done.append(result)
        return result

    async def restart(self) -> None:
        """Forget all cells."""
        self._done = []

    async def close(self) -> None:
        """Nothing is to be ended."""

    async def _asked(self, code: str) -> Shown:
        cells = [{"code": done.code, "shown": done.text()} for done in self._done]
        data = "\0".join([self._text, code, *(text for cell in cells for text in cell.values())])
        mark = hashlib.sha256(data.encode("utf-8", "replace")).hexdigest()[:16]
        system = prompt("interpreter", files=self._files, data_only=prompt("data_only"))
        user = prompt("interpreter_cell", mark=mark, text=self._text, cells=cells, code=code)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        reply = await self._caller.ask(messages, schema=Shown, prompt_version=version(*PROMPTS))
        return reply.parsed(Shown)

    def _result(self, code: str, number: int, shown: Shown, seconds: float) -> CellResult:
        stdout, cut_stdout = _cut(shown.stdout, self._limits.output_chars)
        if shown.error_name:
            result = failed(code, number, shown.error_name, shown.error_message or "")
            return result.model_copy(update={"stdout": stdout, "cut_chars": cut_stdout, "duration_s": seconds})
        value, cut_value = _cut(shown.result or "", self._limits.output_chars)
        return CellResult(
            code=code,
            status="ok",
            stdout=stdout,
            result=value or None,
            execution_count=number,
            duration_s=seconds,
            cut_chars=cut_stdout + cut_value,
        )


def ruled_out(code: str, number: int, files: tuple[str, ...], earlier: list[str]) -> CellResult | None:
    """The result of a cell that needs no interpreter to be known, or None."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError) as error:
        if any(line.lstrip().startswith(("!", "%")) for line in code.splitlines()):
            return None
        return failed(code, number, "SyntaxError", str(error))
    written = {path for done in [*earlier, code] for path in _written(done)}
    for path in _opened(tree):
        if not (listed(path, files) or path in written):
            return failed(code, number, "FileNotFoundError", f"[Errno 2] No such file or directory: {path!r}")
    return None


def listed(path: str, files: tuple[str, ...]) -> bool:
    """Whether a path, relative to the kernel's working directory, is one of the files in the input folder."""
    place = PurePosixPath(HOME) / path
    return place.name in files and str(place.parent) in (INPUT, f"{HOME}/./input")


def failed(code: str, number: int, name: str, message: str) -> CellResult:
    """A cell that raised."""
    told = f"{name}: {message}"
    return CellResult(
        code=code,
        status="error",
        error=CellError(name=name, message=message, traceback=f"Traceback (most recent call last):\n{told}"),
        execution_count=number,
    )


def _opened(tree: ast.AST) -> Iterator[str]:
    """Paths of files that a cell opens to read by their literal name."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and _name(node.func) in _READERS) or _writes(node):
            continue
        path = _literal(node)
        if path is not None and "://" not in path and PurePosixPath(path).suffix:
            yield path


def _written(code: str) -> Iterator[str]:
    """Paths that a cell writes by their literal name."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not (_name(node.func) in _WRITERS or _writes(node)):
            continue
        if (path := _literal(node)) is not None:
            yield path


def _writes(call: ast.Call) -> bool:
    """Whether it is `open` with a mode that makes the file."""
    modes = [*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    return any(isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wax") for mode in modes)


def _literal(call: ast.Call) -> str | None:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _cut(text: str, limit: int) -> tuple[str, int]:
    """Head and tail of a long output, and how many characters were left out."""
    if len(text) <= limit:
        return text, 0
    cut = len(text) - limit
    return f"{text[: limit // 2]}\n[{cut:,} characters cut]\n{text[-(limit - limit // 2) :]}", cut
