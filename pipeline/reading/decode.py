"""A notebook's bytes as a `Notebook`: any encoding and nbformat 2 to 4 are read, what is broken is refused by reason.

    notebook = decode(data)

The way most notebooks take is one typed parse of the bytes. Only when it fails are the usual faults looked for: other
encodings, NaN and Infinity, lone surrogates, control characters in strings, padding after the end. Forgiving them
changes no character of a cell that was readable. Sources: nbformat's schemas 2 to 4, RFC 8259.
"""

from __future__ import annotations

import codecs
import json
import math
from typing import Any

import msgspec

from pipeline.reading.notebook import Cell, Notebook, joined
from pipeline.reading.refusal import LIMITS, Limits, Refused

CELL_TYPES = frozenset({"code", "markdown", "raw", "heading", "html"})
SMALL = 1_000_000
# A byte order mark of UTF-32 begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
BLANKS = b"\0 \t\r\n"
PADDING = "\x00\x1a \t\r\n\ufeff"

_typed = msgspec.json.Decoder(Notebook)


def decode(data: bytes, limits: Limits = LIMITS) -> Notebook:
    """The notebook in `data`, with its cells in `cells` whatever its nbformat. Raises Refused."""
    _bound(data, limits)
    try:
        notebook = _typed.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        notebook = _decode_forgivingly(data, error)
    return _checked(notebook, limits)


def _bound(data: bytes, limits: Limits) -> None:
    """Refuse before parsing what would take many times its size in memory."""
    if not data or (data[0] in BLANKS and not data.strip(BLANKS)):
        raise Refused("empty")
    if len(data) > limits.notebook_bytes:
        raise Refused("too large", f"{len(data)} bytes")
    if len(data) > SMALL:
        objects, strings = data.count(b"{"), data.count(b'"') // 2
        if objects > limits.objects or strings > limits.strings:
            raise Refused("too many parts", f"{objects} objects, {strings} strings")


def _decode_forgivingly(data: bytes, first: Exception) -> Notebook:
    """The slow way: find the encoding, parse with the standard library's tolerance, then once more with types."""
    if isinstance(first, msgspec.ValidationError):
        raise Refused(_mismatch(data), str(first)) from first
    text = _text(data)
    try:
        tree, end = _forgiving.raw_decode(text)
    except RecursionError as error:
        raise Refused("nested too deeply") from error
    except ValueError as error:
        raise Refused("broken JSON", str(error)[:200]) from error
    if text[end:].strip(PADDING):
        raise Refused("broken JSON", f"{len(text) - end} characters after its end")
    if not isinstance(tree, dict):
        raise Refused("not an object", type(tree).__name__)
    try:
        mended = json.dumps(tree, ensure_ascii=False).encode("utf-8", "replace")
        return _typed.decode(mended)
    except RecursionError as error:
        raise Refused("nested too deeply") from error
    except msgspec.ValidationError as error:
        raise Refused("wrong types", str(error)) from error


def _text(data: bytes) -> str:
    """The characters in `data` by its byte order mark, by where its zero bytes stand, as UTF-8, or as cp1252."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    # JSON begins with two ASCII characters: their zero bytes tell the width and the order.
    zeros = "".join("0" if byte == 0 else "x" for byte in data[:4])
    unmarked = {"x0x0": "utf-16-le", "0x0x": "utf-16-be", "x000": "utf-32-le", "000x": "utf-32-be"}
    if zeros in unmarked:
        return data.decode(unmarked[zeros], "replace").lstrip(PADDING)
    try:
        return data.decode("utf-8").lstrip(PADDING)
    except UnicodeDecodeError:
        # The five bytes that cp1252 leaves open become U+FFFD.
        return data.decode("cp1252", "replace").lstrip(PADDING)


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None


def _no_number(_: str) -> Any:
    """NaN and the infinities, which JSON lacks."""
    return None


_forgiving = json.JSONDecoder(strict=False, parse_constant=_no_number, parse_float=_finite)


def _mismatch(data: bytes) -> str:
    """Whether it is the whole or a part that has the wrong type."""
    return "wrong types" if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" else "not an object"


def _checked(notebook: Notebook, limits: Limits) -> Notebook:
    """The notebook in today's shape. Raises Refused where it is none."""
    if notebook.nbformat is not None and notebook.nbformat not in (2, 3, 4):
        raise Refused("unknown nbformat", str(notebook.nbformat))
    cells = notebook.cells
    if not cells and notebook.worksheets:
        cells = [cell for sheet in notebook.worksheets for cell in sheet.cells]
    if not cells:
        raise Refused("no cells")
    if len(cells) > limits.cells:
        raise Refused("too many cells", str(len(cells)))
    for number, cell in enumerate(cells):
        if cell.cell_type not in CELL_TYPES:
            raise Refused("unknown cell type", f"cell {number}: {cell.cell_type[:40]!r}")
    if notebook.worksheets is not None:
        for cell in cells:
            _modernise(cell)
    notebook.cells, notebook.worksheets = cells, None
    return notebook


def _modernise(cell: Cell) -> None:
    """A cell of nbformat 2 or 3 as one of nbformat 4."""
    if cell.source is None:
        cell.source = cell.input
    if cell.cell_type == "heading":
        title = joined(cell.source)
        cell.cell_type, cell.source = "markdown", "#" * min(max(cell.level or 1, 1), 6) + " " + title.strip()
    elif cell.cell_type == "html":
        cell.cell_type = "markdown"
    for output in cell.outputs or []:
        output.name = output.name or output.stream
        output.output_type = {"pyout": "execute_result", "pyerr": "error"}.get(output.output_type, output.output_type)
