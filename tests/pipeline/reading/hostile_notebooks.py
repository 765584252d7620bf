"""Broken and odd notebooks as data: those that are refused with the reason, those that are read with their code."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

CODE = {"cell_type": "code", "source": "x = 'é'", "outputs": [], "metadata": {}, "execution_count": None}


def notebook(*cells: Any, **fields: Any) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 4, **fields}


def with_cell(**fields: Any) -> bytes:
    return json.dumps(notebook({**CODE, **fields})).encode()


def with_output(**fields: Any) -> bytes:
    return with_cell(outputs=[{"output_type": "stream", "name": "stdout", "text": ["1"], **fields}])


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return b'{"cells": [{"cell_type": "code", "x": ' + opening * depth + b"1" + closing * depth + b"}]}"


def refused_notebooks() -> Iterator[tuple[str, bytes, str]]:
    yield from refused_bytes()
    yield from refused_shapes()


def refused_bytes() -> Iterator[tuple[str, bytes, str]]:
    """What is no JSON object, or too deep or too large to be read as one."""
    good = json.dumps(notebook(CODE)).encode()
    for name, data in {"nothing": b"", "zero bytes": bytes(10_000), "blanks": b" \r\n\t" * 99}.items():
        yield name, data, "empty"
    for cut in (1, 2, 5, 30, 60, len(good) - 1):
        yield f"last {cut} bytes missing", good[:-cut], "broken JSON"
    broken = {
        "a web page": b"<html>404</html>",
        "a script": b"import pandas as pd\n",
        "an archive": b"PK\3\4" + bytes(100),
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        "single quotes": b"{'cells': []}",
        "a comma too many": b'{"cells": [{"cell_type": "code"},]}',
        "a comment": b'{"cells": [] /* none */}',
        "merge conflict": b'{"cells": [\n<<<<<<< HEAD\n{"cell_type": "code"}\n=======\n]}',
        "two notebooks": good + good,
        "a notebook and text": good + b" and so on",
        "bad escape": b'{"cells": [{"cell_type": "code", "source": "\\x41"}]}',
        "half an escape": b'{"cells": [{"cell_type": "code", "source": "\\u12"}]}',
        "True": b'{"cells": True}',
        "number of 10,000 digits": b'{"cells": ' + b"9" * 10_000 + b"}",
        "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "1.5 UTF-16 characters": json.dumps(notebook(CODE)).encode("utf-16")[:-40],
    }
    for name, data in broken.items():
        yield name, data, "wrong types" if name == "number of 10,000 digits" else "broken JSON"
    yield "JSON lines", good + b"\n" + good, "broken JSON"
    for name, data in {"list": b"[]", "number": b"4", "text": b'"cells"', "null": b"null", "true": b"true"}.items():
        yield f"a {name}", data, "not an object"
    yield "a list in UTF-16", "[1]".encode("utf-16"), "not an object"
    for depth in (2_000, 100_000, 5_000_000):
        yield f"{depth} lists deep", nested(b"[", b"]", depth), "nested too deeply"
    yield "objects 100,000 deep", nested(b'{"a":', b"}", 100_000), "nested too deeply"
    yield "objects deep, never closed", b'{"a":' * 150_000, "nested too deeply"
    unseen = b'{"metadata": {"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}}"
    yield "lists deep where nobody looks", unseen, "nested too deeply"
    yield "12 MB of {} cells", b'{"cells": [' + b"{}," * 4_000_000 + b"{}]}", "too many parts"
    outputs = b'{"cells": [{"cell_type": "code", "outputs": [' + b"{}," * 4_000_000 + b"{}]}]}"
    yield "12 MB of {} outputs", outputs, "too many parts"
    lines = b'{"cells": [{"cell_type": "code", "source": [' + b'"",' * 7_000_000 + b'""]}]}'
    yield "20 MB of empty lines", lines, "too many parts"
    yield "20,000 cells", json.dumps(notebook(*[CODE] * 20_000)).encode(), "too many cells"
    yield "40 MB", b" " * 40_000_000 + good, "too large"


def refused_shapes() -> Iterator[tuple[str, bytes, str]]:
    """JSON objects that are no notebook, or have a part of another type."""
    yield "no keys", b"{}", "no cells"
    yield "keys of something else", b'{"name": "package", "version": "1.0"}', "no cells"
    yield "no cells in it", json.dumps(notebook()).encode(), "no cells"
    yield "cells are null", json.dumps({"cells": None}).encode(), "no cells"
    yield "worksheets are empty", b'{"nbformat": 3, "worksheets": [{"cells": []}]}', "no cells"
    for value in ({}, "x", 3, True, [None], ["x"], [[]], [3]):
        yield f"cells are {value!r}", json.dumps({"cells": value}).encode(), "wrong types"
    for value in (3, None, [], {}, True):
        yield f"cell_type is {value!r}", with_cell(cell_type=value), "wrong types"
    for value in ("", "Code", "sql", "code\n"):
        yield f"cell_type is {value!r}", with_cell(cell_type=value), "unknown cell type"
    yield "cell without a type", b'{"cells": [{"source": "x"}]}', "unknown cell type"
    for value in (3, True, {"a": 1}, [1], [None], [["x"]]):
        yield f"source is {value!r}", with_cell(source=value), "wrong types"
    for value in ("x", {"a": 1}, 3, ["x"], [None], [[]]):
        yield f"outputs are {value!r}", with_cell(outputs=value), "wrong types"
    for value in (3, {"a": 1}, [1], [None]):
        yield f"text is {value!r}", with_output(text=value), "wrong types"
    for value in (3, "x", [], True):
        yield f"data are {value!r}", with_output(data=value), "wrong types"
    for field in ("name", "ename", "evalue"):
        yield f"{field} is a list", with_output(**{field: ["x"]}), "wrong types"
    yield "output_type is null", with_output(output_type=None), "wrong types"
    yield "level is a text", with_cell(level="2"), "wrong types"
    yield "text/plain is a number", with_output(data={"text/plain": 3}), "wrong types"
    yield "traceback is a number", with_output(traceback=3), "wrong types"
    for value in (1, 0, 5, 99, -4):
        yield f"nbformat {value}", json.dumps(notebook(CODE, nbformat=value)).encode(), "unknown nbformat"
    for value in ("4", [4], {}):
        yield f"nbformat is {value!r}", json.dumps(notebook(CODE, nbformat=value)).encode(), "wrong types"
    for value in ([], "x", 3):
        yield f"metadata are {value!r}", json.dumps(notebook(CODE, metadata=value)).encode(), "wrong types"
    yield "kernelspec is a list", json.dumps(notebook(CODE, metadata={"kernelspec": []})).encode(), "wrong types"
    yield "worksheets are an object", b'{"nbformat": 3, "worksheets": {}}', "wrong types"


def odd_notebooks() -> Iterator[tuple[str, bytes, str]]:
    """(name, bytes, the source of the first code cell)."""
    text = json.dumps(notebook(CODE), ensure_ascii=False)
    yield "UTF-8", text.encode(), "x = 'é'"
    yield "escaped", json.dumps(notebook(CODE)).encode(), "x = 'é'"
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig", "cp1252"):
        yield encoding, text.encode(encoding), "x = 'é'"
    yield "UTF-16, mark and big end", codecs.BOM_UTF16_BE + text.encode("utf-16-be"), "x = 'é'"
    yield "a byte that cp1252 lacks", text.encode("cp1252").replace(b"\xe9", b"\xe9\x81"), "x = 'é\ufffd'"
    yield "zero bytes after it", text.encode() + bytes(500), "x = 'é'"
    yield "control Z after it", text.encode() + b"\x1a", "x = 'é'"
    yield "blanks around it", b"\r\n " + text.encode() + b"\n\n", "x = 'é'"
    yield "lone high surrogate", with_cell(source="\ud83d x"), "? x"
    yield "lone low surrogate", with_cell(source="\udc00 x"), "? x"
    yield "surrogates in the wrong order", with_cell(source="\ude00\ud83d"), "??"
    yield "a pair of surrogates", with_cell(source="\U0001f600"), "\U0001f600"
    yield "NUL in a text", with_cell(source="a\0b"), "a\0b"
    yield "a raw NUL in a text", text.encode().replace(b"x =", b"x\0="), "x\0= 'é'"
    yield "a raw newline in a text", text.encode().replace(b"x =", b"x\n="), "x\n= 'é'"
    yield "a raw tab in a text", text.encode().replace(b"x =", b"x\t="), "x\t= 'é'"
    for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999"):
        output = b'[{"output_type": "display_data", "data": {"application/json": {"y": [1, %s]}}}]' % number.encode()
        yield f"{number} in an output", text.encode().replace(b'"outputs": []', b'"outputs": ' + output), "x = 'é'"
    yield "NaN says a text", with_cell(source="NaN, Infinity"), "NaN, Infinity"
    yield "the same key twice", b'{"cells": [{"cell_type": "code", "source": "a", "source": "b"}]}', "b"
    yield "source in pieces", with_cell(source=["a\n", "b"]), "a\nb"
    yield "source is null", with_cell(source=None), ""
    yield "no source", b'{"cells": [{"cell_type": "code"}]}', ""
    yield "outputs are null", with_cell(outputs=None), "x = 'é'"
    yield "no nbformat", b'{"cells": [{"cell_type": "code", "source": "1"}]}', "1"
    yield "nbformat 4.0", json.dumps(notebook(CODE, nbformat=4.0)).encode(), "x = 'é'"
    yield "unknown keys", json.dumps(notebook({**CODE, "x": [{}]}, y={"z": 1})).encode(), "x = 'é'"
    yield "metadata are null", json.dumps(notebook(CODE, metadata=None)).encode(), "x = 'é'"
    for version in (2, 3):
        cells = [{"cell_type": "code", "input": ["a = 1\n", "a"], "language": "python", "outputs": []}]
        old = {"nbformat": version, "metadata": {"name": ""}, "worksheets": [{"cells": cells, "metadata": {}}]}
        yield f"nbformat {version}", json.dumps(old).encode(), "a = 1\na"
    yield "one line of 20 MB", with_cell(source="#" + "x" * 20_000_000), "#" + "x" * 20_000_000
